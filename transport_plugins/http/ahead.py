"""What a caller's iterator or file gives, fetched by a thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from btplug.values import view_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from btplug.message import Buffer

MOST = 4 * 1024 * 1024  # bytes fetched at once, while as many are sent
OBJECT = 64  # bytes that a chunk takes besides its own


class Ahead:
    """Chunks, fetched a little before they can be sent.

    The iterator may read a pipe, or a disk, for ever: the loop does not wait for it,
    nor does anything else that needs a thread. What is there is passed on at once; the
    thread goes on to the next, because asking a thread for each takes longer than
    sending it.
    """

    def __init__(self, iterator: Iterator[Buffer]) -> None:
        self._iterator = iterator
        self._loop = asyncio.get_running_loop()
        self._ready: deque[bytes | None] = deque()  # None: MOST bytes have come
        self._room = threading.Semaphore(1)
        self._came = asyncio.Event()
        self._waits = self._left = self._ended = False
        self._failed: BaseException | None = None
        self._thread: threading.Thread | None = None

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """Yield what has come, at least one each time; once."""
        self._thread = threading.Thread(target=self._fetch, name="chunks", daemon=True)
        self._thread.start()
        # The end is asked for first: what came before it would be missed.
        while not self._ended or self._ready:
            batch: list[bytes] = []
            piece: bytes | None = b""
            while self._ready and (piece := self._ready.popleft()) is not None:
                batch.append(piece)
            if batch:
                yield batch
            if piece is None:  # sent by now: as much again may be fetched
                self._room.release()
            else:
                await self._wait()
        if self._failed is not None:
            raise self._failed

    def leave(self) -> None:
        """Fetch no more; what is being fetched is the last."""
        self._left = True
        self._room.release()

    async def ended(self) -> None:
        """Return once nothing is fetched any more."""
        while self._thread is not None and not self._ended:
            await self._wait()

    async def _wait(self) -> None:
        self._came.clear()
        self._waits = True
        # The thread looks at the flag after it has put something there.
        if not self._ended and (self._left or not self._ready):
            await self._came.wait()
        self._waits = False

    def _fetch(self) -> None:
        size = 0
        # Held by nobody else, a generator ends with this.
        iterator, self._iterator = self._iterator, iter(())
        try:
            for piece in iterator:
                # Copied now: the next one may well be read to the same place.
                if type(piece) is not bytes:
                    piece = bytes(view_of(piece))
                self._ready.append(piece)
                self._wake()
                size += len(piece) + OBJECT
                if size >= MOST:
                    size = 0
                    self._ready.append(None)
                    self._room.acquire()
                if self._left:
                    return
        except BaseException as exc:
            self._failed = exc
        finally:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        if self._waits:
            self._waits = False
            with suppress(RuntimeError):  # the loop is gone
                self._loop.call_soon_threadsafe(self._came.set)
