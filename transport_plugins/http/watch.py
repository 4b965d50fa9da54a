"""One timer for the limits of all exchanges: one for each costs as much as sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from .connection import Connection

_TICK = 0.02  # seconds by which a limit may be overrun


class Watch:
    """Looks at every exchange under way, while there is one.

    Args:
        most: Bytes of replies that they may hold together.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        self._loop, self._most = loop, most
        self._watched: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        """Watch the exchange of *connection*."""
        self._watched.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK, self._look)

    def discard(self, connection: Connection) -> None:
        """Watch it no more."""
        self._watched.discard(connection)

    def cut(self) -> None:
        """End every exchange under way."""
        for connection in [*self._watched]:
            connection.cut()

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        sizes = {one: one.check(now) for one in [*self._watched]}
        held = sum(sizes.values())
        while held > self._most:
            # Whoever sends most, so that a few cannot have all others given up.
            largest = max(sizes, key=lambda one: sizes[one])
            largest.give_up(held, self._most)
            held -= sizes.pop(largest)
        if self._watched:
            self._timer = self._loop.call_later(_TICK, self._look)
