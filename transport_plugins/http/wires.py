"""Connections under a deadline: sockets and TLS; no policy.

httpcore asks its network backend for streams; these take the time that is left from
the exchange they work for, operation by operation, where httpcore's own would give
each read the whole limit again.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, cast

from .flow import CURRENT, Stale, finish
from .library import httpcore
from .reach import ask, numeric, reach

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from btplug.network import Allow

    from .exchange import Exchange
    from .reach import Address, Found
    from .tls import Trust

_PIECE = 64 * 1024
# Seconds from a reply on, and at least, in which the peer's closing is awaited.
_WATCHED, _LEAST = 0.02, 0.001


def looker(sock: socket.socket) -> Callable[[float], bool]:
    """Return what tells whether something, if only the end, can be read from *sock*.

    It is made once for many looks, and waits so many seconds.
    """
    if not hasattr(select, "poll"):  # Windows
        return lambda wait: (
            sock.fileno() < 0 or bool(select.select([sock], [], [], wait)[0])
        )
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    # Closed, its number may be somebody else's by now.
    return lambda wait: sock.fileno() < 0 or bool(poll.poll(wait * 1000))


class Wire:
    """What the sync and the async stream have in common.

    Attributes:
        uses: How many exchanges have used this connection.
        rested: When the last one ended, by the monotonic clock.
    """

    __slots__ = ("_clean", "rested", "uses")

    def __init__(self) -> None:
        self.uses = 0
        self._clean = True
        self.rested = 0.0

    def rest(self, *, clean: bool) -> None:
        """Note the end of an exchange; *clean* if it left not a byte behind."""
        self._clean, self.rested = clean, monotonic()

    def doubt(self, exchange: Exchange) -> float:
        """Return how many seconds to watch a kept connection before it is used.

        A server that closes after its reply without saying so does it now. What must
        not be sent twice waits for that, the first time a connection is used again.
        """
        if self.uses != 1 or exchange.safe:
            return 0.0
        young = _WATCHED - (monotonic() - self.rested)
        return min(exchange.left(), max(_LEAST, young))

    def begin(
        self, exchange: Exchange, occupied: bool, pieces: list[bytes]
    ) -> list[bytes]:
        """Return *pieces* as they are to be sent now: in one packet, if they fit.

        Args:
            occupied: The peer has closed the connection, or sent what nobody asked for;
                looked at in this moment, since this is when it matters.

        Raises:
            Stale: It is a kept connection that cannot be used again.
        """
        self.uses += 1
        # Refused, too: else it would be kept, and be the first to be tried again.
        clean, self._clean = self._clean, False
        if self.uses > 1 and (exchange.fresh or not clean or occupied):
            raise Stale
        size = sum(map(len, pieces))
        exchange.sending(self, size)
        return pieces if size > _PIECE else [b"".join(pieces)]


class SyncWire(Wire, httpcore.NetworkStream):
    """A socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock
        self._look = looker(sock)
        self._waiting: list[bytes] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        exchange = CURRENT.get()
        if self._waiting:
            self._send(exchange)
        exchange.reading()
        self._sock.settimeout(exchange.left())
        data = self._sock.recv(max_bytes)
        exchange.came(data)
        return data

    def _send(self, exchange: Exchange) -> None:
        try:
            occupied = self.uses > 0 and self._look(self.doubt(exchange))
            pieces, self._waiting = self._waiting, []
            for piece in self.begin(exchange, occupied, pieces):
                view = memoryview(piece)
                while view:
                    self._sock.settimeout(exchange.left())
                    sent = self._sock.send(view[:_PIECE])
                    exchange.sent += sent
                    view = view[sent:]
        except TimeoutError:
            raise
        except OSError as exc:
            # A server may refuse a message halfway, with a reply that can be read.
            exchange.broken = exc

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Kept until a reply is asked for: one packet, not two.
        if buffer:
            self._waiting.append(buffer)

    def close(self) -> None:
        with suppress(OSError):
            # Wakes a thread that waits for this socket.
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> SyncWire:
        exchange = CURRENT.get()
        exchange.securing(server_hostname or "")
        # httpcore leaves a connection open that fails here.
        try:
            context = cast("Trust", ssl_context).context()
            self._sock.settimeout(exchange.left())
            self._sock = sock = context.wrap_socket(
                self._sock,
                server_hostname=server_hostname,
                do_handshake_on_connect=False,
            )
            sock.do_handshake()
        except BaseException:
            self.close()
            raise
        return SyncWire(sock)

    def get_extra_info(self, info: str) -> Any:  # httpcore's signature
        if info == "is_readable":
            return not self._clean or self._look(0)
        return None


class SyncBackend(httpcore.NetworkBackend):
    """Connects; see IO."""

    def __init__(self, allow: Allow | None) -> None:
        self.allow = allow

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> SyncWire:
        return finish(reach(self, CURRENT.get(), host, port))

    def sleep(self, seconds: float) -> None:
        sleep(seconds)

    async def look_up(self, host: str, port: int, left: float) -> list[Address]:
        if found := numeric(host, port):
            return found
        answers: list[Found] = []
        done = threading.Event()

        def answered(answer: Found) -> None:
            answers.append(answer)
            done.set()

        ask(host, port, answered)
        if not done.wait(left):
            raise TimeoutError
        if isinstance(answers[0], OSError):
            raise answers[0]
        return answers[0]

    async def dial(self, address: Address, left: float) -> SyncWire:
        sock = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            sock.settimeout(left)
            sock.connect(address[1])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return SyncWire(sock)
