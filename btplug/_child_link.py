"""A child's side of the conversation: says, asks, and waits for answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from btplug._frames import Frame, Kind
from btplug._json import dumps, loads
from btplug._line import Line
from btplug._proxies import Proxy
from btplug.errors import PluginError, PluginTimeout, TrustError

if TYPE_CHECKING:
    from btplug._frames import Channel
    from btplug._order import Order
    from btplug.context import Context

_ERRORS: dict[int, type[PluginError] | type[PluginTimeout] | type[TrustError]] = {
    6: TrustError,
    7: PluginTimeout,
}


class Link:
    """The channel, with what travels on it as plain mappings."""

    def __init__(self, channel: Channel) -> None:
        self.send, self.receive = channel.send, channel.receive
        self._line = Line(channel)

    @staticmethod
    def frame(kind: Kind, fields: object) -> Frame:
        """Make a frame of plain data."""
        return Frame(kind, dumps(fields, lenient=True).encode())

    def tell(self, kind: Kind, **fields: object) -> None:
        """Send what needs no answer."""
        self.send(self.frame(kind, fields))

    def asked(self, fields: dict[str, object]) -> dict[str, Any]:
        """Have the host ask the operator."""
        flow = self._line.open(Kind.ASK, dumps(fields, lenient=True).encode())
        try:
            found = loads(flow.take().body)
        finally:
            self._line.close(flow, cancel=False)
        return found if isinstance(found, dict) else {}

    def lend(self, context: Context, order: Order) -> None:
        """Put into *context* what the host lends; from here on the line hears."""
        transports = context.transports
        for name, schemes in order.schemes.items():
            proxy = Proxy(name, schemes, self._line)
            proxy.context = context.bound(name)
            transports.lend(name, proxy)
        for name, (what, where, fix, code, schemes) in order.broken.items():
            error = _ERRORS.get(code, PluginError)(
                what, where=where, fix=fix, plugin=name
            )
            transports.mark_broken(name, error, schemes)
        transports.withheld = order.withheld
        transports.prefer([*order.schemes])
