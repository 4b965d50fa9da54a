"""The bodies of requests, as they come: how much of them is held, and of whom."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from btplug.serving._requests import Gone, Refusal

if TYPE_CHECKING:
    from btplug.serving._clock import Clock
    from btplug.serving._limits import Limits
    from btplug.serving._requests import Receive

_ROOM = 256 * 1024  # bytes
_SENDERS = 4  # it takes so many, at least, to fill the memory


class Uploads:
    """The bodies that are held at once.

    Attributes:
        held: Bytes of them all.
    """

    __slots__ = ("_clock", "_each", "_seconds", "_share", "_shares", "_whole", "held")

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._clock = clock
        self._each, self._whole = limits.body, limits.memory
        # One body has room in any case.
        self._share = max(limits.memory // _SENDERS, limits.body)
        self._shares: dict[str, int] = {}
        self._seconds = limits.body_time
        self.held = 0

    async def read(self, receive: Receive, announced: int | None, sender: str) -> bytes:
        """Return a whole body; `free` is to be called with its size.

        Args:
            announced: Bytes it will have; too many are refused before they are read.
            sender: Whose bodies have a share of all; "": nobody knows.

        Raises:
            Refusal: It is too large or too slow, or all together are too large.
            Gone: The sender left in the middle of it.
        """
        self._check(sender, announced or 0)
        parts: BytesIO | None = None
        size, room, whole = 0, 0, False
        try:
            with self._clock.limit(self._seconds) as limit:
                while not whole:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise Gone
                    part = event.get("body", b"")
                    size += len(part)
                    self.held += len(part)
                    self._shares[sender] = self._shares.get(sender, 0) + len(part)
                    if size > self._each:
                        raise Refusal(413)
                    self._check(sender, 0)
                    whole = not event.get("more_body", False)
                    if whole and size == len(part):
                        return bytes(part)
                    if parts is None:
                        parts = BytesIO()
                    if not room and (room := _room(announced or 0, size)):
                        parts = _moved(parts, room)
                    parts.write(part)
        except TimeoutError:
            if limit.late:
                raise Refusal(408) from None
            raise
        finally:
            if not whole:
                self.free(sender, size)
        assert parts is not None
        parts.truncate(size)
        return parts.getvalue()

    def free(self, sender: str, size: int) -> None:
        """Tell that a body of *size* bytes is held no more."""
        self.held -= size
        if left := self._shares.pop(sender, 0) - size:
            self._shares[sender] = left

    def _check(self, sender: str, more: int) -> None:
        if sender and self._shares.get(sender, 0) + more > self._share:
            raise Refusal(429, 1.0)
        if self.held + more > self._whole:
            raise Refusal(503, 1.0)


def _room(announced: int, come: int) -> int:
    """Return how many bytes a body is given at once; 0: what has come, and a bit more.

    Of the size that was announced it need not grow. Of a larger one nobody knows
    whether it comes, and room that is not used yet costs as much as what is: who has
    sent an eighth of it is believed.
    """
    return announced if announced <= max(_ROOM, 8 * come) else 0


def _moved(parts: BytesIO, room: int) -> BytesIO:
    """Return *parts* with so much room; CPython hands it out without a copy."""
    moved = BytesIO(bytes(room))
    moved.write(parts.getbuffer())
    return moved
