"""HTTPTransportPlugin with servers that behave: both forms, loops, threads, ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import hostile_server
import pytest
from hostile_server import (
    OK,
    SHIPPED,
    Form,
    Hostile,
    answering,
    open_http,
    recording,
    reply,
)

from btplug import (
    Context,
    Message,
    Peer,
    Reply,
    TransportPluginRegistry,
    __version__,
)
from btplug.errors import Cut, NotAllowed, Refused, UsageError

form, open_form = hostile_server.form, hostile_server.open_form


def lines_of(request):
    """Return the request line, the headers as a dict, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in rest), body


def test_send_posts_and_says_all_that_a_server_needs(form):
    seen = []
    with Hostile(recording(seen)) as server:
        answer = form.send(
            f"{server.url}/base",
            b"body",
            media_type="text/plain",
            headers=(("X-One", "1"), ("x-two", " 2\t")),
            target="/deep?q=1",
        )

    first, headers, body = lines_of(seen[0])
    assert first == "POST /base/deep?q=1 HTTP/1.1"
    assert body == b"body"
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "user-agent": f"btplug/{__version__}",
        "content-type": "text/plain",
        "content-length": "4",
        "X-One": "1",
        "x-two": "2",
    }
    assert (answer.status, answer.body, answer.ok) == (200, b"ok", True)
    assert 0 < answer.seconds < 5
    assert answer.signer is None


def test_receive_gets_without_a_body(form):
    seen = []
    with Hostile(recording(seen)) as server:
        assert form.receive(f"{server.url}/a?b=c").body == b"ok"

    first, headers, body = lines_of(seen[0])
    assert first == "GET /a?b=c HTTP/1.1"
    assert body == b""
    assert not {"content-type", "content-length"} & set(headers)


def test_the_callers_own_headers_replace_ours(form):
    seen = []
    with Hostile(recording(seen)) as server:
        mine = (
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "me"),
        )
        form.send(server.url, b"{}", headers=mine, media_type="text/plain")

    names = [line.split(b":")[0].lower() for line in seen[0].split(b"\r\n")[1:-2]]
    assert sorted(names) == sorted(set(names))
    assert b"Content-Type: application/json" in seen[0]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "X-Y"])
def test_any_method_can_be_sent(form, method):
    seen = []
    with Hostile(recording(seen)) as server:
        form.send(server.url, b"x", method=method)

    assert seen[0].startswith(f"{method} / HTTP/1.1".encode())
    assert seen[0].endswith(b"\r\n\r\nx")


def test_an_empty_post_says_that_it_is_empty(form):
    seen = []
    with Hostile(recording(seen)) as server:
        form.send(server.url)

    assert b"content-length: 0\r\n" in seen[0].lower()


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500, 599, 999])
def test_an_answer_of_any_status_is_a_reply(form, status):
    body = b"" if status in (204, 304) else b"why"
    with Hostile(answering(reply(body, status=f"{status} X"))) as server:
        answer = form.send(server.url)

    assert (answer.status, answer.body) == (status, body)
    assert answer.ok is (status < 300)


def test_headers_keep_their_order_repeats_and_bytes(form):
    extra = (
        b"B: 1",
        b"A: 2",
        b"b: 3",
        b"C: \xc3\xa4",
        b"D: \xe4",
        b"Content-Type: x/y",
    )
    with Hostile(answering(reply(b"", *extra))) as server:
        answer = form.receive(server.url)

    assert answer.headers == (
        ("Content-Length", "0"),
        ("B", "1"),
        ("A", "2"),
        ("b", "3"),
        ("C", "ä"),
        ("D", "ä"),
        ("Content-Type", "x/y"),
    )
    assert answer.media_type == "x/y"


def test_megabytes_go_there_and_back(form):
    body = bytes(range(256)) * 40_000  # 10 MB

    def script(line):
        while request := line.request():
            line.send(reply(request.partition(b"\r\n\r\n")[2]))

    with Hostile(script) as server:
        assert form.send(server.url, body, timeout=20).body == body


def test_many_tiny_chunks_cost_little_memory(form):
    count = 20_000
    chunks = b"2\r\nab\r\n" * count
    data = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    with Hostile(answering(data)) as server:
        form.receive(server.url)
        tracemalloc.start()
        try:
            assert len(form.receive(server.url).body) == 2 * count
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 1_000_000


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_works_in_brackets(form):
    seen = []
    with Hostile(recording(seen), host="::1") as server:
        assert form.receive(server.url).ok
        assert f"host: [::1]:{server.port}".encode() in seen[0]
    with pytest.raises(Refused, match=rf"\[::1\]:{server.port} refused"):
        form.receive(server.url)


