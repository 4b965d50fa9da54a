"""What a confined plugin gets back from the host's transports."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from btplug._broker.line import Wanted
from btplug._broker.parcels import Done, Fault, unpacker
from btplug._confine.frames import BadFrame, Frame, Kind
from btplug._streams import Threaded
from btplug.errors import Cut
from btplug.message import Reply
from btplug.outcome import Outcome

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Event
    from collections.abc import Iterator
    from concurrent.futures import Future

    from btplug._broker.flow import Flow
    from btplug._broker.line import Line
    from btplug._loop import HomeLoop
    from btplug.message import Peer

T = TypeVar("T")

_unpacker: Callable[[Any], Callable[[bytes], Any]] = lru_cache(unpacker)


def of(kind: type[T], frame: Frame) -> T:
    """Return what a frame holds.

    Raises:
        BtplugError: The call failed.
    """
    if frame.kind == Kind.FAILURE:
        raise _unpacker(Fault)(frame.body).error()
    found: T = _unpacker(kind)(frame.body)
    return found


def _part(flow: Flow) -> Frame:
    frame = flow.take()
    if frame.kind == Kind.FAILURE:
        of(Reply, frame)
    if frame.kind != Kind.CHUNK:
        raise BadFrame(f"a frame of the kind {frame.kind}, expected a part")
    return frame


def body_of(flow: Flow) -> bytes:
    """Return a body that comes in parts, whole."""
    parts, more = [], True
    while more:
        frame = _part(flow)
        parts.append(frame.body)
        more = frame.more
    return b"".join(parts)


class ProxyStream:
    """A stream of the host's."""

    head: Reply

    def __init__(self, begin: Callable[[Wanted], Flow], line: Line) -> None:
        self._begin, self._line = begin, line
        self._wanted = Wanted(line)
        self._flow: Flow | None = None
        self._more = True

    def __enter__(self) -> ProxyStream:
        self._flow = self._begin(self._wanted)
        try:
            self.head = of(Reply, self._flow.take())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._flow is not None:
            self._line.close(self._flow, cancel=self._more)

    def __iter__(self) -> Iterator[bytes]:
        assert self._flow is not None
        while self._more:
            frame = _part(self._flow)
            self._more = frame.more
            if frame.body:
                yield frame.body

    def give_up(self) -> None:
        """End it in whichever state it is; from any thread."""
        self._wanted.give_up()


class AsyncProxyStream(Threaded):
    """The same for ``async with``; threads wait."""

    def __init__(self, made: ProxyStream) -> None:
        super().__init__(made)
        self._give_up = made.give_up

    async def __aenter__(self) -> AsyncProxyStream:
        try:
            await super().__aenter__()
        except BaseException:
            # What was cancelled must not be sent later.
            self._give_up()
            raise
        return self


class Outcomes:
    """The outcomes of a fan-out of the host's.

    Args:
        known: Who has which position; those that are done are taken out.
        raised: What the iterable of peers raised, once it has.
    """

    def __init__(
        self,
        flow: Flow,
        line: Line,
        known: dict[int, Peer],
        raised: list[BaseException],
    ) -> None:
        self._flow, self._line = flow, line
        self._known, self._raised = known, raised
        self._reads = Lock()
        self._over = False

    def __iter__(self) -> Outcomes:
        return self

    def __next__(self) -> Outcome:
        # One thread at a time: an outcome may come in several frames.
        with self._reads:
            if self._over:
                raise StopIteration
            try:
                outcome = self._take()
            except BaseException as exc:
                closed = self._over and isinstance(exc, Cut)  # by another thread
                self._end(cancel=True)
                if closed:
                    raise StopIteration from None
                raise
            if outcome is not None:
                return outcome
            self._end(cancel=False)
        # As in process: what is due comes first.
        if self._raised:
            raise self._raised.pop()
        raise StopIteration

    def _take(self) -> Outcome | None:
        frame = self._flow.take()
        if frame.kind == Kind.RETURN:
            return None
        done = of(Done, frame)
        reply = done.reply
        if frame.more and reply is not None:
            from dataclasses import replace

            reply = replace(reply, body=body_of(self._flow))
        return Outcome(
            index=done.index, peer=self._known.pop(done.index), reply=reply,
            failure=done.failure, seconds=done.seconds, attempts=done.attempts,
        )  # fmt: skip

    def _end(self, *, cancel: bool) -> None:
        self._over = True
        self._line.close(self._flow, cancel=cancel)

    def close(self) -> None:
        """Cancel what is open."""
        self._end(cancel=True)

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A loop over it that was left early; this may run in the midst of anything.
        if not self._over:
            self._line.abandon(self._flow)


class AsyncOutcomes:
    """The same for ``async for``; threads wait."""

    def __init__(self, outcomes: Outcomes, home: HomeLoop) -> None:
        self._outcomes, self._home = outcomes, home
        self._reading: Future[Outcome | BaseException | None] | None = None
        self._turn = Lock()  # readers may live in loops of several threads

    def __aiter__(self) -> AsyncOutcomes:
        return self

    async def __anext__(self) -> Outcome:
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            over = asyncio.Event()
            with self._turn:
                if (reading := self._reading) is None:
                    read = partial(_read, self._outcomes)
                    reading = self._reading = self._home.threads().submit(read)
            # Who is cancelled here leaves what it brings to the next reader.
            reading.add_done_callback(partial(_tell, loop, over))
            await over.wait()
            with self._turn:
                if self._reading is reading:
                    self._reading = None
                    break
        found = reading.result()
        if isinstance(found, BaseException):
            raise found
        if found is None:
            raise StopAsyncIteration
        return found

    async def aclose(self) -> None:
        """Cancel what is open."""
        self._outcomes.close()
        self._reading = None

    async def __aenter__(self) -> AsyncOutcomes:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _read(outcomes: Outcomes) -> Outcome | BaseException | None:
    try:
        return next(outcomes, None)
    except BaseException as exc:  # nobody may be there to hear it
        return exc


def _tell(loop: AbstractEventLoop, over: Event, _: object) -> None:
    with suppress(RuntimeError):  # that loop is gone
        loop.call_soon_threadsafe(over.set)


def plain(items: Any) -> Any:  # an iterable of either kind, or None
    """Return a plain iterable for a thread; an async one is asked in its own loop."""
    if not isinstance(items, AsyncIterable):
        return items
    import asyncio

    loop, iterator = asyncio.get_running_loop(), aiter(items)

    async def step() -> tuple[bool, Any]:
        try:
            return True, await anext(iterator)
        except StopAsyncIteration:
            return False, None

    def walk() -> Iterator[Any]:
        while True:
            found, item = asyncio.run_coroutine_threadsafe(step(), loop).result()
            if not found:
                return
            yield item

    return walk()
