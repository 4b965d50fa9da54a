"""The one way through the transport, for the sync and the async form."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .library import h11, httpcore, httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Protocol

    from btplug import Reply

    from .exchange import Exchange

    class Way(Protocol):
        """What the sync and the async transport do each in their way."""

        async def open(self, request: httpx.Request) -> httpx.Response: ...
        async def drain(
            self, response: httpx.Response, take: Callable[[bytes], None]
        ) -> None: ...
        async def leave(self, response: httpx.Response) -> None: ...


T = TypeVar("T")

# Which exchange a connection works for: httpcore has no way to pass that down.
CURRENT: ContextVar[Exchange] = ContextVar("btplug http exchange")

# All that connections and parsers raise. h11 itself, because httpcore passes some on.
_FOREIGN = (
    OSError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    h11.ProtocolError,
)


class Stale(Exception):
    """A kept connection cannot be used again; nothing of the message was sent."""


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, because its I/O is sync, to its end.

    So what sync and async have in common is written once, without importing asyncio.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    work.close()
    raise RuntimeError("sync I/O waited for a loop")


async def carry(way: Way, exchange: Exchange) -> Reply:
    """Send the message of *exchange* and return the reply.

    Raises:
        TransportError: There is none that can be accepted.
    """
    token = CURRENT.set(exchange)
    try:
        while True:
            try:
                return await _once(way, exchange)
            except Stale:
                exchange.restart()
            except _FOREIGN as exc:
                from .trouble import error_of

                error = error_of(
                    exchange,
                    exc,
                    late=isinstance(exc, httpcore.TimeoutException),
                    proxy=isinstance(exc, httpcore.ProxyError),
                )
                if not exchange.may_repeat(error):
                    raise error from exc
                exchange.restart()
    finally:
        CURRENT.reset(token)


async def _once(way: Way, exchange: Exchange) -> Reply:
    out = exchange.out
    request = httpx.Request(
        out.method,
        out.place.url,
        headers=out.headers,
        content=out.body or None,
        # The limit for a free connection; wires.py sees to all others.
        extensions={"timeout": {"pool": exchange.left()}},
    )
    response = await way.open(request)
    try:
        incoming = exchange.answered(response.status_code, response.headers.raw)
        await way.drain(response, incoming.take)
        return exchange.reply()
    finally:
        await way.leave(response)
