"""What a caller holds of a fan-out: outcomes as they complete."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from btplug.errors import UsageError

if TYPE_CHECKING:
    from btplug._fanout import Fanout
    from btplug._loop import HomeLoop
    from btplug.outcome import Outcome


class _Held:
    """A fan-out in the home loop, and what of it was fetched and not yet read."""

    def __init__(self, fanout: Fanout, home: HomeLoop) -> None:
        self._fanout, self._home = fanout, home
        self._ready: deque[Outcome] = deque()

    def __del__(self) -> None:
        # A loop over it that was left early, without a word.
        self._home.post(self._fanout.abort)


class AsyncOutcomes(_Held):
    """For ``async for``; leaving its ``async with`` cancels what is open."""

    def __aiter__(self) -> AsyncOutcomes:
        return self

    async def __anext__(self) -> Outcome:
        if not self._ready:
            try:
                self._ready.extend(await self._home.hand_over(self._fanout.batch()))
            except BaseException:
                self._home.post(self._fanout.abort)
                raise
            if not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Cancel what is open; when this returns nothing of it is left."""
        self._ready.clear()
        await self._home.hand_over(self._fanout.close())

    async def __aenter__(self) -> AsyncOutcomes:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Outcomes(_Held):
    """For ``for``; leaving its ``with`` cancels what is open."""

    def __init__(self, fanout: Fanout, home: HomeLoop) -> None:
        super().__init__(fanout, home)
        if fanout.later:
            # The loop that would have to give them waits for the outcomes.
            raise UsageError(
                "found an async iterable of peers in send_many, expected a sync one",
                fix="read the outcomes of asend_many in a coroutine",
            )

    def __iter__(self) -> Outcomes:
        return self

    def __next__(self) -> Outcome:
        if not self._ready:
            try:
                self._ready.extend(self._home.run(self._fanout.batch()))
            except BaseException:
                self._home.post(self._fanout.abort)
                raise
            if not self._ready:
                raise StopIteration
        return self._ready.popleft()

    def close(self) -> None:
        """Cancel what is open; when this returns nothing of it is left."""
        self._ready.clear()
        self._home.run(self._fanout.close())

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
