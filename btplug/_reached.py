"""Whom the messages of a run went to: so many by name, and how many more."""

from __future__ import annotations

_MOST = 1000  # that are known by name
_MOST_MORE = 65_536  # that are counted


class Reached(dict[str, None]):
    """Places that were sent to, in their order.

    Attributes:
        more: How many others there were, each counted once; at most 65,536.
    """

    def __init__(self) -> None:
        super().__init__()
        self._others: set[int] = set()

    @property
    def more(self) -> int:
        return len(self._others)

    def add(self, place: str) -> None:
        """Remember a place, by its name or as one more."""
        if place in self:
            return
        if len(self) < _MOST:
            self[place] = None
        elif len(self._others) < _MOST_MORE:
            self._others.add(hash(place))

    def merge(self, other: Reached) -> None:
        """Remember all that *other* does."""
        for place in [*other]:
            self.add(place)
        self._others |= other._others
