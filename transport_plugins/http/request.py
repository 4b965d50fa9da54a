"""Peer and message -> what is sent. Everything refused is refused here, unsent."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from btplug import __version__
from btplug.errors import NotAllowed, UsageError
from btplug.network import join_url, parse_url, request_target

from .library import httpx

if TYPE_CHECKING:
    from btplug import Message, Peer

RawHeaders = list[tuple[bytes, bytes]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Ours alone: they frame the message or belong to the connection (RFC 9110, 7.6.1).
_OURS = frozenset(
    (
        "connection", "content-length", "expect", "host", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_DEFAULTS = (
    ("accept", b"*/*"),
    # What can be decoded within a limit; br and zstd are not offered.
    ("accept-encoding", b"gzip, deflate"),
    ("user-agent", f"btplug/{__version__}".encode()),
)

# What is passed on as it comes is not decoded on the way.
_STREAMED = (_DEFAULTS[0], ("accept-encoding", b"identity"), _DEFAULTS[2])
_REPLACED = frozenset({"content-type", *(name for name, _ in _DEFAULTS)})
_NONE: frozenset[str] = frozenset()


class Place(NamedTuple):
    """A URL, taken apart once.

    Attributes:
        shown: For messages: without the query, which may hold a key.
        netloc: What the Host header says.
        host: The same as text.
        target: Path and query as they are sent.
        origin: Scheme, host (IPv6 without brackets) and port: who is connected to.
    """

    url: httpx.URL
    shown: str
    netloc: bytes
    host: str
    target: bytes
    origin: tuple[str, str, int]


class Start(NamedTuple):
    """What the heads of messages to one place have in common.

    Attributes:
        raw: Request line and *headers* as they stand on the wire.
    """

    place: Place
    headers: tuple[tuple[bytes, bytes], ...]
    raw: bytes


class Outgoing(NamedTuple):
    """A message as it will stand on the wire.

    Attributes:
        own: Headers after those of the start.
        coded: The caller chose the content encodings, and decodes what is unknown here.
    """

    place: Place
    start: Start
    method: str
    own: list[tuple[str, str]]
    body: bytes
    coded: bool

    @property
    def headers(self) -> RawHeaders:
        """All headers, in order."""
        own = [(name.encode(), value.encode()) for name, value in self.own]
        return [*self.start.headers, *own]

    def head(self) -> bytes:
        """Return request line and headers as bytes."""
        lines = [f"{name}: {value}\r\n" for name, value in self.own]
        return b"%b%b\r\n" % (self.start.raw, "".join(lines).encode())


class Flow(NamedTuple):
    """How a body is streamed.

    Attributes:
        length: Bytes that are sent; None: as many as come, in chunks.
        sha256: Their digest in hex, where they are signed.
        sends: There are chunks to send; False: the body of the message is.
    """

    length: int | None = None
    sha256: str | None = None
    sends: bool = True


def build(
    peer: Peer, message: Message, default: str, flow: Flow | None = None
) -> Outgoing:
    """Check *message* and write its headers.

    Args:
        default: Method of a message that names none.
        flow: The reply is streamed, and perhaps the message; None: neither.

    Raises:
        NotAllowed: It may not be sent like that; nothing was.
    """
    method, body = message.method or default, message.body
    if not isinstance(body, bytes):
        raise _refused(
            f"found a body of type {type(body).__name__}, expected bytes",
            _place(peer.url, message.target).shown,
            "encode it: Message.of(text) does",
        )
    sends = flow is not None and flow.sends
    headers = message.headers
    # All values at once: the pattern is slow for the long ones of signatures.
    try:
        given = _given(tuple([name for name, _ in headers]))
        values = "".join([value for _, value in headers])
    except (_BadName, TypeError):
        given, values = _NONE, "\0"  # which of them it is, is found out below
    if values.isascii() and values.isprintable() and " " not in values:
        own = [*headers]
    else:
        own = [_checked(pair, peer, message) for pair in headers]
    kind = message.media_type if body or sends else ""
    start = _start(peer.url, message.target, method, kind, given, flow is not None)
    if flow is not None and sends:
        body = b""
        if flow.length is None:
            own.insert(0, ("transfer-encoding", "chunked"))
        else:
            own.insert(0, ("content-length", str(flow.length)))
    elif body or method not in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE"):
        own.insert(0, ("content-length", str(len(body))))
    coded = "accept-encoding" in given
    return Outgoing(start.place, start, method, own, body, coded)


@lru_cache(maxsize=4096)
def _start(
    url: str, target: str, method: str, kind: str, given: frozenset[str], streams: bool
) -> Start:
    """Return what does not change from one message to the next.

    Args:
        kind: The media type; empty: there is no body.
        given: Those of our headers that the message brings itself.
        streams: The reply is passed on as it comes, and not decoded.
    """
    place = _place(url, target)
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        raise _refused(
            f"found the method {method[:40]!r}, expected one like GET or POST",
            place.shown,
            "write it in upper case; CONNECT is for proxies",
        )
    headers: RawHeaders = [(b"host", place.netloc)]
    defaults = _STREAMED if streams else _DEFAULTS
    headers += [(n.encode(), v) for n, v in defaults if n not in given]
    if kind and "content-type" not in given:
        if not _is_value(kind):
            raise _bad_header("content-type", place.shown)
        headers.append((b"content-type", kind.strip(" \t").encode()))
    line = b"%s %s HTTP/1.1\r\n" % (method.encode(), place.target)
    lines = [b"%b: %b\r\n" % pair for pair in headers]
    return Start(place, tuple(headers), line + b"".join(lines))


class _BadName(Exception):
    """A header of that name may not be sent."""


@lru_cache(maxsize=1024)
def _given(names: tuple[str, ...]) -> frozenset[str]:
    """Return which of our headers a message brings itself.

    Raises:
        _BadName: One of *names* may not be sent.
    """
    for name in names:
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise _BadName
    return _REPLACED & {name.lower() for name in names}


def _checked(pair: tuple[str, str], peer: Peer, message: Message) -> tuple[str, str]:
    """Return a header as it is sent.

    Raises:
        NotAllowed: Its name or value may not be sent.
    """
    name, value = pair
    try:
        _given((name,))
    except (_BadName, TypeError):
        fits = False
    else:
        fits = _is_value(value)
    if not fits:
        raise _bad_header(name, _place(peer.url, message.target).shown)
    return name, value.strip(" \t")


def _is_value(value: object) -> bool:
    return isinstance(value, str) and bool(_VALUE.fullmatch(value))


def _bad_header(name: object, shown: str) -> NotAllowed:
    # Values are never shown: they hold tokens and passwords.
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return _refused(
            f"found the header name {str(name)[:40]!r}, "
            "expected letters, digits and hyphens",
            shown,
            "correct the name",
        )
    if name.lower() in _OURS:
        return _refused(
            f"found the header {name!r}, which the transport sets or refuses by itself",
            shown,
            "leave it out",
        )
    return _refused(
        f"found line breaks, control or non-ASCII characters in the value of "
        f"the header {name!r}, expected printable ASCII",
        shown,
        "remove or percent-encode them",
    )


@lru_cache(maxsize=16_384)
def _place(url: str, target: str) -> Place:
    try:
        parse_url(url)
        whole = join_url(url, target)
        found = httpx.URL(whole)
    except UsageError as exc:
        raise _refused(exc.what, None, exc.fix or "correct the URL") from exc
    except httpx.InvalidURL as exc:
        raise _refused(
            f"found a URL that cannot be read ({exc})", None, "correct the URL"
        ) from exc
    if found.scheme not in ("http", "https") or not found.raw_host:
        raise _refused(
            f"found a URL with the scheme {found.scheme!r}, expected http or https",
            None,
            "choose a transport that serves it",
        )
    bare = found.copy_with(query=None, fragment=None)
    shown = f"{bare}?…" if found.query else str(bare)
    port = found.port or (443 if found.scheme == "https" else 80)
    origin = (found.scheme, found.raw_host.decode("ascii").strip("[]"), port)
    sent = request_target(whole).encode()
    netloc = found.netloc
    return Place(found, shown, netloc, netloc.decode(), sent, origin)


def _refused(what: str, where: str | None, fix: str) -> NotAllowed:
    return NotAllowed(what, where=where, fix=fix, delivered=False)
