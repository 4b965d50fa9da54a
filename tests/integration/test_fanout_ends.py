"""A fan-out that ends in the middle, over real connections: nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hostile_server import OK, SHIPPED, Hostile, answering, open_http, reply

from btplug import Message, Peer
from btplug.testing import MemoryTransportPlugin, echo, running, serving
from btplug.testing._judging import Held

MESSAGE = Message(body=b"many")
HANGING = 20


class Asked:
    """Counts who hangs: peers that have a message and keep it."""

    def __init__(self):
        self._lock = threading.Lock()
        self.began = self.open = 0

    def __enter__(self):
        with self._lock:
            self.began += 1
            self.open += 1

    def __exit__(self, *_):
        with self._lock:
            self.open -= 1

    def script(self, line):
        """Hang as a server of sockets, until the client goes away."""
        if line.request():
            with self:
                line.sock.recv(1)

    async def handler(self, request):
        """Hang as a handler of the memory transport, until it is cancelled."""
        with self:
            await asyncio.Event().wait()

    def wait_until(self, condition):
        until = time.monotonic() + 20
        while not condition(self):
            assert time.monotonic() < until, (self.began, self.open)
            time.sleep(0.005)


@contextmanager
def http():
    asked = Asked()
    with (
        Hostile(answering(OK)) as good,
        Hostile(asked.script) as stuck,
        open_http() as transport,
    ):
        yield transport, asked, good.url, stuck.url


@contextmanager
def memory():
    asked = Asked()
    with (
        running(MemoryTransportPlugin) as transport,
        serving(transport, echo) as good,
        serving(transport, asked.handler) as stuck,
    ):
        yield transport, asked, good, stuck


@pytest.fixture(params=[http, memory], ids=["http", "memory"])
def place(request):
    """A transport, the count of who hangs, and the peers of a fan-out."""
    with request.param() as (transport, asked, good, stuck):
        peers = [Peer(good), *[Peer(stuck)] * HANGING]
        assert transport.send(peers[0], MESSAGE).ok
        assert [one.reply.ok for one in transport.send_many(peers[:1], MESSAGE)]
        yield transport, asked, peers


def close(transport, asked, peers):
    outcomes = transport.send_many(peers, MESSAGE)
    assert next(outcomes).reply.ok
    asked.wait_until(lambda a: a.open == HANGING)
    outcomes.close()


def leave_the_with(transport, asked, peers):
    with transport.send_many(peers, MESSAGE) as outcomes:
        assert next(outcomes).reply.ok
        asked.wait_until(lambda a: a.open == HANGING)


def raise_in_the_with(transport, asked, peers):
    with suppress(KeyError), transport.send_many(peers, MESSAGE) as outcomes:
        next(outcomes)
        asked.wait_until(lambda a: a.open == HANGING)
        raise KeyError


def drop_the_iterator(transport, asked, peers):
    for _ in transport.send_many(peers, MESSAGE):
        asked.wait_until(lambda a: a.open == HANGING)
        break
    gc.collect()


def cancel_the_task(transport, asked, peers):
    async def read():
        async for _ in transport.asend_many(peers, MESSAGE):
            pass

    async def main():
        task = asyncio.ensure_future(read())
        await asyncio.to_thread(asked.wait_until, lambda a: a.open == HANGING)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def leave_the_async_with(transport, asked, peers):
    async def main():
        async with transport.asend_many(peers, MESSAGE) as outcomes:
            assert (await anext(outcomes)).reply.ok
            await asyncio.to_thread(asked.wait_until, lambda a: a.open == HANGING)

    asyncio.run(main())


def drop_the_async_iterator(transport, asked, peers):
    async def main():
        async for _ in transport.asend_many(peers, MESSAGE):
            await asyncio.to_thread(asked.wait_until, lambda a: a.open == HANGING)
            break

    asyncio.run(main())
    gc.collect()


def end_the_loop(transport, asked, peers):
    """A loop that ends while the fan-out is under way takes its tasks with it."""

    async def read():
        async for _ in transport.asend_many(peers, MESSAGE):
            pass

    async def main():
        task = asyncio.ensure_future(read())
        await asyncio.to_thread(asked.wait_until, lambda a: a.open == HANGING)
        assert not task.done()

    asyncio.run(main())


@pytest.mark.parametrize("leave", [
    close, leave_the_with, raise_in_the_with, drop_the_iterator, cancel_the_task,
    leave_the_async_with, drop_the_async_iterator, end_the_loop,
], ids=lambda leave: leave.__name__)  # fmt: skip
def test_a_fanout_that_is_left_lets_go_of_every_peer(place, leave):
    transport, asked, peers = place
    held = Held(transport.context.home)

    leave(transport, asked, peers)

    asked.wait_until(lambda a: a.open == 0)
    assert asked.began == HANGING
    held.settle(10, leave.__name__)
    assert transport.send(peers[0], MESSAGE).ok


# -- loops


def test_sync_fanouts_and_streams_work_inside_a_running_loop(place):
    transport, _, peers = place

    async def main():
        found = list(transport.send_many([peers[0]] * 5, MESSAGE))
        with transport.send_many([peers[0]] * 5, MESSAGE) as outcomes:
            next(outcomes)
        if "http" in transport.schemes:
            with transport.stream(peers[0], MESSAGE) as stream:
                assert b"".join(stream) == b"ok"
        return [one.reply.ok for one in found]

    assert asyncio.run(main()) == [True] * 5


def test_two_loops_use_one_transport_at_once():
    """Both have the same gate: neither has ended before the other is in the middle."""
    together = threading.Barrier(2, timeout=20)
    wrong = []

    async def use(transport, url, name):
        for turn in range(5):
            await asyncio.to_thread(together.wait)
            message = Message(body=f"{name} {turn}".encode())
            outcomes = transport.asend_many([Peer(url)] * 20, message)
            bodies = {one.unwrap().body async for one in outcomes}
            async with transport.astream(Peer(url), message) as stream:
                bodies.add(b"".join([part async for part in stream]))
            bodies.add((await transport.asend(Peer(url), message)).body)
            if bodies != {message.body}:
                wrong.append(bodies)

    def work(*given):
        try:
            asyncio.run(use(*given))
        except BaseException as exc:
            wrong.append(exc)
            together.abort()

    def script(line):
        while data := line.request():
            line.send(reply(data.partition(b"\r\n\r\n")[2]))

    with Hostile(script) as server, open_http() as transport:
        threads = [
            threading.Thread(target=work, args=(transport, server.url, n))
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert wrong == []


# -- Ctrl-C


SCRIPT = """
import asyncio, json, sys
from btplug import Message, Peer, TransportPluginRegistry

