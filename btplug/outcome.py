"""What became of one message among many: a reply, or a failure as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from btplug.errors import (
    BadReply,
    BtplugError,
    Cut,
    Late,
    NotAllowed,
    Refused,
    TooLarge,
    TransportError,
    Unauthentic,
    Unsupported,
    reason_of,
)

if TYPE_CHECKING:
    from btplug.message import Peer, Reply

Kind: TypeAlias = Literal[
    "refused", "late", "cut", "bad-reply", "too-large", "not-allowed", "unauthentic",
    "unsupported", "failed",
]  # fmt: skip
_ERRORS: dict[str, type[TransportError]] = {
    error.kind: error
    for error in (
        Refused, Late, Cut, BadReply, TooLarge, NotAllowed, Unauthentic, Unsupported,
        TransportError,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as a value: the exception is made from it, never carried.

    Attributes:
        kind: As the class of the error; ``failed`` is a defect of the transport.
        delivered: False: surely nothing reached the peer; None: unknown.
    """

    kind: Kind
    what: str
    where: str | None = None
    fix: str | None = None
    delivered: bool | None = None

    @classmethod
    def of(cls, exc: Exception | SystemExit) -> Failure:
        """Return what *exc* says; of an error that is not ours, its type and text."""
        if not isinstance(exc, BtplugError):
            return cls(
                kind="failed",
                what=reason_of(exc),
                fix="it is a defect of the transport: report it to its author",
            )
        ours = isinstance(exc, TransportError) and exc.kind in _ERRORS
        return cls(
            kind=exc.kind if ours else "failed",  # type: ignore[attr-defined]  # ours
            what=exc.what,
            where=exc.where,
            fix=exc.fix,
            delivered=exc.delivered if isinstance(exc, TransportError) else None,
        )

    def error(self) -> TransportError:
        """Make the exception."""
        return _ERRORS[self.kind](
            self.what, where=self.where, fix=self.fix, delivered=self.delivered
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one peer; exactly one of *reply* and *failure* is there.

    Attributes:
        index: Position in the peers given: the same peer twice stays apart.
        seconds: From the start of its turn.
        attempts: How often the message was sent, or was tried to be.
    """

    index: int
    peer: Peer
    reply: Reply | None = None
    failure: Failure | None = None
    seconds: float
    attempts: int = 1

    def unwrap(self) -> Reply:
        """Return the reply.

        Raises:
            TransportError: There is none: the failure, as an exception.
        """
        if self.reply is not None:
            return self.reply
        assert self.failure is not None
        raise self.failure.error()

    def record(self) -> dict[str, object]:
        """Return a row for tables and JSON, without the body."""
        reply, failure = self.reply, self.failure
        return {
            "peer": self.peer.url,
            "hotkey": self.peer.hotkey,
            "status": reply.status if reply else None,
            "ok": reply.ok if reply else False,
            "signer": reply.signer if reply else None,
            "failure": failure.kind if failure else None,
            "what": failure.what if failure else None,
            "bytes": len(reply.body) if reply else None,
            "ms": round(self.seconds * 1000, 1),
            "attempts": self.attempts,
        }
