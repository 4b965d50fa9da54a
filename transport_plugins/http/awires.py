"""The async half of wires.py; imported, with asyncio, at the first async message."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from .flow import CURRENT
from .library import httpcore
from .reach import ask, numeric, reach
from .wires import Wire, readable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from .exchange import Exchange
    from .reach import Address, Found
    from .tls import Trust

_HIGH = 256 * 1024  # bytes held at most, unread or unsent, before somebody waits


class _Line(asyncio.Protocol):
    """What arrived and was not read yet, and the end of the connection."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.failed: Exception | None = None
        self.transport: asyncio.Transport | None = None
        self._wake: asyncio.Future[None] | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # Writing waits until the system has taken all: so what was sent is known.
        self.transport.set_write_buffer_limits(0)
        # What comes unasked stays where TLS, or a look at the socket, will find it.
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > _HIGH and self.transport is not None:
            self.transport.pause_reading()
        self._woken()

    def eof_received(self) -> bool:
        self.ended = True
        self._woken()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended, self.failed = True, exc
        self._woken()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._woken()

    def _woken(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self, left: float) -> None:
        """Wait until something happens.

        Raises:
            TimeoutError: Nothing did within *left* seconds.
        """
        self._wake = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(left):
                await self._wake
        finally:
            self._wake = None

    async def read(self, exchange: Exchange, size: int) -> bytes:
        while not self.data and not self.ended:
            if self.transport is not None:
                self.transport.resume_reading()
            await self.wait(exchange.left())
        if not self.data and self.failed is not None:
            raise self.failed
        data = bytes(self.data[:size])
        del self.data[:size]
        return data

    async def drained(self, exchange: Exchange) -> None:
        while self._full and not self.ended:
            await self.wait(exchange.left())


class AsyncWire(Wire, httpcore.AsyncNetworkStream):
    """A connection of an asyncio loop."""

    def __init__(self, line: _Line, transport: asyncio.Transport) -> None:
        super().__init__()
        self._line, self._transport = line, transport

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = CURRENT.get()
        if self._waiting:
            await self._send(exchange)
        exchange.reading()
        data = await self._line.read(exchange, max_bytes)
        exchange.came(data)
        return data

    async def _send(self, exchange: Exchange) -> None:
        if doubt := self.doubt(exchange):
            with suppress(TimeoutError):
                await self._line.wait(doubt)
        for piece in self.begin(exchange, self._occupied()):
            view = memoryview(piece)
            # asyncio moves all that waits in its buffer for every bit that leaves.
            for start in range(0, len(view), _HIGH):
                if self._line.ended:
                    return
                await self._write(view[start : start + _HIGH], exchange)

    async def _write(self, part: memoryview, exchange: Exchange) -> None:
        done = exchange.sent
        self._transport.write(part)
        try:
            await self._line.drained(exchange)
        finally:
            # At least one byte: asyncio tells nothing of what TLS holds back.
            unsent = self._transport.get_write_buffer_size()
            exchange.sent = done + max(1, len(part) - unsent)

    def _occupied(self) -> bool:
        line = self._line
        sock = self._transport.get_extra_info("socket")
        return bool(line.data) or line.ended or sock.fileno() < 0 or readable(sock)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.put(buffer)

    async def aclose(self) -> None:
        # Not close(), which would go on sending what a cancelled call left behind.
        self._transport.abort()
        await asyncio.sleep(0)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> AsyncWire:
        exchange = CURRENT.get()
        exchange.securing(server_hostname or "")
        line, loop = _Line(), asyncio.get_running_loop()
        try:
            async with asyncio.timeout(exchange.left()):
                # Loading the authorities takes long enough to disturb the loop.
                context = await asyncio.to_thread(cast("Trust", ssl_context).context)
                made = await loop.start_tls(
                    self._transport,
                    line,
                    context,
                    server_hostname=server_hostname,
                    # Ours ends it first, with an error that is recognised.
                    ssl_handshake_timeout=exchange.left() + 1,
                )
        except BaseException:
            await self.aclose()
            raise
        if made is None:
            raise ConnectionResetError("the connection ended")
        return AsyncWire(line, made)

    def get_extra_info(self, info: str) -> Any:  # httpcore's signature
        if info == "is_readable":
            return not self._clean or self._occupied()
        return None


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Connects; see IO."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncWire:
        return await reach(self, host, port)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def look_up(self, host: str, port: int, left: float) -> list[Address]:
        if found := numeric(host, port):
            return found
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()

        def settle(answer: Found) -> None:
            if not future.done():
                future.set_result(answer)

        def answered(answer: Found) -> None:
            # The loop may have ended in the meantime: then nobody waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, answer)

        ask(host, port, answered)
        async with asyncio.timeout(left):
            answer = await future
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def dial(self, address: Address, left: float) -> AsyncWire:
        loop = asyncio.get_running_loop()
        sock = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(left):
                await loop.sock_connect(sock, address[1])
                transport, line = await loop.create_connection(_Line, sock=sock)
        except BaseException:
            sock.close()
            raise
        return AsyncWire(line, transport)
