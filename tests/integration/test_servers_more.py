"""More of the kind of `test_servers`: what else a server may send, by each way.

Where the parser is lenient it is so with what harms nobody: the reply has one meaning,
and its connection is not used again where a byte is left.
"""

from __future__ import annotations

import gzip
import time
import zlib

import asking
import pytest
from asking import STREAMS, ask, failing
from hostile_server import OK, Hostile, reply, then_close
from servers import CHUNKED, HEAD, bomb

way, http = asking.way, asking.http

MANY = 10  # times its limit is what a call may last on a busy machine
END = b"1\r\nx\r\n0\r\n\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"
ONCE = gzip.compress(b"a" * 100, mtime=0)
EMPTY = gzip.compress(b"", mtime=0)
X, OKAY = "200 b'x'", "200 b'ok'"


def zipped(data, coding=b"gzip"):
    return reply(data, b"Content-Encoding: " + coding)


# What is sent, and how it ends: a status with the body, or the kind of an error.
SENT = {
    "1xx with a body": (
        b"HTTP/1.1 102 P\r\nContent-Length: 5\r\n\r\nhello" + OK, "bad-reply"),
    "103 Early Hints": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, OKAY),
    "101 nobody asked for": (b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + OK, "bad-reply"),
    "one trailer": (CHUNKED + b"1\r\nx\r\n0\r\nT: v\r\n\r\n", X),
    "trailers of 2 MB": (CHUNKED + b"1\r\nx\r\n0\r\n" + b"T: v\r\n" * 350_000 + b"\r\n", "too-large"),
    "chunk extension": (CHUNKED + b"1;a=b\r\nx\r\n0\r\n\r\n", X),
    "chunk extension of 1 MB": (CHUNKED + b"1;" + b"a" * 1_000_000 + b"\r\nx\r\n0\r\n\r\n", "too-large"),
    "chunk size of 30 digits": (CHUNKED + b"1" * 30 + b"\r\nx", "bad-reply"),
    "chunk size of 30 zeros": (CHUNKED + b"0" * 29 + b"1\r\nx\r\n0\r\n\r\n", X),
    "chunk size in hex": (CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n", "bad-reply"),
    "chunk size with a plus": (CHUNKED + b"+1\r\nx\r\n0\r\n\r\n", "bad-reply"),
    "chunk size and a space": (CHUNKED + b"1 \r\nx\r\n0\r\n\r\n", "bad-reply"),
    "chunks with bare LF": (CHUNKED + b"1\nx\n0\n\n", "bad-reply"),
    "chunk longer than its size": (CHUNKED + b"1\r\nxx0\r\n\r\n", "bad-reply"),
    "folded header": (HEAD + b"X: a\r\n b\r\n" + TWO, "bad-reply"),
    "bare CR in a header": (HEAD + b"X: a\rb\r\n" + TWO, "bad-reply"),
    "bare LF after the status": (b"HTTP/1.1 200 OK\n" + TWO, "bad-reply"),
    "NUL in a value": (HEAD + b"X: a\0b\r\n" + TWO, "bad-reply"),
    "NUL in a name": (HEAD + b"X\0: b\r\n" + TWO, "bad-reply"),
    "DEL in a value": (HEAD + b"X: a\x7fb\r\n" + TWO, "bad-reply"),
    "8-bit name": (HEAD + b"X\xff: b\r\n" + TWO, "bad-reply"),
    "space before the colon": (HEAD + b"Content-Length : 2\r\n\r\nok", "bad-reply"),
    "header without a name": (HEAD + b": 2\r\n" + TWO, "bad-reply"),
    "status line of 1 MB": (b"HTTP/1.1 200 " + b"O" * 1_000_000 + b"\r\n" + TWO, "too-large"),
    "status of four digits": (b"HTTP/1.1 1000 OK\r\n" + TWO, "bad-reply"),
    "negative status": (b"HTTP/1.1 -200 OK\r\n" + TWO, "bad-reply"),
    "no reason": (b"HTTP/1.1 200\r\n" + TWO, OKAY),
    "gzip, chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + END, "bad-reply"),
    "chunked twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + END, "bad-reply"),
    "chunked in two headers": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + END, "bad-reply"),
    "chunked, and identity in another header": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + END, "bad-reply"),
    "identity": (HEAD + b"Transfer-Encoding: identity\r\n" + TWO, "bad-reply"),
    "xchunked": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + END, "bad-reply"),
    "Transfer-Encoding before Content-Length": (
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n" + END, "bad-reply"),
    "Content-Length before Transfer-Encoding": (
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + END, "bad-reply"),
    "length with a plus": (HEAD + b"Content-Length: +2\r\n\r\nok", "bad-reply"),
    "length in a list": (HEAD + b"Content-Length: 2, 2\r\n\r\nok", "bad-reply"),
    "length of 5,000 digits": (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nok", "bad-reply"),
    "length that is empty": (HEAD + b"Content-Length: \r\n\r\nok", "bad-reply"),
    "length with an underscore": (HEAD + b"Content-Length: 1_0\r\n\r\n0123456789", "bad-reply"),
    "HTTP/0.9": (b"<html>hello</html>", "bad-reply"),
    "HTTP/1.0 until its end": (b"HTTP/1.0 200 OK\r\n\r\nok", OKAY),
    "HTTP/2 frames": (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64", "bad-reply"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad-reply"),
    "HTTP/2 in words": (b"HTTP/2 200\r\n" + TWO, "bad-reply"),
    "RTSP": (b"RTSP/1.0 200 OK\r\n" + TWO, "bad-reply"),
    "ICE": (b"ICE/1.0 200 OK\r\n" + TWO, "bad-reply"),
    "a request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad-reply"),
    "line breaks before the reply": (b"\r\n\r\n" + OK, "bad-reply"),
    # Fewer than headers may have: beyond, it depends on the reads what is noticed first.
    "50 KB of line breaks before it": (b"\r\n" * 25_000 + OK, "bad-reply"),
    "UTF-16": ("HTTP/1.1 200 OK\r\n\r\n".encode("utf-16"), "bad-reply"),
    "150 cookies": (HEAD + b"Set-Cookie: a=b\r\n" * 150 + TWO, OKAY),
    "1,000 cookies": (HEAD + b"Set-Cookie: a=b\r\n" * 1000 + TWO, "too-large"),
    "204 with a body": (b"HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\nhello", "204 b''"),
    "204 in chunks": (b"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n" + END, "204 b''"),
    "304 with a body": (b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\nhello", "304 b''"),
    "closes, and says more": (HEAD + b"Connection: close\r\n" + TWO + b"MORE", OKAY),
    "half of the status": (b"HTT", "cut"),
    "status, and no more": (HEAD, "cut"),
}  # fmt: skip

# A stream asks for no coding, and takes none.
CODED = {
    "deflate bomb": (zipped(bomb(80_000_000, 15), b"deflate"), "too-large"),
    "gzip in gzip": (zipped(gzip.compress(ONCE), b"gzip, gzip"), "bad-reply"),
    "gzip in two headers": (
        reply(ONCE, b"Content-Encoding: gzip", b"Content-Encoding: gzip"), "bad-reply"),
    "gzip of two members": (zipped(ONCE + ONCE), f"200 {b'a' * 200!r}"),
    "gzip of 100,000 empty members": (zipped(EMPTY * 100_000), "bad-reply"),
    "gzip without its end": (zipped(ONCE[:-4]), "bad-reply"),
    "gzip with a wrong sum": (zipped(ONCE[:-8] + bytes(8)), "bad-reply"),
    "deflate of empty blocks": (
        zipped(b"\x00\x00\x00\xff\xff" * 400_000, b"deflate"), "bad-reply"),
    "deflate and more": (zipped(zlib.compress(b"x") + b"more", b"deflate"), "bad-reply"),
    "zstd that was not offered": (zipped(b"\x28\xb5\x2f\xfd", b"zstd"), "bad-reply"),
    "br that was not offered": (zipped(b"\x0b\x02\x80hello\x03", b"br"), "bad-reply"),
}  # fmt: skip


def check(http, way, script, wanted):
    """Ask, and hold what comes against *wanted*."""
    if not wanted[0].isdigit():
        with failing(http, way) as caught, Hostile(script) as server:
            ask(http, way, server.url, b"x", timeout=20)
        error = caught.value
        assert error.kind == wanted, error
        assert error.where == server.url
        assert error.what.startswith(("found ", "the connection ended "))
        assert error.fix
        assert error.delivered is None
        assert str(error).replace("\n", "").isprintable()
        return
    with Hostile(script) as server:
        answer = ask(http, way, server.url, b"x", timeout=20)
    assert f"{answer.status} {answer.body!r}" == wanted


@pytest.mark.parametrize("name", SENT)
def test_whatever_is_sent_is_one_reply_or_one_error(http, way, name):
    data, wanted = SENT[name]

    check(http, way, then_close(data), wanted)


@pytest.mark.parametrize("name", CODED)
def test_a_coding_is_undone_within_limits_or_refused(http, way, name):
    data, wanted = CODED[name]
    began = time.monotonic()

    check(http, way, then_close(data), "bad-reply" if way in STREAMS else wanted)

    assert time.monotonic() - began < MANY
