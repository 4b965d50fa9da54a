"""A child's side of the conversation: says, asks, and waits for answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from btplug._frames import Frame, Kind
from btplug._json import dumps, loads

if TYPE_CHECKING:
    from btplug._frames import Channel
    from btplug._lending import Transports
    from btplug._order import Order


class Link:
    """The channel, with what travels on it as plain mappings."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.send, self.receive = channel.send, channel.receive

    @staticmethod
    def frame(kind: Kind, fields: object) -> Frame:
        """Make a frame of plain data."""
        return Frame(kind, dumps(fields, lenient=True).encode())

    def tell(self, kind: Kind, **fields: object) -> None:
        """Send what needs no answer."""
        self.send(self.frame(kind, fields))

    def asked(self, fields: dict[str, object]) -> dict[str, Any]:
        """Have the host ask the operator."""
        self.send(self.frame(Kind.ASK, fields))
        answer = self.receive()
        found = loads(answer.body) if answer is not None else None
        return found if isinstance(found, dict) else {}

    def lend(self, transports: Transports, order: Order) -> None:
        """Fill *transports* with what the host lends."""
