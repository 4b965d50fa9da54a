"""Kept connections that die, and bytes that nobody asked for, in both forms."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref

import hostile_server
import pytest
from hostile_server import OK, Form, Hostile, answering, open_http, reply

from btplug.errors import Cut

form, open_form = hostile_server.form, hostile_server.open_form


def test_a_post_waits_for_a_server_that_is_about_to_close(form):
    """The close comes 3 ms after the reply; the next POST is there before it."""

    def script(line):
        line.request()
        line.send(OK)
        time.sleep(0.003)

    with Hostile(script) as server:
        for _ in range(5):
            assert form.send(server.url, b"x").body == b"ok"
        assert len(server.lines) == 5


@pytest.mark.parametrize("pause", [0.0, 0.0002, 0.001, 0.003])
def test_a_get_meets_a_connection_that_is_being_closed_without_failing(form, pause):
    def script(line):
        line.request()
        line.send(OK)
        time.sleep(pause)

    with Hostile(script) as server:
        for _ in range(20):
            assert form.receive(server.url).body == b"ok"
            time.sleep(pause)


def test_a_get_on_a_kept_connection_is_asked_again_once(form):
    """The server reads the second request and only then closes."""

    def script(line):
        line.request()
        line.send(OK)
        if line.number == 0:
            line.request()
        else:
            line.wait()

    with Hostile(script) as server:
        assert form.receive(server.url).body == b"ok"
        assert form.receive(server.url).body == b"ok"
        assert len(server.lines) == 2


def test_a_post_on_a_kept_connection_is_not_sent_again(form):
    seen = []

    def script(line):
        seen.append(line.request())
        line.send(OK)
        seen.append(line.request())

    with Hostile(script) as server:
        form.send(server.url, b"one")
        with pytest.raises(Cut) as caught:
            form.send(server.url, b"two")
        assert len(server.lines) == 1

    assert [request[-3:] for request in seen] == [b"one", b"two"]
    assert caught.value.delivered is None


def test_a_get_that_is_cut_on_new_connections_is_not_repeated_for_ever(form):
    def script(line):
        line.request()
        if line.number == 0:
            line.send(OK)
            line.request()

    with Hostile(script) as server:
        form.receive(server.url)
        with pytest.raises(Cut):
            form.receive(server.url)
        assert len(server.lines) == 2


def test_connections_are_kept_and_used_again(form):
    with Hostile(answering(OK)) as server:
        for _ in range(5):
            form.send(server.url, b"x")
            form.receive(server.url)
        assert len(server.lines) == 1


def test_keep_alive_0_keeps_no_connection(open_form):
    with open_form(keep_alive=0) as form, Hostile(answering(OK)) as server:
        form.receive(server.url)
        form.receive(server.url)
        assert len(server.lines) == 2


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(OK + reply(b"not yours"), id="a second reply in one packet"),
        pytest.param(OK + b"junk", id="junk after the body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\n\r\n" + reply(b"not yours"),
            id="a second reply after chunks",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\n\r\njunk 0\r\n\r\n",
            id="junk after chunks that ends like them",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0\r\n\r\n",
            id="half a reply after chunks that ends like them",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            id="another protocol after chunks",
        ),
    ],
)
def test_bytes_that_nobody_asked_for_never_become_the_next_reply(form, first):
    def script(line):
        while line.request():
            line.send(first if line.number == 0 else reply(b"yours"))

    with Hostile(script) as server:
        assert form.receive(server.url).body == b"ok"
        assert form.receive(server.url).body == b"yours"
        assert form.send(server.url, b"x").body == b"yours"


def test_chunked_replies_keep_their_connection(form):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with Hostile(answering(data)) as server:
        for _ in range(3):
            assert form.receive(server.url).body == b"ok"
        assert len(server.lines) == 1


def test_a_body_after_head_is_not_taken_for_the_next_reply(form):
    def script(line):
        while request := line.request():
            whole = reply(b"ok")
            line.send(whole if request.startswith(b"HEAD") else reply(b"get"))

    with Hostile(script) as server:
        assert form.send(server.url, method="HEAD").body == b""
        assert form.receive(server.url).body == b"get"


def test_a_server_that_answers_before_it_has_read_all_is_heard(form):
    def script(line):
        line.sock.recv(1000)
        line.send(reply(b"too big", b"Connection: close", status="413 Too Large"))
        line.sock.shutdown(socket.SHUT_WR)
        while line.sock.recv(65536):
            pass

    with Hostile(script) as server:
        assert form.send(server.url, b"x" * 5_000_000).status == 413


def test_a_reply_that_has_begun_is_not_asked_for_again(form):
    def script(line):
        line.request()
        line.send(OK)
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-")

    with Hostile(script) as server:
        form.receive(server.url)
        with pytest.raises(Cut, match="25 bytes had arrived"):
            form.receive(server.url)
        assert len(server.lines) == 1


def test_a_get_is_asked_again_on_a_new_connection_not_on_another_kept_one(form):
    both = threading.Barrier(2)

    def script(line):
        line.request()
        if line.number < 2:
            both.wait(5)  # so that there are two connections
            line.send(OK)
            line.request()
        else:
            line.send(OK)

    with Hostile(script) as server:
        threads = [
            threading.Thread(target=form.receive, args=(server.url,)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert form.receive(server.url).body == b"ok"
        assert len(server.lines) == 3


def test_where_no_more_may_be_open_who_was_asked_last_keeps_his_connection():
    servers = [Hostile(answering(OK)) for _ in range(3)]
    with servers[0] as one, servers[1] as two, servers[2] as three:
        with open_http(connections=2) as transport:
            form = Form("async", transport)
            for server in (one, two, one, three, one):
                assert form.receive(server.url).body == b"ok"
            assert [len(server.lines) for server in servers] == [1, 1, 1]
            assert transport.health().detail == "connections: 2, idle: 2"
            form.receive(two.url)
            assert [len(server.lines) for server in servers] == [1, 2, 1]


def test_after_a_body_in_parts_the_connection_is_used_again(form):
    """The parser sees only the head of such a body; the next reply needs it again."""

    def script(line):
        for _ in range(3):
            line.request()
            head, part = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n", b"part"
            for piece in (head + part[:2], part[2:], part):
                line.send(piece)
                time.sleep(0.02)

    with Hostile(script) as server:
        for _ in range(3):
            assert form.receive(server.url).body == b"partpart"
        assert len(server.lines) == 1


def test_a_byte_after_a_body_in_parts_ends_the_connection(form):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok")
        time.sleep(0.02)
        line.send(b"ok!")
        line.wait()

    with Hostile(script) as server:
        for _ in range(2):
            assert form.receive(server.url).body == b"okok"
        assert len(server.lines) == 2


def test_a_connection_that_has_ended_does_not_wait_for_the_garbage_collector():
    """Connection and parser hold each other: 10,000 peers would leave 100 MiB."""
    with Hostile(answering(OK)) as server, open_http() as transport:
        form = Form("async", transport)
        gc.collect()
        gc.disable()
        try:
            assert form.send(server.url, b"x").body == b"ok"
            (made,) = (one for one in gc.get_objects() if _is_connection(one))
            last = weakref.ref(made)
            del made
            transport.shutdown()
            assert last() is None
        finally:
            gc.enable()


def _is_connection(found):
    return type(found).__name__ == "Connection" and hasattr(found, "carry")
