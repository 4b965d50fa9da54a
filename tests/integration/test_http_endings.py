"""Names, addresses and time-outs of the system; see test_servers for the rest."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys

import hostile_server
import pytest
from hostile_server import OK, SHIPPED, Hostile, answering

from btplug.errors import Refused

form, open_form = hostile_server.form, hostile_server.open_form


@pytest.fixture
def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def test_a_name_too_long_to_be_one_is_refused(form):
    with pytest.raises(Refused, match="not a possible name"):
        form.send(f"http://{'a' * 64}.invalid/")


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
