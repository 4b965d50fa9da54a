"""Loops in threads of their own, where everything asynchronous of plugins lives.

asyncio costs 45 ms to import, so nothing here imports it before the first use.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from btplug.errors import UsageError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any

T = TypeVar("T")


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

    def _started(self) -> AbstractEventLoop:
        if self._loop is not None:
            return self._loop
        with self._lock:
            if self._loop is None:
                import asyncio

                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(loop,), name=self._name, daemon=True
                )
                self._thread.start()
                self._loop = loop
            return self._loop

    def here(self) -> bool:
        """Tell whether the caller runs inside this loop."""
        return self._thread is threading.current_thread()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* in the loop and wait for its result.

        Raises:
            UsageError: Called from inside the loop, which would wait for itself.
        """
        if self.here():
            work.close()
            raise UsageError(
                f"a sync call from inside the loop {self._name!r} would never return",
                fix="await the async form of that method",
            )
        import asyncio

        ended = threading.Event()

        async def tracked() -> T:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(tracked(), self._started())
        try:
            return future.result()
        except BaseException:
            # Ctrl-C reaches the waiting thread only: the work must not go on, and
            # may take a moment to let go of what it holds.
            if future.cancel():
                ended.wait(1.0)
            raise

    async def hand_over(self, work: Coroutine[Any, Any, T]) -> T:
        """Await *work* in this loop, from whichever loop the caller runs in."""
        if self.here():
            return await work
        import asyncio

        future = asyncio.run_coroutine_threadsafe(work, self._started())
        return await asyncio.wrap_future(future)

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

        try:
            while (found := self.run(step()))[0]:
                yield found[1]  # type: ignore[misc]  # None is an item only if T admits it
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                self.run(close())

    def close(self, limit: float = 2.0) -> None:
        """Cancel what still runs and end the thread; a closed loop may start again.

        Args:
            limit: Seconds to wait; a loop that is blocked by then is left to itself.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
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
