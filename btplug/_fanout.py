"""One message to many peers: turns, limits, and outcomes as they complete.

It runs whole in the home loop; callers in threads and in other loops get what has
completed in batches, because each hop between threads costs 0.1 ms.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from time import monotonic
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakSet

from btplug._peers import Peers, Turns
from btplug._retry import TRIES, pause
from btplug._sending import NEVER, Sending, checked
from btplug.errors import UsageError
from btplug.outcome import Failure, Outcome
from btplug.values import new_outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug._sending import Send
    from btplug.message import Message, Peer


_TICK = 0.05  # seconds between two looks at who is over the limit
# A transport that keeps its limit itself says better what it waited for.
_GRACE = 0.25
# To let go takes its time; but a transport may take the cancel for something else.
_AGAIN = 2.0
# Where neither the peer nor the whole has a limit: what a peer may have us wait in all.
_PATIENCE = 12.0  # seconds
# Bytes of replies that wait to be read, of all fan-outs under way together.
_MOST_HELD = 256 * 1024 * 1024
_SHARE = 1024 * 1024  # what each may hold, however many there are


class Fanout:
    """A fan-out under way; all its methods belong to the home loop.

    A pool of workers and one timer for all limits: a task and a timer for each peer
    would cost more than the message.
    """

    _under_way: ClassVar[WeakSet[Fanout]] = WeakSet()  # who has workers

    def __init__(
        self,
        send: Send,
        peers: Peers,
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None,
        deadline: float | None,
        limit: int,
        repeatable: bool,
    ) -> None:
        self._sending = Sending(send, message, timeout=timeout, deadline=deadline)
        if not limit >= 1:
            raise UsageError(
                f"found limit={limit!r}, expected 1 or more",
                fix="say how many peers may have their turn at once",
            )
        self._limit = limit
        self._tries = TRIES if repeatable else 1
        self._peers = Turns(peers)
        self.later = isinstance(peers, AsyncIterable)  # so they need their own loop
        self._done: deque[Outcome] = deque()
        # Bytes of them and of the last batch; of that batch alone.
        self._held = self._given = 0
        self._ends: dict[asyncio.Task[None], float] = {}
        # Who was late, and how often he was cancelled for that.
        self._stops: dict[asyncio.Task[None], int] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._started = self._closed = False
        self._error: BaseException | None = None

    async def batch(self, ready: deque[Outcome]) -> bool:
        """Move what has completed to *ready*; False: it is empty, and all have.

        It is moved here, at once: nothing is lost where nobody waits for it any more.
        """
        if not self._started:
            self._start()
        # Whoever asks for more has read what he was given.
        self._held -= self._given
        self._given = 0
        self._room.set()
        # Of several readers another may have filled it.
        while not (ready or self._done) and self._workers:
            self._news.clear()
            await self._news.wait()
        ready.extend(self._done)
        self._done.clear()
        self._given = self._held
        self._room.set()
        if not ready and self._error is not None:
            error, self._error = self._error, None
            raise error
        return bool(ready)

    async def close(self) -> None:
        """Cancel what is open; when this returns nothing of it is left."""
        self.abort()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._done.clear()

    def abort(self) -> None:
        """Cancel what is open, and wait for nothing."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._ends.clear()
        for worker in self._workers:
            worker.cancel()
        if not self._workers:
            self._peers.drop()

    def _start(self) -> None:
        self._started = True
        if self._closed:
            return
        self._loop = asyncio.get_running_loop()
        self._sending.begin()
        self._under_way.add(self)
        self._spawn()
        self._sweep()

    def _spawn(self) -> None:
        worker = self._loop.create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._ended)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._ends.pop(worker, None)
        self._stops.pop(worker, None)
        error: BaseException | None = None
        # Only that raises here; who has a turn already keeps it.
        if not worker.cancelled():
            error = worker.exception()
            # Or what is no Exception, in a turn: the others have theirs.
            over = self._workers or self._closed or self._peers.empty
            if error is not None and not over:
                self._spawn()
        elif not self._closed:
            error = RuntimeError("the iterable of peers was cancelled, by itself")
        self._error = self._error or error
        if not self._workers:
            self._peers.drop()
            self._under_way.discard(self)
            if self._timer is not None:
                self._timer.cancel()
        self._news.set()

    def _sweep(self) -> None:
        """Cancel the turns that are over their limit; one timer does for all."""
        now = monotonic()
        for worker, end in self._ends.items():
            if end < now:
                self._ends[worker] = now + _AGAIN
                self._stop(worker)
        if self._peers.asked is not None:
            worker, since = self._peers.asked
            # What comes after the time for all comes at once, or no more.
            if max(self._sending.until, since) + _GRACE < now:
                self._peers.asked = worker, now + _AGAIN
                self._stop(worker)
        self._timer = self._loop.call_later(_TICK, self._sweep)

    def _stop(self, worker: asyncio.Task[None]) -> None:
        self._stops[worker] = self._stops.get(worker, 0) + 1
        worker.cancel()

    def _calm(self, me: asyncio.Task[None]) -> None:
        """Take back what *me* was cancelled for: it must not end a later turn."""
        self._stops.pop(me, None)
        while not self._closed and me.uncancel():
            continue

    async def _work(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        # A transport may swallow the cancel that ended it, or answer it with an error.
        while not self._closed:
            # Whoever reads slowly must not be sent more than memory holds.
            while len(self._done) >= self._limit or self._full():
                self._room.clear()
                await self._room.wait()
            turn = self._peers.next() or await self._later(me)
            if turn is None or self._closed:
                return
            # One more for every one that found work, up to the limit.
            if len(self._workers) < self._limit and not self._peers.empty:
                self._spawn()
            outcome = await self._turn(me, *turn)
            self._done.append(outcome)
            self._held += len(outcome.reply.body) if outcome.reply else 0
            self._news.set()

    async def _later(self, me: asyncio.Task[None]) -> tuple[int, Peer] | None:
        """Return the next turn of an async iterable, which may stall."""
        try:
            turn = await self._peers.later()
        except asyncio.CancelledError:
            if self._closed or me.cancelling() != self._stops.get(me):
                raise
            raise self._sending.stalled() from None
        if me.cancelling() or me in self._stops:
            self._calm(me)
        return turn

    def _full(self) -> bool:
        """Tell whether it holds its share of what may be held.

        Each has one: who waited for another's reader might wait for himself.
        """
        # Looked at for every turn, and the first is enough for most.
        return self._held > _SHARE and self._held > _MOST_HELD // len(self._under_way)

    async def _turn(self, me: asyncio.Task[None], index: int, peer: Peer) -> Outcome:
        began = monotonic()
        end, timeout = self._sending.until, self._sending.timeout
        if timeout is not None:
            end = min(began + timeout, end)
        tries, patience = 0, _PATIENCE if end == NEVER else NEVER
        while True:
            tries += 1
            reply, failure, rest = None, None, None
            again = tries < self._tries
            # Without a limit of its own it knows none that it could keep.
            self._ends[me] = end + (_GRACE if timeout is not None else 0)
            try:
                given = checked(await self._sending.once(peer, end, tries))
                rest = pause(given, None, tries) if again else None
                reply = given
            except asyncio.CancelledError:
                stops = self._stops.get(me, 0)
                if self._closed or me.cancelling() > stops:
                    raise
                if stops:
                    failure = self._sending.late(end - began, peer, sent=True)
                else:
                    failure = Failure.of(RuntimeError("it was cancelled, by itself"))
            except (Exception, SystemExit) as exc:  # that of a plugin ends no other
                failure = Failure.of(exc)
                rest = pause(None, failure, tries) if again else None
            self._ends.pop(me, None)
            if me.cancelling() or me in self._stops:
                self._calm(me)
            if rest is None or self._closed:
                break
            if rest >= patience or monotonic() + rest >= end:
                break
            patience -= rest
            await asyncio.sleep(rest)
        return new_outcome(
            index=index, peer=peer, reply=reply, failure=failure,
            seconds=monotonic() - began, attempts=tries,
        )  # fmt: skip
