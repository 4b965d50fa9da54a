"""A child's side of the conversation: says, asks, and waits for answers."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from btplug._confine.frames import Frame, Kind
from btplug._json import loads
from btplug._lending import Transports
from btplug.errors import PluginError, PluginTimeout, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug._broker.line import Line
    from btplug._child.order import Order
    from btplug._confine.frames import Channel
    from btplug.context import Context
    from btplug.transport import Transport

_ERRORS: dict[int, type[PluginError] | type[PluginTimeout] | type[TrustError]] = {
    6: TrustError,
    7: PluginTimeout,
}


def _dumped(fields: dict[str, object]) -> str:
    """Return *fields* as JSON; `json` costs 3 ms, and a plugin may have patched it."""
    return "{" + ",".join(f"{_quoted(k)}:{_value(v)}" for k, v in fields.items()) + "}"


def _quoted(text: str) -> str:
    # Imported here: who has nothing to tell does without.
    from _json import encode_basestring_ascii

    return encode_basestring_ascii(text)


def _value(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return _dumped(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_value, value))}]"
    return repr(value) if type(value) is int else _quoted(str(value))


class Link:
    """The channel, with what travels on it as plain mappings."""

    def __init__(self, channel: Channel) -> None:
        self.send, self.receive = channel.send, channel.receive
        self._channel = channel

    @cached_property
    def _line(self) -> Line:
        # Imported here: not every plugin asks or sends.
        from btplug._broker.line import Line

        return Line(self._channel)

    @staticmethod
    def frame(kind: int, fields: dict[str, object]) -> Frame:
        """Make a frame of plain data."""
        return Frame(kind, _dumped(fields).encode())

    def tell(self, kind: int, **fields: object) -> None:
        """Send what needs no answer."""
        self.send(self.frame(kind, fields))

    def asked(self, fields: dict[str, object]) -> dict[str, Any]:
        """Have the host ask the operator."""
        flow = self._line.open(Kind.ASK, _dumped(fields).encode())
        try:
            found = loads(flow.take().body)
        finally:
            self._line.close(flow, cancel=False)
        return found if isinstance(found, dict) else {}

    def lent(self, order: Order) -> FarTransports:
        """Return what the host lends, made when it is first looked at."""
        return FarTransports(partial(self._fill, order))

    def _fill(self, order: Order, transports: FarTransports) -> None:
        # Imported here: msgspec costs 20 ms, and not every plugin sends.
        from btplug._broker.proxies import Proxy

        for name, schemes in order.schemes.items():
            proxy = Proxy(name, schemes, self._line)
            proxy.context = transports.context.bound(name)
            transports.lend(name, proxy)
        for name, (what, where, fix, code, schemes) in order.broken.items():
            error = _ERRORS.get(code, PluginError)(
                what, where=where, fix=fix, plugin=name
            )
            transports.mark_broken(name, error, schemes)
        transports.withheld = order.withheld
        transports.prefer([*order.schemes])


class FarTransports(Transports):
    """Transports of the host's.

    Attributes:
        context: That of the plugin, once there is one.
    """

    context: Context

    def __init__(self, fill: Callable[[FarTransports], object]) -> None:
        self._fill: Callable[[FarTransports], object] | None = None
        super().__init__()
        self._fill = fill

    @property
    def _live(self) -> dict[str, Transport]:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return self._known

    @_live.setter
    def _live(self, known: dict[str, Transport]) -> None:
        self._known = known
