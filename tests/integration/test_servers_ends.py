"""More of the kind of `test_servers`: how connections end, and what follows on them."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import asking
import pytest
from asking import STREAMS, ask, leaving_nothing
from hostile_server import OK, Hostile, answering, reply, then_close
from servers import CASES, CHUNKED, HEAD, LIMIT, bomb, repeating
from test_servers_more import CODED, OKAY, SENT, check

from btplug import Message, Peer
from btplug.errors import Late, Refused, TransportError

way, http = asking.way, asking.http

MANY = 10  # times its limit is what a call may last on a busy machine


# -- how a connection ends


@pytest.mark.parametrize("ends", ["reset", "closed"])
def test_a_reply_that_ends_anywhere_is_cut_and_a_whole_one_is_a_reply(http, way, ends):
    def script(line):
        at = int(line.request().split(b" ")[1][1:])
        line.send(OK[:at])
        if ends == "reset":
            line.reset()

    with leaving_nothing(http, way), Hostile(script) as server:
        for at in range(len(OK)):
            with pytest.raises(TransportError) as caught:
                ask(http, way, f"{server.url}/{at}", timeout=20)
            assert caught.value.kind == "cut", (at, caught.value)
        assert ask(http, way, f"{server.url}/{len(OK)}", timeout=20).body == b"ok"


def test_a_server_that_ends_its_side_without_a_reply_is_cut(http, way):
    def script(line):
        line.request()
        line.sock.shutdown(1)
        line.wait()

    check(http, way, script, "cut")


def test_a_server_that_ends_its_side_after_a_body_without_length_has_sent_it(http, way):
    def script(line):
        line.request()
        line.send(HEAD + b"\r\nabc")
        line.sock.shutdown(1)
        line.wait()

    check(http, way, script, "200 b'abc'")


def test_a_reply_before_the_request_was_read_is_heard(http, way):
    def script(line):
        line.send(OK)
        line.request()

    check(http, way, script, OKAY)


def test_a_refusal_is_heard_whose_server_closes_on_the_rest(http, way, caplog):
    """It closes with much unread: whoever goes on writing gets a reset for it."""

    def script(line):
        line.sock.recv(1000)
        line.send(reply(b"too much", b"Connection: close", status="413 Too Large"))

    with leaving_nothing(http, way), Hostile(script) as server:
        for _ in range(5):
            answer = ask(http, way, server.url, bytes(5_000_000), timeout=20)
            assert (answer.status, answer.body) == (413, b"too much")

    assert [one.getMessage() for one in caplog.records if one.name == "asyncio"] == []


def test_chunks_that_nobody_takes_any_more_end(http):
    """They never wait: what went wrong has to be seen without them."""

    async def endless():
        while True:
            yield bytes(100_000)

    async def stream(url):
        async with http.astream(Peer(url), Message(), endless(), timeout=20) as found:
            return found.head.status

    def script(line):
        line.sock.recv(1000)
        line.reset()

    with Hostile(script) as server, pytest.raises(TransportError) as caught:
        http.context.home.run(stream(server.url))

    assert caught.value.kind == "cut"


def test_a_reply_byte_by_byte_is_the_same_reply(http, way):
    def script(line):
        line.request()
        for at in range(len(OK)):
            line.send(OK[at : at + 1])

    check(http, way, script, OKAY)


# -- one reply is not the next one


def test_a_reply_that_nobody_asked_for_is_never_the_next_one(http, way):
    """It is there before the next request is sent; later nobody could tell it."""
    sent = threading.Semaphore(0)

    def script(line):
        while line.request():
            line.send(reply(b"yours"))
            line.send(reply(b"not yours"))
            sent.release()

    with Hostile(script) as server:
        for _ in range(20):
            assert ask(http, way, server.url, method="GET").body == b"yours"
            assert sent.acquire(timeout=20)


@pytest.mark.parametrize(
    ("method", "first"),
    [("HEAD", OK), ("GET", SENT["204 with a body"][0]), ("GET", SENT["304 with a body"][0])],
)  # fmt: skip
def test_a_body_where_none_belongs_is_never_the_next_reply(http, way, method, first):
    def script(line):
        number = 0
        while line.request():
            line.send(first if line.number == number == 0 else reply(b"yours"))
            number += 1

    with Hostile(script) as server:
        assert ask(http, way, server.url, method=method).body == b""
        for _ in range(2):
            assert ask(http, way, server.url, method="GET").body == b"yours"


# -- time


def test_a_tls_handshake_byte_by_byte_ends_at_the_deadline(http, way):
    def script(line):
        line.sock.recv(65536)
        line.drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", 0.05)

    began = time.monotonic()
    with pytest.raises(Late) as caught, Hostile(script) as server:
        ask(http, way, server.url.replace("http:", "https:"), timeout=LIMIT)
    assert LIMIT <= time.monotonic() - began < MANY

    assert caught.value.what.startswith("waited 0.4 s for the ")
    assert "TLS handshake" in caught.value.what or way == "send_many"


@pytest.mark.parametrize(
    "data",
    [b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\xff\xff" + bytes(70_000)],
    ids=["alert", "record too long"],
)
def test_a_tls_handshake_that_is_none_is_refused(http, way, data):
    def script(line):
        line.sock.recv(65536)
        line.send(data)

    with pytest.raises(Refused) as caught, Hostile(script) as server:
        ask(http, way, server.url.replace("http:", "https:"), timeout=20)

    assert "TLS" in caught.value.what
    assert caught.value.delivered is False


def test_chunks_with_long_extensions_end_at_the_deadline(http, way):
    piece = (b"1;" + b"a" * 3000 + b"\r\nx\r\n") * 20
    with pytest.raises(Late), Hostile(repeating(piece, first=CHUNKED)) as server:
        ask(http, way, server.url, timeout=LIMIT)


@pytest.mark.parametrize("way", STREAMS)
def test_an_upload_that_nobody_takes_ends_at_the_deadline(http, way):
    def endless():
        while True:
            yield b"x" * 65536

    def run(url):
        with http.stream(Peer(url), Message(), endless(), timeout=LIMIT) as stream:
            list(stream)

    began = time.monotonic()
    with pytest.raises(Late) as caught, Hostile(lambda line: line.wait()) as server:
        run(server.url)
    assert LIMIT <= time.monotonic() - began < MANY

    assert " to take the message: it took " in caught.value.what


# -- all at once


def test_a_crowd_of_hostile_peers_costs_the_honest_ones_nothing(http):
    scripts = [case.script for case in CASES.values() if not case.config]
    scripts += [then_close(data) for data, _ in (*SENT.values(), *CODED.values())]
    with ExitStack() as stack:
        hostile = [stack.enter_context(Hostile(one)).url for one in scripts]
        honest = stack.enter_context(Hostile(answering(OK))).url
        peers = [Peer(url) for one in hostile for url in (one, honest)]
        began = time.monotonic()
        found = list(http.send_many(peers, Message(body=b"x"), timeout=5))
        took = time.monotonic() - began

    assert len(found) == len(peers)
    good = [one for one in found if one.peer.url == honest]
    assert len(good) == len(hostile)
    assert all(one.reply is not None and one.reply.body == b"ok" for one in good)
    kinds = {one.failure.kind for one in found if one.failure}
    assert kinds == {"late", "cut", "bad-reply", "too-large"}
    assert took < 5 * MANY


def test_many_bodies_that_decode_to_much_take_no_time_from_the_others(http):
    """Each is below the limit, and a second's work for all who share its thread."""
    packed = reply(bomb(60_000_000, 31), b"Content-Encoding: gzip")

    def script(line):
        while line.request():
            line.wait(0.1)
            line.send(OK)

    with Hostile(answering(packed)) as hostile, Hostile(script) as honest:
        peers = [Peer(url) for _ in range(50) for url in (hostile.url, honest.url)]
        outcomes = http.send_many(peers, Message(body=b"x"), timeout=4)
        found = [one.reply for one in outcomes if one.peer.url == honest.url]

    assert [one and one.body for one in found] == [b"ok"] * 50
