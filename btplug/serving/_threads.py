"""Threads for handlers that are written without ``async``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    # Any: what a call returns, by whoever is told of it.
    Box: TypeAlias = SimpleQueue[
        tuple[Callable[[], Any], Callable[["Box", Any], None]] | None
    ]

T = TypeVar("T")

_NAME = "btplug handler"


class Threads:
    """As many as calls run at once; for one loop.

    They are daemons, as those of an executor are not: a handler that never returns
    would keep the process for ever.
    """

    __slots__ = ("_closed", "_idle")

    def __init__(self) -> None:
        self._idle: list[Box] = []
        self._closed = False

    def open(self) -> None:
        """Keep threads for the next call, from now on."""
        self._closed = False

    def close(self) -> None:
        """Let each thread end, those that still work with their work."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run *call*, which must not raise, in a thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(box: Box, result: T) -> None:
            if self._closed:
                box.put(None)
            else:
                self._idle.append(box)
            if not future.done():
                future.set_result(result)

        if self._idle:
            box = self._idle.pop()
        else:
            box = SimpleQueue()
            thread = Thread(target=_work, args=(box, loop), name=_NAME, daemon=True)
            thread.start()
        box.put((call, done))
        return future

    def __del__(self) -> None:
        self.close()


def _work(box: Box, loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # the loop has ended
        while (job := box.get()) is not None:
            call, done = job
            loop.call_soon_threadsafe(done, box, call())
            del job, call, done  # nothing is kept while it waits
