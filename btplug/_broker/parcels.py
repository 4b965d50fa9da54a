"""What the frames of a lent transport hold, as msgpack: calls, replies, failures.

Everything is decoded into types that were written down; anything else is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec

from btplug._confine.frames import BadFrame
from btplug.errors import BtplugError, PluginFailed, UsageError, reason_of
from btplug.message import Message, Peer, Reply
from btplug.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_MOST = 16 * 1024  # characters of each part of what a failure says


class Ask(msgspec.Struct, array_like=True, frozen=True):
    """A call of a transport's method.

    Attributes:
        method: ``asend`` and ``areceive`` end when the plugin cancels them.
        length: Bytes of the message's body that come in parts, before all else.
        chunked: Parts of a streamed body follow.
        again: They can be read twice: sign them.
    """

    transport: str
    method: Literal[
        "send", "receive", "asend", "areceive", "health", "stream", "send_many"
    ]
    peer: Peer | None = None
    message: Message | None = None
    length: int = 0
    chunked: bool = False
    again: bool = False
    timeout: float | None = None
    deadline: float | None = None
    limit: int = 512
    repeatable: bool = False


class Turn(msgspec.Struct, array_like=True, frozen=True):
    """One peer of many.

    Attributes:
        message: None: the one for all.
        failure: Why there is none for it.
    """

    peer: Peer
    message: Message | None = None
    failure: Failure | None = None


# A frame could hold so many that they take twenty times its size.
BATCH = 64
Turns = Annotated[list[Turn], msgspec.Meta(max_length=BATCH)]


class Done(msgspec.Struct, array_like=True, frozen=True):
    """An outcome; its peer is known where it came from."""

    index: int
    reply: Reply | None
    failure: Failure | None
    seconds: float
    attempts: int


class Fault(msgspec.Struct, array_like=True, frozen=True):
    """What a call raised."""

    kind: Literal["transport", "usage", "plugin"]
    failure: Failure

    @classmethod
    def of(cls, exc: BaseException) -> Fault:
        """Return what *exc* says, without where in the host's code it was raised.

        It always fits into a frame.
        """
        if isinstance(exc, UsageError | PluginFailed):
            kind: Literal["usage", "plugin"] = (
                "usage" if isinstance(exc, UsageError) else "plugin"
            )
            shown = Failure(kind="failed", what=exc.what, where=exc.where, fix=exc.fix)
            return cls(kind, fitting(shown))
        if isinstance(exc, Exception):
            return cls("transport", fitting(Failure.of(exc)))
        return cls("transport", fitting(Failure(kind="failed", what=reason_of(exc))))

    def error(self) -> BtplugError:
        """Make the exception."""
        if self.kind == "transport":
            return self.failure.error()
        made = UsageError if self.kind == "usage" else PluginFailed
        told = self.failure
        return made(told.what, where=told.where, fix=told.fix)


def fitting(failure: Failure) -> Failure:
    """Return *failure* as it fits into a frame: its words may be the plugin's."""
    what, where, fix = failure.what, failure.where, failure.fix
    return Failure(
        kind=failure.kind,
        what=_fitting(what),
        where=where and _fitting(where),
        fix=fix and _fitting(fix),
        delivered=failure.delivered,
    )


def _fitting(text: str) -> str:
    if len(text) > _MOST:
        text = f"{text[:_MOST]}… (of {len(text):,} characters)"
    # Half of a surrogate pair is no text for msgpack.
    return text.encode("utf-8", "backslashreplace").decode()


def packed(value: object) -> bytes:
    """Return a value as msgpack."""
    return msgspec.msgpack.encode(value)


def unpacker(kind: type[T]) -> Callable[[bytes], T]:
    """Return what makes values of *kind* of msgpack, and raises BadFrame."""
    decoder = msgspec.msgpack.Decoder(kind)

    def unpack(body: bytes) -> T:
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise BadFrame(f"a frame that cannot be read ({exc})") from exc

    return unpack
