"""Redirects, connections that end, names without address: S16 to S22, both forms."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
import time

import hostile_server
import pytest
from hostile_server import OK, SHIPPED, Hostile, answering, recording, reply

from btplug.errors import Cut, Late, Refused

form, open_form = hostile_server.form, hostile_server.open_form

LIMIT = 0.4  # seconds
GUARD = 0.6  # seconds later the call must have ended, on a busy machine


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_reply_and_nothing_is_sent_anywhere(form, status):
    elsewhere = []
    with Hostile(recording(elsewhere), host="127.0.0.2") as other:
        target = f"Location: {other.url}/steal".encode()
        with Hostile(answering(reply(b"gone", target, status=f"{status} X"))) as server:
            answer = form.send(
                server.url,
                b"secret",
                headers=(("authorization", "Bearer t"), ("x-api-key", "k")),
            )

    assert (answer.status, answer.body, answer.ok) == (status, b"gone", False)
    assert answer.header("location") == f"{other.url}/steal"
    assert elsewhere == []


@pytest.mark.parametrize("target", [b"http://[bad", b"ftp://x/", b"\xff\xfe", b""])
def test_a_redirect_to_nowhere_is_a_reply_too(form, target):
    data = reply(b"", b"Location: " + target, status="302 Found")
    with Hostile(answering(data)) as server:
        assert form.receive(server.url).status == 302


def test_a_refused_connection_says_so_and_delivered_nothing(form, free_port):
    with pytest.raises(Refused) as caught:
        form.send(f"http://127.0.0.1:{free_port}/x")

    assert str(caught.value) == (
        f"127.0.0.1:{free_port} refused the connection\n"
        f"  where: http://127.0.0.1:{free_port}/x\n"
        "  fix:   check the address, and that the peer runs"
    )
    assert caught.value.delivered is False
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.fixture
def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def test_a_connection_closed_without_a_byte_is_cut(form):
    with Hostile(lambda line: line.request()) as server:
        with pytest.raises(Cut) as caught:
            form.send(server.url)
        assert len(server.lines) == 1  # a new connection: nothing is sent again

    assert "waiting for the reply headers: no bytes had arrived" in caught.value.what
    assert caught.value.delivered is None


def test_a_reset_in_the_body_is_cut(form):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        line.sock.recv(1)  # the client has read what came, and closes or waits
        line.reset()

    def reset(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        line.wait(0.1)
        line.reset()

    with Hostile(reset) as server, pytest.raises(Cut) as caught:
        form.send(server.url)

    assert "got 3 of 100 bytes" in caught.value.what


def test_a_name_without_an_address_is_refused_with_its_reason(form):
    with pytest.raises(Refused) as caught:
        form.send("http://no-such-host.invalid:81/", timeout=10)

    assert caught.value.what.startswith(
        "the name of no-such-host.invalid:81 has no address ("
    )
    assert caught.value.delivered is False


def test_a_name_too_long_to_be_one_is_refused(form):
    with pytest.raises(Refused, match="not a possible name"):
        form.send(f"http://{'a' * 64}.invalid/")


def test_a_slow_look_up_ends_at_the_deadline(form, monkeypatch):
    release, real = threading.Event(), socket.getaddrinfo

    def slow(host, *args, **keywords):
        if host == "slow.test" and not keywords.get("flags"):
            release.wait(10)
        return real(host, *args, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(Late) as caught:
        form.send("http://slow.test/", timeout=LIMIT)
    assert time.monotonic() - began < LIMIT + GUARD
    release.set()

    assert caught.value.what == (
        "waited 0.4 s for the address of slow.test:80: no bytes had arrived"
    )
    assert caught.value.delivered is False


HANGING = """
import socket, threading
from btplug import Peer, TransportError, TransportPluginRegistry
real = socket.getaddrinfo
def hang(host, *args, **keywords):
    if not keywords.get("flags"):
        threading.Event().wait(60)
    return real(host, *args, **keywords)
socket.getaddrinfo = hang
registry = TransportPluginRegistry()
assert not registry.discover_plugins({shipped!r})
try:
    registry["http"].receive(Peer("http://slow.test/"), timeout=0.1)
except TransportError as exc:
    print(exc.kind)
"""


def test_a_look_up_that_hangs_does_not_keep_the_process():
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(shipped=str(SHIPPED))],
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert (done.stdout, done.stderr) == ("late\n", "")


def test_the_next_address_of_a_name_is_tried(form, monkeypatch, free_port):
    real = socket.getaddrinfo

    def two(host, port, *args, **keywords):
        if keywords.get("flags") or host != "two.test":
            return real(host, port, *args, **keywords)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.3", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with Hostile(answering(OK)) as server:
        assert form.send(f"http://two.test:{server.port}").body == b"ok"


def test_the_systems_own_timeout_is_not_taken_for_the_callers(form, monkeypatch):
    def connect(self, address):
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(Refused, match=r"no connection to 127\.0\.0\.1:9 \(Connection"):
        form.receive("http://127.0.0.1:9/")
