"""One connection of the sync form: a socket under a deadline; no policy."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from .flow import Stale, shut_down, torn
from .reading import Reading
from .wires import QUIET, looker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dialer import Dialer
    from .exchange import Exchange
    from .heads import Heads
    from .shelf import Origin

_PIECE = 64 * 1024
_LONG = 86_400.0  # seconds: systems take no more than three weeks
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SyncConnection(Reading):
    """A connection to *origin*, used by one thread at a time."""

    __slots__ = (
        "__weakref__", "_broken", "_cut", "_dialer", "_look", "_sock", "origin",
    )  # fmt: skip

    def __init__(self, origin: Origin, dialer: Dialer, heads: Heads) -> None:
        super().__init__(heads)
        self.origin, self._dialer, self._cut = origin, dialer, False
        self._sock: socket.socket | None = None
        self._look: Callable[[float], bool]
        self._broken: OSError | None = None  # why a message could not be sent whole

    # -- for the pool

    @property
    def reusable(self) -> bool:
        """True where another exchange may use it."""
        return self._clean and self._stays and not self._cut

    def cut(self) -> None:
        """End the exchange of another thread, which closes it then."""
        self._cut = True
        if (sock := self._sock) is not None:
            with suppress(OSError):
                # Wakes that thread; TLS's own would forget its state meanwhile.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """End it; nobody uses it."""
        if self._sock is not None:
            self._sock.close()
        self.let_go()

    def carry(self, exchange: Exchange) -> None:
        """Send the message of *exchange*, and return when its reply is complete.

        Raises:
            Stale: It is a kept connection that cannot be used again.
            OSError, Garbled, ProxyRefused: There is no whole reply.
            TransportError: The reply is refused.
        """
        out = exchange.out
        try:
            sock = self._sock or self._opened(exchange)
            occupied = self.uses > 0 and self._look(self.doubt(exchange))
            exchange.left()  # whatever was waited for
            pieces = self.begin(exchange, occupied, [self._dialer.head(out), out.body])
            self.expect(exchange, None)
            self._send(sock, exchange, pieces)
            exchange.reading()
            while not self._complete:
                self._wait(self._look, exchange)
                self._receive(sock, exchange)
            # What TLS holds back, no look at the socket would show.
            rest = isinstance(sock, ssl.SSLSocket) and sock.pending()
            self.rest(clean=exchange.exact() and not rest)
        finally:
            self._exchange = self._room = None

    def _opened(self, exchange: Exchange) -> socket.socket:
        try:
            sock = self._dialer.open(exchange, self._hold)
        except OSError as exc:
            if self._cut:
                raise shut_down() from exc
            raise
        self._look = looker(sock)
        return sock

    def _hold(self, sock: socket.socket) -> None:
        """Take a socket that is being made ready, so that it can be cut."""
        self._sock = sock
        if self._cut:
            raise shut_down()

    def _send(
        self, sock: socket.socket, exchange: Exchange, pieces: list[bytes]
    ) -> None:
        secured = isinstance(sock, ssl.SSLSocket)
        flags = 0 if secured else QUIET
        for piece in pieces:
            view = memoryview(piece)
            while view and not self._complete:
                try:
                    sent = sock.send(view[:_PIECE], flags)
                except _LATER:
                    sent = 0
                except OSError as exc:
                    if self.uses > 1 and not exchange.sent:
                        raise Stale from exc
                    # With a reply that can be read.
                    self._broken = exc
                    return
                exchange.sent += sent
                view = view[sent:]
                if not sent:
                    # TLS may have sent a part of it and tells nothing.
                    exchange.sent = max(exchange.sent, int(secured))
                    # A server may refuse a message halfway, and take no more of it.
                    self._wait(looker(sock, full=True), exchange)
                    self._receive(sock, exchange)

    def _wait(self, look: Callable[[float], bool], exchange: Exchange) -> None:
        while not look(min(exchange.left(), _LONG)):
            pass

    def _receive(self, sock: socket.socket, exchange: Exchange) -> None:
        """Take what has come, if only the end."""
        room, torn_off = self._room, False
        try:
            size = sock.recv_into(room) if room else 0
            data = b"" if room else sock.recv(_PIECE)
        except _LATER:
            return  # a part of what TLS needs
        except ssl.SSLEOFError:
            size, data, torn_off = 0, b"", True
        if room and size:
            self.filled(room, size)
        elif data:
            self.received(data)
        elif self._cut:
            raise shut_down()
        elif self._incoming is not None and self._incoming.until_end:
            if torn_off:
                raise torn()
            self._finish()
        else:
            raise self._broken or ConnectionError("the connection ended")
