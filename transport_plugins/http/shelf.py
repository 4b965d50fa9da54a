"""Connections that rest between two exchanges, and how many there may be."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, TypeVar

from .wires import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Origin: TypeAlias = tuple[str, str, int]

W = TypeVar("W", bound=Wire)
_LEAST = 16


class Shelf(Generic[W]):
    """Idle connections: the youngest to each origin, and who rests longest of all."""

    __slots__ = ("_kept", "_rested")

    def __init__(self) -> None:
        self._kept: dict[Origin, deque[W]] = {}
        self._rested: OrderedDict[W, Origin] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rested)

    def put(self, origin: Origin, connection: W) -> None:
        """Keep *connection*."""
        kept = self._kept.get(origin)
        if kept is None:
            kept = self._kept[origin] = deque()
        # In this order, in all three: a signal's handler may raise after any call.
        self._rested[connection] = origin
        kept.append(connection)

    def take(self, origin: Origin) -> W | None:
        """Return a connection to *origin*, if there is one."""
        kept = self._kept.get(origin)
        if not kept:
            return None
        # The youngest first: the others may grow old and go.
        connection = kept[-1]
        del self._rested[connection]
        kept.pop()
        if not kept:
            del self._kept[origin]
        return connection

    def oldest(self) -> W | None:
        """Return who rests longest; it stays."""
        return next(iter(self._rested), None)

    def __iter__(self) -> Iterator[W]:
        return iter([*self._rested])

    def evict(self) -> W:
        """Return who rests longest: it is needed least."""
        connection, origin = next(iter(self._rested.items()))
        kept = self._kept[origin]
        del self._rested[connection]
        kept.popleft()  # the same one
        if not kept:
            del self._kept[origin]
        return connection


def affordable(wanted: int) -> int:
    """Return *wanted*, or half of the files that the system lets us open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(_LEAST, soft // 2))
