"""Loops, threads, ends and start of the HTTP transport."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time

import hostile_server
import pytest
from hostile_server import (
    OK,
    SHIPPED,
    Form,
    Hostile,
    answering,
    open_http,
    reply,
)

from btplug import Message, Peer, TransportPluginRegistry
from btplug.errors import Cut, NotAllowed

form, open_form = hostile_server.form, hostile_server.open_form


# -- loops, threads, ends


def test_the_sync_form_works_inside_a_running_loop():
    async def main(transport, url):
        return transport.send(Peer(url), Message(body=b"x"))

    with open_http() as transport, Hostile(answering(OK)) as server:
        assert asyncio.run(main(transport, server.url)).ok


def test_one_transport_is_used_from_two_loops_and_keeps_its_connections():
    with open_http() as transport, Hostile(answering(OK)) as server:
        for _ in range(3):
            call = transport.asend(Peer(server.url), Message(body=b"x"))
            assert asyncio.run(call).ok
        assert len(server.lines) == 1


def test_both_forms_at_once_from_many_threads_and_tasks():
    def script(line):
        while request := line.request():
            line.send(reply(request.partition(b"\r\n\r\n")[2]))

    failed = []

    def work(transport, url, name):
        try:
            for n in range(20):
                body = f"{name} {n}".encode()
                assert transport.send(Peer(url), Message(body=body)).body == body
        except Exception as exc:
            failed.append(exc)

    async def tasks(transport, url):
        bodies = [f"task {n}".encode() for n in range(50)]
        replies = await asyncio.gather(
            *(transport.asend(Peer(url), Message(body=body)) for body in bodies)
        )
        assert [r.body for r in replies] == bodies

    with open_http() as transport, Hostile(script) as server:
        threads = [
            threading.Thread(target=work, args=(transport, server.url, n))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        asyncio.run(tasks(transport, server.url))
        for thread in threads:
            thread.join(30)

    assert failed == []


def test_a_cancelled_message_closes_its_connection():
    gone, entered = threading.Event(), threading.Event()

    def script(line):
        line.request()
        entered.set()
        line.sock.recv(1)
        gone.set()

    async def main(transport, url):
        task = asyncio.create_task(transport.asend(Peer(url), Message(body=b"x")))
        while not entered.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with open_http() as transport, Hostile(script) as server:
        asyncio.run(main(transport, server.url))
        assert gone.wait(5)
        until = time.monotonic() + 5
        while "connections: 0" not in transport.health().detail:
            assert time.monotonic() < until, transport.health().detail
            time.sleep(0.005)


def test_health_tells_what_is_open():
    with open_http() as transport, Hostile(answering(OK)) as server:
        assert transport.health().detail == "connections: 0, idle: 0"
        transport.receive(Peer(server.url))
        asyncio.run(transport.areceive(Peer(server.url)))
        assert transport.health().detail == "connections: 2, idle: 2"
        assert transport.health().ok

    assert not transport.health().ok
    assert transport.health().detail == "closed"


def test_after_shutdown_nothing_is_sent_nor_left_open(form):
    ended = threading.Event()

    def script(line):
        while line.request():
            line.send(OK)
        ended.set()

    with open_http() as transport, Hostile(script) as server:
        used = Form(form.kind, transport)
        used.receive(server.url)
        transport.shutdown()
        with pytest.raises(NotAllowed, match="not open") as caught:
            used.receive(server.url)
        assert caught.value.delivered is False
        assert ended.wait(5)
        transport.shutdown()  # once more does no harm


def test_a_shutdown_ends_a_message_that_waits(form):
    entered, failed = threading.Event(), []

    def script(line):
        line.request()
        entered.set()
        line.wait()

    def work(url):
        try:
            form.send(url, timeout=20)
        except Cut as exc:
            failed.append(exc)

    with Hostile(script) as server:
        thread = threading.Thread(target=work, args=(server.url,))
        thread.start()
        assert entered.wait(5)
        form.transport.shutdown()
        thread.join(5)
        assert not thread.is_alive()

    assert len(failed) == 1


@pytest.mark.parametrize("end", ["deregister", "shut down"])
def test_a_registry_for_each_job_leaves_no_loop_behind(end):
    def job(url):
        transports = TransportPluginRegistry()
        assert not transports.discover_plugins(SHIPPED)
        message = Message(body=b"x")
        for _ in range(2):
            with transports["http"].send_many([Peer(url)], message) as outcomes:
                assert all(outcome.reply for outcome in outcomes)
            if end == "deregister":
                transports.deregister_plugin("http")
                break
            assert not transports.shut_down()

    def loops():
        return [one for one in threading.enumerate() if one.name == "btplug home loop"]

    before = loops()
    with Hostile(answering(OK)) as server:
        for _ in range(5):
            job(server.url)

    assert loops() == before


UNLOADED = """
import asyncio, sys, threading
from btplug import Message, Peer, TransportError, TransportPluginRegistry
registry = TransportPluginRegistry()
assert not registry.discover_plugins({shipped!r})
http, peer = registry["http"], Peer({url!r})
def stream():
    with http.stream(peer, Message(), timeout=20) as reply:
        return reply.head
