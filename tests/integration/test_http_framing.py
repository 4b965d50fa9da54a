"""Replies that break the rules or the limits; test_servers has the worst of them."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import hostile_server
import pytest
from hostile_server import Hostile, answering, open_http, reply, then_close

from btplug import Message, Peer
from btplug.errors import BadReply, Cut, TooLarge

form, open_form = hostile_server.form, hostile_server.open_form


def test_a_chunked_body_without_its_end_is_cut(form):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(Cut, match="got 3 bytes, and no end"),
    ):
        form.receive(server.url)


def test_a_body_that_ends_with_the_connection_is_whole(form):
    with Hostile(then_close(b"HTTP/1.1 200 OK\r\n\r\nabc")) as server:
        assert form.receive(server.url).body == b"abc"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"200 OK\r\nContent-Length: 0x2", id="hex"),
        pytest.param(b"200 OK\r\nContent-Length: \xb2", id="superscript"),
        pytest.param(
            b"200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", id="both"
        ),
        pytest.param(b"200 OK\r\nTransfer-Encoding: gzip", id="other coding"),
        pytest.param(b"200 OK\r\nno colon", id="no colon"),
        pytest.param(b"200 OK\r\nA B: 1", id="space in name"),
        pytest.param(b"200 OK\r\nX: a\x00b", id="NUL"),
        pytest.param(b"000 Zero", id="status 000"),
        pytest.param(b"099 Low", id="status 099"),
        pytest.param(b"20 Short", id="status 20"),
        pytest.param(b"101 Switching Protocols\r\nUpgrade: x", id="switch"),
    ],
)
def test_a_reply_that_breaks_the_rules_is_refused(form, head):
    with (
        Hostile(then_close(b"HTTP/1.1 " + head + b"\r\n\r\nok")) as server,
        pytest.raises(BadReply) as caught,
    ):
        form.send(server.url)

    assert caught.value.exit_code == 5
    assert caught.value.where == server.url


@pytest.mark.parametrize("size", [b"zz", b"-1", b"ffffffffffffffffffffff"])
def test_a_chunk_size_that_is_none_is_refused(form, size):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nab"
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(BadReply, match="body that breaks the rules"),
    ):
        form.send(server.url)


HELLO = b"hello" * 1000
ZIPPED = gzip.compress(HELLO, mtime=0)
FLAT = zlib.compress(HELLO)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        pytest.param("gzip", ZIPPED, id="gzip"),
        pytest.param(
            "GZip",
            gzip.compress(HELLO[:5], mtime=0) + gzip.compress(HELLO[5:], mtime=0),
            id="two members",
        ),
        pytest.param("deflate", FLAT, id="deflate"),
        pytest.param("deflate", FLAT[2:-4], id="bare deflate"),
        pytest.param("identity", HELLO, id="identity"),
    ],
)
def test_what_was_offered_is_decoded(form, coding, packed):
    data = reply(packed, b"Content-Encoding: " + coding.encode())
    with Hostile(answering(data)) as server:
        answer = form.receive(server.url)

    assert answer.body == HELLO
    assert answer.header("content-length") == str(len(packed))


@pytest.mark.parametrize(
    ("coding", "body", "match"),
    [
        pytest.param("gzip", ZIPPED[:-3], "ends early", id="cut gzip"),
        pytest.param("gzip", ZIPPED + b"more", "more follows", id="more"),
        pytest.param("deflate", b"\xff\xff", "not the deflate", id="no deflate"),
        ("br", b"x", "content encoding 'br', expected gzip or deflate"),
        ("gzip, gzip", b"x", "content encoding 'gzip, gzip'"),
    ],
)
def test_a_body_that_is_not_what_it_claims_is_refused(form, coding, body, match):
    data = reply(body, b"Content-Encoding: " + coding.encode())
    with Hostile(answering(data)) as server, pytest.raises(BadReply, match=match):
        form.receive(server.url)


def test_an_empty_body_is_empty_in_any_coding(form):
    data = reply(b"", b"Content-Encoding: gzip", status="204 No Content")
    with Hostile(answering(data)) as server:
        assert form.receive(server.url).body == b""


@pytest.mark.parametrize("count", [201])
def test_too_many_headers_are_refused(form, count):
    lines = b"".join(b"X-%d: 1\r\n" % n for n in range(count))
    with (
        Hostile(then_close(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")) as server,
        pytest.raises(TooLarge),
    ):
        form.receive(server.url)


def test_an_announced_body_over_the_limit_is_refused_unread(form):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    with Hostile(then_close(data)) as server, pytest.raises(TooLarge) as caught:
        form.receive(server.url)

    assert caught.value.what == (
        "the reply announces 99,999,999,999 bytes, expected at most 67,108,864 bytes"
    )


def by_many(transport, peer):
    return next(iter(transport.send_many([peer], Message(body=b"q")))).unwrap().body


def by_stream(transport, peer):
    with transport.stream(peer, Message(body=b"q")) as stream:
        return b"".join(stream)


WAYS = {
    "sync": lambda http, peer: http.send(peer, Message(body=b"q")).body,
    "async": lambda http, peer: asyncio.run(http.asend(peer, Message(body=b"q"))).body,
    "many": by_many,
    "stream": by_stream,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "length", [b"4 ", b"4\t", b" \t4 \t ", b"0" * 5000 + b"4", b"0" * 5000 + b"4 "]
)
def test_blanks_and_zeros_around_a_length_change_nothing(way, length):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % length
    bodies = iter([b"full", b"next", b"cut"])

    def script(line):
        while line.request():
            line.send(head + next(bodies))
            if line.number:
                return

    with open_http() as http, Hostile(script) as server:
        assert WAYS[way](http, Peer(server.url)) == b"full"
        assert WAYS[way](http, Peer(server.url)) == b"next"
        assert len(server.lines) == 1
        server.lines[0].sock.shutdown(2)
        with pytest.raises(Cut, match="got 3 of 4 bytes"):
            WAYS[way](http, Peer(server.url))


@pytest.mark.parametrize("end", [b" ", b"\t"])
def test_a_blank_behind_a_length_does_not_lift_the_limit(form, end):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999%b\r\n\r\n" % end
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(TooLarge, match="announces 99,999,999,999 bytes"),
    ):
        form.receive(server.url)


def test_blanks_behind_a_value_are_no_part_of_it(form):
    head = b"HTTP/1.1 200 OK\r\nX-One: a b \t\r\nContent-Type: text/x \r\n"
    data = head + b"Transfer-Encoding: chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with Hostile(answering(data)) as server:
        answer = form.receive(server.url)

    assert (answer.body, answer.media_type) == (b"ok", "text/x")
    assert answer.header("x-one") == "a b"
