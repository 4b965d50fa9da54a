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
        # A loop over it that was left early, without a word, or by an interrupt, whose
        # traceback must not keep it: for whoever has it yet the next read goes on.
        self._home.post(self._fanout.abort)

    def _next(self) -> Outcome | None:
        try:
            return self._ready.popleft() if self._ready else None
        except IndexError:  # another thread took it in between
            return None


class AsyncOutcomes(_Held):
    """For ``async for``; leaving its ``async with`` cancels what is open."""

    def __aiter__(self) -> AsyncOutcomes:
        return self

    async def __anext__(self) -> Outcome:
        try:
            while (outcome := self._next()) is None:
                if not await self._home.hand_over(self._fanout.batch(self._ready)):
                    raise StopAsyncIteration
            return outcome
        except BaseException:
            del self  # see __del__
            raise

    async def aclose(self) -> None:
        """Cancel what is open; when this returns nothing of it is left."""
        await self._home.hand_over(self._fanout.close())
        self._ready.clear()

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
        try:
            while (outcome := self._next()) is None:
                if not self._home.run(self._fanout.batch(self._ready)):
                    raise StopIteration
            return outcome
        except BaseException:
            del self  # see __del__
            raise

    def close(self) -> None:
        """Cancel what is open; when this returns nothing of it is left."""
        self._home.run(self._fanout.close())
        self._ready.clear()

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
