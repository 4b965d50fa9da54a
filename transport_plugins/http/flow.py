"""The one way through the transport, for the sync and the async form."""

from __future__ import annotations

from errno import ECONNRESET
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .exchange import Exchange

T = TypeVar("T")

# Seconds until a thread that waits looks for itself: what was to wake it may be lost in
# an exception from outside.
LOOK = 1.0


class Stale(Exception):
    """A kept connection cannot be used again; nothing of the message was sent."""


class SourceFailed(Exception):
    """The chunks of a message ended with an error: its cause, the caller's own."""


class Garbled(Exception):
    """What came breaks the rules of HTTP; the text says which."""


class ProxyRefused(Exception):
    """A proxy makes no tunnel; the text is its status, or what is wrong with it."""


def shut_down() -> ConnectionError:
    """Return what ends all exchanges at the end of the transport."""
    return ConnectionError("the transport was shut down")


def torn() -> ConnectionError:
    """Return what ends a reply without a length where TLS ends without its own end.

    Anybody on the way can end a connection (RFC 9112, section 9.8).
    """
    return ConnectionError(ECONNRESET, "TLS did not say that this was all")


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


async def carry(once: Callable[[Exchange], Awaitable[T]], exchange: Exchange) -> T:
    """Send the message of *exchange*, again where that is allowed.

    Args:
        once: One try, over one connection.

    Raises:
        TransportError: There is no reply that can be accepted.
    """
    while True:
        try:
            return await once(exchange)
        except Stale:
            exchange.restart()
        except (OSError, Garbled, ProxyRefused) as exc:
            error = exchange.error(exc)
            try:
                if not exchange.may_repeat(error):
                    raise error from exc
            finally:
                # Its traceback holds this frame: both would live on until the garbage
                # is collected, and what came with them.
                del error
            exchange.restart()
