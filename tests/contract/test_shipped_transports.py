"""Every transport that comes with btplug passes the contract suite."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hostile_server import SHIPPED, Hostile

from btplug.network import free_port
from btplug.testing import MemoryTransportPlugin, Peers, TransportContract


def answer(line):
    """Answer as `btplug.testing.echo` does."""
    while data := line.request():
        head, _, body = data.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            body = line.chunks()
        status, kept = b"200", []
        for one in head.split(b"\r\n")[1:]:
            key, _, value = one.partition(b":")
            if key.lower() == b"x-status":
                status = value.strip()
            if key.lower().startswith(b"x-") or key.lower() == b"content-type":
                kept.append(one)
        first = b"HTTP/1.1 %s Any\r\nContent-Length: %d" % (status, len(body))
        line.send(b"\r\n".join([first, *kept]) + b"\r\n\r\n" + body)


def hold(line):
    """Take whatever comes, until the client goes away."""
    while line.sock.recv(65536):
        pass


class TestMemory(TransportContract):
    plugin = MemoryTransportPlugin


@pytest.mark.slow
class TestHTTP(TransportContract):
    plugin = SHIPPED / "http"

    @contextmanager
    def peers(self):
        with Hostile(answer) as there, Hostile(hold) as stuck:
            yield Peers(there.url, stuck.url, f"http://127.0.0.1:{free_port()}")


def test_every_shipped_transport_is_judged_here():
    judged = {"http"}

    assert {path.parent.name for path in SHIPPED.glob("*/config.yaml")} == judged
