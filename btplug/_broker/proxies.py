"""What a confined plugin sees of the host's transports: the same methods."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from btplug._broker.answers import (
    AsyncOutcomes,
    AsyncProxyStream,
    Outcomes,
    ProxyStream,
    body_of,
    of,
    plain,
)
from btplug._broker.flow import Flow, cut
from btplug._broker.line import Line, Wanted
from btplug._broker.parcels import Ask, packed, unpacker
from btplug._broker.supply import check_chunks, parts, turns
from btplug._confine.frames import INLINE, BadFrame, Kind
from btplug._sending import check_message
from btplug.errors import Unsupported, UsageError
from btplug.message import Health, Message, Peer, Reply
from btplug.transport import TransportPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from btplug.message import Buffer, Handler


class Proxy(TransportPlugin):
    """One transport of the host's, seen from a confined plugin.

    In its async forms threads wait.
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

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        ask = Ask(self.name, "asend", peer, message, timeout=timeout)
        return await self._awaited(ask)

    async def areceive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        return await self._awaited(Ask(self.name, "areceive", peer, timeout=timeout))

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
    ) -> ProxyStream:
        ask = Ask(self.name, "stream", peer, message, timeout=timeout)
        return ProxyStream(partial(self._streamed, ask, chunks), self._line)

    def astream(
        self,
        peer: Peer,
        message: Message,
        chunks: AsyncIterable[Buffer] | Iterable[Buffer] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:  # what TransportPlugin makes of it
        return AsyncProxyStream(
            self.stream(peer, message, plain(chunks), timeout=timeout)
        )

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
        check_message(message)
        if isinstance(peers, AsyncIterable):
            raise UsageError(
                "found an async iterable of peers in send_many, expected a sync one",
                fix="read the outcomes of asend_many in a coroutine",
            )
        common = message if isinstance(message, Message) else None
        ask = Ask(
            self.name, "send_many", None, common, timeout=timeout, deadline=deadline,
            limit=limit, repeatable=repeatable,
        )  # fmt: skip
        flow = self._open(ask)
        made = None if isinstance(message, Message) else message
        known: dict[int, Peer] = {}
        raised: list[BaseException] = []
        self._pump(flow, turns(peers, made, known), raised.append)
        return Outcomes(flow, self._line, known, raised)

    def asend_many(
        self,
        peers: Iterable[Peer] | AsyncIterable[Peer],
        message: Message | Callable[[Peer], Message],
        **limits: Any,
    ) -> Any:  # AsyncOutcomes, of this side
        outcomes = self.send_many(plain(peers), message, **limits)
        return AsyncOutcomes(outcomes, self.context.home)

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

    def _open(
        self, ask: Ask, *, chunked: bool = False, wanted: Wanted | None = None
    ) -> Flow:
        message, body = ask.message, b""
        if ask.method in _SENDS and not isinstance(message, Message):
            raise UsageError(
                f"found a {type(message).__name__} as message, expected a Message",
                fix="make one with Message.of(data)",
            )
        if message is not None and len(message.body) > INLINE:
            message, body = replace(message, body=b""), message.body
        try:
            told = Ask(
                ask.transport, ask.method, ask.peer, message, len(body), chunked,
                ask.again, _seconds(ask.timeout), _seconds(ask.deadline), ask.limit,
                ask.repeatable,
            )  # fmt: skip
            call = packed(told)
            _read_ask(call)
        except (BadFrame, OverflowError, TypeError, ValueError) as exc:
            # The host would end the run, and say nothing of why.
            raise UsageError(
                f"{ask.method}: found arguments that are not of its kinds "
                f"({exc.__cause__ or exc})",
                fix="give it a Peer, a Message and numbers",
            ) from exc
        limit = ask.deadline or ask.timeout
        flow = self._line.open(Kind.CALL, call, limit=limit, wanted=wanted)
        try:
            for part in cut(body) if body else ():
                if not flow.send_unless_answered(Kind.CHUNK, part):
                    break
        except BaseException:
            self._line.close(flow, cancel=True)
            raise
        return flow

    async def _awaited(self, ask: Ask) -> Reply:
        import asyncio

        wanted, pool = Wanted(self._line), self.context.home.threads()
        reply = partial(self._reply, ask, wanted)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, reply)
        except asyncio.CancelledError:
            # A thread is not cancelled: it may be yet to send the message.
            wanted.give_up()
            raise

    def _reply(self, ask: Ask, wanted: Wanted | None = None) -> Reply:
        flow = self._open(ask, wanted=wanted)
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

    def _streamed(
        self, ask: Ask, chunks: Iterable[Buffer] | None, wanted: Wanted
    ) -> Flow:
        if chunks is None:
            return self._open(ask, wanted=wanted)
        told = Ask(
            ask.transport, ask.method, ask.peer, ask.message,
            again=check_chunks(chunks), timeout=ask.timeout,
        )  # fmt: skip
        flow = self._open(told, chunked=True, wanted=wanted)
        self._pump(flow, parts(chunks), flow.close)
        return flow

    def _pump(
        self,
        flow: Flow,
        parts: Iterator[bytes],
        tell: Callable[[BaseException], object],
    ) -> None:
        """Send *parts* from a thread: answers may come before the last of them.

        Args:
            tell: Called with what the plugin's iterable raises.
        """

        def pump() -> None:
            try:
                for part in parts:
                    flow.send(Kind.CHUNK, part, more=True)
            except BaseException as exc:
                tell(exc)
            with suppress(BaseException):  # what it was closed with
                flow.send(Kind.CHUNK)

        try:
            threading.Thread(target=pump, name="btplug pump", daemon=True).start()
        except BaseException:
            self._line.close(flow, cancel=True)
            raise


_read_ask = unpacker(Ask)
_SENDS = ("send", "asend", "stream")


def _seconds(value: float | None) -> float | None:
    # A whole number may be one that msgpack has not.
    return float(value) if isinstance(value, int) else value
