"""What comes in and goes out over ASGI: heads, bodies, replies; each within limits."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Any

from btplug.message import Message, Reply, Request
from btplug.network import bracket
from btplug.values import new_message, new_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from btplug.serving._limits import Limits

    # As the specification of ASGI has them: what is in them depends on "type".
    Event = MutableMapping[str, Any]
    Scope = Event
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]
    Pairs = list[tuple[bytes, bytes]]

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# All that a sender is ever told of an error; nothing of what it sent is in it.
TEXTS = {
    400: "the request is malformed",
    401: "the request is not authentic",
    403: "not allowed",
    405: "the method is not known here",
    408: "it took too long",
    413: "the body is too large",
    429: "too many requests",
    431: "too many headers, or too large",
    500: "the server failed",
    503: "too much to do",
}
_UNTYPED = Message().media_type
_JSON = (b"content-type", b"application/json")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Ours to say; what a handler says of them would contradict the body that is sent.
_FRAMING = frozenset(
    ("content-length", "content-type", "transfer-encoding", "connection")
)


class Refusal(Exception):
    """A request is answered with an error.

    Args:
        status: One of TEXTS.
        retry: Seconds after which another try makes sense; 0: it is not said.
    """

    def __init__(self, status: int, retry: float = 0.0) -> None:
        super().__init__(TEXTS[status])
        self.status, self.retry = status, retry


class Gone(Exception):
    """Whoever asked has left."""


def read_head(scope: Scope, limits: Limits) -> tuple[Request, int | None]:
    """Return the request without its body, and the size of that; None: not announced.

    Raises:
        Refusal: It is malformed, or larger than the limits.
    """
    raw: Pairs = scope["headers"]
    target = _target(scope)
    headers, size = [], len(target)
    for name, value in raw:
        size += len(name) + len(value) + 4
        # Some parsers leave the blanks behind a value, no part of it (RFC 9110, 5.5).
        text = value.strip(b" \t").decode("latin-1")
        headers.append((name.decode("latin-1"), text))
    if len(headers) > limits.headers or size > limits.head:
        raise Refusal(431)
    if scope["method"] not in METHODS:
        raise Refusal(405)
    if not target.startswith(b"/") or not target.isascii():
        raise Refusal(400)
    announced = _announced(headers)
    if announced is not None and announced > limits.body:
        raise Refusal(413)
    kinds = (value for name, value in headers if name == "content-type")
    message = new_message(
        media_type=next(kinds, _UNTYPED),
        headers=tuple(headers),
        method=scope["method"],
        target=target.decode(),
    )
    client = scope.get("client") or ("", 0)
    return new_request(
        message=message, address=f"{bracket(client[0])}:{client[1]}"
    ), announced


def with_body(message: Message, body: bytes) -> Message:
    """Return *message* with another body."""
    return new_message(
        body=body,
        media_type=message.media_type,
        headers=message.headers,
        method=message.method,
        target=message.target,
    )


def start_of(reply: Reply, method: str) -> tuple[Event, bytes]:
    """Return how a reply begins, and its body.

    Raises:
        TypeError: The body is no bytes.
        ValueError: A header or the status cannot be sent.
    """
    if not isinstance(reply.status, int) or not 200 <= reply.status <= 599:
        raise ValueError(
            f"found the status {reply.status!r}, expected a whole number, 200 to 599"
        )
    headers: Pairs = []
    body = _bytes(reply.body)
    if reply.status in (204, 304):
        body = b""
    else:
        headers.append((b"content-length", str(len(body)).encode()))
        if reply.media_type:
            headers.append(_header("content-type", reply.media_type))
    for name, value in reply.headers:
        if name.lower() not in _FRAMING:
            headers.append(_header(name, value))
    if method == "HEAD":
        body = b""
    return {
        "type": "http.response.start",
        "status": reply.status,
        "headers": headers,
    }, body


async def refuse(send: Send, refusal: Refusal, *, last: bool) -> None:
    """Send an error, with nothing of the request in it.

    Args:
        last: The connection ends with it: a body that was not read may follow.
    """
    # As JSON, because neurons of v10 read nothing else.
    body = f'{{"message": "{TEXTS[refusal.status]}"}}'.encode()
    headers = [_JSON, (b"content-length", str(len(body)).encode())]
    if refusal.retry:
        headers.append((b"retry-after", str(ceil(refusal.retry)).encode()))
    if last:
        headers.append((b"connection", b"close"))
    start = {
        "type": "http.response.start",
        "status": refusal.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _target(scope: Scope) -> bytes:
    """Return the request target as it was sent: it may be signed."""
    own = (scope.get("extensions") or {}).get("btplug.target")
    if own is not None:
        raw: bytes = own["raw"]
        return raw
    path: bytes = scope.get("raw_path") or b""
    query: bytes = scope.get("query_string") or b""
    return path + b"?" + query if query else path


def _announced(headers: list[tuple[str, str]]) -> int | None:
    """Return what Content-Length says.

    Raises:
        Refusal: It is there twice, is no number, or something else says so too.
    """
    found = None
    chunked = False
    for name, value in headers:
        if name == "content-length":
            digits = value.isascii() and value.isdigit() and len(value) <= 18
            if found is not None or not digits:
                raise Refusal(400)
            found = int(value)
        elif name == "transfer-encoding":
            chunked = True
    # Where two sides disagree on where a request ends, one smuggles another.
    if chunked and found is not None:
        raise Refusal(400)
    return found


def _bytes(body: object) -> bytes:
    # A server would fail where the reply has begun, and nobody would be answered.
    if isinstance(body, bytes):
        return body
    if isinstance(body, (bytearray, memoryview)):
        view = memoryview(body)
        if view.nbytes == len(view):
            return bytes(view)
    raise TypeError(
        f"the handler returned a body of type {type(body).__name__}, expected bytes"
    )


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    if not _TOKEN.fullmatch(name) or _CONTROL.search(value):
        raise ValueError("found a header with control characters, expected text")
    return name.lower().encode("ascii"), value.encode("latin-1")
