"""The connections of the sync form: made, kept, used again, given up.

Not httpcore's pool: it loses places where a limit passes in the wrong moment, closes
connections that a thread has just been given, and asks all of them for each message.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from threading import Lock, RLock
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakSet

from .blocking import SyncConnection
from .dialer import Dialer
from .flow import LOOK, shut_down
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
_FORKED = Lock()


class _Turn:
    """Whoever has a connection, or waits for one."""

    __slots__ = (
        "__weakref__", "came", "connection", "exchange", "fresh", "origin", "over",
    )  # fmt: skip

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.over = exchange, False
        self.origin, self.fresh = exchange.out.place.origin, exchange.fresh
        # A bare one: an interrupt within a Condition can leave its lock held for ever.
        self.came = Lock()
        self.connection: SyncConnection | None = None


class SyncPool:
    """Connections by origin, for any number of threads; who came first is first."""

    def __init__(
        self, config: HTTPConfig, trust: Trust, allow: Allow | None = None
    ) -> None:
        self._trust = trust
        self._dialer, self._heads = Dialer(config, trust, allow), Heads()
        self._most, self._keep = affordable(config.connections), config.keep_alive
        self._begin()

    def _begin(self) -> None:
        # Entered again by a signal's handler or a finalizer that sends.
        self._lock = RLock()
        self._shelf: Shelf[SyncConnection] = Shelf()
        # Weak: an exception from outside may strike anywhere, and its place comes back.
        # Not connections: their parsers hold them until the garbage is collected.
        self._busy: WeakSet[_Turn] = WeakSet()
        self._queue: deque[_Turn] = deque()  # empty while one rests
        self._process = os.getpid()

    async def once(self, exchange: Exchange) -> Reply:
        """Send the message and return the reply; waits, but for no loop."""
        self._check_process()
        # From within the lines of this pool: it may be halfway through anything.
        if self._lock._is_owned():  # type: ignore[attr-defined]  # it has it since 3.2
            return self._apart(exchange)
        turn = _Turn(exchange)
        try:
            self._take(turn, exchange).carry(exchange)
        finally:
            self._give_back(turn)
        return exchange.reply()

    def count(self) -> tuple[int, int]:
        """Return how many connections there are, and how many of them are idle."""
        idle = len(self._shelf)
        return len(self._busy) + idle, idle

    def close(self) -> None:
        """End every connection, those in use too; from now on none is opened."""
        self._dialer.closed = True
        self._check_process()
        with self._lock:
            while self._shelf:
                self._shelf.evict().close()
            for turn in [*self._busy]:
                if turn.connection is not None:
                    turn.connection.cut()
            while self._queue:
                waiting = self._queue.popleft()
                waiting.over = True
                waiting.came.release()

    def give_up(self, exchange: Exchange) -> None:
        """End an exchange of another thread; what was not sent is not sent."""
        exchange.deadline = 0.0
        with self._lock:
            for turn in [*self._busy, *self._queue]:
                if turn.exchange is not exchange:
                    continue
                if turn.connection is not None:
                    turn.connection.cut()
                else:
                    self._queue.remove(turn)
                    turn.over = True
                    turn.came.release()

    def _check_process(self) -> None:
        """Leave the connections of a parent process to it."""
        if self._process == os.getpid():
            return
        with _FORKED:
            if self._process == os.getpid():
                return
            theirs = [*self._shelf, *(turn.connection for turn in self._busy)]
            self._trust.forked()
            self._begin()
        for connection in theirs:
            if connection is not None:
                connection.close()  # this copy of it

    def _apart(self, exchange: Exchange) -> Reply:
        """Use a connection that nobody counts, once."""
        connection = self._made(exchange.out.place.origin)
        try:
            connection.carry(exchange)
        finally:
            connection.close()
        return exchange.reply()

    def _take(self, turn: _Turn, exchange: Exchange) -> SyncConnection:
        with self._lock:
            self._sweep()
            if (found := self._found(turn)) is not None:
                return found
            turn.came.acquire()
            self._queue.append(turn)
        while not turn.came.acquire(timeout=min(exchange.left(), LOOK)):
            # An exception from outside may have ended whoever had this to give.
            with self._lock:
                if turn.over:
                    break
                if turn.connection is not None:  # given, and perhaps not told
                    self._busy.add(turn)
                    return turn.connection
                if self._shelf or len(self._busy) < self._most:
                    with suppress(ValueError):
                        self._queue.remove(turn)
                    found = self._found(turn)
                    assert found is not None
                    return found
                if turn not in self._queue:
                    self._queue.appendleft(turn)
        if turn.connection is None:
            raise shut_down()
        return turn.connection

    def _found(self, turn: _Turn) -> SyncConnection | None:
        """Give *turn* a connection, if there is one or the place of one."""
        found = None if turn.fresh else self._shelf.take(turn.origin)
        if found is None:
            if len(self._busy) + len(self._shelf) >= self._most:
                if not self._shelf:
                    return None
                self._shelf.evict().close()
            found = self._made(turn.origin)
        turn.connection = found
        self._busy.add(turn)
        return found

    def _give_back(self, turn: _Turn) -> None:
        """Keep a connection that can be used again, or end it; who waits is next."""
        with self._lock:
            self._busy.discard(turn)
            connection, turn.connection = turn.connection, None
            if connection is None:
                with suppress(ValueError):
                    self._queue.remove(turn)
                return
            keep = connection.reusable and self._keep and not self._dialer.closed
            if self._queue:
                waiting = self._queue.popleft()
                if not keep or waiting.fresh or waiting.origin != connection.origin:
                    connection.close()
                    connection = self._made(waiting.origin)
                waiting.connection = connection
                self._busy.add(waiting)
                waiting.came.release()
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
