"""Lends the host's transports to a confined plugin: its calls, our connections.

The plugin says what is to be sent, and to whom; whether it may, with which key and
within which limits, is the host's. Nothing it sends is believed.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from btplug._broker.flow import Flow, Room, Threads, parted
from btplug._broker.parcels import Ask, Fault, packed, unpacker
from btplug._confine.frames import INLINE, BadFrame, Frame, Kind
from btplug._reached import Reached
from btplug.errors import Cut, NotAllowed, TooLarge, TransportError, UsageError
from btplug.message import Message, Peer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from btplug._broker.hosts import Hosts
    from btplug._loop import HomeLoop
    from btplug.transport import Transport

MOST_CALLS = 64  # at once
_MOST_ENDING = 2 * MOST_CALLS  # with those that were cancelled and have not ended
MOST_BODY = 64 * 1024 * 1024  # bytes of a message that is sent whole
_MOST_BODIES = 256 * 1024 * 1024  # of all of them together
_MOST_UNREAD = 512 * 1024 * 1024  # bytes of replies that the plugin has not read
_MOST_QUEUED = 256 * 1024 * 1024  # bytes of parts that wait to be sent
_MOST_SPOOLED = 1024**3  # bytes of streams that are signed, and so read twice
_GRACE = 0.5  # seconds for calls to let go of what they hold


class Broker:
    """The host's side of the transports of one confined plugin.

    Args:
        transports: Those lent, by name; each limited to `Hosts.allows`.
        hosts: Whom they may reach.
        post: Sends a frame to the child, from any thread.
        home: Where everything async of the transports lives.

    Attributes:
        spooled: Room for what is written to temporary files.
        reached: ``host:port`` of the peers that were sent to.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport],
        hosts: Hosts,
        post: Callable[[Frame], object],
        home: HomeLoop,
    ) -> None:
        self.reached = Reached()
        self.home = home
        self._transports, self._hosts, self._post = transports, hosts, post
        self._calls: dict[int, Flow] = {}
        self._ask = unpacker(Ask)
        self._threads = Threads(MOST_CALLS, "btplug broker")
        self._lock = threading.Lock()
        self._over = threading.Condition()
        self._bodies = self._unread = 0
        self._queued, self.spooled = Room(_MOST_QUEUED), Room(_MOST_SPOOLED)

    def take(self, frame: Frame) -> None:
        """Take a frame of the child's: a call, or what belongs to one.

        Raises:
            BadFrame: It is neither; the child is to be ended.
        """
        if frame.kind == Kind.CALL:
            self._begin(frame)
        elif frame.kind in (Kind.CHUNK, Kind.CREDIT, Kind.CANCEL):
            # Of a call that is over something may still be on its way.
            if (flow := self._calls.get(frame.id)) is not None:
                if frame.kind == Kind.CANCEL:
                    flow.end(_unwanted())
                    return
                try:
                    flow.put(frame)
                except TooLarge as exc:
                    _fail(flow, exc)
                    flow.end(exc)
        else:
            raise BadFrame(f"a frame of the kind {frame.kind}, expected a call")

    def close(self) -> None:
        """End all calls, and give them a moment; the others end by themselves."""
        for flow in list(self._calls.values()):
            flow.close(_unwanted())
        with self._over:
            self._over.wait_for(lambda: not self._calls, _GRACE)
        self._threads.close()

    def _begin(self, frame: Frame) -> None:
        ask = self._ask(frame.body)
        if not frame.id or frame.id in self._calls:
            raise BadFrame(f"a call with the id {frame.id}, which is none or in use")
        flow = Flow(frame.id, self._post, self._queued)
        if self._busy():
            busy = NotAllowed(
                f"{MOST_CALLS} calls are under way already",
                fix="wait for one of them, or ask many peers with send_many",
                delivered=False,
            )
            _fail(flow, busy)
            return
        self._calls[frame.id] = flow
        try:
            self._threads.submit(lambda: self._work(flow, ask))
        except RuntimeError as exc:
            del self._calls[frame.id]
            none = NotAllowed(
                f"found no thread for the call ({exc}), expected one",
                fix="end other calls first, or have the system allow more processes "
                "(ulimit -u)",
                delivered=False,
            )
            _fail(flow, none)

    def _busy(self) -> bool:
        """Tell whether as many calls as there may be are under way.

        Those that were cancelled may take a while to end, and a plugin counts them
        no more.
        """
        if len(self._calls) < MOST_CALLS:
            return False
        open_ = sum(not flow.closed for flow in [*self._calls.values()])
        return open_ >= MOST_CALLS or len(self._calls) >= _MOST_ENDING

    def _work(self, flow: Flow, ask: Ask) -> None:
        try:
            if not flow.closed:
                self._carry(flow, ask)
        # Also what a loop raises that is closed, or a task that is cancelled.
        except BaseException as exc:
            if not flow.closed:
                _fail(flow, exc)
        finally:
            with self._over:
                self._calls.pop(flow.number, None)
                self._over.notify_all()
            flow.end(_unwanted())

    def _carry(self, flow: Flow, ask: Ask) -> None:
        transport = self._transports.get(ask.transport)
        if transport is None:
            raise NotAllowed(
                f"the transport {ask.transport[:40]!r} is not lent to the plugin",
                fix="name it under 'transports:' in the plugin's config.yaml",
                delivered=False,
            )
        if ask.method == "health":
            flow.post(Kind.RETURN, packed(transport.health()))
            return
        message, held = self._message(flow, ask)
        try:
            if ask.method in ("send", "receive"):
                reply = self._send(transport, ask, message)
            else:
                from btplug._broker import carriers

                carry = getattr(carriers, ask.method)
                reply = self.home.run(carry(self, flow, ask, message, transport))
            if reply is not None:
                with self.unread(len(reply.body)):
                    send_reply(flow, reply)
        finally:
            with self._lock:
                self._bodies -= held

    @contextmanager
    def unread(self, length: int) -> Iterator[None]:
        """Count a reply that is held until the plugin has read it.

        Raises:
            TooLarge: More are held than there is room for.
        """
        with self._lock:
            if self._unread + length > _MOST_UNREAD:
                raise TooLarge(
                    f"found {self._unread + length:,} bytes of replies that the plugin "
                    f"has not read, expected {_MOST_UNREAD:,} at most",
                    fix="send fewer at once, or take it with stream",
                    delivered=True,
                )
            self._unread += length
        try:
            yield
        finally:
            with self._lock:
                self._unread -= length

    def _send(self, transport: Transport, ask: Ask, message: Message) -> Reply:
        peer = self.admitted(ask.peer, transport)
        if ask.method == "receive":
            return transport.receive(peer, timeout=ask.timeout)
        return transport.send(peer, message, timeout=ask.timeout)

    def admitted(self, peer: Peer | None, transport: Transport) -> Peer:
        """Return *peer*, which the plugin may reach by this transport.

        Raises:
            NotAllowed: It may not.
        """
        if peer is None:
            raise UsageError("found no peer", fix="say whom to send to")
        scheme = peer.url.partition("://")[0].lower()
        if scheme not in transport.schemes:
            raise NotAllowed(
                f"found the scheme {scheme[:40]!r}, expected one of "
                f"{', '.join(transport.schemes)}",
                fix="choose a transport that serves it",
                delivered=False,
            )
        self.reached.add(self._hosts.check(peer.url))
        return peer

    def _message(self, flow: Flow, ask: Ask) -> tuple[Message, int]:
        """Return the message with its whole body, and for how much room it counts."""
        message = ask.message or Message()
        if not ask.length:
            return message, 0
        length = ask.length
        with self._lock:
            if not 0 < length <= MOST_BODY or self._bodies + length > _MOST_BODIES:
                raise TooLarge(
                    f"found a body of {length:,} bytes, expected {MOST_BODY:,} at "
                    f"most, and {_MOST_BODIES:,} for all that is under way",
                    fix="send it with stream",
                    delivered=False,
                )
            self._bodies += length
        try:
            body = bytearray()
            while len(body) < length:
                body += flow.take().body
            if len(body) != length:
                raise BadFrame("a body that is longer than it said")
        except BaseException:
            with self._lock:
                self._bodies -= length
            raise
        return replace(message, body=bytes(body)), length


def _unwanted() -> Cut:
    return Cut("the plugin does not wait for it any more")


def _fail(flow: Flow, exc: BaseException) -> None:
    # What a thread raises is shown as it is, on the operator's terminal.
    try:
        told = packed(Fault.of(exc))
    except Exception:
        what = f"{type(exc).__name__}, which cannot be told"
        told = packed(Fault.of(TransportError(what)))
    flow.post(Kind.FAILURE, told)


def send_reply(flow: Flow, reply: Reply) -> None:
    """Send a reply; a long body in parts, as the plugin takes them."""
    if len(reply.body) <= INLINE:
        flow.post(Kind.RETURN, packed(reply))
        return
    flow.post(Kind.RETURN, packed(replace(reply, body=b"")), more=True)
    for part, more in parted(reply.body):
        flow.send(Kind.CHUNK, part, more=more)
