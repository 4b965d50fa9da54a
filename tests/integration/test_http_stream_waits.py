"""Replies that come before the end of a message, and callers who keep a stream waiting."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from hostile_server import OK, Hostile, open_http, reply

from btplug import Message, Peer
from btplug.errors import Cut, Late

PIECE = b"~" * 100_000


async def endless():
    while True:
        yield PIECE
        await asyncio.sleep(0.001)


async def stuck():
    yield PIECE
    await asyncio.Event().wait()


def blocked():
    yield PIECE
    held.wait(20)


held = threading.Event()
# Each is far from its end when the reply is there.
BODIES = {
    "an async generator": endless,
    "a generator that waits": stuck,
    "a thread that waits": blocked,
    "a list": lambda: [PIECE] * 2000,
    "bytes": lambda: PIECE * 2000,
    "a message": None,
}


@pytest.fixture
def http():
    held.clear()
    with open_http() as transport:
        yield transport
        held.set()


async def sent(http, url, chunks, **more):
    """Return status and body of the reply."""
    peer = Peer(url)
    if chunks is None:
        done = await http.asend(peer, Message(body=PIECE * 2000), **more)
        return done.status, done.body
    async with http.astream(peer, Message(), chunks(), **more) as stream:
        return stream.head.status, b"".join([part async for part in stream])


@pytest.mark.parametrize("kind", BODIES)
def test_a_connection_whose_peer_waits_for_the_rest_is_not_used_again(http, kind):
    """It would take the next message for a part of this one."""
    begun = []

    def script(line):
        begun.append(line.sock.recv(4))
        if begun == [b"POST"]:
            line.send(reply(b"no", status="413 Too Large"))
            line.wait()
        line.send(OK)

    async def work(url):
        first = await sent(http, url, BODIES[kind])
        return first, await sent(http, url, lambda: None)

    with Hostile(script) as server:
        found = http.context.home.run(work(server.url))

    assert found == ((413, b"no"), (200, b"ok"))
    assert begun == [b"POST", b"POST"]


def test_a_message_that_was_taken_whole_leaves_its_connection_for_the_next(http):
    lines = []

    def script(line):
        lines.append(line)
        while line.request():
            line.send(OK)

    async def work(url):
        for _ in range(3):
            assert await sent(http, url, lambda: PIECE * 20) == (200, b"ok")

    with Hostile(script) as server:
        http.context.home.run(work(server.url))

    assert len(lines) == 1


WAITING = [kind for kind in BODIES if "waits" in kind]


@pytest.mark.parametrize("kind", WAITING)
def test_a_peer_that_ends_while_the_caller_is_waited_for_is_noticed(http, kind):
    def script(line):
        left = len(PIECE)
        while left:
            left -= line.sock.recv(65536).count(b"~")
        line.reset()

    with Hostile(script) as server, pytest.raises(Cut) as caught:
        http.context.home.run(sent(http, server.url, BODIES[kind]))

    assert "(Connection reset by peer) in waiting for" in caught.value.what
    assert caught.value.delivered is None


@pytest.mark.parametrize("kind", WAITING)
@pytest.mark.parametrize("whole", [True, False])
def test_a_caller_who_is_waited_for_too_long_is_told_so(kind, whole):
    config = {} if whole else {"timeout": 0.3}
    more = {"timeout": 0.3} if whole else {}
    held.clear()
    with (
        open_http(**config) as http,
        Hostile(lambda line: line.wait()) as server,
        pytest.raises(Late) as caught,
    ):
        http.context.home.run(sent(http, server.url, BODIES[kind], **more))
    held.set()

    assert caught.value.what.startswith(
        "waited 0.3 s for the caller's next chunk: 100,"
    )
    assert caught.value.what.endswith(" bytes were sent")


def test_callers_who_are_waited_for_keep_nobody_else_from_sending(http):
    together = threading.Barrier(40)

    def chunks():
        yield PIECE
        together.wait(20)

    def script(line):
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n"):
            body += line.sock.recv(65536)
        line.send(OK)

    async def work(url):
        return await asyncio.gather(*(sent(http, url, chunks) for _ in range(40)))

    with Hostile(script) as server:
        found = http.context.home.run(work(server.url))

    assert found == [(200, b"ok")] * 40


def test_what_moves_slowly_is_within_its_limit_however_long_it_takes():
    """Without a limit for the whole, each step has one; bytes move step by step too."""
    mib = 1024 * 1024
    size = 48 * mib  # of which the system itself holds some 6 at the end

    def script(line):
        left = size
        while b"\r\n\r\n" not in (head := line.sock.recv(65536)):
            continue
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left and line.wait(0.05):
            left -= len(line.sock.recv(min(left, mib), socket.MSG_WAITALL))
        line.send(OK)

    with open_http(timeout=1.2) as http, Hostile(script) as server:
        found = http.context.home.run(sent(http, server.url, lambda: bytes(size)))

    assert found == (200, b"ok")
