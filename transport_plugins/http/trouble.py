"""What ended an exchange -> one of our errors, with what came."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from btplug.errors import BadReply, Cut, Late, Refused, TransportError
from btplug.logs import escape

from .flow import ProxyRefused
from .tls import explain

if TYPE_CHECKING:
    from .exchange import Exchange

BEFORE = ("pool", "lookup", "connect", "tls")  # phases in which nothing is sent
# What was waited for in each phase of an exchange.
_PHASES = {
    "pool": "a free connection",
    "lookup": "the address of {host}",
    "connect": "a connection to {host}",
    "tls": "the TLS handshake with {host}",
    "send": "{host} to take the message",
    "chunks": "the caller's next chunk",
    "headers": "the reply headers",
    "body": "the reply body",
}
_OWNER = "report it to the owner of the peer"
_RAISE = "raise the limit: timeout=, --timeout or btplug config set http.timeout N"


def error_of(exchange: Exchange, exc: Exception) -> TransportError:
    """Make our error of what ended *exchange*."""
    cause = exc if isinstance(exc, OSError) else None
    # The system has a timeout of its own, with a number, which is not our limit.
    if isinstance(cause, TimeoutError) and cause.errno is None:
        what = f"waited {exchange.seconds:g} s for {_progress(exchange)}"
        return _made(exchange, Late, what)
    if isinstance(exc, ProxyRefused):
        what = f"the proxy refused: {escape(str(exc)[:80])}"
        return Refused(
            what,
            where=exchange.out.place.shown,
            fix="look at the proxy, or at: btplug config show http",
            delivered=False,
        )
    if exchange.phase in BEFORE:
        return _unreached(exchange, exc)
    came = exchange.head[:5]
    if cause is None or (
        came and exchange.phase == "headers" and came != b"HTTP/"[: len(came)]
    ):
        return _garbled(exchange, exc)
    reason = f" ({escape(cause.strerror)})" if cause.strerror else ""
    what = f"the connection ended{reason} in waiting for {_progress(exchange)}"
    return _made(exchange, Cut, what)


def _progress(exchange: Exchange) -> str:
    waited = _PHASES[exchange.phase].format(host=escape(exchange.host))
    if exchange.phase == "send":
        return f"{waited}: it took {exchange.sent:,} of {exchange.total:,} bytes"
    if exchange.phase == "chunks":
        return f"{waited}: {exchange.sent:,} bytes were sent"
    if exchange.phase == "body" and exchange.incoming is not None:
        return f"{waited}: {exchange.incoming.progress()}"
    return f"{waited}: {exchange.arrived or 'no'} bytes had arrived"


def _made(
    exchange: Exchange, kind: type[Late] | type[Cut], what: str
) -> TransportError:
    if exchange.phase == "tls":
        fix = "check that the peer speaks TLS there: perhaps it is http://"
    elif kind is Late:
        fix = _RAISE
    elif exchange.sent and not exchange.safe:
        fix = "the peer may have got it: send it again only if that does no harm"
    else:
        fix = "look at the peer, or try again"
    unsent = exchange.phase in BEFORE or not exchange.sent
    return kind(
        what,
        where=exchange.out.place.shown,
        fix=fix,
        delivered=False if unsent else None,
    )


def _unreached(exchange: Exchange, exc: Exception) -> TransportError:
    host, fix = escape(exchange.host), "check the address, and that the peer runs"
    if isinstance(exc, socket.gaierror):
        what = f"the name of {host} has no address ({exc.strerror})"
    elif exchange.phase == "tls":
        what, fix = explain(exc, host)
    elif isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED:
        what = f"{exchange.via}{host} refused the connection"
    else:
        reason = escape(str(getattr(exc, "strerror", None) or exc)[:120])
        what = f"no connection to {exchange.via}{host} ({reason})"
    return Refused(what, where=exchange.out.place.shown, fix=fix, delivered=False)


def _garbled(exchange: Exchange, exc: Exception) -> TransportError:
    came, reason = exchange.head[:80], escape(str(exc)[:120])
    if came[:2] in (b"\x15\x03", b"\x16\x03"):
        what, fix = "found TLS, expected plain HTTP", "write https:// in the URL"
    elif exchange.phase == "body":
        what, fix = f"found a body that breaks the rules of HTTP ({reason})", _OWNER
    elif came.startswith(b"HTTP/"):
        what = f"found headers that break the rules of HTTP ({reason}): {came!r}"
        fix = _OWNER
    else:
        what = f"found no HTTP reply ({reason}): it begins with {came!r}"
        fix = "check that an HTTP server answers there"
    return BadReply(what, where=exchange.out.place.shown, fix=fix)
