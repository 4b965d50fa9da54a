"""Peer and message -> what is sent. Everything refused is refused here, unsent."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from btplug import __version__

from .places import Place, place_of, refused

if TYPE_CHECKING:
    from btplug import Message, Peer
    from btplug.errors import NotAllowed

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

# What is passed on as it comes is not decoded.
_STREAMED = (_DEFAULTS[0], ("accept-encoding", b"identity"), _DEFAULTS[2])
_REPLACED = frozenset({"content-type", *(name for name, _ in _DEFAULTS)})

_SHORT, _FEW = 1024, 32  # characters, and headers, of a beginning that is remembered


class Start(NamedTuple):
    """What the heads of messages to one place have in common.

    Attributes:
        parts: What stands before the value of each header that is not always the same.
        end: What stands after them.
        coded: The caller chose the content encodings, and decodes what is unknown here.
    """

    place: Place
    parts: tuple[str, ...]
    end: str
    coded: bool


class Outgoing(NamedTuple):
    """A message as it will stand on the wire.

    Attributes:
        values: What stands after each of the parts of *start*.
    """

    place: Place
    start: Start
    method: str
    values: tuple[str, ...]
    body: bytes

    def head(self) -> bytes:
        """Return request line and headers as bytes."""
        # Joined: what a subclass of str says of itself is not what was checked.
        own = chain.from_iterable(zip(self.start.parts, self.values, strict=True))
        return "".join([*own, self.start.end]).encode()


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
        raise refused(
            f"found a body of type {type(body).__name__}, expected bytes",
            place_of(peer.url, message.target).shown,
            "encode it: Message.of(text) does",
        )
    if type(body) is not bytes:
        # What a subclass says of itself is not what is sent, nor how long that is.
        body = bytes(memoryview(body))
    sends = flow is not None and flow.sends
    kind = message.media_type if body or sends else ""
    framing = length = ""
    if flow is not None and sends:
        framing, length, body = "content-length", str(flow.length), b""
        if flow.length is None:
            framing, length = "transfer-encoding", "chunked"
    elif body or method not in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE"):
        framing, length = "content-length", str(len(body))
    headers = message.headers
    try:
        names, values = zip(*headers, strict=True) if headers else ((), ())
        # All at once: the pattern is slow for the long values of signatures.
        text = "".join(values)
        if not (text.isascii() and text.isprintable() and " " not in text):
            values = tuple([_checked(pair, peer, message) for pair in headers])
        url, target = peer.url, message.target
        # Long ones may be those of a plugin that would fill the memory with them.
        text = f"{url}{target}{method}{kind}{''.join(names)}"
        short = len(text) <= _SHORT and len(names) <= _FEW and text.isascii()
        start = (_known if short else _start)(
            url, target, method, kind, framing, names, bool(flow)
        )
    except (_BadName, TypeError):
        for pair in headers:
            _checked(pair, peer, message)  # says which it is
        raise
    values = (length, *values) if framing else values
    return Outgoing(start.place, start, method, values, body)


def _start(
    url: str,
    target: str,
    method: str,
    kind: str,
    framing: str,
    names: tuple[str, ...],
    streams: bool,
) -> Start:
    """Return what does not change from one message to the next.

    Args:
        kind: The media type; empty: there is no body.
        framing: The header that says where the body ends, if there is one.
        names: Of the message's own headers.
        streams: The reply is passed on as it comes, and not decoded.

    Raises:
        _BadName: One of *names* may not be sent.
        NotAllowed: Something else may not.
    """
    given = _given(names)
    place = place_of(url, target)
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        raise refused(
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
    lines = [b"%b: %b" % pair for pair in headers]
    lines.insert(0, b"%b %b HTTP/1.1" % (str.encode(method), place.target))
    own = tuple(map(str.encode, (framing, *names) if framing else names))
    lines += [b"%b: \0" % name for name in own]
    text = b"\r\n".join([*lines, b"\r\n"]).decode()
    *parts, end = text.split("\0")  # no line has a NUL of its own
    coded = "accept-encoding" in given
    return Start(place, tuple(parts), end, coded)


_known = lru_cache(maxsize=4096)(_start)


class _BadName(Exception):
    """A header of that name may not be sent."""


def _given(names: tuple[str, ...]) -> frozenset[str]:
    """Return which of our headers a message brings itself.

    Raises:
        _BadName: One of *names* may not be sent.
    """
    for name in names:
        if not _TOKEN.fullmatch(name) or str.lower(name) in _OURS:
            raise _BadName
    return _REPLACED & {str.lower(name) for name in names}


def _checked(pair: tuple[str, str], peer: Peer, message: Message) -> str:
    """Return the value of a header as it is sent.

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
        raise _bad_header(name, place_of(peer.url, message.target).shown)
    return str.strip(value, " \t")


def _is_value(value: object) -> bool:
    return isinstance(value, str) and bool(_VALUE.fullmatch(value))


def _bad_header(name: object, shown: str) -> NotAllowed:
    # Values are never shown: they hold tokens and passwords.
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return refused(
            f"found the header name {str(name)[:40]!r}, "
            "expected letters, digits and hyphens",
            shown,
            "correct the name",
        )
    if name.lower() in _OURS:
        return refused(
            f"found the header {name!r}, which the transport sets or refuses by itself",
            shown,
            "leave it out",
        )
    return refused(
        f"found line breaks, control or non-ASCII characters in the value of "
        f"the header {name[:40]!r}, expected printable ASCII",
        shown,
        "remove or percent-encode them",
    )
