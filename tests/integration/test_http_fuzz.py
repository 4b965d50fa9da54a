"""Whatever a server sends, and whatever a caller gives: one kind of outcome."""

from __future__ import annotations

import gzip
import random

import hostile_server
import pytest
from hostile_server import OK, Hostile, open_http, recording, reply
from hypothesis import given, settings
from hypothesis import strategies as st

from btplug import Message, Peer, Reply
from btplug.errors import NotAllowed, TransportError

form = hostile_server.form

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"
)
SEEDS = [
    OK,
    CHUNKED,
    b"HTTP/1.0 200 OK\r\n\r\nabc",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    reply(gzip.compress(b"x" * 500, mtime=0), b"Content-Encoding: gzip"),
    reply(b"", b"Location: http://x/", b"Set-Cookie: a=b", status="302 Found"),
    b"HTTP/2 200\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
]
BITS = [
    b"\r\n", b"\n", b"\r", b"\x00", b":", b" ", b"Content-Length: 5\r\n", b"-1",
    b"Transfer-Encoding: chunked\r\n", b"\xff\xfe", b"\x1b[31m", b"gzip",
    b"Connection: close\r\n", b"HTTP/1.1 200 OK\r\n", b"99999999999999999999",
    b"Content-Encoding: deflate\r\n",
]  # fmt: skip


def broken(chance):
    """Return a reply that was damaged in up to four places."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(0, 4)):
        at, kind = chance.randrange(len(data) + 1), chance.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            data[at:at] = chance.choice(BITS)
        elif kind == 2:
            del data[at : at + chance.randint(1, 10)]
        elif kind == 3:
            data = data[:at] or bytearray(b"x")
        else:
            data += chance.choice(SEEDS)
    return bytes(data)


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_reply_is_a_reply_or_one_of_our_errors(form, seed):
    cases = [broken(random.Random(seed * 1000 + n)) for n in range(120)]

    def script(line):
        while request := line.request():
            number = int(request.split(b" ")[1][1:])
            data = cases[number]
            step = (len(data), 7, 1000)[number % 3] or 1
            for at in range(0, len(data), step):
                line.send(data[at : at + step])
            if number % 2:
                return

    met = set()
    with Hostile(script) as server:
        for number in range(len(cases)):
            method = ("GET", "POST", "HEAD")[number % 3]
            try:
                answer = form.send(
                    f"{server.url}/{number}", method=method, timeout=0.08
                )
            except TransportError as exc:
                error = exc
            else:
                assert isinstance(answer, Reply)
                met.add("reply")
                continue
            assert "\x1b" not in str(error)
            assert error.where == f"{server.url}/{number}"
            assert error.fix
            met.add(error.kind)

    assert {"reply", "bad-reply", "cut", "late"} <= met


WORDS = st.text(st.characters(max_codepoint=0x2FF), max_size=12) | st.sampled_from(
    ["x", "a\r\nb: c", "Content-Length", "GET", "/a?b#c", "\r\n\r\n", "é", "Host"]
)


def test_whatever_a_caller_gives_is_refused_or_arrives_as_one_request():
    seen = []

    @settings(max_examples=150, deadline=None)
    @given(
        name=WORDS,
        value=WORDS,
        kind=WORDS,
        method=WORDS,
        target=WORDS,
        body=st.binary(),
    )
    def claim(name, value, kind, method, target, body):
        seen.clear()
        message = Message(
            body=body,
            media_type=kind,
            headers=((name, value),),
            method=method,
            target=target,
        )
        try:
            transport.send(Peer(server.url), message, timeout=5)
        except NotAllowed:
            assert not seen
            return
        head, _, rest = seen[0].partition(b"\r\n\r\n")
        assert rest == body
        lines = head.split(b"\r\n")
        assert lines[0].endswith(b" HTTP/1.1")
        assert lines[0].count(b" ") == 2
        sent = [line.split(b":")[0].lower() for line in lines[1:]]
        assert sent.count(b"content-length") <= 1
        assert sent.count(b"host") == 1
        assert len(sent) <= 7

    with open_http() as transport, Hostile(recording(seen)) as server:
        claim()
