"""What came back, checked as it arrives: the body, its size and coding."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from btplug.errors import TooLarge, TransportError
from btplug.logs import escape
from btplug.values import new_reply

from .decoding import CODINGS, OverLimit, Undecodable, decode
from .heads import bad, too_large

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug import Reply

    from .heads import Head
    from .request import Outgoing
    from .settings import HTTPConfig

_LEAST, _MOST = 128 * 1024, 8 * 1024 * 1024  # bytes of a body that has its room


class Incoming:
    """One reply under way.

    Attributes:
        length: Bytes the body must have on the wire; None where nothing says so.
        size: Bytes of it that have arrived.
        chunked: The body says itself where it ends.

    Raises:
        BadReply: Its coding was not asked for.
        TooLarge: The body it announces is more than the limit.
    """

    __slots__ = (
        "_body", "_coded", "_config", "_shown", "chunked", "head", "length", "size",
    )  # fmt: skip

    def __init__(
        self, head: Head, out: Outgoing, config: HTTPConfig, *, streams: bool = False
    ) -> None:
        self.head, self._config, self._shown = head, config, out.place.shown
        self._body: bytes | BytesIO = b""
        self.size = 0
        self._coded = out.start.coded
        self.chunked, self.length = head.chunked, head.length
        if head.status in (204, 304) or out.method == "HEAD":
            self.chunked, self.length = False, 0
        if streams:
            # It is passed on as it comes: nothing of it is held, or decoded.
            if head.coding and not out.start.coded:
                coding = escape(head.coding[:40])
                raise self._bad(
                    f"found the content encoding {coding!r}, which was not asked for"
                )
        elif self.length is not None and self.length > config.max_body:
            raise self._large(f"the reply announces {self.length:,} bytes")

    @property
    def until_end(self) -> bool:
        """True where only the end of the connection ends the body."""
        return self.length is None and not self.chunked

    @property
    def packed(self) -> bool:
        """True where decoding may take long: 4 KiB can stand for 4 MiB."""
        return self.size > 4096 and bool(self.head.coding)

    def take(self, chunk: bytes) -> None:
        """Add a part of the body as it stands on the wire.

        Raises:
            TooLarge: That is more than the limit.
        """
        self.size += len(chunk)
        if self.size > self._config.max_body:
            raise self._large(f"found more than {self._config.max_body:,} bytes")
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
        head = self.head
        if body and head.coding:
            body = self._decoded(body, tick)
        return new_reply(
            status=head.status,
            body=body,
            media_type=head.kind,
            headers=head.headers,
            seconds=seconds,
        )

    def _decoded(self, body: bytes, tick: Callable[[], object]) -> bytes:
        coding = escape(self.head.coding[:40])
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
            raise self._large(what) from exc
        except Undecodable as exc:
            raise self._bad(
                f"found a body that is not the {coding} it claims to be ({exc}): "
                f"{body[:80]!r}"
            ) from exc

    def too_much(self, held: int, most: int) -> TransportError:
        """Return the error for this one of many replies that are too large together."""
        return TooLarge(
            f"found {held:,} bytes of replies on their way at once, {self.size:,} of "
            f"them from this peer, expected at most {most:,} bytes",
            where=self._shown,
            fix="ask fewer at once (limit=), or: btplug config set http.max_held N",
        )

    def _large(self, what: str) -> TransportError:
        return too_large(what, "max_body", "bytes", self._config, self._shown)

    def _bad(self, what: str) -> TransportError:
        return bad(what, self._shown)
