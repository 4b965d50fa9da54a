"""What hostile servers do, by the number of the line in the list of them.

One script each, with the error that every way of asking must end in. They are run in
``integration/test_servers.py`` by each way, and in ``e2e/test_hostile_peers.py`` by
the command.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from hostile_server import Line, reply, then_close

LIMIT = 0.4  # seconds, where a case has to wait for the time limit
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

RAISE = "raise the limit: timeout=, --timeout or btplug config set http.timeout N"
OWNER = "report it to the owner of the peer"
TWICE = "the peer may have got it: send it again only if that does no harm"
BODY = "raise the limit if that is right: btplug config set http.max_body N"
HEADERS = "raise the limit if that is right: btplug config set http.max_headers N"
SERVER = "check that an HTTP server answers there"


class Case(NamedTuple):
    """What a server does, and what is said of it.

    Attributes:
        kind: Of the error.
        what: A pattern of all of its first sentence.
        streamed: Kind and pattern where a stream, which holds no body, ends otherwise.
        config: Settings of the transport.
    """

    script: Callable[[Line], Any]
    kind: str
    what: str
    fix: str
    streamed: tuple[str, str, str] | None = None
    config: dict[str, Any] = {}  # noqa: RUF012 - never changed


def _slow_head(line):
    line.request()
    line.drip(HEAD + b"X-Slow: a", 0.05)


def _slow_body(line):
    line.request()
    line.send(HEAD + b"Content-Length: 1000\r\n\r\n")
    line.drip(b"x", 0.05)


def _silent(line):
    line.request()
    line.wait()


def repeating(data, *, first=b"", every=0.0):
    """Return a script that answers with *first*, and *data* without end."""

    def script(line):
        line.request()
        line.send(first)
        while line.wait(every):
            line.send(data)

    return script


def _reset_in_body(line):
    line.request()
    line.send(HEAD + b"Content-Length: 100\r\n\r\nabc")
    line.wait(0.1)
    line.reset()


@cache
def bomb(size, bits):
    """Return *size* zeros, packed as gzip (*bits* 31) or zlib (15)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    block = bytes(1_000_000)
    parts = [packer.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, packer.flush()])


def _zipped(line):
    # 285 KB that decode to 300 MB; made when it is asked for.
    line.request()
    line.send(reply(bomb(300_000_000, 31), b"Content-Encoding: gzip"))


_UNASKED = (
    "bad-reply",
    "found the content encoding 'gzip', which was not asked for",
    OWNER,
)
_HEAD_LIMIT = r"found [\d,]+ bytes of headers and no end, expected at most 65,536 bytes"

CASES = {
    "S01 headers, a byte at a time": Case(
        _slow_head, "late", r"waited 0.4 s for the reply headers: \d+ bytes had arrived", RAISE
    ),
    "S02 body, a byte at a time": Case(
        _slow_body, "late", r"waited 0.4 s for the reply body: got \d+ of 1,000 bytes", RAISE
    ),
    "S03 accepts and says nothing": Case(
        _silent, "late", r"waited 0.4 s for the reply headers: no bytes had arrived", RAISE
    ),
    "S04 endless 100 Continue, slow": Case(
        repeating(b"HTTP/1.1 100 Continue\r\n\r\n", every=0.05),
        "late", r"waited 0.4 s for the reply headers: \d+ bytes had arrived", RAISE,
    ),
    "S04 endless 100 Continue, fast": Case(
        repeating(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), "too-large", _HEAD_LIMIT, OWNER
    ),
    "S05 endless chunks, slow": Case(
        repeating(b"1\r\nx\r\n", first=CHUNKED, every=0.05),
        "late", r"waited 0.4 s for the reply body: got \d+ bytes, and no end", RAISE,
    ),
    "S05 endless chunks, fast": Case(
        repeating(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n", first=CHUNKED),
        "too-large", "found more than 100,000 bytes, expected at most 100,000 bytes", BODY,
        ("late", r"waited 0.4 s for the reply body: got [\d,]+ bytes, and no end", RAISE),
        {"max_body": 100_000},
    ),
    "S06 body shorter than announced": Case(
        then_close(HEAD + b"Content-Length: 100\r\n\r\nabc"),
        "cut", "the connection ended in waiting for the reply body: got 3 of 100 bytes", TWICE,
    ),
    "S08 two Content-Lengths": Case(
        then_close(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        "bad-reply", "found headers that break .*", OWNER,
    ),
    "S08 two Content-Lengths that agree": Case(
        then_close(HEAD + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\nok"),
        "bad-reply", "found headers that break .*", OWNER,
    ),
    "S08 negative Content-Length": Case(
        then_close(HEAD + b"Content-Length: -2\r\n\r\nok"),
        "bad-reply", r"found headers that break the rules of HTTP \(.*\): b'HTTP/1.1 200 OK.*'", OWNER,
    ),
    "S11 gzip bomb": Case(
        _zipped, "too-large",
        r"found 2\d\d,\d{3} bytes of gzip that decode to more, expected at most 67,108,864 bytes",
        BODY, _UNASKED,
    ),
    "S13 claims gzip, is plain": Case(
        then_close(reply(b"plain", b"Content-Encoding: gzip")), "bad-reply",
        r"found a body that is not the gzip it claims to be \(.*\): b'plain'", OWNER, _UNASKED,
    ),
    "S15 header of 2 MB": Case(
        then_close(HEAD + b"X: " + b"x" * 2_000_000 + b"\r\n\r\n"), "too-large", _HEAD_LIMIT, OWNER
    ),
    "S15 5,000 headers": Case(
        then_close(HEAD + b"X: 1\r\n" * 5000 + b"Content-Length: 0\r\n\r\n"),
        "too-large", "found 5,001 headers, expected at most 200 headers", HEADERS,
    ),
    "S15 headers just over 64 KiB": Case(
        then_close(HEAD + b"X: " + b"x" * 66_000 + b"\r\n\r\n"), "too-large",
        r"found [\d,]+ bytes of headers( and no end)?, expected at most 65,536 bytes", "",
    ),
    "S21 reset in the body": Case(
        _reset_in_body, "cut",
        r"the connection ended \(.*\) in waiting for the reply body: got 3 of 100 bytes", TWICE,
    ),
    "S21 closed without a byte": Case(
        lambda line: line.request(), "cut",
        "the connection ended in waiting for the reply headers: no bytes had arrived", TWICE,
    ),
    "S29 escapes in what is no reply": Case(
        then_close(b"SSH-2.0-\x1b[31mOpen\r\n\r\n"), "bad-reply",
        r"found no HTTP reply \(.*\): it begins with b'SSH-2\.0-\\x1b\[31mOpen.*'", SERVER,
    ),
    "S29 escapes in a header": Case(
        then_close(reply(b"ok", b"X: \x1b[31mred")), "bad-reply",
        r"found (control characters in the header 'X'|headers that break .*\\x1b\[31mred.*)", OWNER,
    ),
}  # fmt: skip
