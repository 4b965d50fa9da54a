"""What the head of a reply says, checked; one that came before is not read again."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from btplug.errors import BadReply, TooLarge
from btplug.logs import escape

if TYPE_CHECKING:
    from btplug.errors import TransportError

    from .request import RawHeaders
    from .settings import HTTPConfig

_RAISE = "raise the limit if that is right: btplug config set http.{} N"
_OWNER = "report it to the owner of the peer"
_KEPT, _LONGEST = 512, 1024  # heads that are remembered; bytes of one
_DIGITS = 20  # of the longest length that a parser takes: 64 bits


class Head(NamedTuple):
    """Status and headers of a reply.

    Attributes:
        kind: The media type.
        coding: The content encoding in lower case; empty: none.
        length: What Content-Length says; None: nothing.
        chunked: The body says itself where it ends.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    kind: str
    coding: str
    length: int | None
    chunked: bool


def check_raw(raw: bytes, begin: bytes, shown: str) -> None:
    """Check what the parser takes for the head of a reply.

    Args:
        raw: All of it, as it came; nothing where its end is not clear.
        begin: How what came begins, for messages.

    Raises:
        BadReply: It is none.
    """
    # httptools takes RTSP and ICE too, and line breaks before any of them.
    if raw[:5].lower() != b"http/":
        raise BadReply(
            f"found no HTTP reply: it begins with {begin!r}",
            where=shown,
            fix="check that an HTTP server answers there",
        )


def read_head(status: int, raw: RawHeaders, config: HTTPConfig, shown: str) -> Head:
    """Check the headers of a reply.

    Args:
        shown: Where it comes from, for messages.

    Raises:
        BadReply: They do not say clearly what the body is.
        TooLarge: They are more than the limits.
    """
    if len(raw) > config.max_headers:
        what = f"found {len(raw):,} headers"
        raise too_large(what, "max_headers", "headers", config, shown)
    size = 0
    headers = []
    named: dict[str, str] = {}
    for name, value in raw:
        size += len(name) + len(value) + 4
        read = _read_known if len(name) + len(value) <= _SHORT else _read
        field, low, clean = read(name, value)
        if not clean:
            raise bad(f"found control characters in the header {field[0]!r}", shown)
        headers.append(field)
        if low not in named:
            named[low] = field[1]
        elif low in _LISTS:
            named[low] += f", {field[1]}"
    if size > config.max_head:
        what = f"found {size:,} bytes of headers"
        raise too_large(what, "max_head", "bytes", config, shown)
    chunked = "transfer-encoding" in named
    if chunked and named["transfer-encoding"].lower() != "chunked":
        found = escape(named["transfer-encoding"][:40])
        raise bad(f"found the transfer encoding {found!r}, expected chunked", shown)
    if chunked and "content-length" in named:
        raise bad("found both Content-Length and Transfer-Encoding", shown)
    coding = named.get("content-encoding", "").lower()
    told = named.get("content-length")
    return Head(
        status=status,
        headers=tuple(headers),
        kind=named.get("content-type", ""),
        coding="" if coding == "identity" else coding,
        length=None if told is None else _length(told, shown),
        chunked=chunked,
    )


def _length(text: str, shown: str) -> int:
    """Return what Content-Length says.

    Raises:
        BadReply: It is no number that a length can be.
    """
    # Any number of zeros may stand in front; int() itself refuses 4,300 digits.
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdigit() and len(digits) <= _DIGITS):
        found = escape(text[:40])
        raise bad(f"found the Content-Length {found!r}, expected a number", shown)
    return int(digits or "0")


class Heads:
    """Heads by the bytes they came as: those of most replies came before.

    Only of replies whose parser had nothing to add: they announced their length, and
    left the connection open.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self.find = self._known.get

    def keep(self, raw: bytes, head: Head) -> None:
        """Remember that *raw*, with all its line breaks, says *head*."""
        if len(raw) <= _LONGEST:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[raw] = head


def too_large(
    what: str, key: str, unit: str, config: HTTPConfig, shown: str
) -> TransportError:
    """Return the error for more than the limit *key* of the settings."""
    limit = getattr(config, key)
    return TooLarge(
        f"{what}, expected at most {limit:,} {unit}",
        where=shown,
        fix=_RAISE.format(key),
    )


def bad(what: str, shown: str) -> TransportError:
    """Return the error for a reply that breaks the rules."""
    return BadReply(what, where=shown, fix=_OWNER)


# Repeated, these are one list (RFC 9110, 5.3); of all others the first one counts.
_LISTS = ("transfer-encoding", "content-encoding")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _read(name: bytes, value: bytes) -> tuple[tuple[str, str], str, bool]:
    """Return a header as text, its name in lower case, and whether it may be shown."""
    key = name.decode("latin-1")
    # The parser leaves what stands behind a value: it is no part of it (RFC 9110, 5.5).
    value = value.strip(b" \t")
    # Anything that is a byte is a header's text; most of what is not ASCII is UTF-8.
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    # RFC 9110, 5.5: such values are never right, and may steer a terminal.
    clean = text.isprintable() or not _CONTROL.search(text)
    return (key, text), key.lower(), clean


# Most headers of most replies are those of the reply before.
_SHORT = 96  # bytes of one that is remembered
_read_known = lru_cache(maxsize=512)(_read)
