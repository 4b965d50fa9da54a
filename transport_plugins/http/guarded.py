"""uvicorn's protocol, without what it lets one peer do at the cost of all others.

By itself it waits for ever for a head, keeps heads and trailers of any size, does not
count the connections of one address, and keeps a reply that nobody reads.
"""

from __future__ import annotations

import logging
import socket
from asyncio import TimerHandle, Transport
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from btplug.network import sender_of
from btplug.serving import Limits

from .joined import Flow, Joined
from .shelf import affordable

# Said where there is no request yet that the application could answer.
_REPLIES = {
    status: b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n%b\r\n"
    % (line, b"retry-after: 1\r\n" if status == 503 else b"")
    for status, line in {
        400: b"400 Bad Request",
        408: b"408 Request Timeout",
        413: b"413 Content Too Large",
        431: b"431 Request Header Fields Too Large",
        503: b"503 Service Unavailable",
    }.items()
}
_AHEAD = 256 * 1024  # bytes of a body that waits for the application
_PIPELINE = 8  # requests that wait for the reply before theirs, on one connection
logging.getLogger("btplug.http.peers").setLevel(logging.ERROR)


class Guarded(HttpToolsProtocol):
    """One connection; a subclass made by `guarded` knows the limits.

    Attributes:
        limits: Those of the application.
        most: Connections at once, as many as there are files for.
        open: How many connections each sender has.
        slow: Connections whose reply waits for its reader.
        quiet: A logger for what peers do wrong: nothing to warn of.
    """

    limits: ClassVar[Limits]
    most: ClassVar[int]
    open: ClassVar[dict[str, int]]
    slow: ClassVar[set[Guarded]]
    flow: Flow
    quiet: ClassVar[logging.Logger] = logging.getLogger("btplug.http.peers")

    def __init__(self, *args: Any, **keywords: Any) -> None:  # as uvicorn has them
        super().__init__(*args, **keywords)
        # Here and not in uvicorn's Config, which changes its loggers for all servers.
        self.logger, self.access_log = self.quiet, False
        self._sender = ""
        self._timer: TimerHandle | None = None
        self._read = 0  # bytes since the request began
        self._bare = 0  # those since its head began or ended, or some of its body came
        self._in_head = True
        self._unread = 0  # of the reply, when last looked
        self._stuck: TimerHandle | None = None  # while more is unread than there may be
        self._refused = False
        self._running: Any = None  # the request that is answered, of uvicorn's kind

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        if cycle is self.cycle:
            self.flow.held = False
        super()._start_asgi_task(cycle, app)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn
        joined = Joined(transport, self.loop)
        super().connection_made(joined)  # type: ignore[arg-type]  # it acts like one
        self.flow = Flow(joined)  # type: ignore[arg-type]  # as above
        # asyncio does so only where a socket was made with a protocol number, and a
        # reply is two writes: each would wait 40 ms for the peer's acknowledgement.
        if (line := transport.get_extra_info("socket")) is not None:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.client is None and (peer := transport.get_extra_info("peername")):
            self.client = peer[:2]  # reset already: the socket has no peer any more
        self._sender = sender_of(self.client[0] if self.client else "")
        there = self.open[self._sender] = self.open.get(self._sender, 0) + 1
        limits = self.limits
        if there > limits.address_connections or len(self.connections) > self.most:
            self._refuse(503)
        else:
            self._arm(limits.head_time, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unstick()
        # uvicorn does so only where the connection ended well.
        self._unset_keepalive_if_required()
        if there := self.open.pop(self._sender, 1) - 1:
            self.open[self._sender] = there
        # uvicorn tells the last request only, which may wait for this one.
        if (running := self._running) is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._read += len(data)
        self._bare += len(data)
        limits = self.limits
        super().data_received(data)
        if self._refused:
            return
        # httptools itself keeps a header, or a trailer, until it ends, and copies it
        # with each read. An extension of a chunk may be endless as well.
        if self._bare > limits.head + 1024:
            self._refuse(431)
        elif self._read > limits.head + 2 * limits.body + 65536:
            self._refuse(413)
        elif self._timer is None and self._idle():
            # Bytes came, and no request yet: even line breaks end the other timer.
            self._arm(limits.head_time, self._late)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _PIPELINE:
            # Reading stops with the first that waits, but a piece that was read, or
            # the piece after each reply, may hold thousands of them.
            raise ValueError("too many requests wait on one connection")
        super().on_message_begin()
        self._in_head, self._read, self._bare = True, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head these are trailers, which nobody signed.
        if self._in_head and len(self.headers) <= self.limits.headers:
            # As uvicorn's own: it is called most of all.
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        upgrade = self.parser.should_upgrade()
        if upgrade and any(map(_has_body, self.headers)):
            # httptools takes an upgrade for one without a body: what follows would
            # be lost, or taken for a request of its own.
            raise ValueError("an upgrade with a body")
        self._in_head, self._bare = False, 0
        self._disarm()
        # A path and a query lose what stood between them, and it may be signed.
        self.scope["extensions"] = {"btplug.target": {"raw": self.url}}
        super().on_headers_complete()
        if upgrade:
            # The rest of the piece that was read is lost, so nothing can follow.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        # uvicorn's own stops reading at 64 KiB, less than one read brings: each would
        # be followed by a stop, and by a start when the application had taken it. And
        # it copies every byte twice more: what it hands over as bytes may be bytes.
        self._bare = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body = cycle.body + body if cycle.body else body  # type: ignore[assignment]  # as said
            if len(cycle.body) > _AHEAD:
                self.flow.pause_reading()
                # All that are answered before would read on: it is not theirs.
                self.flow.held = cycle is not self._running
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Else this was the reply before the one whose body is under way.
        if self.cycle.response_complete:
            self._in_head = True
        self._unread = self.transport.get_write_buffer_size()
        if self.transport.is_closing() and self._unread:
            self._arm(self.limits.keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, or one whose reply is not read."""
        left = self.transport.get_write_buffer_size()
        if left and left >= self._unread:
            self.transport.abort()
        elif left:
            self._unread = left
            self._arm(self.limits.keep_alive, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        # The next reply waits until this one is read, and holds its place and body.
        super().pause_writing()
        self.slow.add(self)
        self._watch()
        if sum(map(_unread, self.slow)) > self.limits.memory:
            self._give_one_up()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unstick()

    def _give_one_up(self) -> None:
        """Cut the largest reply of the sender that reads least."""
        senders: dict[str, list[Guarded]] = {}
        for one in self.slow:
            senders.setdefault(one._sender, []).append(one)
        most = max(senders.values(), key=lambda them: sum(map(_unread, them)))
        max(most, key=_unread).transport.abort()

    def _watch(self) -> None:
        seconds = self.limits.keep_alive
        self._stuck = self.loop.call_later(seconds, self._look, _unread(self))

    def _look(self, before: int) -> None:
        if _unread(self) >= before:
            self.transport.abort()
        else:
            self._watch()

    def _unstick(self) -> None:
        self.slow.discard(self)
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def _late(self) -> None:
        self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Answer and end; a reply that has begun is cut."""
        self._refused = True
        self._disarm()
        if self.transport.is_closing():
            return
        there = self._idle() and not _unread(self)
        if there:
            self.transport.write(_REPLIES[status])
            self.transport.close()
        # Closed in order, it would stay for as long as nobody reads.
        if not there or _unread(self):
            self.transport.abort()

    def _idle(self) -> bool:
        """Tell whether no request is being answered."""
        done = self.cycle is None or self.cycle.response_complete
        return done and self.timeout_keep_alive_task is None

    def _arm(self, seconds: float, late: Any) -> None:  # a method without arguments
        self._disarm()
        self._timer = self.loop.call_later(seconds, late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _has_body(header: tuple[bytes, bytes]) -> bool:
    name, value = header
    return name == b"transfer-encoding" or (name == b"content-length" and value != b"0")


def _unread(one: Guarded) -> int:
    size: int = one.transport.get_write_buffer_size()
    return size


def guarded(limits: Limits) -> type[Guarded]:
    """Return the protocol of one server."""

    class Bound(Guarded):
        pass

    Bound.limits, Bound.open, Bound.slow = limits, {}, set()
    Bound.most = affordable(limits.connections)
    return Bound
