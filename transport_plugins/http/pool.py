"""The connections of the async form: made, kept, used again, given up."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from contextlib import suppress
from errno import EMFILE, ENFILE
from time import monotonic
from typing import TYPE_CHECKING

from .connection import Connection
from .flow import shut_down
from .heads import Heads
from .outbox import Outbox
from .reach import ask, reach
from .shelf import Shelf, affordable
from .watch import Watch

if TYPE_CHECKING:
    from btplug import Reply
    from btplug.network import Allow

    from .exchange import Exchange
    from .reach import Address, Found
    from .settings import HTTPConfig
    from .tls import Trust

_USUAL = 8 * 1024**3  # bytes of memory
_DECODED = 4  # bodies that are decompressed at once
# What is read passes through here, at once: one for all connections stays in the
# processor's cache.
_SPACE = 64 * 1024


class Pool:
    """Connections by origin, idle ones kept for a while; belongs to one loop.

    Attributes:
        count: How many are open or being opened.
    """

    def __init__(
        self, config: HTTPConfig, trust: Trust, allow: Allow | None = None
    ) -> None:
        self._keep, self._trust, self.allow = config.keep_alive, trust, allow
        self._most = affordable(config.connections)
        self.count, self._closed = 0, False
        self._shelf: Shelf[Connection] = Shelf()
        self._space, self._heads = memoryview(bytearray(_SPACE)), Heads()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._decoding = asyncio.Semaphore(_DECODED)
        most = config.max_held or _memory() // 4
        self._watch, self._outbox = Watch(self._loop, most), Outbox(self._loop)

    @property
    def idle(self) -> int:
        """How many connections wait for the next exchange."""
        return len(self._shelf)

    async def once(self, exchange: Exchange) -> Reply:
        """Send the message over one connection and return the reply."""
        connection = self.kept(exchange) or await self.opened(exchange)
        try:
            await connection.carry(exchange)
            if exchange.incoming is not None and exchange.incoming.packed:
                # The loop belongs to the other peers as well, and so does the memory:
                # each may become a thousand times what came.
                async with self._decoding:
                    return await asyncio.to_thread(exchange.reply)
            return exchange.reply()
        finally:
            self.give_back(exchange, connection)

    async def close(self) -> None:
        """End every connection, those in use too; from now on none is opened."""
        self._closed = True
        while self._shelf:
            self._evict()
        self._watch.cut()
        while self._queue:
            self._next()
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.sleep(0)  # lets the sockets be closed

    # -- keeping

    def kept(self, exchange: Exchange) -> Connection | None:
        """Return a kept connection for *exchange*, if there is one."""
        origin = exchange.out.place.origin
        while not exchange.fresh and (connection := self._shelf.take(origin)):
            if not connection.lost and monotonic() - connection.rested < self._keep:
                return connection
            connection.abort()
            self.count -= 1
        return None

    def give_back(self, exchange: Exchange, connection: Connection) -> None:
        """Keep a connection that can be used again, or end it."""
        keep = self._keep and not self._closed and not self._queue
        if keep and connection.reusable:
            self._shelf.put(exchange.out.place.origin, connection)
            if self._timer is None:
                self._timer = self._loop.call_later(self._keep, self._sweep)
            return
        connection.abort()
        self._freed()

    def _freed(self) -> None:
        """Let the next one that waits have the place of a connection."""
        self.count -= 1
        self._next()

    def _next(self) -> None:
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _sweep(self) -> None:
        """Close what nobody has used for long."""
        old = monotonic() - self._keep
        while (first := self._shelf.oldest()) is not None:
            if first.rested > old and not first.lost:
                break
            self._evict()
        self._timer = None
        if self._shelf:
            self._timer = self._loop.call_later(self._keep, self._sweep)

    # -- opening

    async def opened(self, exchange: Exchange) -> Connection:
        """Return a new connection for *exchange*."""
        await self._place(exchange)
        scheme, host, port = exchange.out.place.origin
        try:
            connection = await reach(self, exchange, host, port)
            if scheme == "https":
                await self._secure(connection, exchange, host)
            if self._closed:
                connection.abort()
                raise shut_down()
        except BaseException:
            self._freed()
            raise
        return connection

    async def _place(self, exchange: Exchange) -> None:
        """Wait for one of the connections there may be."""
        while self.count >= self._most and not self._closed:
            if self._shelf:
                self._evict()
                continue
            waiting = self._loop.create_future()
            self._queue.append(waiting)
            try:
                async with asyncio.timeout(exchange.left()):
                    await waiting
            except BaseException:
                if waiting.done() and not waiting.cancelled():
                    self._next()  # whoever gave it the place gave it in vain
                raise
        if self._closed:
            raise shut_down()
        self.count += 1

    def _evict(self) -> None:
        """Close the idle connection that rests longest: it is needed least."""
        connection = self._shelf.evict()
        connection.abort()
        self.count -= 1

    async def look_up(self, host: str, port: int, left: float) -> Found:
        future: asyncio.Future[Found] = self._loop.create_future()

        def settle(answer: Found) -> None:
            if not future.done():
                future.set_result(answer)

        def answered(answer: Found) -> None:
            # The loop may have ended in the meantime: then nobody waits.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(settle, answer)

        ask(host, port, answered)
        async with asyncio.timeout(left):
            return await future

    async def dial(self, address: Address, left: float) -> Connection:
        # With its protocol's number: asyncio asks for no TCP_NODELAY else, and each
        # upload would wait 40 ms for an acknowledgement of its head.
        sock = await self._socket(address[0])
        try:
            sock.setblocking(False)
            async with asyncio.timeout(left):
                await self._loop.sock_connect(sock, address[1])
                _, connection = await self._loop.create_connection(
                    lambda: self._connection(sock), sock=sock
                )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _socket(self, family: int) -> socket.socket:
        try:
            return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError as exc:
            if exc.errno not in (EMFILE, ENFILE) or not self._shelf:
                raise
        # Others have taken more files than was thought: those that rest can go.
        while self._shelf:
            self._evict()
        await asyncio.sleep(0)  # lets the sockets be closed
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)

    def _connection(self, sock: socket.socket) -> Connection:
        space, heads = self._space, self._heads
        return Connection(sock, self._watch, self._outbox, space, heads)

    async def _secure(
        self, connection: Connection, exchange: Exchange, host: str
    ) -> None:
        exchange.securing(host)
        try:
            async with asyncio.timeout(exchange.left()):
                # Loading the authorities takes long enough to disturb the loop.
                context = await asyncio.to_thread(self._trust.context)
                made = await self._loop.start_tls(
                    connection.transport,
                    connection,
                    context,
                    server_hostname=host,
                    # Ours ends it first, with an error that is recognised.
                    ssl_handshake_timeout=exchange.left() + 1,
                )
        except BaseException:
            connection.abort()
            raise
        if made is None:
            raise ConnectionResetError("the connection ended")
        connection.use(made)


def _memory() -> int:
    """Return how many bytes of memory the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows does not tell
        return _USUAL
