"""Connections of the async form: who keeps one, who waits for one, and the end of all."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hostile_server import OK, Hostile, open_http, reply

from btplug import Message, Peer

TESTS = Path(__file__).resolve().parents[1]


def pool_of(transport):
    """Return the pool of *transport*; tests of what it counts have no other way."""
    return transport._engine._pool


def kinds(outcomes):
    return [one.reply.status if one.reply else one.failure.kind for one in outcomes]


def test_a_dead_connection_is_tried_once_and_not_until_it_would_be_closed():
    """The loop has not read the end yet, because whoever makes messages is slow."""

    def script(line):
        for _ in range(2):
            if not line.request():
                return
            line.send(OK)
        line.wait(0.05)  # then it closes, as servers do that count requests

    def slow(peer):
        time.sleep(0.02)
        return Message(method="GET")

    with Hostile(script) as server, open_http(keep_alive=15) as transport:
        peers = [Peer(server.url)] * 8
        for message in (Message(method="GET"), Message(method="GET"), slow):
            outcomes = list(transport.send_many(peers, message, timeout=3, deadline=5))
            assert kinds(outcomes) == [200] * 8


def test_after_a_shutdown_nothing_is_sent_and_nothing_is_open():
    """Two are asked and six wait for their connections when it comes."""
    asked, go, seen, outcomes = threading.Semaphore(0), threading.Event(), [], []

    def script(line):
        while request := line.request():
            seen.append(request)
            asked.release()
            go.wait(10)
            line.send(OK)

    def ask():
        message = Message(body=b"pay")
        outcomes.extend(transport.send_many([Peer(server.url)] * 8, message, timeout=9))

    with Hostile(script) as server, open_http(connections=2) as transport:
        thread = threading.Thread(target=ask)
        thread.start()
        for _ in range(2):
            assert asked.acquire(timeout=10)
        pool = pool_of(transport)
        while not pool._queue:
            time.sleep(0.001)
        transport.shutdown()
        go.set()
        thread.join(10)
        assert not thread.is_alive()
        assert (pool.count, pool.idle) == (0, 0)

    assert len(seen) == len(server.lines) == 2
    failures = [one.failure for one in outcomes]
    assert sum(one.kind == "cut" for one in failures) == 2
    others = [one for one in failures if one.kind != "cut"]
    assert len(others) == 6
    assert all(one.delivered is False for one in others)
    # Whose turn had not begun by then meets a transport that is closed.
    waited = [one for one in others if one.kind != "not-allowed"]
    assert {one.kind for one in waited} == {"refused"}
    assert all(one.what.endswith("(the transport was shut down)") for one in waited)


def test_who_is_cancelled_when_his_connection_comes_leaves_it_to_the_next():
    def script(line):
        while line.request():
            line.wait(0.2 if line.number == 0 else 0)
            line.send(OK)

    with Hostile(script) as server, open_http(connections=1, keep_alive=0) as transport:
        engine, peer = transport._engine, Peer(server.url)

        async def send():
            return (await engine.asend(peer, Message(), 5, "POST")).status

        async def first():
            found = await send()
            second.cancel()
            return found

        async def work():
            nonlocal second
            tasks = []
            for one in (first, send, send):
                tasks.append(asyncio.create_task(one()))
                second = tasks[-1] if len(tasks) == 2 else None
                await asyncio.sleep(0)
            second = tasks[1]
            return await asyncio.gather(*tasks, return_exceptions=True)

        second = None
        found = transport.context.home.run(work())
        assert found[0] == found[2] == 200
        assert isinstance(found[1], asyncio.CancelledError)
        assert pool_of(transport).count == 0


RESET = """
import signal, sys, time
sys.path.insert(0, {tests!r})
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
from hostile_server import OK, Hostile, open_http
from btplug import Message, Peer

def script(line):
    for _ in range(2):
        line.request()
        line.send(OK)
    if line.number == 0:
        line.reset()
        reset.append(True)
    while line.request():
        line.send(OK)

reset = []
with Hostile(script) as server, open_http() as transport:
    engine, peer, message = transport._engine, Peer(server.url), Message(body=b"x")

    async def work():
        for _ in range(2):
            await engine.asend(peer, message, 5, "POST")
        (kept,) = engine._pool._shelf._rested
        while not (reset and kept._look(0)):
            time.sleep(0.001)  # the loop sees nothing of it
        kept.rested = time.monotonic()  # nor does who sends: it has looked just now
        return (await engine.asend(peer, message, 5, "POST")).status

    print(transport.context.home.run(work()), len(server.lines))
"""


def test_a_reset_before_the_message_left_is_no_loss_and_no_signal():
    """Programs in a pipe let SIGPIPE end them; a second try of the system's raised it."""
    code = RESET.format(tests=str(TESTS))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode != -signal.SIGPIPE
    assert (done.stdout, done.stderr) == ("200 2\n", "")


def test_nothing_is_kept_of_peers_that_are_gone():
    def script(line):
        line.request()
        line.send(OK)
        line.request()
        line.send(reply(b"ok", b"Connection: close"))

    # Every address of 127/8 is this machine: one server, many peers.
    with Hostile(script, host="0.0.0.0") as server, open_http() as transport:
        peers = [Peer(f"http://127.0.1.{n}:{server.port}") for n in range(1, 21)]
        for _ in range(2):
            found = transport.send_many(peers, Message(method="GET"), limit=4)
            assert kinds(found) == [200] * 20
        pool = pool_of(transport)
        assert (pool.count, pool.idle, pool._shelf._kept) == (0, 0, {})


FILES = """
import os, resource, sys
sys.path.insert(0, {tests!r})
from hostile_server import OK, Hostile, answering, open_http
from btplug import Message, Peer

servers = [Hostile(answering(OK)).__enter__() for _ in range(40)]
with open_http() as transport:
    peers = [Peer(server.url) for server in servers]
    message = Message(body=b"x")
    for one in transport.send_many(peers[:30], message):
        assert one.unwrap().ok
    # Somebody else takes all files but a few.
    limit = max(map(int, os.listdir("/proc/self/fd"))) + 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    found = [one.reply.status for one in transport.send_many(peers[30:], message, limit=1)]
    print(found == [200] * 10, transport.health().detail, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc")
def test_connections_that_rest_make_room_where_files_run_out():
    done = subprocess.run(
        [sys.executable, "-c", FILES.format(tests=str(TESTS))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("True connections: "), done.stderr


def test_subclasses_of_text_are_sent_as_what_they_hold():
    """A `str` enum says another thing of itself than it is, and it could say more."""

    class Kind(str):
        def __str__(self):
            return "x\r\nInjected: 1"

        __format__ = encode = lower = strip = lambda self, *_: str(self)

    seen = []

    def script(line):
        while request := line.request():
            seen.append(request)
            line.send(OK)

    with Hostile(script) as server, open_http() as transport:
        peer = Peer(server.url)
        for value in ("plain", "with a space"):
            headers = ((Kind("x-name"), Kind(value)),)
            message = Message(headers=headers, method=Kind("PUT"), body=b"b")
            assert transport.send(peer, message).ok
            assert asyncio.run(transport.asend(peer, message)).ok

    assert len(seen) == 4
    for request, value in zip(seen, ["plain"] * 2 + ["with a space"] * 2, strict=True):
        lines = request.decode().split("\r\n")
        assert lines[0] == "PUT / HTTP/1.1"
        assert f"x-name: {value}" in lines
        assert "Injected" not in request.decode()
