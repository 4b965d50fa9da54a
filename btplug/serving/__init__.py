"""A handler -> an ASGI application that answers neurons, within limits.

Before a body is read, a request passes all that its headers can tell; a handler sees
it only after its signature was verified.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol, cast

from btplug.message import Reply, Request
from btplug.network import sender_of
from btplug.serving._clock import Clock
from btplug.serving._door import Door
from btplug.serving._gates import Gate
from btplug.serving._limits import Limits
from btplug.serving._requests import (
    Gone,
    Refusal,
    read_head,
    refuse,
    start_of,
    with_body,
)
from btplug.serving._uploads import Uploads
from btplug.serving._visit import Visit
from btplug.serving._work import Work
from btplug.values import new_request

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Container, Iterable

    from btplug.dialects import Dialect
    from btplug.message import Handler
    from btplug.serving._requests import Event, Receive, Scope, Send

__all__ = ["Application", "Limits", "Server", "application"]


_DEFAULTS = Limits()
# Seconds after which it is worth looking whether somebody still waits for the reply.
_WATCHED = 1.0


class Server(Protocol):
    """What can run an application: the HTTP transport.

    ``context.transports["http"]`` is one for plugins in this process; a confined
    plugin is lent no server.
    """

    def serve(
        self,
        handler: Handler | Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Serve until interrupted; see `TransportPlugin.serve`."""

    async def aserve(
        self,
        handler: Handler | Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Async form of `serve`: it ends when its task is cancelled."""


def application(
    handler: Handler,
    *,
    dialects: Iterable[Dialect],
    limits: Limits = _DEFAULTS,
    allow: Container[str] | None = None,
    deny: Container[str] = (),
    priority: Callable[[Request], float] | None = None,
    logger: logging.Logger | None = None,
) -> Application:
    """Make an ASGI application that answers with what *handler* returns.

    Args:
        handler: Sync or async; a message is sent as a reply of status 200.
        dialects: Those that are spoken; a request in another one is refused. With
            ``none`` among them, unsigned requests are taken.
        allow: Verified hotkeys that may ask; None: all, and unsigned requests too
            where ``none`` is spoken. Anything that answers ``in``.
        deny: Hotkeys that are turned away before their request is read or verified.
        priority: Higher is served sooner, where requests have to wait; it sees the
            verified request. None: in the order they came.
        logger: Told of failing handlers; None: btplug's own.
    """
    if logger is None:
        from btplug.logs import get_logger

        logger = get_logger()
    door, clock = Door(dialects, allow, deny, logger), Clock()
    work = Work(handler, limits, priority, clock)
    return Application(door, work, clock, limits, logger)


class Application:
    """What `application` makes; it belongs to one event loop.

    Attributes:
        limits: Some of them are the server's to keep.
        dialects: Names of those that are spoken.
    """

    def __init__(
        self,
        door: Door,
        work: Work,
        clock: Clock,
        limits: Limits,
        logger: logging.Logger,
    ) -> None:
        self.limits, self.dialects = limits, tuple(door.spoken)
        self._door, self._work, self._clock = door, work, clock
        self._logger = logger
        self._addresses = Gate(
            running=limits.address_running,
            rate=limits.address_rate,
            remembered=limits.remembered,
        )
        self._hotkeys = Gate(
            running=limits.hotkey_running,
            rate=limits.hotkey_rate,
            remembered=limits.remembered,
        )
        self._uploads = Uploads(limits, clock)
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopping, self._servers = False, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope, as the specification of ASGI 3 says."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            # Before it is accepted: the server answers 403.
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise ValueError("found a scope of another type, expected http or lifespan")

    def start(self) -> None:
        """Take requests (again, after a stop); a new application does."""
        self._stopping = False
        self._servers += 1
        self._work.open()

    async def stop(self) -> None:
        """Refuse what is new, finish what has begun; cancel it after `stop_time`.

        Started several times, it goes on until it was stopped as often.
        """
        self._servers = max(self._servers - 1, 0)
        if self._servers:
            return
        self._stopping = True
        try:
            if tasks := self._tasks - {asyncio.current_task()}:
                _, late = await asyncio.wait(tasks, timeout=self.limits.stop_time)
                for task in late:
                    task.cancel()
                if late:
                    await asyncio.wait(late, timeout=1.0)
        finally:
            # Also where somebody cannot wait for that: threads must not stay.
            self._work.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The time at which the headers arrived, for all that is judged by them.
        now_ns = time.time_ns()
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._tasks.add(task)
        visit = Visit(sender_of((scope.get("client") or ("",))[0]))
        try:
            try:
                start, body = await self._answer(scope, receive, visit, now_ns)
            except Refusal as refusal:
                await refuse(send, refusal, last=not visit.read or self._stopping)
                # Whoever cancelled it, a time limit for one, has to hear of it.
                if isinstance(cause := refusal.__cause__, asyncio.CancelledError):
                    raise cause from None
            except asyncio.CancelledError:
                if visit.gone or not self._stopping:
                    raise
                await refuse(send, Refusal(503, 1.0), last=True)
            else:
                await send(start)
                await send({"type": "http.response.body", "body": body})
        except Gone:
            pass
        except asyncio.CancelledError:
            if not visit.gone:
                raise
        finally:
            self._tasks.discard(task)
            self._uploads.free(visit.sender, visit.size)
            if visit.hotkey:
                self._hotkeys.leave(visit.hotkey)
            if visit.address:
                self._addresses.leave(visit.address)

    async def _answer(
        self, scope: Scope, receive: Receive, visit: Visit, now_ns: int
    ) -> tuple[Event, bytes]:
        """Return the reply to a request that passed every check.

        Raises:
            Refusal: It did not.
            Gone: Nobody waits for an answer.
        """
        if self._stopping:
            raise Refusal(503, 1.0)
        now = time.monotonic()
        # On a Unix socket nobody has an address: all would be one sender.
        if visit.sender:
            _check(self._addresses.enter(visit.sender, now))
            visit.address = visit.sender
        head, announced = read_head(scope, self.limits)
        try:
            dialect = self._door.admit(head, now_ns)
            body = await self._uploads.read(receive, announced, visit.sender)
            visit.read, visit.size = True, len(body)
            request = new_request(
                message=with_body(head.message, body), address=head.address
            )
            # A body may be slow: what came meanwhile is not ahead of this one's time.
            now = time.monotonic()
            # Before it is verified: what is then answered 429 is not remembered as
            # accepted. It is only asked for, or a forger would use up the rate.
            _check(self._hotkeys.wait(self._door.claimed(dialect, head) or "", now))
            request = self._door.incoming(dialect, request, now_ns)
            if request.hotkey is not None:
                _check(self._hotkeys.enter(request.hotkey, now))
                visit.hotkey = request.hotkey
            reply = await self._worked(request, receive, visit)
            return start_of(dialect.reply(request, reply), scope["method"])
        except (Refusal, Gone):
            raise
        # An exit that a handler raises ends its own request only; so does a cancel.
        except BaseException as exc:
            if visit.ended_by(exc, stopping=self._stopping):
                raise
            self._logger.error("a request of %s failed", head.address, exc_info=exc)
            raise Refusal(500) from exc

    async def _worked(self, request: Request, receive: Receive, visit: Visit) -> Reply:
        """Return the handler's answer; cancelled when nobody waits for it any more."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        watchers: list[asyncio.Task[None]] = []

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            visit.gone = True
            task.cancel()

        def begin() -> None:
            watchers.append(asyncio.ensure_future(watch()))

        try:
            # Most requests are answered before, and need no further task.
            with self._clock.limit(_WATCHED, begin):
                return await self._work.run(request)
        finally:
            for watcher in watchers:
                watcher.cancel()


def _check(wait: float) -> None:
    if wait:
        raise Refusal(429, wait)
