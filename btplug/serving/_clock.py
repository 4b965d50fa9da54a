"""Limits of time for many requests at once, kept by one timer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK = 0.05  # seconds by which a limit may be overrun


class Clock:
    """Ends what is over its limit; for one loop.

    asyncio's own have a timer each, and take four times as long to begin and end.
    """

    __slots__ = ("_loop", "_running", "_timer")

    def __init__(self) -> None:
        self._running: set[Limit] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, seconds: float, over: Callable[[], object] | None = None) -> Limit:
        """Return a limit for what happens within its ``with``, once it is entered.

        Args:
            over: Called when the time is over; None: the task is cancelled, and
                TimeoutError raised at the end of the ``with``.
        """
        return Limit(self, seconds, over)

    def add(self, limit: Limit) -> float:
        """Watch *limit*; return the time of the loop."""
        loop = asyncio.get_running_loop()
        # One that has ended took its timer along.
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(_TICK, self._look)
        self._running.add(limit)
        return loop.time()

    def discard(self, limit: Limit) -> None:
        """Watch *limit* no more."""
        self._running.discard(limit)

    def _look(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for limit in [*self._running]:
            limit.check(now)
        self._timer = None
        if self._running:
            self._timer = self._loop.call_later(_TICK, self._look)


class Limit:
    """What `Clock.limit` makes.

    Attributes:
        late: The time was over before the end.
    """

    __slots__ = ("_cancelled", "_clock", "_end", "_over", "_seconds", "_task", "late")

    def __init__(
        self, clock: Clock, seconds: float, over: Callable[[], object] | None
    ) -> None:
        self._clock, self._seconds, self._over = clock, seconds, over
        self.late = False

    def __enter__(self) -> Limit:
        if self._over is None:
            self._task = cast("asyncio.Task[object]", asyncio.current_task())
            self._cancelled = self._task.cancelling()
        self._end = self._clock.add(self) + self._seconds
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._clock.discard(self)
        # Cancelled by somebody else as well, it is not ours to end.
        if (
            self.late
            and self._over is None
            and self._task.uncancel() <= self._cancelled
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError

    def check(self, now: float) -> None:
        """End it if its time is over."""
        if self._end <= now:
            self.late = True
            self._clock.discard(self)
            if self._over is None:
                self._task.cancel()
            else:
                self._over()
