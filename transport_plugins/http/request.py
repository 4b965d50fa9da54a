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


class Place(NamedTuple):
    """A URL, taken apart once.

    Attributes:
        shown: For messages: without the query, which may hold a key.
        netloc: What the Host header says.
        target: Path and query as they are sent.
        origin: Scheme, host (IPv6 without brackets) and port: who is connected to.
    """

    url: httpx.URL
    shown: str
    netloc: bytes
    target: bytes
    origin: tuple[str, str, int]


class Outgoing(NamedTuple):
    """A message as it will stand on the wire.

    Attributes:
        coded: The caller chose the content encodings, and decodes what is unknown here.
    """

    place: Place
    method: str
    headers: RawHeaders
    body: bytes
    coded: bool

    def head(self) -> bytes:
        """Return request line and headers as bytes."""
        lines = [b"%s %s HTTP/1.1\r\n" % (self.method.encode(), self.place.target)]
        lines += [b"%s: %s\r\n" % pair for pair in self.headers]
        return b"".join([*lines, b"\r\n"])


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
    place = _place(peer.url, message.target)
    method, body = message.method or default, message.body
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        raise _refused(
            f"found the method {method[:40]!r}, expected one like GET or POST",
            place.shown,
            "write it in upper case; CONNECT is for proxies",
        )
    if not isinstance(body, bytes):
        raise _refused(
            f"found a body of type {type(body).__name__}, expected bytes",
            place.shown,
            "encode it: Message.of(text) does",
        )
    own: RawHeaders = []
    given = set()
    for name, value in message.headers:
        own.append(_header(name, value, place.shown))
        given.add(name.lower())
    headers: RawHeaders = [(b"host", place.netloc)]
    defaults = _DEFAULTS if flow is None else _STREAMED
    headers += [(n.encode(), v) for n, v in defaults if n not in given]
    sends = flow is not None and flow.sends
    if (body or sends) and message.media_type and "content-type" not in given:
        headers.append(_header("content-type", message.media_type, place.shown))
    if flow is not None and sends:
        body = b""
        if flow.length is None:
            headers.append((b"transfer-encoding", b"chunked"))
        else:
            headers.append((b"content-length", b"%d" % flow.length))
    elif body or method not in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE"):
        headers.append((b"content-length", b"%d" % len(body)))
    return Outgoing(place, method, headers + own, body, "accept-encoding" in given)


def _header(name: str, value: str, shown: str) -> tuple[bytes, bytes]:
    # Values are never shown: they hold tokens and passwords.
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise _refused(
            f"found the header name {str(name)[:40]!r}, "
            "expected letters, digits and hyphens",
            shown,
            "correct the name",
        )
    if name.lower() in _OURS:
        raise _refused(
            f"found the header {name!r}, which the transport sets or refuses by itself",
            shown,
            "leave it out",
        )
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise _refused(
            f"found line breaks, control or non-ASCII characters in the value of "
            f"the header {name!r}, expected printable ASCII",
            shown,
            "remove or percent-encode them",
        )
    return name.encode(), value.strip(" \t").encode()


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
    return Place(found, shown, found.netloc, sent, origin)


def _refused(what: str, where: str | None, fix: str) -> NotAllowed:
    return NotAllowed(what, where=where, fix=fix, delivered=False)
