"""The connections of the sync form: made, kept, used again, given up.

Not httpcore's pool: it loses places where a limit passes in the wrong moment, closes
connections that a thread has just been given, and asks all of them for each message.
"""

from __future__ import annotations

import os
from collections import deque
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

from .blocking import SyncConnection
from .dialer import Dialer
from .flow import shut_down
from .heads import Heads
from .shelf import Shelf, affordable

if TYPE_CHECKING:
    from btplug import Reply
    from btplug.network import Allow

    from .exchange import Exchange
    from .settings import HTTPConfig
    from .shelf import Origin
    from .tls import Trust

_IDLE = 64  # connections kept at most: nothing closes them between two messages


class _Waiting:
    """Whoever waits for a connection, and what he was given."""

    __slots__ = ("came", "connection", "origin")

    def __init__(self, origin: Origin) -> None:
        self.origin, self.came = origin, Event()
        self.connection: SyncConnection | None = None


class SyncPool:
    """Connections by origin, for any number of threads; who came first is first."""

    def __init__(
        self, config: HTTPConfig, trust: Trust, allow: Allow | None = None
    ) -> None:
        self._dialer, self._heads = Dialer(config, trust, allow), Heads()
        self._most, self._keep = affordable(config.connections), config.keep_alive
        self._begin()

    def _begin(self) -> None:
        self._process, self._lock = os.getpid(), Lock()
        self._shelf: Shelf[SyncConnection] = Shelf()
        # Weak: an exception from outside may strike anywhere, and its place comes back.
        self._busy: WeakSet[SyncConnection] = WeakSet()
        self._queue: deque[_Waiting] = deque()  # empty while one rests

    async def once(self, exchange: Exchange) -> Reply:
        """Send the message and return the reply; waits, but for no loop."""
        if self._process != os.getpid():
            self._forked()
        connection = self._taken(exchange)
        try:
            connection.carry(exchange)
        finally:
            self._give_back(connection)
        return exchange.reply()

    def count(self) -> tuple[int, int]:
        """Return how many connections there are, and how many of them are idle."""
        idle = len(self._shelf)
        return len(self._busy) + idle, idle

    def close(self) -> None:
        """End every connection, those in use too; from now on none is opened."""
        self._dialer.closed = True
        with self._lock:
            while self._shelf:
                self._shelf.evict().close()
            for connection in [*self._busy]:
                connection.cut()
            while self._queue:
                self._queue.popleft().came.set()

    def _forked(self) -> None:
        """Leave the connections of the parent process to it."""
        shelf = self._shelf
        self._begin()
        while shelf:
            shelf.evict().close()

    def _taken(self, exchange: Exchange) -> SyncConnection:
        origin, waiting = exchange.out.place.origin, None
        with self._lock:
            self._sweep()
            found = None if exchange.fresh else self._shelf.take(origin)
            if found is None and len(self._busy) + len(self._shelf) < self._most:
                found = self._made(origin)
            elif found is None and self._shelf:
                self._shelf.evict().close()
                found = self._made(origin)
            if found is not None:
                self._busy.add(found)
                return found
            waiting = _Waiting(origin)
            self._queue.append(waiting)
        return self._given(waiting, exchange)

    def _given(self, waiting: _Waiting, exchange: Exchange) -> SyncConnection:
        """Wait until somebody gives his connection, or the place of it."""
        try:
            if not waiting.came.wait(exchange.left()):
                raise TimeoutError
            if waiting.connection is None:
                raise shut_down()
        except BaseException:
            with self._lock:
                if waiting in self._queue:
                    self._queue.remove(waiting)
            if waiting.connection is not None:  # in this moment
                self._give_back(waiting.connection)
            raise
        return waiting.connection

    def _give_back(self, connection: SyncConnection) -> None:
        """Keep a connection that can be used again, or end it; who waits is next."""
        with self._lock:
            self._busy.discard(connection)
            keep = connection.reusable and self._keep and not self._dialer.closed
            if self._queue:
                waiting = self._queue.popleft()
                if not keep or waiting.origin != connection.origin:
                    connection.close()
                    connection = self._made(waiting.origin)
                self._busy.add(connection)
                waiting.connection = connection
                waiting.came.set()
            elif keep:
                self._shelf.put(connection.origin, connection)
                if len(self._shelf) > _IDLE:
                    self._shelf.evict().close()
            else:
                connection.close()

    def _made(self, origin: Origin) -> SyncConnection:
        return SyncConnection(origin, self._dialer, self._heads)

    def _sweep(self) -> None:
        """Close what nobody has used for long."""
        old = monotonic() - self._keep
        while (first := self._shelf.oldest()) is not None and first.rested < old:
            self._shelf.evict().close()
