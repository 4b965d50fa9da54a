"""Messages and replies of any size: read and passed on piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from .flow import SourceFailed, carry
from .source import Source

if TYPE_CHECKING:
    from btplug import Reply

    from .connection import Connection
    from .exchange import Exchange
    from .pool import Pool

__all__ = ["HTTPStream", "Sink", "Source"]

# Where that much came at once more is on its way; a token is passed on at once.
_FAST = 32 * 1024
_BATCH, _MOMENT = 2 * 1024 * 1024, 0.002  # bytes; seconds
_HIGH = 3 * 1024 * 1024  # bytes of a reply held for a slow reader


class Sink:
    """The body of a reply between the connection and whoever reads it."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._held = self._wanted = 0
        self._wake: asyncio.Future[None] | None = None
        self._ended = self.begun = False
        self._failed: BaseException | None = None
        self.connection: Connection | None = None

    def begin(self) -> None:
        """Note that the head is complete."""
        self.begun = True
        self._woken()

    def put(self, body: bytes) -> None:
        """Take a part."""
        self._chunks.append(body)
        self._held += len(body)
        if self._held >= self._wanted:
            self._woken()
        if self._held > _HIGH and self.connection is not None:
            self.connection.pause()

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

    async def read(self) -> list[bytes]:
        """Return all parts that have come by now, at least one; none after the last."""
        while not self._chunks and not self._ended:
            await self._wait()
        # Waking whoever reads takes longer than a part does: once for many of them.
        if _FAST <= self._held < _BATCH and not self._ended:
            self._wanted = _BATCH
            timer = asyncio.get_running_loop().call_later(_MOMENT, self._woken)
            try:
                await self._wait()
            finally:
                timer.cancel()
                self._wanted = 0
        if self._chunks:
            # Not joined: that would copy every byte once more.
            found, self._chunks = self._chunks, []
            self._held = 0
            if self.connection is not None:
                self.connection.resume()
            return found
        if self._failed is not None:
            raise self._failed
        return []


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
        async for parts in self.batches():
            for part in parts:
                yield part

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """Yield the body, each time all parts that have come since."""
        while parts := await self._sink.read():
            yield parts

    async def _carry(self) -> None:
        try:
            await carry(self._once, self._exchange)
        except SourceFailed as exc:
            self._sink.end(exc.__cause__)  # the caller's own
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
