"""What a confined plugin sees of the host's transports: the same methods."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from btplug._broker.answers import (
    AsyncOutcomes,
    Outcomes,
    ProxyStream,
    body_of,
    of,
    plain,
)
from btplug._broker.flow import Flow, cut
from btplug._broker.line import Line
from btplug._broker.parcels import Ask, Turn, packed, unpacker
from btplug._confine.frames import INLINE, LONGEST, BadFrame, Kind
from btplug.errors import TooLarge, Unsupported, UsageError
from btplug.message import Health, Message, Peer, Reply
from btplug.outcome import Failure
from btplug.transport import TransportPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from btplug.message import Buffer, Handler

_BATCH = 64  # peers of a list that go together; of what is made one by one, one
_ROOM = LONGEST - 4096  # bytes of a turn


class Proxy(TransportPlugin):
    """One transport of the host's, seen from a confined plugin.

    Its async forms are made by the base class, with threads, but for those that take
    async iterables.
    """

    # Of the instance: a class for each transport would cost more than all else.
    schemes: tuple[str, ...]  # type: ignore[misc]  # a ClassVar above

    def __init__(self, name: str, schemes: tuple[str, ...], line: Line) -> None:
        self.name, self.schemes, self._line = name, schemes, line

    def initialize(self, config: Any) -> None:
        """Do nothing: the host has done it."""

    def shutdown(self) -> None:
        """Do nothing: the host will do it."""

    def send(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        return self._reply(Ask(self.name, "send", peer, message, timeout=timeout))

    def receive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        return self._reply(Ask(self.name, "receive", peer, timeout=timeout))

    def health(self) -> Health:
        flow = self._open(Ask(self.name, "health"))
        try:
            return of(Health, flow.take())
        finally:
            self._line.close(flow, cancel=False)

    def stream(
        self,
        peer: Peer,
        message: Message,
        chunks: Iterable[Buffer] | None = None,
        *,
        timeout: float | None = None,
    ) -> AbstractContextManager[Any]:
        ask = Ask(self.name, "stream", peer, message, timeout=timeout)
        return ProxyStream(lambda: self._streamed(ask, chunks), self._line)

    def astream(
        self,
        peer: Peer,
        message: Message,
        chunks: AsyncIterable[Buffer] | Iterable[Buffer] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:  # what TransportPlugin makes of it
        from btplug._streams import _Threaded as Threaded

        return Threaded(self.stream(peer, message, plain(chunks), timeout=timeout))

    def send_many(
        self,
        peers: Iterable[Peer],
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        limit: int = 512,
        repeatable: bool = False,
    ) -> Any:  # Outcomes, of this side
        common = message if isinstance(message, Message) else None
        ask = Ask(
            self.name, "send_many", None, common, timeout=timeout, deadline=deadline,
            limit=limit, repeatable=repeatable,
        )  # fmt: skip
        flow = self._open(ask)
        made = None if isinstance(message, Message) else message
        known: dict[int, Peer] = {}
        turns = _turns(peers, made, known)
        self._pump(flow, turns)
        return Outcomes(flow, self._line, known)

    def asend_many(
        self,
        peers: Iterable[Peer] | AsyncIterable[Peer],
        message: Message | Callable[[Peer], Message],
        **limits: Any,
    ) -> Any:  # AsyncOutcomes, of this side
        return AsyncOutcomes(self.send_many(plain(peers), message, **limits))

    def serve(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> NoReturn:
        raise Unsupported(
            f"a confined plugin cannot serve with {self.name}",
            fix="let it run in btplug's own process: btplug trust --in-process NAME",
            delivered=False,
        )

    def _open(self, ask: Ask, *, chunked: bool = False) -> Flow:
        message, body = ask.message, b""
        if message is not None and len(message.body) > INLINE:
            message, body = replace(message, body=b""), message.body
        told = Ask(
            ask.transport, ask.method, ask.peer, message, len(body), chunked,
            ask.again, ask.timeout, ask.deadline, ask.limit, ask.repeatable,
        )  # fmt: skip
        call = packed(told)
        try:
            _read_ask(call)
        except BadFrame as exc:
            # The host would end the run, and say nothing of why.
            raise UsageError(
                f"{ask.method}: found arguments that are not of its kinds ({exc.what})",
                fix="give it a Peer, a Message and numbers",
            ) from exc
        flow = self._line.open(Kind.CALL, call)
        try:
            for part in cut(body) if body else ():
                if not flow.send_unless_answered(Kind.CHUNK, part):
                    break
        except BaseException:
            self._line.close(flow, cancel=True)
            raise
        return flow

    def _reply(self, ask: Ask) -> Reply:
        flow = self._open(ask)
        whole = False
        try:
            frame = flow.take()
            reply = of(Reply, frame)
            if frame.more:
                reply = replace(reply, body=body_of(flow))
            whole = True
            return reply
        finally:
            self._line.close(flow, cancel=not whole)

    def _streamed(self, ask: Ask, chunks: Iterable[Buffer] | None) -> Flow:
        if chunks is None:
            return self._open(ask)
        seekable = getattr(chunks, "seekable", None)
        again = isinstance(chunks, bytes | str | os.PathLike) or (
            seekable is not None and seekable()
        )
        told = Ask(
            ask.transport, ask.method, ask.peer, ask.message, again=again,
            timeout=ask.timeout,
        )  # fmt: skip
        flow = self._open(told, chunked=True)
        self._pump(flow, _parts(chunks))
        return flow

    def _pump(self, flow: Flow, parts: Iterator[bytes]) -> None:
        """Send *parts* from a thread: answers may come before the last of them."""

        def pump() -> None:
            try:
                for part in parts:
                    flow.send(Kind.CHUNK, part, more=True)
                flow.send(Kind.CHUNK)
            # What the plugin's iterable raises is for whoever waits for answers.
            except BaseException as exc:
                flow.close(exc)

        threading.Thread(target=pump, name="btplug pump", daemon=True).start()


_read_ask = unpacker(Ask)


def _parts(chunks: Any) -> Iterator[bytes]:  # any kind a stream takes
    from btplug.values import view_of  # few plugins stream

    if isinstance(chunks, bytes | bytearray | memoryview):
        yield from cut(chunks)
    elif isinstance(chunks, str | os.PathLike):
        with open(chunks, "rb") as file:
            yield from _parts(file)
    elif hasattr(chunks, "read"):
        while part := chunks.read(INLINE):
            yield from cut(view_of(part))
    else:
        for chunk in chunks:
            yield from cut(view_of(chunk))


def _turns(
    peers: Iterable[Peer],
    message: Callable[[Peer], Message] | None,
    known: dict[int, Peer],
) -> Iterator[bytes]:
    """Yield turns, packed; note in *known* who has which position."""
    batch: list[Turn] = []
    size, most = 0, _BATCH if isinstance(peers, list | tuple) else 1
    for index, peer in enumerate(peers):
        if not isinstance(peer, Peer):
            raise UsageError(
                f"found a {type(peer).__name__} after {index:,} peers, expected a Peer",
                fix="make one of a text with Peer.parse(text)",
            )
        known[index] = peer
        turn = _turn(peer, message)
        length = len(turn.message.body) if turn.message else 0
        if batch and size + length > INLINE:
            yield packed(batch)
            batch, size = [], 0
        batch.append(turn)
        size += length
        if len(batch) >= most:
            yield packed(batch)
            batch, size = [], 0
    if batch:
        yield packed(batch)


def _turn(peer: Peer, message: Callable[[Peer], Message] | None) -> Turn:
    if message is None:
        return Turn(peer)
    try:
        turn = Turn(peer, message(peer))
        if len(packed(turn)) > _ROOM:
            raise TooLarge(
                f"found a message of more than {_ROOM:,} bytes for one peer of many",
                fix="send one message to all of them, or one by one with send",
                delivered=False,
            )
    except Exception as exc:
        return Turn(peer, failure=Failure.of(exc))
    return turn
