"""Whom a fan-out asks, one at a time, from an iterable of either kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from btplug.errors import UsageError
from btplug.message import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

Peers: TypeAlias = "Iterable[Peer] | AsyncIterable[Peer]"

_LAST = object()


class Turns:
    """Peers with their positions, one at a time, from an iterable of either kind.

    Attributes:
        empty: No more are given out.
        asked: Whose task waits for the next of an async iterable, and since when.
    """

    def __init__(self, peers: Peers) -> None:
        self.empty = False
        self.asked: tuple[asyncio.Task[Any], float] | None = None  # Any: unread
        self._count = 0
        self._lock: asyncio.Lock | None = None
        self._iterator: Iterator[Peer] | None = None
        self._later: AsyncIterator[Peer] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        if isinstance(peers, AsyncIterable):
            self._later = aiter(peers)
            # It belongs to the loop of whoever made it.
            with suppress(RuntimeError):  # see later()
                self._loop = asyncio.get_running_loop()
        else:
            self._iterator = iter(peers)

    def next(self) -> tuple[int, Peer] | None:
        """Return position and peer; None after the last, or where `later` knows."""
        if self._iterator is None or self.empty:
            return None
        self.empty = True  # as it is where this raises
        return self._given(next(self._iterator, _LAST))

    async def later(self) -> tuple[int, Peer] | None:
        """Return position and peer, or None after the last."""
        if self._later is None:
            return None
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self.empty:
                return None
            self.empty = True
            me = asyncio.current_task()
            assert me is not None
            self.asked = me, monotonic()
            try:
                return self._given(await self._step())
            finally:
                self.asked = None

    async def _step(self) -> object:
        assert self._later is not None
        if self._loop is None:
            raise UsageError(
                "found an async iterable of peers that was given outside of a loop, "
                "expected it in the loop that it belongs to",
                fix="call asend_many in a coroutine",
            )
        step = anext(self._later, _LAST)
        if self._loop is asyncio.get_running_loop():
            return await step

        async def far() -> object:
            return await step

        future = asyncio.run_coroutine_threadsafe(far(), self._loop)
        return await asyncio.wrap_future(future)

    def drop(self) -> None:
        """Give out no more: a generator that nobody else has is closed by that."""
        self.empty = True
        self._iterator = self._later = None

    def _given(self, peer: object) -> tuple[int, Peer] | None:
        if peer is _LAST:
            return None
        if not isinstance(peer, Peer):
            raise UsageError(
                f"found a {type(peer).__name__} after {self._count:,} peers, "
                "expected a Peer",
                fix="make one of a text with Peer.parse(text)",
            )
        self.empty = False
        self._count += 1
        return self._count - 1, peer
