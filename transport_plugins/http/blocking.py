"""The sync form: httpcore's pool, and connections of our own in it.

httpcore's own connection reads replies by a parser in Python, which takes longer than
the way to the peer and back, and gives each read the whole limit again.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from .dialer import Dialer
from .flow import Stale
from .heads import Heads
from .library import httpcore
from .reading import Reading
from .wires import QUIET, looker

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug import Reply
    from btplug.network import Allow

    from .exchange import Exchange
    from .settings import HTTPConfig
    from .tls import Trust

_IDLE = 64  # idle connections kept at most
_PIECE = 64 * 1024  # more than a record of TLS, of which a part would wait unseen
_LONG = 86_400.0  # seconds: systems take no more than three weeks
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_DONE = httpcore.Response(200)  # of the pool; the exchange has what came


class SyncPool(httpcore.ConnectionPool):
    """The connections of the sync form; for any number of threads."""

    def __init__(
        self, config: HTTPConfig, trust: Trust, allow: Allow | None = None
    ) -> None:
        super().__init__(
            max_connections=config.connections,
            max_keepalive_connections=_IDLE if config.keep_alive else 0,
        )
        self._dialer, self._heads = Dialer(config, trust, allow), Heads()
        self._keep = config.keep_alive

    def create_connection(self, origin: httpcore.Origin) -> SyncConnection:
        return SyncConnection(origin, self._dialer, self._heads, self._keep)

    async def once(self, exchange: Exchange) -> Reply:
        """Send the message and return the reply; waits, but for no loop."""
        scheme, host, port = exchange.out.place.origin
        request = httpcore.Request(
            b"",
            httpcore.URL(scheme=scheme, host=host, port=port, target=b""),
            # The limit for a free connection; the exchange sees to all others.
            extensions={"timeout": {"pool": exchange.left()}, "exchange": exchange},
        )
        try:
            self.handle_request(request).close()
        except httpcore.PoolTimeout as exc:
            raise TimeoutError from exc
        return exchange.reply()

    def count(self) -> tuple[int, int]:
        """Return how many connections there are, and how many of them are idle."""
        every = [one.is_idle() for one in self.connections]
        return len(every), sum(every)

    def close(self) -> None:
        """End every connection, those in use too; from now on none is opened."""
        self._dialer.closed = True
        super().close()


class SyncConnection(Reading, httpcore.ConnectionInterface):
    """A connection to one peer, used by one thread at a time."""

    def __init__(
        self, origin: httpcore.Origin, dialer: Dialer, heads: Heads, keep: float
    ) -> None:
        super().__init__(heads)
        self._origin, self._dialer, self._expiry = origin, dialer, keep
        self._turn = threading.Lock()
        self._sock: socket.socket | None = None
        self._look: Callable[[float], bool]
        self._closed = False
        self._broken: OSError | None = None  # why a message could not be sent whole

    # -- for the pool

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        if not self._turn.acquire(blocking=False):
            raise httpcore.ConnectionNotAvailable  # another thread was faster
        try:
            if self._closed:
                raise httpcore.ConnectionNotAvailable
            self._carry(request.extensions["exchange"])
        finally:
            self._turn.release()
            if self._closed:
                self.close()
        return _DONE

    def close(self) -> None:
        self._closed = True
        if (sock := self._sock) is not None:
            with suppress(OSError):
                # Wakes a thread that waits for it; TLS would forget its state.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        # In use: whoever uses it closes it, or its number might be another's by then.
        if self._turn.acquire(blocking=False):
            if sock is not None:
                sock.close()
            self._sock = None
            self.let_go()
            self._turn.release()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return origin == self._origin

    def is_available(self) -> bool:
        return self.is_idle()

    def is_connected(self) -> bool:
        """Tell what httpcore2 asks: whether it was opened."""
        return self._sock is not None

    def is_idle(self) -> bool:
        used = self._sock is None or self._turn.locked()
        return not used and not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def has_expired(self) -> bool:
        return self.is_idle() and monotonic() - self.rested > self._expiry

    # -- one exchange

    def _carry(self, exchange: Exchange) -> None:
        """Send the message of *exchange*, and return when its reply is complete.

        Raises:
            Stale: It is a kept connection that cannot be used again.
            OSError, Garbled, ProxyRefused: There is no whole reply.
            TransportError: The reply is refused.
        """
        out, kept = exchange.out, False
        try:
            if (sock := self._sock) is None:
                sock = self._sock = self._dialer.open(exchange)
                self._look = looker(sock)
            occupied = self.uses > 0 and self._look(self.doubt(exchange))
            pieces = self.begin(exchange, occupied, [self._dialer.head(out), out.body])
            self.expect(exchange, None)
            self._send(sock, exchange, pieces)
            exchange.reading()
            while not self._complete:
                self._wait(self._look, exchange)
                self._receive(sock, exchange)
            self.rest(clean=exchange.exact())
            kept = self._clean and self._stays
        finally:
            self._closed = self._closed or not kept
            self._exchange = self._room = None

    def _send(
        self, sock: socket.socket, exchange: Exchange, pieces: list[bytes]
    ) -> None:
        flags = 0 if isinstance(sock, ssl.SSLSocket) else QUIET
        for piece in pieces:
            view = memoryview(piece)
            while view and not self._complete:
                try:
                    sent = sock.send(view[:_PIECE], flags)
                except _LATER:
                    # A server may refuse a message halfway, and take no more of it.
                    self._wait(looker(sock, full=True), exchange)
                    self._receive(sock, exchange)
                    continue
                except OSError as exc:
                    if self.uses > 1 and not exchange.sent:
                        raise Stale from exc
                    # With a reply that can be read.
                    self._broken = exc
                    return
                exchange.sent += sent
                view = view[sent:]

    def _wait(self, look: Callable[[float], bool], exchange: Exchange) -> None:
        while not look(min(exchange.left(), _LONG)):
            pass

    def _receive(self, sock: socket.socket, exchange: Exchange) -> None:
        """Take what has come, if only the end."""
        room = self._room
        try:
            size = sock.recv_into(room) if room else 0
            data = b"" if room else sock.recv(_PIECE)
        except _LATER:
            return  # a part of what TLS needs
        if room and size:
            self.filled(room, size)
        elif data:
            self.received(data)
        elif self._incoming is not None and self._incoming.until_end:
            self._finish()
        else:
            raise self._broken or ConnectionError("the connection ended")
