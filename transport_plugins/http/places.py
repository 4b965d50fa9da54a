"""URLs of peers, taken apart once each."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from btplug.errors import NotAllowed, UsageError
from btplug.network import join_url, parse_url, request_target

from .library import httpx

_SHORT = 256  # characters of a URL that is remembered: it may be a hostile plugin's


class Place(NamedTuple):
    """A URL, taken apart once.

    Attributes:
        shown: For messages: without the query, which may hold a key.
        netloc: What the Host header says.
        host: The same as text.
        target: Path and query as they are sent.
        origin: Scheme, host (IPv6 without brackets) and port: who is connected to.
    """

    shown: str
    netloc: bytes
    host: str
    target: bytes
    origin: tuple[str, str, int]


def place_of(url: str, target: str) -> Place:
    """Return where a message to *target* at *url* goes.

    Raises:
        NotAllowed: It is no URL of HTTP.
    """
    # One that is not ASCII is sent twelve times as long.
    text = f"{url}{target}"
    known = len(text) <= _SHORT and text.isascii()
    return (_known if known else _place)(url, target)


def _place(url: str, target: str) -> Place:
    try:
        parse_url(url)
        whole = join_url(url, target)
        found = httpx.URL(whole)
    except UsageError as exc:
        raise refused(exc.what, None, exc.fix or "correct the URL") from exc
    except httpx.InvalidURL as exc:
        raise refused(
            f"found a URL that cannot be read ({exc})", None, "correct the URL"
        ) from exc
    if found.scheme not in ("http", "https") or not found.raw_host:
        raise refused(
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
    return Place(shown, netloc, netloc.decode(), sent, origin)


_known = lru_cache(maxsize=16_384)(_place)


def refused(what: str, where: str | None, fix: str) -> NotAllowed:
    """Return the error for a message that may not be sent; nothing of it was."""
    return NotAllowed(what, where=where, fix=fix, delivered=False)
