"""What came back, checked as it arrives: headers, body, coding."""

from __future__ import annotations

import re
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from btplug import Reply
from btplug.errors import BadReply, TooLarge, TransportError
from btplug.logs import escape

from .decoding import CODINGS, OverLimit, Undecodable, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from .request import Outgoing, RawHeaders
    from .settings import HTTPConfig

_LEAST, _MOST = 128 * 1024, 8 * 1024 * 1024  # bytes of a body that has its room
_RAISE = "raise the limit if that is right: btplug config set http.{} N"
_OWNER = "report it to the owner of the peer"


class Incoming:
    """One reply under way.

    Attributes:
        length: Bytes the body must have on the wire; None where nothing says so.
        size: Bytes of it that have arrived.
        chunked: The body says itself where it ends.
    """

    __slots__ = (
        "_body", "_coded", "_coding", "_config", "_kind", "_shown", "chunked",
        "headers", "length", "size", "status",
    )  # fmt: skip

    def __init__(
        self,
        status: int,
        raw: RawHeaders,
        out: Outgoing,
        config: HTTPConfig,
        *,
        streams: bool = False,
    ) -> None:
        self.status, self._config, self._shown = status, config, out.place.shown
        self._body: bytes | BytesIO = b""
        self.size = 0
        if len(raw) > config.max_headers:
            raise self._large("max_headers", f"found {len(raw):,} headers", "headers")
        size = 0
        headers = []
        named: dict[str, str] = {}
        for name, value in raw:
            size += len(name) + len(value) + 4
            read = _read_known if len(name) + len(value) <= _SHORT else _read
            field, low, clean = read(name, value)
            if not clean:
                raise self._bad(f"found control characters in the header {field[0]!r}")
            headers.append(field)
            if low not in named:
                named[low] = field[1]
            elif low in _LISTS:
                named[low] += f", {field[1]}"
        if size > config.max_head:
            raise self._large("max_head", f"found {size:,} bytes of headers", "bytes")
        self.headers = tuple(headers)
        self.chunked = "transfer-encoding" in named
        if self.chunked and named["transfer-encoding"].strip().lower() != "chunked":
            coding = escape(named["transfer-encoding"][:40])
            raise self._bad(f"found the transfer encoding {coding!r}, expected chunked")
        if self.chunked and "content-length" in named:
            raise self._bad("found both Content-Length and Transfer-Encoding")
        self._coded, self._kind = out.coded, named.get("content-type", "")
        self._coding = named.get("content-encoding", "").strip().lower()
        self.length = self._length(named, out.method)
        if streams:
            # It is passed on as it comes: nothing of it is held, or decoded.
            if self._coding not in ("", "identity") and not self._coded:
                coding = escape(self._coding[:40])
                raise self._bad(
                    f"found the content encoding {coding!r}, which was not asked for"
                )
        elif self.length is not None and self.length > config.max_body:
            what = f"the reply announces {self.length:,} bytes"
            raise self._large("max_body", what, "bytes")

    def _length(self, named: dict[str, str], method: str) -> int | None:
        if method == "HEAD" or self.status in (204, 304):
            self.chunked = False
            return 0
        text = named.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def until_end(self) -> bool:
        """True where only the end of the connection ends the body."""
        return self.length is None and not self.chunked

    @property
    def packed(self) -> bool:
        """True where decoding may take long: 4 KiB can stand for 4 MiB."""
        return self.size > 4096 and self._coding not in ("", "identity")

    def take(self, chunk: bytes) -> None:
        """Add a part of the body as it stands on the wire.

        Raises:
            TooLarge: That is more than the limit.
        """
        self.size += len(chunk)
        if self.size > self._config.max_body:
            what = f"found more than {self._config.max_body:,} bytes"
            raise self._large("max_body", what, "bytes")
        if not self._body:
            self._body = chunk
            return
        # One buffer, not a list: a million tiny chunks must not cost 40 times more.
        # CPython hands this one out as bytes without a copy.
        if isinstance(self._body, bytes):
            begin, self._body = self._body, BytesIO()
            self._body.write(begin)
        self._body.write(chunk)

    def room(self) -> memoryview | None:
        """Return where the rest of a long body may be read into, with no copy.

        Whoever does adds to `size`, and releases it. None: it is short, of unknown
        length, or so long that memory is taken only as it comes.
        """
        body, length = self._body, self.length
        if length is None or length > _MOST or length - self.size < _LEAST:
            return None
        if not isinstance(body, bytes):
            return None
        # Pages that nobody has written to yet cost nothing.
        whole = self._body = BytesIO(bytes(length))
        whole.write(body)
        return whole.getbuffer()[self.size :]

    def progress(self) -> str:
        """Say how much of the body is there."""
        if self.length is not None:
            return f"got {self.size:,} of {self.length:,} bytes"
        return f"got {self.size:,} bytes, and no end"

    def reply(self, seconds: float, tick: Callable[[], object]) -> Reply:
        """Return the whole reply, decoded; its headers stay as they came.

        Raises:
            BadReply: The body is not what its coding says.
            TooLarge: Decoded, it is larger than the limit.
        """
        body = self._body
        if not isinstance(body, bytes):
            body = body.getvalue()
        if body and self._coding not in ("", "identity"):
            body = self._decoded(body, tick)
        return Reply(
            status=self.status,
            body=body,
            media_type=self._kind,
            headers=self.headers,
            seconds=seconds,
        )

    def _decoded(self, body: bytes, tick: Callable[[], object]) -> bytes:
        coding = escape(self._coding[:40])
        if coding not in CODINGS:
            if self._coded:
                return body
            raise self._bad(
                f"found the content encoding {coding!r}, expected gzip or deflate"
            )
        try:
            return decode(body, coding, self._config.max_body, tick)
        except OverLimit as exc:
            what = f"found {len(body):,} bytes of {coding} that decode to more"
            raise self._large("max_body", what, "bytes") from exc
        except Undecodable as exc:
            raise self._bad(
                f"found a body that is not the {coding} it claims to be ({exc}): "
                f"{body[:80]!r}"
            ) from exc

    def _large(self, key: str, what: str, unit: str) -> TransportError:
        limit = getattr(self._config, key)
        return TooLarge(
            f"{what}, expected at most {limit:,} {unit}",
            where=self._shown,
            fix=_RAISE.format(key),
        )

    def _bad(self, what: str) -> TransportError:
        return BadReply(what, where=self._shown, fix=_OWNER)


# Repeated, these are one list (RFC 9110, 5.3); of all others the first one counts.
_LISTS = ("transfer-encoding", "content-encoding")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _read(name: bytes, value: bytes) -> tuple[tuple[str, str], str, bool]:
    """Return a header as text, its name in lower case, and whether it may be shown."""
    key = name.decode("latin-1")
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