ways = dict(
    sync=lambda: http.send(peer, Message(), timeout=20),
    asynchronous=lambda: asyncio.run(http.asend(peer, Message(), timeout=20)),
    many=lambda: [one.unwrap() for one in http.send_many([peer], Message())],
    stream=stream,
)
def work():
    try:
        ways[{way!r}]()
    except TransportError as exc:
        print(exc.kind, exc.what)
thread = threading.Thread(target=work)
thread.start()
sys.stdin.read()
registry.deregister_plugin("http")
thread.join()
"""


@pytest.mark.parametrize("way", ["sync", "asynchronous", "many", "stream"])
def test_a_message_under_way_when_its_plugin_is_unloaded_ends_with_our_error(way):
    entered = threading.Event()

    def script(line):
        line.request()
        entered.set()
        line.wait()

    # A process of its own: other tests hold the modules of the plugin.
    with Hostile(script) as server:
        code = UNLOADED.format(shipped=str(SHIPPED), url=server.url, way=way)
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        ) as process:
            assert entered.wait(20)
            out, err = process.communicate(timeout=20)

    assert err == ""
    assert out == (
        "cut the connection ended in waiting for the reply headers: "
        "no bytes had arrived\n"
    )


def test_a_thousand_messages_leave_nothing_behind(form):
    def script(line):
        while request := line.request():
            line.send(reply(b"x") if b"good" in request[:20] else b"junk\r\n\r\n")

    with Hostile(script) as server:
        for n in range(300):
            if n % 3:
                form.receive(f"{server.url}/good")
            else:
                with pytest.raises(Exception, match="no HTTP reply"):
                    form.receive(f"{server.url}/bad")
        gc.collect()
        assert form.transport.health().detail == "connections: 1, idle: 1"


# -- what a start costs


START = """
import sys
from btplug import Context, Message, Peer, TransportPluginRegistry
context = Context()
registry = TransportPluginRegistry(context)
assert not registry.discover_plugins({shipped!r})
first = set(sys.modules)
assert registry["http"].send(Peer({url!r}), Message(body=b"x")).ok
assert registry["http"].receive(Peer({url!r})).ok
registry.shut_down()
context.close()
for name in ("asyncio", "rich", "pygments", "httpx._main", "msgspec"):
    assert name not in sys.modules, name
assert not [n for n in first if n.endswith((".exchange", ".pool", ".trouble"))]
import httpx
assert httpx.Client and httpx.main
"""


def test_a_start_and_a_sync_message_import_neither_asyncio_nor_a_command_line():
    with Hostile(answering(OK)) as server:
        code = START.format(shipped=str(SHIPPED), url=server.url)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_httpx_keeps_its_command_line_where_it_was_imported_before():
    code = (
        "import sys, httpx\n"
        "before = sys.modules.get('httpx._main')\n"
        "from btplug import TransportPluginRegistry\n"
        f"assert not TransportPluginRegistry().discover_plugins({str(SHIPPED)!r})\n"
        "assert sys.modules.get('httpx._main') is before is not None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 0, done.stderr
