"""Time limits; servers that say nothing or too slowly are in test_servers."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, reply

from btplug.errors import Cut, Late

form, open_form = hostile_server.form, hostile_server.open_form

LIMIT = 0.4  # seconds
GUARD = 4  # seconds later the call must have ended, on a busy machine


@pytest.fixture
def late(form):
    """Send to a server and expect it to be late; return the error."""

    def call(script, *, timeout=LIMIT, body=b"", host=None):
        with Hostile(script) as server:
            began = time.monotonic()
            with pytest.raises(Late) as caught:
                form.send(host or server.url, body, timeout=timeout)
            assert timeout <= time.monotonic() - began < timeout + GUARD
        return caught.value

    return call


def test_one_100_continue_before_the_reply_is_passed_over(form):
    with Hostile(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) as server:
        assert form.send(server.url).body == b"ok"


def test_a_server_that_takes_a_message_slowly_ends_at_the_deadline(late):
    def script(line):
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while line.wait(0.05):
            line.sock.recv(1000)

    error = late(script, body=b"x" * 30_000_000)

    assert " to take the message: it took " in error.what
    assert error.what.endswith(" of 30,000,141 bytes") or "of 30,000," in error.what
    assert error.delivered is None


def test_a_full_backlog_ends_at_the_deadline_with_nothing_delivered(form):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        with pytest.raises(Late) as caught:
            form.send(f"http://127.0.0.1:{port}", timeout=LIMIT)
        for one in crowd:
            one.close()

    assert caught.value.what == (
        f"waited 0.4 s for a connection to 127.0.0.1:{port}: no bytes had arrived"
    )
    assert caught.value.delivered is False


def test_a_body_that_takes_long_to_decode_ends_at_the_deadline(late, monkeypatch):
    """It is decoded twice; here the second time takes long."""
    packed, real, made = gzip.compress(bytes(3_000_000)), zlib.decompressobj, []

    def slow(*bits):
        made.append(bits)
        if len(made) == 2:
            time.sleep(LIMIT)
        return real(*bits)

    monkeypatch.setattr(zlib, "decompressobj", slow)
    error = late(answering(reply(packed, b"Content-Encoding: gzip")))

    assert len(made) == 2
    assert f"got {len(packed):,} of {len(packed):,} bytes" in error.what


@pytest.mark.parametrize("limit", [0, -1.0])
def test_no_time_left_is_late_with_nothing_delivered(form, limit):
    with Hostile(answering(OK)) as server:
        with pytest.raises(Late) as caught:
            form.send(server.url, timeout=limit)
        assert not server.lines

    assert caught.value.delivered is False


def test_waiting_for_a_free_connection_counts(open_form):
    entered, seen = threading.Event(), []

    def script(line):
        seen.append(line.request())
        entered.set()
        line.wait()

    with open_form(connections=1, timeout=3) as form, Hostile(script) as server:
        first = threading.Thread(target=_ignoring(form.send), args=(server.url,))
        first.start()
        assert entered.wait(5)
        with pytest.raises(Late) as caught:
            form.send(server.url, timeout=0.2)
        first.join(10)

    assert len(seen) == 1
    assert caught.value.what.startswith("waited 0.2 s for a free connection")
    assert caught.value.delivered is False


def _ignoring(function):
    def call(*args):
        with pytest.raises((Late, Cut)):
            function(*args)

    return call
