"""The peers that transports are judged with: over raw sockets, and in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from hostile_server import Hostile, reply

from btplug import Reply
from btplug.network import free_port
from btplug.testing import MemoryTransportPlugin, Peers, running, serving


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


def drip(line):
    """Answer a byte at a time; most waits for one are short."""
    line.request()
    line.drip(reply(b"x" * 10_000), every=0.02)


@contextmanager
def wired():
    """Yield all peers that HTTP is judged with."""
    taken = []

    def cut(line):
        taken.append(line.request())

    def moved(line):
        while data := line.request():
            method, target = data.split(b" ", 2)[:2]
            where = b"Location: %s" % there.url.encode()
            line.send(reply(method + b" " + target, where, status="307 Any"))

    with (
        Hostile(answer) as there,
        Hostile(hold) as stuck,
        Hostile(moved) as other,
        Hostile(cut) as cutting,
        Hostile(drip) as dripping,
    ):
        dead = f"http://127.0.0.1:{free_port()}"
        yield Peers(
            there.url, stuck.url, dead, other.url, cutting.url, dripping.url,
            lambda: len(taken),
        )  # fmt: skip


@contextmanager
def in_memory(own):
    """Yield the peers *own* gives, those too that cut and are without end.

    A message in memory comes as a whole: what drips is a peer that hangs.
    """
    taken = []

    async def counted(request):
        taken.append(request)
        return Reply(status=200)

    with (
        own as peers,
        running(MemoryTransportPlugin) as server,
        # A name of its own, and not the one that nobody has.
        serving(server, counted, host="counted") as url,
    ):
        yield replace(
            peers, cut=f"{url}?fault=cut", drip=peers.hang, taken=lambda: len(taken)
        )
