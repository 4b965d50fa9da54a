"""From an exchange to an open socket of the sync form: proxies and TLS included."""

from __future__ import annotations

import re
import socket
import threading
from base64 import b64encode
from typing import TYPE_CHECKING

from .flow import LOOK, Garbled, ProxyRefused, finish, shut_down
from .places import place_of
from .reach import ask, reach
from .wires import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.network import Allow

    from .exchange import Exchange
    from .reach import Address, Found
    from .request import Outgoing
    from .settings import HTTPConfig
    from .tls import Trust

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3}[^\r\n]*)\r?\n")


class Dialer:
    """Opens the sockets of one pool.

    Attributes:
        closed: No more are opened.
    """

    def __init__(self, config: HTTPConfig, trust: Trust, allow: Allow | None) -> None:
        self._trust, self.allow, self.closed = trust, allow, False
        self._most = config.max_head
        self._proxy: tuple[str, int] | None = None
        self._login = b""
        if config.proxy:
            self._proxy = place_of(config.proxy, "").origin[1:]
            if login := config.proxy_auth.reveal():
                coded = b64encode(login.encode())
                self._login = b"Proxy-Authorization: Basic %b\r\n" % coded

    def open(
        self, exchange: Exchange, hold: Callable[[socket.socket], object]
    ) -> socket.socket:
        """Return a new socket for *exchange* that blocks nobody.

        Args:
            hold: Called with each socket before it connects, and again where TLS makes
                another one of it.

        Raises:
            OSError, ProxyRefused, Garbled: There is none.
        """
        if self.closed:
            raise shut_down()
        scheme, host, port = exchange.out.place.origin
        dial = _Dial(self, exchange, hold)
        sock = finish(reach(dial, exchange, *(self._proxy or (host, port))))
        try:
            if scheme == "https":
                if self._proxy:
                    self._tunnel(sock, exchange)
                exchange.securing(host)
                context = self._trust.context()
                sock.settimeout(exchange.left())
                # In two steps: with a peer that is gone by now, one would do nothing.
                sock = secured = context.wrap_socket(
                    sock,
                    server_hostname=host,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=False,
                )
                hold(sock)
                secured.do_handshake()
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def head(self, out: Outgoing) -> bytes:
        """Return the head of a message, as a proxy needs it if it reads it."""
        head = out.head()
        if self._proxy is None or out.place.origin[0] == "https":
            return head
        method, _, rest = head.partition(b" ")
        line, _, headers = rest.partition(b"\r\n")
        where = b"http://" + out.place.netloc
        return b"%b %b%b\r\n%b%b" % (method, where, line, self._login, headers)

    def _tunnel(self, sock: socket.socket, exchange: Exchange) -> None:
        """Have the proxy connect *sock* to the peer."""
        place = exchange.out.place
        try:
            place.origin[1].encode("idna")  # TLS would raise it, and keep the socket
        except UnicodeError as exc:
            exchange.host = place.host
            raise socket.gaierror(socket.EAI_NONAME, "not a possible name") from exc
        netloc = place.netloc
        if not netloc.endswith(b":%d" % place.origin[2]):
            netloc += b":%d" % place.origin[2]  # a default port is left out there
        text = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n"
        sock.settimeout(exchange.left())
        sock.sendall(text % (netloc, netloc, self._login), QUIET)
        status = b"1"
        while status.startswith(b"1"):  # 100 Continue and its like
            status = self._status(sock, exchange)
        if not status.startswith(b"2"):
            raise ProxyRefused(status.decode("ascii", "replace"))

    def _status(self, sock: socket.socket, exchange: Exchange) -> bytes:
        """Read the head of a reply of the proxy, and return its status and reason."""
        came = bytearray()
        while not came.endswith(b"\r\n\r\n"):
            if len(came) > self._most:
                raise ProxyRefused("found headers and no end")
            sock.settimeout(exchange.left())
            # Not a byte more: what follows belongs to TLS.
            part = sock.recv(1)
            if not part:
                raise ConnectionResetError("the connection ended")
            came += part
        status = _STATUS.match(came)
        if status is None:
            raise Garbled("the proxy answers something else than HTTP")
        return bytes(status[1])


class _Dial:
    """The steps to one socket; see `reach`."""

    def __init__(
        self,
        dialer: Dialer,
        exchange: Exchange,
        hold: Callable[[socket.socket], object],
    ) -> None:
        self._dialer, self._exchange = dialer, exchange
        self._hold, self.allow = hold, dialer.allow

    async def look_up(self, host: str, port: int, left: float) -> Found:
        answers: list[Found] = []
        done = threading.Event()

        def answered(answer: Found) -> None:
            answers.append(answer)
            done.set()

        ask(host, port, answered)
        while not done.wait(min(left, LOOK)):
            if self._dialer.closed:
                raise shut_down()
            left = self._exchange.left()
        return answers[0]

    async def dial(self, address: Address, left: float) -> socket.socket:
        sock = socket.socket(address[0], socket.SOCK_STREAM)
        try:
            self._hold(sock)
            sock.settimeout(left)
            sock.connect(address[1])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return sock
