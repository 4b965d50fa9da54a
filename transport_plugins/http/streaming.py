"""Messages and replies of any size: read and passed on piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from btplug.errors import NotAllowed, UsageError

from .flow import carry
from .request import Flow

if TYPE_CHECKING:
    from btplug import Reply
    from btplug.message import Buffer

    from .connection import Connection
    from .exchange import Exchange
    from .pool import Pool

_PIECE = 256 * 1024
_HIGH = 1024 * 1024  # bytes of a reply held for a slow reader


class Sink:
    """The body of a reply between the connection and whoever reads it."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._wake: asyncio.Future[None] | None = None
        self._ended = self.begun = False
        self._failed: BaseException | None = None
        self.connection: Connection | None = None

    def begin(self) -> None:
        """Note that the head is complete."""
        self.begun = True
        self._woken()

    def put(self, body: bytes) -> bool:
        """Take a part; True: no more for now."""
        self._chunks.append(body)
        self._held += len(body)
        self._woken()
        return self._held > _HIGH

    def end(self, failed: BaseException | None = None) -> None:
        """Note that nothing more will come, and why."""
        self._ended, self._failed = True, failed
        self._woken()

    def _woken(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _wait(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    async def head(self) -> None:
        """Wait for the head; raise what kept it from coming."""
        while not self.begun and not self._ended:
            await self._wait()
        if self._failed is not None and not self.begun:
            raise self._failed

    async def read(self) -> bytes | None:
        """Return the next part, all that has come by now; None after the last."""
        while not self._chunks and not self._ended:
            await self._wait()
        if self._chunks:
            found = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
            self._chunks.clear()
            self._held = 0
            if self.connection is not None:
                self.connection.resume()
            return found
        if self._failed is not None:
            raise self._failed
        return None


class HTTPStream:
    """One streamed exchange; entered, the head of the reply and then its body.

    Attributes:
        head: Status and headers; its body is empty.
    """

    head: Reply

    def __init__(self, pool: Pool, exchange: Exchange, source: Source) -> None:
        self._pool, self._exchange, self._source = pool, exchange, source
        # Chunks that were read are gone.
        exchange.safe = exchange.safe and not source.sends
        self._sink = Sink()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> HTTPStream:
        self._task = asyncio.create_task(self._carry())
        try:
            await self._sink.head()
            self.head = self._exchange.reply()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._sink.read()) is not None:
            yield part

    async def _carry(self) -> None:
        try:
            await carry(self._once, self._exchange)
        # What the source of the chunks raises is the caller's own.
        except BaseException as exc:
            self._sink.end(exc)
            if isinstance(exc, asyncio.CancelledError):
                raise
        else:
            self._sink.end()

    async def _once(self, exchange: Exchange) -> None:
        pool = self._pool
        connection = pool.kept(exchange) or await pool.opened(exchange)
        self._sink.connection = connection
        try:
            chunks = self._source.pieces() if self._source.sends else None
            await connection.carry(exchange, chunks, self._sink)
        finally:
            self._sink.connection = None
            pool.give_back(exchange, connection)


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

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it stands on the wire."""
        if self._file is not None:
            self._file.seek(self._start)
            left = self._length or 0
            while left and (piece := await asyncio.to_thread(self._file.read, _PIECE)):
                yield piece[:left]
                left -= min(left, len(piece))
        elif self._length is not None:
            yield self._chunks
        else:
            async for chunk in _each(self._chunks):
                # An empty one would end the body.
                if size := memoryview(chunk).nbytes:
                    yield b"%x\r\n%b\r\n" % (size, bytes(chunk))
            yield b"0\r\n\r\n"

    def close(self) -> None:
        """Close a file that was opened here."""
        if self._file is not None and self._file is not self._chunks:
            self._file.close()


async def _each(
    chunks: AsyncIterable[Buffer] | Iterable[Buffer],
) -> AsyncIterator[Buffer]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
        return
    iterator = iter(chunks)
    if isinstance(chunks, (list, tuple)):
        for chunk in iterator:
            yield chunk
        return
    # A generator may read a pipe: the loop does not wait for it.
    while (found := await asyncio.to_thread(_following, iterator)) is not None:
        yield found


def _following(iterator: Iterator[Buffer]) -> Buffer | None:
    return next(iterator, None)
