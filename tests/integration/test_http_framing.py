"""Replies that break the rules or the limits: S06, S08, S11, S13, S15, both forms."""

from __future__ import annotations

import gzip
import resource
import zlib

import hostile_server
import pytest
from hostile_server import Hostile, answering, reply, then_close

from btplug.errors import BadReply, Cut, TooLarge

form, open_form = hostile_server.form, hostile_server.open_form


def test_a_short_body_says_how_much_came(form):
    with (
        Hostile(
            then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        ) as server,
        pytest.raises(Cut) as caught,
    ):
        form.send(server.url)

    assert caught.value.what == (
        "the connection ended in waiting for the reply body: got 3 of 100 bytes"
    )
    assert caught.value.where == server.url
    assert "send it again only if" in caught.value.fix
    assert caught.value.delivered is None


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
        pytest.param(b"200 OK\r\nContent-Length: 2\r\nContent-Length: 3", id="two"),
        pytest.param(b"200 OK\r\nContent-Length: 2\r\ncontent-length: 2", id="twice"),
        pytest.param(b"200 OK\r\nContent-Length: -2", id="negative"),
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


def test_what_is_no_http_is_shown_escaped(form):
    with (
        Hostile(then_close(b"SSH-2.0-\x1b[31mOpen\r\n\r\n")) as server,
        pytest.raises(BadReply) as caught,
    ):
        form.send(server.url)

    assert "it begins with b'SSH-2.0-\\x1b[31mOpen\\r\\n\\r\\n'" in caught.value.what
    assert "\x1b" not in str(caught.value)


def _gzipped(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1_000_000)
    parts = [packer.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, packer.flush()])


def test_a_gzip_bomb_is_refused_before_it_is_held(form):
    bomb = _gzipped(300_000_000)
    assert len(bomb) < 300_000
    with Hostile(answering(reply(bomb, b"Content-Encoding: gzip"))) as server:
        with pytest.raises(TooLarge):  # once, so that the second one is measured alone
            form.receive(server.url)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TooLarge) as caught:
            form.receive(server.url)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert grown < 20_000  # KiB
    assert f"found {len(bomb):,} bytes of gzip that decode to more" in caught.value.what


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
        ("gzip", b"plain text", "is not the gzip it claims to be .*b'plain text'"),
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


def test_a_header_of_two_megabytes_is_refused(form):
    data = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n"
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(TooLarge, match=r"headers and no end, expected .* 65,536"),
    ):
        form.receive(server.url)


def test_headers_just_over_the_limit_are_refused(form):
    data = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 66_000 + b"\r\n\r\n"
    with Hostile(then_close(data)) as server, pytest.raises(TooLarge):
        form.receive(server.url)


@pytest.mark.parametrize("count", [201, 5000])
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
