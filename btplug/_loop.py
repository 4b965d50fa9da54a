"""Loops in threads of their own, where everything asynchronous of plugins lives.

asyncio costs 45 ms to import, so nothing here imports it before the first use.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from btplug.errors import UsageError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from concurrent.futures import ThreadPoolExecutor
    from typing import Any

    from btplug._jobs import Job

T = TypeVar("T")

# Seconds. A signal may come just before a thread begins to wait, or to another thread:
# neither wakes it, but when it looks for itself Python raises what the signal means.
LOOK = 1.0
_THREADS = 512  # made when they are needed: as many as `send_many` has turns at once


class HomeLoop:
    """One event loop in a daemon thread, started by the first need.

    A pool belongs to the loop that opened it; so all of a transport runs here, and
    sync callers and other loops hand their calls over.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._process = 0  # in which the loop runs
        self._jobs: set[Job[Any]] = set()  # Any: of any result

    def _started(self) -> AbstractEventLoop:
        loop = self._loop
        if loop is not None:
            if self._process != os.getpid():
                raise UsageError(
                    f"found a process that was forked after the loop {self._name!r} "
                    "had begun, expected one with a context of its own",
                    fix="open the context in the child, or start it with 'spawn'",
                )
            return loop
        with self._lock:
            if self._loop is None:
                import asyncio
                from concurrent.futures import ThreadPoolExecutor

                loop = asyncio.new_event_loop()
                # asyncio's own has as few as six threads: what waits would use up all.
                # Nor are they those of sync plugins, which may wait for this loop.
                loop.set_default_executor(ThreadPoolExecutor(_THREADS, "asyncio"))
                self._thread = threading.Thread(
                    target=_run, args=(loop,), name=self._name, daemon=True
                )
                self._process = os.getpid()
                self._thread.start()
                self._loop = loop
            return self._loop

    def _job(self, work: Coroutine[Any, Any, T], tell: Callable[[], object]) -> Job[T]:
        from btplug._jobs import Job

        try:
            return Job(self._started(), work, tell, self._jobs)
        except BaseException:
            work.close()
            raise

    def here(self) -> bool:
        """Tell whether the caller runs inside this loop."""
        return self._thread is threading.current_thread()

    def run(self, work: Coroutine[Any, Any, T], *, patient: bool = False) -> T:
        """Run *work* in the loop and wait for its result.

        Args:
            patient: Interrupted, wait as long as *work* takes to end by itself.

        Raises:
            UsageError: Called from inside the loop, which would wait for itself.
        """
        if self.here():
            work.close()
            raise UsageError(
                f"a sync call from inside the loop {self._name!r} would never return",
                fix="await the async form of that method",
            )
        # A bare lock: an interrupt within a Condition, and a Future has one, can leave
        # its lock held for ever, and the loop would wait for that.
        over = threading.Lock()
        over.acquire()
        job = self._job(work, over.release)
        try:
            job.start()
            while not over.acquire(timeout=LOOK):
                continue
        except BaseException:
            # Ctrl-C reaches the waiting thread only: the work must not go on, and
            # may take a moment to let go of what it holds.
            job.cancel()
            if not job.ended:
                while not over.acquire(timeout=LOOK) and patient:
                    continue
            raise
        return job.result()

    async def hand_over(
        self, work: Coroutine[Any, Any, T], *, patient: bool = False
    ) -> T:
        """Await *work* in this loop, from whichever loop the caller runs in.

        Args:
            patient: Cancelled, wait until *work* has ended too.
        """
        if self.here():
            return await work
        import asyncio

        caller, over = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the caller's loop is gone
                caller.call_soon_threadsafe(over.set)

        job = self._job(work, tell)
        job.start()
        try:
            await over.wait()
        except asyncio.CancelledError:
            job.cancel()
            if patient:
                # Cancelled once more, it is hurried and left.
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    job.cancel()
                    raise
            raise
        return job.result()

    def threads(self) -> ThreadPoolExecutor:
        """Return the threads for what is written without ``async``."""
        with self._lock:
            if self._threads is None:
                from concurrent.futures import ThreadPoolExecutor

                self._threads = ThreadPoolExecutor(_THREADS, self._name)
            return self._threads

    def post(self, work: Callable[[], object]) -> None:
        """Let the loop do *work* soon, if it runs; wait for nothing."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it was closed a moment ago
                loop.call_soon_threadsafe(work)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over *items*, whose every step runs in the loop."""

        async def step() -> tuple[bool, T | None]:
            try:
                return True, await anext(items)
            except StopAsyncIteration:
                return False, None

        loop = self._started()
        try:
            while (found := self.run(step()))[0]:
                yield found[1]  # type: ignore[misc]  # None is an item only if T admits it
        finally:
            close = getattr(items, "aclose", None)
            # Dropped long after, by the garbage collector in any thread: a closed
            # loop has closed *items*, and must not start again for that.
            if close is not None and self._loop is loop and not self.here():
                self.run(close())

    def close(self, limit: float = 2.0) -> None:
        """Cancel what still runs and end the thread; a closed loop may start again.

        Args:
            limit: Seconds to wait; a loop that is blocked by then is left to itself.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        if loop is None or thread is None or self._process != os.getpid():
            return  # after a fork the thread is the parent's
        import asyncio

        async def finish() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await loop.shutdown_asyncgens()

        # A loop that plugin code blocks answers nothing: do not wait for it twice.
        awake = threading.Event()
        loop.call_soon_threadsafe(awake.set)
        if not awake.wait(0.2):
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(finish(), loop).result(limit)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            # Those that came in the last moment, and wait.
            for job in [*self._jobs]:
                job.lose(loop)


def _run(loop: AbstractEventLoop) -> None:
    """Run *loop* until it is stopped.

    An exit or interrupt that is raised in a task reaches whoever waits for the task,
    and ends asyncio's loop besides: all others would wait for ever.
    """
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return