registry = TransportPluginRegistry()
assert not registry.discover_plugins({shipped!r})
http = registry["http"]
good, stuck = sys.argv[2:]
peers = [Peer(good), *[Peer(stuck)] * 20]

def loop():
    for _ in http.send_many(peers, Message()):
        print("one", flush=True)

def block():
    with http.send_many(peers, Message()) as outcomes:
        for _ in outcomes:
            print("one", flush=True)

def task():
    async def read():
        async for _ in http.asend_many(peers, Message()):
            print("one", flush=True)
    asyncio.run(read())

try:
    globals()[sys.argv[1]]()
except KeyboardInterrupt:
    ok = http.send(Peer(good), Message()).ok
    again = [one.reply.ok for one in http.send_many(peers[:1], Message())]
    print(json.dumps([ok, again]), flush=True)
    sys.stdin.readline()
    registry.shut_down()
"""


@pytest.mark.parametrize("form", ["loop", "block", "task"])
def test_ctrl_c_in_the_middle_of_a_fanout_ends_it_and_no_more(form):
    asked = Asked()
    with Hostile(answering(OK)) as good, Hostile(asked.script) as stuck:
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT.format(shipped=str(SHIPPED)),
             form, good.url, stuck.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == "one\n"
            asked.wait_until(lambda a: a.open == HANGING)
            process.send_signal(signal.SIGINT)
            # It goes on after the interrupt: those who hang are let go nevertheless.
            assert json.loads(process.stdout.readline()) == [True, [True]]
            asked.wait_until(lambda a: a.open == 0)
            rest, errors = process.communicate("go on\n", timeout=30)

    assert (process.returncode, rest, errors) == (0, "", "")
    assert asked.began == HANGING