def test_a_name_is_resolved_and_sent_as_the_host(form):
    seen = []
    with Hostile(recording(seen), name="localhost") as server:
        assert form.receive(server.url).ok

    assert f"host: localhost:{server.port}".encode() in seen[0]


def test_the_seeds_execute_sends_text(form):
    if form.kind == "async":
        pytest.skip("execute is the sync form")
    seen = []
    with Hostile(recording(seen)) as server:
        answer = form.transport.execute("hello", peer=server.url, timeout=5)

    assert isinstance(answer, Reply)
    assert seen[0].endswith(b"\r\n\r\nhello")


# -- a proxy, where one is configured


def test_a_configured_proxy_is_used_for_http(open_form):
    seen = []
    with (
        Hostile(recording(seen)) as proxy,
        open_form(proxy=proxy.url, proxy_auth="me:pa55") as form,
    ):
        assert form.receive("http://neuron.test:81/a?b").ok

    assert seen[0].startswith(b"GET http://neuron.test:81/a?b HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cGE1NQ==" in seen[0]


def test_a_proxy_that_refuses_a_tunnel_is_named(open_form):
    refusal = reply(b"", status="403 \x1b[31mNo")
    with (
        Hostile(answering(refusal)) as proxy,
        open_form(proxy=proxy.url) as form,
        pytest.raises(Refused) as caught,
    ):
        form.receive("https://neuron.test/")

    assert caught.value.what.startswith("the proxy refused: 403 ")
    assert "\x1b" not in str(caught.value)
    assert caught.value.delivered is False


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("proxy", "http://me:pa55@proxy:1", "expected it in proxy_auth"),
        ("proxy", "socks5://proxy:1", "expected http://host:port"),
        ("timeout", "0", "timeout is 0"),
        ("max_body", "-1", "max_body is -1"),
        ("keep_alive", "-1", "keep_alive is -1"),
        ("ca_file", "/no/such/file", "ca_file is '/no/such/file', expected a file"),
    ],
)
def test_a_setting_that_cannot_work_breaks_the_start_with_its_reason(
    monkeypatch, key, value, match
):
    monkeypatch.setenv(f"BTPLUG_HTTP__{key.upper()}", value)
    context = Context()
    (error,) = TransportPluginRegistry(context).discover_plugins(SHIPPED)
    context.close()

    assert match in error.what
    assert "pa55" not in str(error)
    assert error.exit_code == 4


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
        while "0 connections" not in transport.health().detail:
            assert time.monotonic() < until, transport.health().detail
            time.sleep(0.005)


def test_health_tells_what_is_open():
    with open_http() as transport, Hostile(answering(OK)) as server:
        assert transport.health().detail == "open, 0 connections, 0 of them idle"
        transport.receive(Peer(server.url))
        asyncio.run(transport.areceive(Peer(server.url)))
        assert transport.health().detail == "open, 2 connections, 2 of them idle"
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


def test_a_shutdown_ends_a_sync_message_that_waits():
    entered, failed = threading.Event(), []

    def script(line):
        line.request()
        entered.set()
        line.wait()

    def work(transport, url):
        try:
            transport.send(Peer(url), Message(), timeout=20)
        except Cut as exc:
            failed.append(exc)

    with open_http() as transport, Hostile(script) as server:
        thread = threading.Thread(target=work, args=(transport, server.url))
        thread.start()
        assert entered.wait(5)
        transport.shutdown()
        thread.join(5)
        assert not thread.is_alive()

    assert len(failed) == 1


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
        assert form.transport.health().detail.startswith("open, 1 connections")


def test_a_time_limit_that_is_no_number_is_a_mistake_of_the_caller(form):
    with pytest.raises(UsageError, match="nan"):
        form.receive("http://127.0.0.1/", timeout=float("nan"))


def test_an_endless_time_limit_is_taken(form):
    with Hostile(answering(OK)) as server:
        assert form.receive(server.url, timeout=float("inf")).ok


def test_a_body_that_is_text_is_refused(form):
    with pytest.raises(NotAllowed, match="body of type str, expected bytes"):
        form.send("http://127.0.0.1/", "text")


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
assert not [n for n in first if n.endswith((".exchange", ".awires", ".trouble"))]
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
