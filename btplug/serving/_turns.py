"""Places for work that runs at once, and who waits for one, the most urgent first."""

from __future__ import annotations

from asyncio import get_running_loop
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Future

    Entry = tuple[float, int, Future[bool]]


class Turns:
    """For one loop; equal priorities are served in the order they came.

    Args:
        running: Places.
        waiting: How many wait at most. When as many do, a newcomer has to be more
            urgent than the least urgent of them, who is then sent away.
    """

    __slots__ = ("_free", "_heap", "_most", "_order")

    def __init__(self, running: int, waiting: int) -> None:
        self._free, self._most = running, waiting
        self._heap: list[Entry] = []
        self._order = count()

    async def enter(self, priority: float, limit: float) -> bool:
        """Take a place, at once or when one comes free.

        Args:
            priority: Higher is sooner; never NaN.
            limit: Seconds to wait.

        Returns:
            False where there is none: too many wait, or the wait was too long.
        """
        if self._free:
            self._free -= 1
            return True
        if len(self._heap) >= self._most and not self._displace(-priority):
            return False
        loop = get_running_loop()
        future: Future[bool] = loop.create_future()
        entry = (-priority, next(self._order), future)
        heappush(self._heap, entry)
        timer = loop.call_later(limit, _settle, future, False)
        try:
            return await future
        except BaseException:
            # Cancelled in the moment between being called and getting up.
            if future.done() and not future.cancelled() and future.result():
                self.leave()
            raise
        finally:
            timer.cancel()
            if entry in self._heap:
                self._remove(entry)

    def leave(self) -> None:
        """Give the place to the most urgent one who waits."""
        while self._heap:
            if _settle(heappop(self._heap)[2], True):
                return
        self._free += 1

    def _displace(self, urgency: float) -> bool:
        if not self._heap:
            return False
        last = max(self._heap)
        if urgency >= last[0]:
            return False
        self._remove(last)
        _settle(last[2], False)
        return True

    def _remove(self, entry: Entry) -> None:
        self._heap.remove(entry)
        heapify(self._heap)


def _settle(future: Future[bool], turn: bool) -> bool:
    """Tell whoever waits; False where nobody does any more."""
    if future.done():
        return False
    future.set_result(turn)
    return True
