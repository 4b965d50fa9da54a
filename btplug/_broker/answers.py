"""What a confined plugin gets back from the host's transports."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from btplug._broker.parcels import Done, Fault, unpacker
from btplug._confine.frames import BadFrame, Frame, Kind
from btplug.message import Reply
from btplug.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug._broker.flow import Flow
    from btplug._broker.line import Line
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

    def __init__(self, begin: Callable[[], Flow], line: Line) -> None:
        self._begin, self._line = begin, line
        self._flow: Flow | None = None
        self._more = True

    def __enter__(self) -> ProxyStream:
        self._flow = self._begin()
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


class Outcomes:
    """The outcomes of a fan-out of the host's.

    Args:
        known: Who has which position; those that are done are taken out.
    """

    def __init__(self, flow: Flow, line: Line, known: dict[int, Peer]) -> None:
        self._flow, self._line, self._known = flow, line, known
        self._over = False

    def __iter__(self) -> Outcomes:
        return self

    def __next__(self) -> Outcome:
        if self._over:
            raise StopIteration
        try:
            frame = self._flow.take()
            if frame.kind == Kind.RETURN:
                self._end(cancel=False)
                raise StopIteration
            done = of(Done, frame)
            reply = done.reply
            if frame.more and reply is not None:
                from dataclasses import replace

                reply = replace(reply, body=body_of(self._flow))
        except StopIteration:
            raise
        except BaseException:
            self._end(cancel=True)
            raise
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

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def __aiter__(self) -> AsyncOutcomes:
        return self

    async def __anext__(self) -> Outcome:
        import asyncio

        found = await asyncio.to_thread(next, self._outcomes, None)
        if found is None:
            raise StopAsyncIteration
        return found

    async def aclose(self) -> None:
        """Cancel what is open."""
        self._outcomes.close()

    async def __aenter__(self) -> AsyncOutcomes:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._outcomes.close()


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
