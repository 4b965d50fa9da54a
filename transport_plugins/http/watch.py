"""One timer for the limits of all exchanges: one for each costs as much as sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from .connection import Connection

_TICK = 0.02  # seconds by which a limit may be overrun


class Watch:
    """Looks at every exchange under way, while there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
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
        for connection in [*self._watched]:
            connection.check(now)
        if self._watched:
            self._timer = self._loop.call_later(_TICK, self._look)
