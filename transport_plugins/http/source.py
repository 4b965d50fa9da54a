"""Where a streamed body comes from, and how it stands on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from btplug.errors import NotAllowed, UsageError

from .request import Flow

if TYPE_CHECKING:
    from btplug.message import Buffer

_PIECE = 256 * 1024  # bytes read from a file at once
_SMALL = 16 * 1024  # bytes whose copy costs less than further writes
_AHEAD = 4 * 1024 * 1024  # bytes fetched at once, while as many are sent
_OBJECT = 64  # bytes that a chunk takes besides its own
B = TypeVar("B", bound="Buffer")


class Source:
    """Where the chunks of a message come from.

    Args:
        chunks: Bytes, a path, a binary file, or an iterable of either kind; None:
            the body of the message is sent.

    Attributes:
        sends: There are chunks to send.
    """

    def __init__(self, chunks: Any) -> None:  # one of many kinds, told apart here
        self.sends = chunks is not None
        self._chunks = chunks
        self._file: BinaryIO | None = None
        self._start = 0
        self._length: int | None = None
        if isinstance(chunks, str):
            raise UsageError(
                "found chunks of type str, expected bytes, a path or pieces of bytes",
                fix="encode a text; give a path as pathlib.Path",
            )
        if isinstance(chunks, (bytes, bytearray, memoryview)):
            self._length = memoryview(chunks).nbytes
        elif isinstance(chunks, os.PathLike):
            self._file = open(chunks, "rb")  # noqa: SIM115 - closed in `close`
        elif hasattr(chunks, "seekable") and chunks.seekable():
            self._file, self._start = chunks, chunks.tell()
        elif self.sends and not isinstance(chunks, (Iterable, AsyncIterable)):
            raise UsageError(
                f"found chunks of type {type(chunks).__name__}, "
                "expected bytes, a path, a file or pieces of bytes",
                fix="pass an iterable of bytes",
            )
        if self._file is not None:
            self._length = self._file.seek(0, os.SEEK_END) - self._start
            self._file.seek(self._start)

    async def flow(self, *, signed: bool, shown: str) -> Flow:
        """Return how it is sent; what is signed is read once for its digest.

        Raises:
            NotAllowed: It is signed, and can be read only once.
        """
        if not self.sends or not signed:
            return Flow(self._length, sends=self.sends)
        if self._length is None:
            raise NotAllowed(
                "found chunks that can be read only once, expected what can be read "
                "twice: a signature covers the whole body, before it is sent",
                where=shown,
                fix="pass bytes, a path, or a seekable file",
                delivered=False,
            )
        digest = await asyncio.to_thread(self._digest)
        return Flow(self._length, digest)

    def _digest(self) -> str:
        if self._file is None:
            return hashlib.sha256(self._chunks).hexdigest()
        digest = hashlib.sha256()
        while piece := self._file.read(_PIECE):
            digest.update(piece)
        self._file.seek(self._start)
        return digest.hexdigest()

    async def pieces(self) -> AsyncIterator[Sequence[Buffer]]:
        """Yield the body as it stands on the wire, some pieces at a time."""
        if self._file is not None:
            self._file.seek(self._start)
            async for pieces in Ahead(_parts(self._file, self._length or 0)):
                yield pieces
        elif self._length is not None:
            yield [memoryview(self._chunks).cast("B")]
        else:
            async for chunks in _each(self._chunks):
                for pieces in _chunked(chunks):
                    yield pieces
                    await asyncio.sleep(0)  # the loop belongs to others as well
            yield [b"0\r\n\r\n"]

    def close(self) -> None:
        """Close a file that was opened here."""
        if self._file is not None and self._file is not self._chunks:
            self._file.close()


class Ahead(Generic[B]):
    """What an iterator gives, fetched by a thread a little before it can be sent.

    It may read a pipe, or a disk, for ever: the loop does not wait for it, nor does
    anything else that needs a thread. What is there is passed on at once; the thread
    goes on to the next, because asking a thread for each takes longer than sending it.
    """

    def __init__(self, iterator: Iterator[B]) -> None:
        self._iterator = iterator
        self._loop = asyncio.get_running_loop()
        self._ready: deque[B | None] = deque()  # None: _AHEAD bytes have come
        self._room = threading.Semaphore(1)
        self._came = asyncio.Event()
        self._waits = self._left = self._ended = False
        self._failed: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[list[B]]:
        threading.Thread(target=self._fetch, name="chunks", daemon=True).start()
        try:
            # The end is asked for first: what came before it would be missed.
            while not self._ended or self._ready:
                batch: list[B] = []
                piece: B | bytes | None = b""
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
        finally:
            self._left = True
            self._room.release()

    async def _wait(self) -> None:
        self._came.clear()
        self._waits = True
        # The thread looks at the flag after it has put something there.
        if not self._ready and not self._ended:
            await self._came.wait()
        self._waits = False

    def _fetch(self) -> None:
        size = 0
        try:
            for piece in self._iterator:
                self._ready.append(piece)
                self._wake()
                size += memoryview(piece).nbytes + _OBJECT
                if size >= _AHEAD:
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


def _chunked(chunks: Iterable[Buffer]) -> Iterator[list[bytes]]:
    """Yield *chunks* as they stand on the wire, not more at once than is fetched."""
    pieces: list[bytes] = []
    small, held = bytearray(), 0
    for chunk in chunks:
        size = memoryview(chunk).nbytes
        if not size:
            continue  # it would end the body
        small += b"%x\r\n" % size
        if size > _SMALL:
            pieces += [bytes(small), bytes(chunk)]
            small.clear()
        else:
            small += bytes(chunk)
        small += b"\r\n"
        held += size + _OBJECT
        if held > _AHEAD:
            yield [*pieces, bytes(small)]
            pieces, held = [], 0
            small.clear()
    yield [*pieces, bytes(small)]


def _parts(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left and (piece := file.read(min(left, _PIECE))):
        yield piece
        left -= len(piece)


async def _each(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
) -> AsyncIterator[Iterable[Buffer]]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield [chunk]
    elif isinstance(chunks, (list, tuple)):
        yield chunks
    else:
        async for some in Ahead(iter(chunks)):
            yield some
