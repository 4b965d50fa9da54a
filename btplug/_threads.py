"""Threads for what waits, which the end of the process does not wait for."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    # Any: of any result.
    Task: TypeAlias = tuple[Future[Any], Callable[..., Any], Any, Any]

T = TypeVar("T")
P = ParamSpec("P")


class _Desk:
    """What threads have of their executor: with that itself, neither would end."""

    __slots__ = ("guard", "resting", "tasks")

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.resting = 0  # threads that wait for a task, less those that are on the way


class DaemonThreads(ThreadPoolExecutor):
    """An executor whose threads are daemons, made when they are needed.

    Python joins those of its base class before a process ends, as long as a message to
    a peer that says nothing may take. asyncio accepts no other class for a loop's own.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, name)
        self._most, self._name = most, name
        self._desk = _Desk()
        self._made: list[threading.Thread] = []
        self._over = False

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Let a thread call *fn*.

        Raises:
            RuntimeError: It was shut down, or the system gives no thread.
        """
        future: Future[T] = Future()
        desk = self._desk
        with desk.guard:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if desk.resting:
                desk.resting -= 1
            elif len(self._made) < self._most:
                thread = threading.Thread(
                    target=_work,
                    args=(desk,),
                    name=f"{self._name}_{len(self._made)}",
                    daemon=True,
                )
                thread.start()
                self._made.append(thread)
            desk.tasks.put((future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; threads end after what they do."""
        tasks = self._desk.tasks
        with self._desk.guard:
            self._over = True
            if cancel_futures:
                with suppress(Empty):
                    while (task := tasks.get_nowait()) is not None:
                        task[0].cancel()
            tasks.put(None)
        if wait:
            for thread in self._made:
                thread.join()

    def __del__(self) -> None:
        self._desk.tasks.put(None)  # takes no lock: the garbage collector may call


def _work(desk: _Desk) -> None:
    while (task := desk.tasks.get()) is not None:
        future, fn, args, kwargs = task
        if future.set_running_or_notify_cancel():
            _settle(future, fn, args, kwargs)
        del task, future, fn, args, kwargs  # nothing is kept while it waits
        with desk.guard:
            desk.resting += 1
    desk.tasks.put(None)  # for the next thread


def _settle(future: Future[T], fn: Callable[..., T], args: Any, kwargs: Any) -> None:
    try:
        result = fn(*args, **kwargs)
    except BaseException as exc:
        future.set_exception(exc)
        # Its traceback holds this frame, and so itself.
        del future
    else:
        future.set_result(result)
