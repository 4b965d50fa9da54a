"""Loops in threads of their own, where everything asynchronous of plugins lives.

asyncio costs 45 ms to import, so nothing here imports it before the first use.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from btplug.errors import UsageError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any

    from btplug._jobs import Job
    from btplug._threads import DaemonThreads

T = TypeVar("T")

# Seconds. A signal may come just before a thread begins to wait, or to another thread:
# neither wakes it, but when it looks for itself Python raises what the signal means.
LOOK = 1.0
_THREADS = 512  # made when they are needed: as many as `send_many` has turns at once


class _Running(NamedTuple):
    """A loop, its thread, the process it runs in, and what ends it unasked."""

    loop: AbstractEventLoop
    thread: threading.Thread
    process: int
    dropped: weakref.finalize[..., HomeLoop]


class HomeLoop:
    """One event loop in a daemon thread, started by the first need.

    A pool belongs to the loop that opened it; so all of a transport runs here, and
    sync callers and other loops hand their calls over.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # What is made at the first need, each set at once and taken away at once. No
        # lock: a signal's handler may come here while one is held, and send; or a
        # process be forked.
        self._made: dict[str, Any] = {}  # Any: the loop running, and the threads
        self._jobs: set[Job[Any]] = set()  # Any: of any result

    def _started(self) -> AbstractEventLoop:
        running: _Running | None = self._made.get("loop")
        if running is None:
            import asyncio

            from btplug._threads import DaemonThreads

            loop = asyncio.new_event_loop()
            # asyncio's own has as few as six threads: what waits would use up all.
            # Nor are they those of sync plugins, which may wait for this loop.
            loop.set_default_executor(DaemonThreads(_THREADS, "asyncio"))
            thread = threading.Thread(
                target=_run, args=(loop,), name=self._name, daemon=True
            )
            thread.start()
            dropped = weakref.finalize(self, _end, loop)
            dropped.atexit = False
            mine = _Running(loop, thread, os.getpid(), dropped)
            running = cast("_Running", self._made.setdefault("loop", mine))
            if running is not mine:  # another thread was faster
                dropped()
        if running.process != os.getpid():
            raise UsageError(
                f"found a process that was forked after the loop {self._name!r} "
                "had begun, expected one with a context of its own",
                fix="open the context in the child, or start it with 'spawn'",
            )
        return running.loop

    def _job(self, work: Coroutine[Any, Any, T], tell: Callable[[], object]) -> Job[T]:
        from btplug._jobs import Job

        try:
            return Job(self._started(), work, tell, self._jobs)
        except BaseException:
            work.close()
            raise

    def here(self) -> bool:
        """Tell whether the caller runs inside this loop."""
        running: _Running | None = self._made.get("loop")
        return running is not None and running.thread is threading.current_thread()

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

    def threads(self) -> DaemonThreads:
        """Return the threads for what is written without ``async``."""
        key = f"threads of {os.getpid()}"  # a fork takes none along
        found: DaemonThreads | None = self._made.get(key)
        if found is None:
            from btplug._threads import DaemonThreads

            found = self._made.setdefault(key, DaemonThreads(_THREADS, self._name))
        return found

    def post(self, work: Callable[[], object]) -> None:
        """Let the loop do *work* soon, if it runs; wait for nothing."""
        running: _Running | None = self._made.get("loop")
        if running is not None:
            with suppress(RuntimeError):  # it was closed a moment ago
                running.loop.call_soon_threadsafe(work)

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
            running: _Running | None = self._made.get("loop")
            alive = running is not None and running.loop is loop
            if close is not None and alive and not self.here():
                self.run(close())

    def close(self, limit: float = 2.0) -> None:
        """Cancel what still runs and end the thread; a closed loop may start again.

        Args:
            limit: Seconds to wait; a loop that is blocked by then is left to itself.
        """
        key = f"threads of {os.getpid()}"
        threads: DaemonThreads | None = self._made.pop(key, None)
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        running: _Running | None = self._made.pop("loop", None)
        if running is None or running.process != os.getpid():
            return  # after a fork the thread is the parent's
        loop, thread, _, dropped = running
        dropped.detach()
        import asyncio

        # A loop that plugin code blocks answers nothing: do not wait for it twice.
        awake = threading.Event()
        loop.call_soon_threadsafe(awake.set)
        if not awake.wait(0.2):
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_finish(loop), loop).result(limit)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            # Those that came in the last moment, and wait.
            for job in [*self._jobs]:
                job.lose(loop)


async def _finish(loop: AbstractEventLoop) -> None:
    """Cancel what runs in *loop*, and wait for that."""
    import asyncio

    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()


def _end(loop: AbstractEventLoop) -> None:
    """End *loop*, which nobody has any more; perhaps from its own thread."""

    def end() -> None:
        last = loop.create_task(_finish(loop))
        last.add_done_callback(lambda _: loop.stop())

    with suppress(RuntimeError):  # it was closed
        loop.call_soon_threadsafe(end)


def _run(loop: AbstractEventLoop) -> None:
    """Run *loop* until it is stopped, and close it.

    An exit or interrupt that is raised in a task reaches whoever waits for the task,
    and ends asyncio's loop besides: all others would wait for ever.
    """
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        loop.close()
        return
