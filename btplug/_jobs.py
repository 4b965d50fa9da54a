"""Work that a thread hands over to a loop of another one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable, Coroutine
    from typing import Any

T = TypeVar("T")


class Job(Generic[T]):
    """Work handed to a loop by another thread.

    Attributes:
        ended: It has a result, or never will have one.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        tell: Callable[[], object],
        jobs: set[Job[Any]],
    ) -> None:
        self.ended = False
        self._loop, self._work, self._tell, self._jobs = loop, work, tell, jobs
        self._task: Task[T] | None = None

    def start(self) -> None:
        """Let it begin; apart from making it, so that an interrupt finds it made."""
        self._jobs.add(self)
        try:
            self._loop.call_soon_threadsafe(self._begin)
        except RuntimeError:  # it was closed a moment ago
            self._jobs.discard(self)
            self._work.close()
            self.ended = True
            raise

    def result(self) -> T:
        """Return what came of it, once it has ended."""
        if self._task is None or not self._task.done():
            raise RuntimeError("the loop was closed before this was done")
        if self._task.cancelled():
            from concurrent.futures import CancelledError

            raise CancelledError
        return self._task.result()

    def cancel(self) -> None:
        """Let it end soon, if it was started; calls keep their order."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    def lose(self, loop: AbstractEventLoop) -> None:
        """Let nobody wait for it any more: *loop* was closed, which may be its own."""
        if self._loop is loop and not self.ended:
            if self._task is None:
                self._work.close()
            self._end(None)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._end)

    def _end(self, task: Task[T] | None) -> None:
        self.ended = True
        self._jobs.discard(self)
        if task is not None and not task.cancelled():
            task.exception()  # counts as seen, should nobody wait any more
        self._tell()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._work.close()
            self._end(None)
