"""What a fan-out sends to one peer: the message, within which limits."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from btplug.errors import BtplugError, Late, TransportError, UsageError, reason_of
from btplug.message import Message, Peer, Reply
from btplug.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Protocol

    class Send(Protocol):
        """The async send of a transport."""

        def __call__(
            self, peer: Peer, message: Message, *, timeout: float | None
        ) -> Awaitable[Reply]: ...


NEVER = float("inf")


class Sending:
    """A message, or the function that makes one for each peer, and its limits.

    Attributes:
        timeout: Seconds for each peer.
        until: When the time for all is over.
    """

    def __init__(
        self,
        send: Send,
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None,
        deadline: float | None,
    ) -> None:
        for name, value in (("timeout", timeout), ("deadline", deadline)):
            if value is not None and not value > 0:
                raise UsageError(
                    f"found {name}={value!r}, expected seconds above 0",
                    fix="leave it out for none of its own",
                )
        check_message(message)
        self._send, self._message = send, message
        self.timeout, self._deadline = timeout, deadline
        self.until = NEVER

    def begin(self) -> None:
        """Let the time for all run from now on."""
        if self._deadline is not None:
            self.until = monotonic() + self._deadline

    def once(self, peer: Peer, end: float, tries: int) -> Awaitable[Reply]:
        """Send to *peer*, whose turn is over at *end*."""
        left = self.timeout
        if tries > 1 or end == self.until:
            now = monotonic()
            if end <= now:
                raise self.late(self._deadline or 0.0, peer, sent=tries > 1).error()
            left = left and end - now
        message = self._message
        if not isinstance(message, Message):
            message = made(message, peer)
        return self._send(peer, message, timeout=left)

    def stalled(self) -> Late:
        """Return the error where the peers themselves come too late."""
        return Late(
            f"the iterable of peers gave no more of them within {self._deadline:g} s "
            "for all",
            fix="raise the deadline, or collect the peers before",
        )

    def late(self, seconds: float, peer: Peer, *, sent: bool) -> Failure:
        """Return the failure of a turn that took, or waited for, *seconds*."""
        if sent:
            what = f"waited {seconds:.3g} s for the reply"
        else:
            what = f"its turn did not come within {seconds:g} s for all"
        return Failure(
            kind="late",
            what=what,
            where=peer.url.partition("?")[0],
            fix="raise the limit, or 'limit' for more at once",
            delivered=None if sent else False,
        )


def check_message(message: object) -> None:
    """Refuse what is neither a message nor makes one.

    Raises:
        UsageError: It is neither.
    """
    if not (isinstance(message, Message) or callable(message)):
        raise UsageError(
            f"found a {type(message).__name__} as message, expected a Message",
            fix="make one with Message.of(data), or give a function of the peer",
        )


def made(make: Callable[[Peer], Message], peer: Peer) -> Message:
    """Make the message of *peer*; what fails is the caller's, and nothing was sent."""
    try:
        message = make(peer)
    except BtplugError:
        raise
    except Exception as exc:
        raise TransportError(
            reason_of(exc),
            fix="the function that makes the messages raised it: mend that",
            delivered=False,
        ) from exc
    if isinstance(message, Message):
        return message
    raise TransportError(
        f"found a {type(message).__name__} as message, expected a Message",
        fix="return one from the function that makes the messages",
        delivered=False,
    )


def checked(reply: object) -> Reply:
    """Return *reply* if it is one; of its fields, those that are read here."""
    if not isinstance(reply, Reply):
        raise TypeError(f"found a {type(reply).__name__} as reply, expected a Reply")
    body, headers = reply.body, reply.headers
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"found a {type(body).__name__} as body, expected bytes")
    if not isinstance(headers, (tuple, list)):
        raise TypeError(f"found a {type(headers).__name__} as headers, expected pairs")
    return reply
