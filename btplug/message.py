"""What transports carry: values, frozen, made of bytes, text and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from btplug.errors import BadReply, UsageError
from btplug.network import parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

Headers: TypeAlias = tuple[tuple[str, str], ...]
Buffer: TypeAlias = bytes | bytearray | memoryview


def find_header(headers: Headers, name: str) -> str | None:
    """Return the first header called *name*, whatever its case."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


@dataclass(frozen=True, slots=True)
class Peer:
    """An address a transport can reach.

    Attributes:
        url: Absolute; its scheme chooses the transport; IPv6 in brackets.
        hotkey: ss58 address that must answer there; None: whoever does.
        dialect: How the two prove who they are; None: the transport's default.
    """

    url: str
    hotkey: str | None = None
    dialect: str | None = None

    @classmethod
    def parse(cls, text: str) -> Peer:
        """Read a URL, ``host:port`` (HTTP is meant) or ``hotkey@host:port``.

        Raises:
            UsageError: *text* is none of these.
        """
        if "://" in text:
            return cls(parse_url(text))
        hotkey, at, address = text.rpartition("@")
        if at and not (hotkey.isascii() and hotkey.isalnum()):
            raise UsageError(
                "found a peer with '@' after what is no hotkey, "
                "expected hotkey@host:port",
                fix="write the hotkey as its ss58 address",
            )
        return cls(parse_url(f"http://{address}"), hotkey or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent.

    Attributes:
        headers: In order, repeats kept.
        method: Empty for the transport's own (HTTP: POST for send, GET for receive).
        target: Appended to the peer's path; empty leaves the URL as it is.
    """

    body: bytes = b""
    media_type: str = "application/octet-stream"
    headers: Headers = ()
    method: str = ""
    target: str = ""

    def header(self, name: str) -> str | None:
        """Return the first header called *name*, whatever its case."""
        return find_header(self.headers, name)

    @classmethod
    def of(cls, data: str | bytes | Message | None) -> Message:
        """Make a message of text (UTF-8), bytes, None (empty) or a message.

        Raises:
            UsageError: *data* is something else, or text that UTF-8 has not.
        """
        if data is None:
            return cls()
        if isinstance(data, str):
            try:
                body = data.encode()
            # What the shell hands over as other bytes becomes half a surrogate pair.
            except UnicodeEncodeError as exc:
                raise UsageError(
                    f"found text with {data[exc.start]!r} at position {exc.start}, "
                    "expected text that UTF-8 can write",
                    fix="hand bytes over as bytes, at a terminal as a file: @FILE",
                ) from exc
            return cls(body=body, media_type="text/plain; charset=utf-8")
        if isinstance(data, Message):
            return data
        if isinstance(data, (bytes, bytearray, memoryview)):
            return cls(body=bytes(data))
        raise UsageError(
            f"found data of type {type(data).__name__}, "
            "expected text, bytes or a Message",
            fix="encode it first, for example as JSON",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; an answer of any status is one.

    Attributes:
        status: HTTP's numbers in every transport.
        signer: Hotkey that was proven, never one that was claimed.
        seconds: From the start of the call to the end of the body.
    """

    status: int
    body: bytes = b""
    media_type: str = ""
    headers: Headers = ()
    signer: str | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True for 200 to 299."""
        return 200 <= self.status <= 299

    def header(self, name: str) -> str | None:
        """Return the first header called *name*, whatever its case."""
        return find_header(self.headers, name)

    def record(self) -> dict[str, object]:
        """Return a mapping of plain data, for JSON and tables.

        A body that is no UTF-8 text is under ``body_base64`` instead of ``body``.
        """
        key, body = "body", ""
        try:
            body = self.body.decode()
        except UnicodeDecodeError:
            from base64 import b64encode

            key, body = "body_base64", b64encode(self.body).decode()
        return {
            "status": self.status,
            "ok": self.ok,
            "media_type": self.media_type,
            "headers": [list(pair) for pair in self.headers],
            "signer": self.signer,
            "seconds": round(self.seconds, 6),
            key: body,
        }

    def expect_ok(self, peer: Peer | str) -> Reply:
        """Return the reply itself, if its status is 200 to 299.

        Raises:
            BadReply: It is another; the message shows how the body begins.
        """
        if self.ok:
            return self
        raise BadReply(
            f"the peer answered with status {self.status}, expected 200 to 299: "
            f"{self._shown()}",
            # A query may hold a key.
            where=(peer if isinstance(peer, str) else peer.url).partition("?")[0],
            fix=self._elsewhere() or "the reply says why, or ask the owner of the peer",
        )

    def _elsewhere(self) -> str:
        location = self.header("location") if 300 <= self.status <= 399 else None
        if not location:
            return ""
        return (
            f"redirects are not followed; if you trust it, send to {location[:200]!r}"
        )

    def text(self) -> str:
        """Return the body as UTF-8.

        Raises:
            BadReply: It is not UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError as exc:
            raise self._unreadable("UTF-8 text", str(exc.reason)) from exc

    def json(self, *, limit: int = 8 * 1024 * 1024) -> object:
        """Return the body as JSON; `btplug.codecs.decode_json` says what is refused.

        Args:
            limit: Bytes the body may have: as objects it takes up to twenty times as
                much. It may have one list or mapping for each 32 of them, or 262,144.

        Raises:
            BadReply: It is not JSON; the message shows what came instead.
        """
        from btplug._json import BadJSON, loads

        try:
            return loads(self.body, limit=limit, strict=True)
        except BadJSON as exc:
            raise self._unreadable("JSON", str(exc)) from exc

    def _unreadable(self, expected: str, reason: str) -> BadReply:
        return BadReply(
            f"found {self._shown()}, expected {expected} ({reason})",
            fix="look at the whole reply with: btplug run fetch URL",
        )

    def _shown(self) -> str:
        # repr, because a peer may have put terminal escapes into either.
        kind = repr(self.media_type[:80])[1:-1] or "no content type"
        shown = repr(self.body[:80])[1:]
        return f"a body of {len(self.body):,} bytes ({kind}): {shown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a transport can be used, and why not."""

    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the handler of a server gets.

    Attributes:
        message: Its method is in capitals, its target the path and query as sent.
        address: ``host:port`` it came from; IPv6 in brackets.
        hotkey: Of the sender, verified; None where nobody proved anything.
    """

    message: Message
    address: str
    hotkey: str | None = None


if TYPE_CHECKING:
    Handler: TypeAlias = Callable[
        [Request], Reply | Message | Awaitable[Reply | Message]
    ]


def read_body(
    word: str, option: str = "--data", *, most: int = 64 * 2**20
) -> str | bytes:
    """Return the body that a word of a command line means.

    Args:
        word: The text itself; ``@`` and the name of a file; or ``-``: standard input.
        option: What messages call it.
        most: Bytes that are read at most.

    Raises:
        UsageError: There are more, or they cannot be read.
    """
    if word != "-" and not word.startswith("@"):
        return word
    name = "stdin" if word == "-" else word[1:]
    try:
        with _opened(word) as file:
            body = file.read(most + 1)
    except OSError as exc:
        raise UsageError(
            f"{option}: {name}: {exc.strerror}, expected a file that can be read",
            fix="correct the path, or be allowed to read it",
        ) from exc
    if len(body) > most:
        # Before it takes all memory: it may be a device, or a pipe without an end.
        raise UsageError(
            f"{option}: {name}: found more than {most:,} bytes, expected at most that",
            fix="send less, or send it from Python with the transport's stream()",
        )
    return body


def _opened(word: str) -> AbstractContextManager[BinaryIO]:
    import os
    import sys
    from contextlib import nullcontext
    from io import BytesIO

    if word == "-":
        # Closed, it is None; a library may have put a text there.
        return nullcontext(getattr(sys.stdin, "buffer", None) or BytesIO())
    return open(os.path.expanduser(word[1:]), "rb")
