"""Where a streamed body comes from, and how it stands on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from io import TextIOBase
from typing import TYPE_CHECKING, Any, BinaryIO

from btplug.errors import NotAllowed, UsageError
from btplug.values import view_of

from .ahead import MOST, OBJECT, Ahead
from .request import Flow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from btplug.message import Buffer

_PIECE = 256 * 1024  # bytes read from a file at once
_SMALL = 16 * 1024  # bytes whose copy costs less than further writes
_PATIENCE = 2.0  # seconds for the last read of a file


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
        self._ahead: Ahead | None = None
        self._over = False
        if isinstance(chunks, str):
            raise UsageError(
                "found chunks of type str, expected bytes, a path or pieces of bytes",
                fix="encode a text; give a path as pathlib.Path",
            )
        if isinstance(chunks, TextIOBase):
            raise UsageError(
                f"found a {type(chunks).__name__} of text, expected a file of bytes",
                fix="open it in binary mode: open(path, 'rb')",
            )
        if isinstance(chunks, (bytes, bytearray, memoryview)):
            view = memoryview(chunks)
            self._length = view.nbytes
            self._chunks = view.cast("B") if view.c_contiguous else bytes(view)
        elif isinstance(chunks, os.PathLike):
            if not stat.S_ISREG(os.stat(chunks).st_mode):
                raise UsageError(  # to open a pipe would wait for whoever writes to it
                    f"found no file at {os.fspath(chunks)!r}, expected one",
                    fix="open it, and pass what is read",
                )
            self._file = open(chunks, "rb")  # noqa: SIM115 - closed in `close`
        elif hasattr(chunks, "seekable") and chunks.seekable():
            self._file, self._start = chunks, chunks.tell()
        elif self.sends and not isinstance(chunks, (Iterable, AsyncIterable)):
            raise UsageError(
                f"found chunks of type {type(chunks).__name__}, "
                "expected bytes, a path, a file or pieces of bytes",
                fix="pass an iterable of bytes",
            )
        elif isinstance(chunks, (list, tuple)):
            for chunk in chunks:
                if type(chunk) is not bytes:
                    view_of(chunk)  # or it would fail with half of them sent
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
        reading = asyncio.ensure_future(asyncio.to_thread(self._digest))
        try:
            return Flow(self._length, await asyncio.shield(reading))
        finally:
            # Cancelled or late, it must not read on: the file is the caller's.
            self._over = True
            await asyncio.wait({reading}, timeout=_PATIENCE)

    def _digest(self) -> str:
        if self._file is None:
            return hashlib.sha256(self._chunks).hexdigest()
        digest = hashlib.sha256()
        # Of a file that grows meanwhile, a log say, no more than will be sent.
        for piece in _parts(self._file, self._length or 0):
            if self._over:
                break
            digest.update(view_of(piece))
        self._file.seek(self._start)
        return digest.hexdigest()

    async def pieces(self) -> AsyncGenerator[Sequence[Buffer], None]:
        """Yield the body as it stands on the wire, some pieces at a time."""
        if self._file is not None:
            self._file.seek(self._start)
            async for pieces in self._fetched(_parts(self._file, self._length or 0)):
                yield pieces
        elif self._length is not None:
            yield [self._chunks]
        else:
            async for chunks in _each(self._chunks, self._fetched):
                for pieces in _chunked(chunks):
                    yield pieces
                    await asyncio.sleep(0)  # the loop belongs to others as well
            yield [b"0\r\n\r\n"]

    def _fetched(self, iterator: Iterator[Buffer]) -> AsyncIterator[list[bytes]]:
        self._ahead = Ahead(iterator)
        return self._ahead.batches()

    async def close(self) -> None:
        """Ask for no more, and close a file that was opened here.

        A file is not read any more when this returns: it may be sent once more.
        """
        try:
            if self._ahead is not None:
                self._ahead.leave()
                if self._file is not None:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._ahead.ended(), _PATIENCE)
        finally:
            if self._file is not None and self._file is not self._chunks:
                self._file.close()
            self._chunks = None  # a generator that nobody else holds ends here


def _chunked(chunks: Iterable[Buffer]) -> Iterator[list[bytes]]:
    """Yield *chunks* as they stand on the wire, not more at once than is fetched."""
    pieces: list[bytes] = []
    small, held = bytearray(), 0
    for chunk in chunks:
        data = chunk if type(chunk) is bytes else bytes(view_of(chunk))
        size = len(data)
        if not size:
            continue  # it would end the body
        small += b"%x\r\n" % size
        if size > _SMALL:
            pieces += [bytes(small), data]
            small.clear()
        else:
            small += data
        small += b"\r\n"
        held += size + OBJECT
        if held > MOST:
            yield [*pieces, bytes(small)]
            pieces, held = [], 0
            small.clear()
    yield [*pieces, bytes(small)]


def _parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left and (piece := file.read(min(left, _PIECE))):
        yield piece
        left -= len(piece)
    if left:
        raise UsageError(
            f"found {size - left:,} bytes in the file, expected {size:,} as when it "
            "was looked at",
            fix="leave it as it is while it is sent",
        )


async def _each(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
    ahead: Callable[[Iterator[Buffer]], AsyncIterator[list[bytes]]],
) -> AsyncIterator[Iterable[Buffer]]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield [chunk]
    elif isinstance(chunks, (list, tuple)):
        yield chunks
    else:
        async for some in ahead(iter(chunks)):
            yield some
