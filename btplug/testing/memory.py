"""Messages inside one process, for tests and demos; faults on demand.

A server is reached from every `MemoryTransportPlugin` of the process::

    with running(MemoryTransportPlugin) as transport:
        with serving(transport, echo, host="alice") as url:     # memory://alice
            reply = transport.send(Peer(url), Message(body=b"hello"))

Faults stand in the query of a peer's URL, or in the configuration for all peers:

========================  ============================================================
``?delay=0.5``            the request arrives that many seconds later
``?fault=refuse``         `Refused`, nothing is delivered
``?fault=drop``           the request is lost: `Late` at the time limit
``?fault=cut``            the handler runs and its reply is lost: `Cut`
``?fault=garble``         the handler runs and its reply is no reply: `BadReply`
========================  ============================================================

They are the same every time; ``delay`` goes with any other. The handler sees them in
the target, as it sees any query.

It is no plugin folder of btplug's: one more transport would add 1.9 ms to every start
of a command, and nobody else is in the process of a command to be reached.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from btplug.errors import BadReply, Cut, Late, NotAllowed, Refused, UsageError
from btplug.message import Health, Message, Reply, Request
from btplug.network import join_url, parse_url, request_target
from btplug.testing._places import Server, find, leave, take
from btplug.transport import TransportPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.dialects import Dialect
    from btplug.message import Handler, Peer

FAULTS = ("", "refuse", "drop", "cut", "garble")
_NUMBERS = count(1)


@dataclass(eq=False)
class MemoryConfig:
    """What may be set under ``memory:``.

    Attributes:
        timeout: Seconds for a whole message where the caller gives no limit.
        delay: Seconds a request takes to arrive; a peer's URL may say otherwise.
        fault: Of FAULTS, or empty; a peer's URL may say otherwise.
        grace: Seconds a server that is stopped gives to what has begun.
        dialect: How peers with a hotkey are spoken to, unless they say otherwise, and
            what a server asks for where there are *dialects*.
        dialects: Key and options of each: ``btauth/1: {key: //Alice}``. Without any, a
            server asks nobody who they are.
    """

    timeout: float = 12.0
    delay: float = 0.0
    fault: str = ""
    grace: float = 1.0
    dialect: str = "btauth/1"
    # Any: what `btplug.dialects.create` takes, and checks.
    dialects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise ValueError(f"timeout is {self.timeout}, expected more than 0")
        for name in ("delay", "grace"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected seconds from 0"
                )
        if self.fault not in FAULTS:
            raise ValueError(f"fault is {self.fault!r}, expected one of {FAULTS}")


class MemoryTransportPlugin(TransportPlugin):
    """Hand a message to a handler of the same process; receive with a GET."""

    name = "memory"
    schemes = ("memory",)
    Config = MemoryConfig

    def initialize(self, config: MemoryConfig) -> None:
        from btplug.dialects import Dialects

        self._config = config
        self._dialects = Dialects(config.dialects, default=config.dialect)
        self._address = f"memory:{next(_NUMBERS)}"
        self._servers: dict[str, Server] = {}
        self._open = True

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        return await self._exchange(peer, message, timeout, "POST")

    async def areceive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        return await self._exchange(peer, Message(media_type=""), timeout, "GET")

    async def aserve(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Answer to ``memory://host:port``; port 0 is a name without one, if free."""
        self._check_open()
        server = Server(
            handler, self.context.home, self._asked(), lambda: self.context.logger
        )
        name = take(host, port, server)
        self._servers[name] = server
        try:
            if ready is not None:
                ready(f"memory://{name}")
            await server.ended.wait()
        finally:
            leave(name, server)
            server.ended.set()
            self._servers.pop(name, None)
            await server.finish(self._config.grace)

    def health(self) -> Health:
        if not self._open:
            return Health(ok=False, detail="closed")
        return Health(ok=True, detail=f"servers: {len(self._servers)}")

    def shutdown(self) -> None:
        self._open = False
        for name, server in [*self._servers.items()]:
            leave(name, server)
            server.stop()

    async def _exchange(
        self, peer: Peer, message: Message, timeout: float | None, method: str
    ) -> Reply:
        self._check_open()
        began, where = time.monotonic(), peer.url.partition("?")[0]
        seconds = self._config.timeout if timeout is None else timeout
        if math.isnan(seconds):
            raise UsageError("found the time limit nan", fix="give it in seconds")
        # bytes(5) is five zero bytes.
        if not isinstance(message.body, (bytes, bytearray, memoryview)):
            raise NotAllowed(
                f"found a body of type {type(message.body).__name__}, expected bytes",
                where=where,
                fix="encode it: Message.of(text) does",
                delivered=False,
            )
        arrived = False

        async def delivered() -> Reply:
            nonlocal arrived
            delay, fault = self._faults(peer.url)
            sent, dialect = replace(message, method=message.method or method), None
            if peer.hotkey or peer.dialect:
                dialect = self._dialects.of(peer)
            if dialect is not None:
                sent = dialect.outgoing(
                    peer, sent, timeout=seconds, now_ns=time.time_ns()
                )
            # A limit of no time ends the call here, before anything is sent.
            await asyncio.sleep(0)
            server = find(urlsplit(parse_url(peer.url)).netloc)
            if server is None or fault == "refuse":
                raise Refused(
                    f"nobody answers to {where}" if server is None else "refused",
                    where=where,
                    fix="start a server there, or correct the peer",
                    delivered=False,
                )
            arrived = True  # from here on nobody can tell
            await asyncio.sleep(delay)
            if fault == "drop":
                await asyncio.Event().wait()
            reply = await self._asked_of(server, peer.url, sent, where)
            if fault:
                raise _lost(fault, where)
            # What the handler claims of its signer is no proof.
            reply = replace(reply, body=bytes(reply.body), signer=None)
            return dialect.answer(peer, sent, reply) if dialect else reply

        try:
            async with asyncio.timeout(max(0.0, seconds)):
                reply = await delivered()
        except TimeoutError as exc:
            raise Late(
                f"waited {seconds:g} s for the reply",
                where=where,
                fix="raise the time limit",
                delivered=None if arrived else False,
            ) from exc
        return replace(reply, seconds=time.monotonic() - began)

    async def _asked_of(
        self, server: Server, url: str, sent: Message, where: str
    ) -> Reply:
        shown = replace(
            sent,
            body=bytes(sent.body),
            method=sent.method.upper(),
            target=request_target(join_url(url, sent.target)),
        )
        request = Request(message=shown, address=self._address)
        try:
            return await server.ask(request, time.time_ns())
        except ConnectionResetError as exc:
            raise _lost("cut", where) from exc

    def _faults(self, url: str) -> tuple[float, str]:
        """Return delay in seconds and fault of a peer: its own, else as configured."""
        found = parse_qs(urlsplit(url).query, keep_blank_values=True)
        fault = found.get("fault", [self._config.fault])[-1]
        text = found.get("delay", [str(self._config.delay)])[-1]
        try:
            delay = float(text)
        except ValueError:
            delay = math.nan
        if fault not in FAULTS or not 0 <= delay < math.inf:
            raise UsageError(
                f"found fault={fault} and delay={text}, expected one of "
                f"{', '.join(FAULTS[1:])} and seconds from 0",
                where=url.partition("?")[0],
                fix="correct the query of the peer's URL",
            )
        return delay, fault

    def _asked(self) -> Dialect | None:
        """Return what a server here asks of those who send to it."""
        if not self._config.dialects:
            return None
        from btplug.message import Peer

        return self._dialects.of(Peer("memory://", dialect=self._config.dialect))

    def _check_open(self) -> None:
        if not getattr(self, "_open", False):
            raise NotAllowed(
                "the memory transport is not open",
                fix="use it between initialize and shutdown",
                delivered=False,
            )


def _lost(fault: str, where: str) -> Cut | BadReply:
    if fault == "cut":
        return Cut(
            "the connection ended before the reply",
            where=where,
            fix="send again, if the message may arrive twice",
        )
    return BadReply(
        "found bytes that are no reply", where=where, fix="ask the owner of the peer"
    )
