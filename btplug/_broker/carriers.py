"""Calls of a lent transport that live in the home loop: streams, and many peers.

Waiting for the plugin never blocks that loop: it is everybody's.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from btplug._broker.flow import Flow, Room, cut, parted
from btplug._broker.parcels import Ask, Done, Turn, Turns, fitting, packed, unpacker
from btplug._confine.frames import INLINE, Frame, Kind
from btplug.errors import TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import IO

    from btplug._broker.broker import Broker
    from btplug.message import Message, Peer, Reply
    from btplug.outcome import Outcome
    from btplug.transport import Transport

_MOST_TURNS = 512
_TURNS = unpacker(Turns)


class _Awaited:
    """A flow whose waiting is awaited; the task ends when the plugin cancels."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._changed = asyncio.Event()
        self._cancelled = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def look() -> None:
            self._changed.set()
            # Whatever it waits for: it may be the head of a reply.
            # Once: what it lets go of then must not be interrupted.
            if self._flow.closed and not self._cancelled:
                self._cancelled = True
                task.cancel()

        self._flow.changed = lambda: loop.call_soon_threadsafe(look)
        try:
            look()
            yield
        finally:
            self._flow.changed = None

    async def take(self) -> Frame:
        while (frame := self._flow.poll()) is None:
            self._changed.clear()
            # Between the look and the clearing something may have come.
            if (frame := self._flow.poll()) is not None:
                return frame
            await self._changed.wait()
        return frame

    async def send(self, kind: int, body: bytes, *, more: bool) -> None:
        while not self._flow.spend():
            self._changed.clear()
            if self._flow.spend():
                break
            await self._changed.wait()
        self._flow.post(kind, body, more=more)

    async def parts(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            frame = await self.take()
            more = frame.more
            if frame.body:
                yield frame.body


async def asend(
    broker: Broker, flow: Flow, ask: Ask, message: Message, transport: Transport
) -> Reply:
    """Carry one message, and end it when the plugin cancels."""
    peer = broker.admitted(ask.peer, transport)
    with _Awaited(flow).watching():
        await asyncio.sleep(0)  # it may be cancelled by now
        if ask.method == "areceive":
            return await transport.areceive(peer, timeout=ask.timeout)
        return await transport.asend(peer, message, timeout=ask.timeout)


areceive = asend


async def stream(
    broker: Broker, flow: Flow, ask: Ask, message: Message, transport: Transport
) -> None:
    """Carry one stream."""
    peer, awaited = broker.admitted(ask.peer, transport), _Awaited(flow)
    with awaited.watching():
        if not ask.chunked:
            await _streamed(awaited, flow, transport, peer, message, None, ask)
        elif ask.again and _is_signed(peer):
            with TemporaryFile() as file, _spooling(broker.spooled) as take:
                await _spool(awaited, file, take)
                await _streamed(awaited, flow, transport, peer, message, file, ask)
        else:
            parts = awaited.parts()
            await _streamed(awaited, flow, transport, peer, message, parts, ask)


def _is_signed(peer: Peer) -> bool:
    # Where nobody is expected nobody signs, unless a dialect is asked for.
    return (peer.dialect or ("" if peer.hotkey else "none")) != "none"


@contextmanager
def _spooling(room: Room) -> Iterator[Callable[[int], None]]:
    """Yield what counts bytes of a file; they count as long as it is there."""
    size = 0

    def take(length: int) -> None:
        nonlocal size
        if not room.take(length):
            raise TooLarge(
                f"found more than {room.most:,} bytes to be signed, of all streams "
                "together",
                fix="send it to a peer without a hotkey, or in several messages",
                delivered=False,
            )
        size += length

    try:
        yield take
    finally:
        room.give(size)


async def _spool(
    awaited: _Awaited, file: IO[bytes], take: Callable[[int], None]
) -> None:
    async for part in awaited.parts():
        take(len(part))
        file.write(part)
    file.seek(0)


async def _streamed(
    awaited: _Awaited,
    flow: Flow,
    transport: Transport,
    peer: Peer,
    message: Message,
    chunks: Any,  # of each kind a stream takes
    ask: Ask,
) -> None:
    opened = transport.astream(  # type: ignore[attr-defined]  # every lent one has it
        peer, message, chunks, timeout=ask.timeout
    )
    async with opened as found:
        flow.post(Kind.RETURN, packed(found.head), more=True)
        async for body in found:
            for part in cut(body):
                await awaited.send(Kind.CHUNK, part, more=True)
        await awaited.send(Kind.CHUNK, b"", more=False)


async def send_many(
    broker: Broker, flow: Flow, ask: Ask, message: Message, transport: Transport
) -> None:
    """Carry a message to many peers."""
    awaited = _Awaited(flow)
    # By identity: the same peer may be given twice, with two messages.
    turns: dict[int, Turn] = {}

    async def peers() -> AsyncIterator[Peer]:
        async for body in awaited.parts():
            for turn in _TURNS(body):
                turns[id(turn.peer)] = turn
                yield turn.peer

    def message_for(peer: Peer) -> Message:
        turn = turns[id(peer)]
        if turn.failure is not None:
            raise turn.failure.error()
        broker.admitted(peer, transport)
        return turn.message or message

    with awaited.watching():
        async with transport.asend_many(
            peers(), message_for, timeout=ask.timeout, deadline=ask.deadline,
            limit=min(ask.limit, _MOST_TURNS), repeatable=ask.repeatable,
        ) as outcomes:  # fmt: skip
            async for outcome in outcomes:
                turns.pop(id(outcome.peer), None)
                await _tell(awaited, outcome)
        flow.post(Kind.RETURN)


async def _tell(awaited: _Awaited, outcome: Outcome) -> None:
    reply, body = outcome.reply, b""
    if reply is not None and len(reply.body) > INLINE:
        reply, body = replace(reply, body=b""), reply.body
    failure = outcome.failure and fitting(outcome.failure)
    done = packed(
        Done(outcome.index, reply, failure, outcome.seconds, outcome.attempts)
    )
    await awaited.send(Kind.OUTCOME, done, more=bool(body))
    if body:
        for part, more in parted(body):
            await awaited.send(Kind.CHUNK, part, more=more)
