"""One message and its reply: the deadline, and how far it is.

The policy of the transport is here and in request.py, incoming.py and trouble.py,
without I/O: both forms tell an Exchange what happens and ask it what to do.
"""

from __future__ import annotations

import math
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from btplug.errors import Cut, TooLarge, TransportError, UsageError
from btplug.values import new_message

from .heads import check_raw, read_head
from .incoming import Incoming
from .request import build
from .trouble import error_of

if TYPE_CHECKING:
    from btplug import Message, Peer, Reply
    from btplug.dialects import Dialect

    from .heads import Head
    from .request import Flow, RawHeaders
    from .settings import HTTPConfig

# RFC 9110, 9.2.1. PUT and DELETE could be repeated too, unless they are signed.
_SAFE = ("GET", "HEAD", "OPTIONS")
_LONGEST = 30 * 86_400.0


class Exchange:
    """One call of `send` or `receive`, over one connection or, repeated, two.

    Attributes:
        phase: What is waited for; trouble.py has them all.
        host: Who is connected to: the peer or a proxy.
        seconds: The time limit.
        deadline: When it has to be over, by the monotonic clock.
        sent: Bytes of the message that were handed to the system, of *total*.
        arrived: Bytes that came, head included.
        head: What came before the end of the headers was known.
        safe: Asking twice changes nothing.
        fresh: Only a new connection will do.
        stepwise: Each step of a stream has its limit, not the whole.
    """

    __slots__ = (
        "_began", "_config", "_default", "_dialect", "_end", "_flow", "_message",
        "_peer", "_signed", "arrived", "deadline", "fresh", "head", "host", "incoming",
        "out", "phase", "reused", "safe", "seconds", "sent", "stepwise", "total",
    )  # fmt: skip

    def __init__(
        self,
        peer: Peer,
        message: Message,
        config: HTTPConfig,
        timeout: float | None,
        default: str,
        dialect: Dialect | None = None,
        flow: Flow | None = None,
    ) -> None:
        self._began, self._config = monotonic(), config
        seconds = config.timeout if timeout is None else timeout
        if math.isnan(seconds):
            raise UsageError("found the time limit nan", fix="give it in seconds")
        self.seconds = min(seconds, _LONGEST)
        self.deadline = self._began + self.seconds
        self._peer, self._message, self._dialect = peer, message, dialect
        self._flow = flow
        # Of a stream nobody knows how long it lasts: each step has its limit then.
        self.stepwise = flow is not None and timeout is None
        self._default = default
        self._write()
        self.safe = self.out.method in _SAFE
        self.fresh = False
        self._forget()

    def restart(self) -> None:
        """Forget one try; the deadline stays, and the message is signed anew."""
        if self._dialect is not None:
            self._write()
        self._forget()

    def _write(self) -> None:
        """Write the message as it will stand on the wire, signed for this try."""
        message, dialect = self._message, self._dialect
        if dialect is not None:
            if not message.method:
                message = _named(message, self._default)
            message = dialect.outgoing(
                self._peer,
                message,
                timeout=self.seconds,
                now_ns=time_ns(),
                sha256=self._flow.sha256 if self._flow else None,
            )
        self._signed = message
        self.out = build(self._peer, message, self._default, self._flow)

    def error(self, exc: Exception) -> TransportError:
        """Make our error of what ended it."""
        # Imported with the first message, not with the first error: a message that is
        # under way when its plugin is unloaded could import nothing more.
        return error_of(self, exc)

    def _forget(self) -> None:
        self.phase, self.host = "pool", self.out.place.host
        self.reused = False
        self.sent = self.total = self.arrived = 0
        self.head = b""
        self._end = -1
        self.incoming: Incoming | None = None

    @property
    def via(self) -> str:
        """What is connected to, in words, where it is not the peer itself."""
        return "the proxy " if self._config.proxy else ""

    def step(self) -> None:
        """Note that something moved: where each step has its limit, it begins anew."""
        if self.stepwise:
            self.deadline = monotonic() + self.seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def connecting(self, host: str, port: int) -> None:
        """Note that a new connection is made, to the peer or to the proxy."""
        self.phase = "lookup"
        self.host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def securing(self, host: str) -> None:
        """Note that TLS begins."""
        self.phase, self.host = "tls", host

    def sending(self, size: int, *, reused: bool) -> None:
        """Note that *size* bytes are about to be written.

        Args:
            reused: To a kept connection.
        """
        self.phase, self.total, self.reused = "send", size, reused

    def feeding(self, size: int) -> None:
        """Note that *size* bytes more of a stream are about to be written.

        Args:
            size: 0 while the caller is waited for.
        """
        self.total += size
        if self.incoming is None:
            self.phase = "send" if size else "chunks"

    def reading(self) -> None:
        """Note that more is asked of the peer.

        Raises:
            TooLarge: The headers have not ended within their limit.
        """
        if self.incoming is None:
            self.phase = "headers"
            self.check_end("headers", len(self.head))

    def check_end(self, what: str, size: int) -> None:
        """Refuse *size* bytes of *what*, which has not ended.

        Raises:
            TooLarge: That is more than headers may have.
        """
        limit = self._config.max_head
        if size > limit:
            raise TooLarge(
                f"found {size:,} bytes of {what} and no end, "
                f"expected at most {limit:,} bytes",
                where=self.out.place.shown,
                fix="report it to the owner of the peer",
            )

    def came(self, data: bytes) -> None:
        """Note what was read.

        Raises:
            TooLarge: The headers have not ended within their limit.
        """
        self.arrived += len(data)
        if self.incoming is None:
            # The end may lie across two reads.
            start = max(0, len(self.head) - 3)
            self.head = self.head + data if self.head else data
            found = self.head.find(b"\r\n\r\n", start)
            if found < 0:
                self.check_end("headers", len(self.head))
            elif self._end < 0:
                self._end = found

    def answered(self, status: int, headers: RawHeaders) -> Incoming:
        """Note that the headers are complete, and check them.

        Raises:
            BadReply: They do not say clearly where the body ends.
            TooLarge: They, or the body they announce, are more than the limit.
        """
        shown = self.out.place.shown
        check_raw(self.raw_head(), self.head[:80], shown)
        return self.known(read_head(status, headers, self._config, shown))

    def known(self, head: Head) -> Incoming:
        """Note that the headers are complete, and what they say.

        Raises:
            BadReply: The body is not one that was asked for.
            TooLarge: The body they announce is more than the limit.
        """
        streams = self._flow is not None
        self.incoming = Incoming(head, self.out, self._config, streams=streams)
        self.phase = "body"
        return self.incoming

    def raw_head(self) -> bytes:
        """Return what came up to the end of the headers; nothing before that."""
        return self.head[: self._end + 4] if self._end >= 0 else b""

    def reply(self) -> Reply:
        """Return the reply: all of it, or of a stream its head."""
        assert self.incoming is not None
        reply = self.incoming.reply(monotonic() - self._began, self.left)
        if self._dialect is None:
            return reply
        return self._dialect.answer(self._peer, self._signed, reply)

    def exact(self) -> bool:
        """Tell whether exactly this reply came, and no byte that nobody asked for.

        Such bytes would be taken for the next reply on that connection. After chunks
        the parser sees them.
        """
        incoming = self.incoming
        assert incoming is not None
        unclear = self._end < 0 or self.head.startswith(b"HTTP/1.1 1")
        if unclear or self.sent < self.total:
            return False
        return incoming.chunked or incoming.length == self.arrived - self._end - 4

    def may_repeat(self, error: TransportError) -> bool:
        """Tell whether to try once more, on a new connection.

        Only where a kept connection died before a byte came (the server had closed it
        at the same moment) and asking twice changes nothing.
        """
        if self.fresh or not self.reused or self.arrived or not isinstance(error, Cut):
            return False
        self.fresh = self.safe
        return self.fresh


def _named(message: Message, method: str) -> Message:
    return new_message(
        body=message.body,
        media_type=message.media_type,
        headers=message.headers,
        method=method,
        target=message.target,
    )
