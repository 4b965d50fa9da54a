"""The real server on loopback, and our own client in both forms."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import tracemalloc
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress

import hostile_server
import pytest
from hostile_server import Form, open_http

from btplug import Context, Message, Peer, Reply, TransportPluginRegistry
from btplug.dialects import V10, BtAuth1, create, load_signer
from btplug.errors import ConfigError, Refused, TransportError, Unsupported, UsageError
from btplug.serving import Limits, application

ALICE, BOB, EVE = (load_signer(f"//{name}") for name in ("Alice", "Bob", "Eve"))
KEYS = {"btauth/1": {"key": "//Alice"}, "v10": {"key": "//Alice"}}
JSON = b'{"text":"hi"}'


async def echo(request):
    return request.message


def of_bob(handler, *names, limits=None, **options):
    dialects = [create(name, key=BOB) for name in names or ("none",)]
    return application(handler, dialects=dialects, limits=limits or Limits(), **options)


class Running:
    """A server, in a loop of its own that hands over to the home loop.

    Attributes:
        url: Where it is.
        ended: How long its end took, in seconds.
    """

    def __init__(self, transport, handler, **place):
        self._there, self._loop, self._task = threading.Event(), None, None
        self.url, self.error, self.ended = "", None, 0.0

        def ready(url):
            self.url = url
            self._there.set()

        async def main():
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
            await transport.aserve(handler, ready=ready, **place)

        def work():
            try:
                asyncio.run(main())
            except asyncio.CancelledError:
                pass
            except BaseException as exc:
                self.error = exc
            self._there.set()

        self._thread = threading.Thread(target=work)
        self._thread.start()
        assert self._there.wait(10)

    def stop(self):
        """Cancel the task that serves."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)

    def end(self):
        begun = time.monotonic()
        self.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.ended = time.monotonic() - begun
        if self.error is not None:
            raise self.error


@contextmanager
def running(transport, handler, **place):
    server = Running(transport, handler, **place)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(params=["sync", "async"])
def form(request):
    with open_http(dialects=KEYS) as transport:
        yield Form(request.param, transport)


@pytest.fixture
def transport():
    """The transport with its defaults; afterwards no thread or socket may be left."""
    with open_http() as transport:
        yield transport


def connected(url, seconds=10.0, source=None):
    host, port = url.removeprefix("http://").rsplit(":", 1)
    place = host.strip("[]"), int(port)
    return socket.create_connection(place, seconds, source)


def talk(url, data, *, seconds=10.0, until_closed=False):
    """Send bytes on a connection of their own and return what comes back."""
    with connected(url, seconds) as line:
        line.sendall(data)
        found = b""
        while until_closed or b"\r\n\r\n" not in found:
            piece = line.recv(65536)
            if not piece:
                break
            found += piece
        return found


# -- Echoes


def test_a_reply_comes_in_one_piece(transport):
    """Head and body written apart are two packets, and wake its reader twice."""
    request = b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"
    with running(transport, of_bob(echo)) as server, connected(server.url) as line:
        for _ in range(50):
            line.sendall(request)
            head, _, body = line.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert body == b"body"


def test_a_large_reply_and_the_last_of_a_connection_are_whole(transport):
    async def large(request):
        return Reply(status=200, body=b"x" * 2_000_000)

    request = b"POST /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    with running(transport, of_bob(large)) as server:
        found = talk(server.url, request, until_closed=True)

    assert found.partition(b"\r\n\r\n")[2] == b"x" * 2_000_000


@pytest.mark.parametrize("name", ["none", "btauth/1", "v10"])
def test_an_echo_is_verified_in_each_dialect(form, name):
    seen = []

    def handler(request):
        seen.append(request)
        return request.message

    with running(form.transport, of_bob(handler, name)) as server:
        hotkey = None if name == "none" else BOB.hotkey
        peer = Peer(server.url, hotkey, name)
        answers = [form.send(peer, JSON, target="Echo") for _ in range(3)]

    assert [answer.status for answer in answers] == [200] * 3
    assert [json.loads(answer.body)["text"] for answer in answers] == ["hi"] * 3
    assert {r.hotkey for r in seen} == {None if name == "none" else ALICE.hotkey}
    assert {r.message.target for r in seen} == {"/Echo"}
    assert seen[0].address.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "target", ["", "a?", "a?b=c&d", "sp%20ace", "é?ü", "a//b/../c"]
)
def test_what_was_signed_is_what_is_verified(form, target):
    with running(form.transport, of_bob(echo, "btauth/1")) as server:
        assert form.send(Peer(server.url, BOB.hotkey), b"x", target=target).ok


def test_the_target_is_handed_on_to_the_byte(transport):
    """A server that hands over path and query apart loses the question mark."""
    seen = []

    def handler(request):
        seen.append(request.message.target)
        return request.message

    with running(transport, handler) as server:
        for target in ("/a?", "/a", "/%7e/../b//?c=%20"):
            talk(server.url, head("Content-Length: 0", first=f"GET {target} HTTP/1.1"))

    assert seen == ["/a?", "/a", "/%7e/../b//?c=%20"]


def test_a_large_body_comes_back_whole(form):
    body = os.urandom(3 * 1024 * 1024)
    with running(form.transport, of_bob(echo, "btauth/1")) as server:
        assert form.send(Peer(server.url, BOB.hotkey), body).body == body


def test_a_plain_handler_is_served_in_the_configured_dialects(form):
    """The transport of the client and that of the server have the same key here."""
    with running(form.transport, echo) as server:
        assert form.send(Peer(server.url, ALICE.hotkey), b"x").body == b"x"
        assert form.send(Peer(server.url), b"x").status == 401


def test_without_keys_whoever_asks_is_answered(transport):
    with running(transport, echo) as server:
        assert transport.send(Peer(server.url), Message(body=b"x")).body == b"x"
        assert transport.receive(Peer(server.url)).ok


# -- Refusals


def test_a_request_for_another_receiver_is_refused(form):
    with running(form.transport, of_bob(echo, "btauth/1", "v10")) as server:
        for name in ("btauth/1", "v10"):
            peer = Peer(server.url, EVE.hotkey, name)
            answer = form.send(peer, JSON, target="Echo")
            assert answer.status == 401
            assert answer.json() == {"message": "the request is not authentic"}


@pytest.mark.parametrize("dialect", [BtAuth1(ALICE), V10(ALICE)], ids=lambda d: d.name)
def test_a_replay_is_refused_to_the_byte_on_any_connection(transport, dialect):
    with running(transport, of_bob(echo, "btauth/1", "v10")) as server:
        message = Message(body=JSON, method="POST", target="Echo")
        peer = Peer(server.url, BOB.hotkey)
        sent = dialect.outgoing(peer, message, timeout=5.0, now_ns=time.time_ns())
        head = "".join(f"{k}: {v}\r\n" for k, v in sent.headers)
        data = (
            f"POST /Echo HTTP/1.1\r\nHost: x\r\n{head}"
            f"Content-Length: {len(sent.body)}\r\n\r\n"
        ).encode() + sent.body
        found = [talk(server.url, data).split()[1] for _ in range(3)]

    assert found == [b"200", b"401", b"401"]


def test_a_replay_to_another_server_of_the_transport_is_refused():
    with open_http(dialects={"btauth/1": {"key": "//Bob"}}) as transport:
        with running(transport, echo) as one, running(transport, echo) as two:
            now_ns = time.time_ns()
            message = Message(body=b"x", method="POST")
            sent = BtAuth1(ALICE).outgoing(
                Peer(one.url, BOB.hotkey), message, timeout=5.0, now_ns=now_ns
            )
            found = [
                transport.send(Peer(url), sent).status for url in (one.url, two.url)
            ]

    assert found == [200, 401]


# -- Side by side


def test_fifty_sync_handlers_do_not_stall_an_async_one(transport):
    gate, inside = threading.Event(), threading.Semaphore(0)

    def slow(request):
        inside.release()
        assert gate.wait(20)
        return request.message

    limits = Limits(threads=50, address_running=100)
    with (
        running(transport, of_bob(slow, limits=limits)) as held,
        running(transport, echo) as quick,
    ):
        many = transport.send_many([Peer(held.url)] * 50, Message(body=b"x"))
        with many:
            threading.Thread(target=lambda: [*many], daemon=True).start()
            for _ in range(50):
                assert inside.acquire(timeout=10)
            begun = time.monotonic()
            answer = transport.send(Peer(quick.url), Message(body=b"now"))
            took = time.monotonic() - begun
            gate.set()

    assert answer.body == b"now"
    assert took < 1.0


# -- Starting and stopping


def test_a_stop_finishes_the_request_that_has_begun(form):
    inside, gate = threading.Event(), threading.Event()

    def slow(request):
        inside.set()
        assert gate.wait(20)
        return request.message

    found = []
    server = Running(form.transport, of_bob(slow, "btauth/1"))
    peer = Peer(server.url, BOB.hotkey)
    asking = threading.Thread(target=lambda: found.append(form.send(peer, b"x")))
    asking.start()
    assert inside.wait(10)
    server.stop()
    _wait_until_refused(server.url)
    gate.set()
    asking.join(10)
    server.end()

    assert found[0].body == b"x"


def _wait_until_refused(url):
    def refused():
        try:
            connected(url).close()
        except OSError:
            return True
        return False

    _settled(refused)


def test_one_of_two_servers_of_an_application_stops_and_the_other_goes_on(transport):
    found = []

    async def main():
        urls, app = [], of_bob(echo)
        one, two = (
            asyncio.create_task(transport.aserve(app, ready=urls.append))
            for _ in range(2)
        )
        while len(urls) < 2:
            await asyncio.sleep(0.01)
        one.cancel()
        await asyncio.wait([one])
        for url in urls:
            with suppress(TransportError):
                found.append((await transport.asend(Peer(url), Message())).status)
        two.cancel()
        await asyncio.wait([two])

    asyncio.run(main())

    assert found == [200]


def test_a_stop_ends_within_its_limit_whatever_runs(transport):
    async def never(request):
        await asyncio.Event().wait()

    inside, found = threading.Event(), []

    async def told(request):
        inside.set()
        await never(request)

    server = Running(transport, of_bob(told, limits=Limits(stop_time=0.3)))
    asking = threading.Thread(
        target=lambda: found.append(transport.send(Peer(server.url), Message()))
    )
    asking.start()
    assert inside.wait(10)
    server.end()
    asking.join(10)

    assert server.ended < 3
    assert found[0].status == 503


def test_a_second_cancel_waits_for_nothing_and_leaves_nothing(transport):
    inside = threading.Event()

    async def never(request):
        inside.set()
        await asyncio.Event().wait()

    home, tasks, told = transport.context.home, [], []

    async def serve():
        tasks.append(asyncio.current_task())
        await transport.aserve(of_bob(never), ready=told.append)

    def ask():
        with suppress(TransportError):
            transport.send(Peer(told[0]), Message())

    def hand_over():
        with suppress(asyncio.CancelledError, CancelledError):
            home.run(serve())

    serving = threading.Thread(target=hand_over)
    serving.start()
    _settled(lambda: told)
    asking = threading.Thread(target=ask)
    asking.start()
    assert inside.wait(10)
    home.post(tasks[0].cancel)
    _wait_until_refused(told[0])
    begun = time.monotonic()
    home.post(tasks[0].cancel)
    for thread in (serving, asking):
        thread.join(20)

    assert time.monotonic() - begun < Limits().stop_time / 2


def test_an_interrupt_of_the_sync_form_lets_what_has_begun_finish(transport):
    """Longer than the second that other calls get."""
    found = []

    async def slow(request):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(1.5)
        return request.message

    def ready(url):
        def ask():
            found.append(transport.send(Peer(url), Message(body=b"x")))

        asking.append(threading.Thread(target=ask))
        asking[0].start()

    asking = []
    with pytest.raises(KeyboardInterrupt):
        transport.serve(of_bob(slow), ready=ready)
    asking[0].join(10)

    assert found[0].body == b"x"


def test_a_shutdown_of_the_transport_ends_its_servers():
    context = Context()
    registry = TransportPluginRegistry(context)
    assert not registry.discover_plugins(hostile_server.SHIPPED)
    server = Running(registry["http"], echo)

    assert not registry.shut_down()

    server._thread.join(10)
    assert not server._thread.is_alive()
    context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_it_is_where_it_says(transport, host):
    shown = f"[{host}]" if ":" in host else host
    with running(transport, echo, host=host) as server:
        assert server.url.startswith(f"http://{shown}:")
        assert int(server.url.rsplit(":", 1)[1]) > 0
        assert transport.send(Peer(server.url), Message(body=b"x")).body == b"x"


def test_a_port_can_be_taken_again_at_once(transport):
    with running(transport, echo) as server:
        assert transport.send(Peer(server.url), Message()).ok
        port = int(server.url.rsplit(":", 1)[1])
    with running(transport, echo, port=port) as server:
        assert server.url.endswith(f":{port}")


def test_an_address_that_is_taken_is_refused_with_its_reason(transport):
    with running(transport, echo) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with pytest.raises(Refused) as caught:
            transport.serve(echo, port=port)

    assert str(caught.value) == (
        "cannot listen there: Address already in use\n"
        f"  where: 127.0.0.1:{port}\n"
        "  fix:   name an address of this host, and a free port, or 0 for any"
    )


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ({"host": ""}, "found an empty host to listen on, expected an address"),
        ({"port": 70000}, "found the port 70000, expected 0 to 65535"),
        ({"port": -1}, "found the port -1, expected 0 to 65535"),
    ],
)
def test_a_place_that_is_none_is_wrong_usage(transport, place, what):
    with pytest.raises(UsageError) as caught:
        transport.serve(echo, **place)

    assert caught.value.what == what


def test_what_ready_raises_ends_the_server(transport):
    def ready(url):
        raise OSError("nobody listens")

    with pytest.raises(OSError, match="nobody listens"):
        transport.serve(echo, ready=ready)


def test_without_uvicorn_the_fix_is_to_install_it(transport, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(Unsupported) as caught:
        transport.serve(echo)

    assert caught.value.fix == "pip install 'btplug[serve]'"
    assert "serves with uvicorn" in caught.value.what
    assert caught.value.delivered is False


@pytest.mark.parametrize(
    ("serve", "what"),
    [
        ({"bodi": 1}, "found serve.bodi, expected one of: allow, deny, headers"),
        ({"body": "1"}, "found the limit body '1', expected a whole number above 0"),
        ({"allow": "x"}, "found serve.allow of type str, expected a list of hotkeys"),
    ],
)
def test_a_wrong_setting_is_an_error_of_the_start(monkeypatch, serve, what):
    monkeypatch.setenv("BTPLUG_HTTP__SERVE", str(serve))
    context = Context()

    (error,) = TransportPluginRegistry(context).discover_plugins(hostile_server.SHIPPED)

    context.close()
    assert isinstance(error, ConfigError)
    assert what in error.what


def test_the_settings_say_who_may_ask_and_how_much():
    serve = {"allow": [ALICE.hotkey], "body": 3}
    with (
        open_http(dialects=KEYS, serve=serve) as transport,
        running(transport, echo) as server,
    ):
        peer = Peer(server.url, ALICE.hotkey)
        found = [
            transport.send(peer, Message(body=body)).status for body in (b"x", b"four")
        ]
        eve = BtAuth1(EVE).outgoing(
            peer, Message(method="POST"), timeout=5.0, now_ns=time.time_ns()
        )
        found.append(transport.send(Peer(server.url), eve).status)

    assert found == [200, 413, 403]


# -- What peers on an open network do


def head(*lines, first="POST / HTTP/1.1"):
    return "\r\n".join([first, "Host: x", *lines]).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("begin", [b"", b"POST / HT", head()[:-2], b"\r\n" * 9])
def test_a_head_that_does_not_come_is_not_waited_for(transport, begin):
    with running(transport, of_bob(echo, limits=Limits(head_time=0.2))) as server:
        found = talk(server.url, begin, until_closed=True)

    assert found.startswith(b"HTTP/1.1 408 ")


def test_a_second_head_that_does_not_come_is_not_waited_for(transport):
    """The time for idle connections is over with its first byte."""
    with running(transport, of_bob(echo, limits=Limits(head_time=0.2))) as server:
        with connected(server.url) as line:
            line.sendall(head("Content-Length: 0"))
            assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
            line.sendall(b"POST")
            assert line.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_no_reply_waits_for_an_acknowledgement(transport):
    """It would be 40 ms for each."""
    with running(transport, echo) as server, connected(server.url) as line:
        begun = time.monotonic()
        for _ in range(50):
            line.sendall(head("Content-Length: 1") + b"x")
            found = b""
            while not found.endswith(b"\r\n\r\nx"):
                found += line.recv(65536)

    assert time.monotonic() - begun < 1.5


def test_an_idle_connection_is_closed(transport):
    with running(transport, of_bob(echo, limits=Limits(keep_alive=0.2))) as server:
        begun = time.monotonic()
        talk(server.url, head("Content-Length: 0"), until_closed=True)

    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "data",
    [
        b"POST /" + b"a" * 300_000,
        head("X: " + "a" * 300_000)[:-4],
        head(*(f"X-{n}: 1" for n in range(500))),
    ],
    ids=["target", "endless header", "many headers"],
)
def test_a_head_that_is_too_large_is_431(transport, data):
    with running(transport, echo) as server:
        with suppress(ConnectionError):  # it closes before all of it is read
            assert talk(server.url, data).startswith(b"HTTP/1.1 431 ")


def test_trailers_are_not_headers_and_not_kept_for_ever(transport):
    seen = []

    def handler(request):
        seen.append(request.message.headers)
        return request.message

    body = b"1\r\nx\r\n0\r\nX-Late: 1\r\n\r\n"
    endless = b"1\r\nx\r\n0\r\nX-Late: " + b"a" * 3_000_000
    limits = Limits(body=1000)
    with running(transport, of_bob(handler, limits=limits)) as server:
        start = head("Transfer-Encoding: chunked")
        assert talk(server.url, start + body).startswith(b"HTTP/1.1 200 ")
        with suppress(ConnectionError):
            assert talk(server.url, start + endless, until_closed=True) == b""

    assert len(seen) == 1
    assert "x-late" not in dict(seen[0])


@pytest.mark.parametrize(
    "begin",
    [b"0\r\nX: ", b"1;a=", b"1\r\nx\r\n0\r\nX: 1\r\nY: "],
    ids=["trailer", "extension of a chunk", "second trailer"],
)
def test_what_is_neither_head_nor_body_ends_soon(transport, begin):
    """The parser keeps a trailer until it ends, and copies it with each read."""
    with running(transport, echo) as server, connected(server.url, 3) as line:
        with suppress(ConnectionError):  # it closes before all of it is read
            # More than one read takes: the first may have begun with the head.
            line.sendall(head("Transfer-Encoding: chunked") + begin + b"a" * 400_000)
            assert line.recv(1) == b""


def test_many_small_chunks_are_a_body(transport):
    request = head("Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 60_000
    with running(transport, echo) as server:
        found = talk(server.url, request + b"0\r\nX: 1\r\n\r\n")

    assert found.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_a_body_behind_another_request_is_no_head(transport, kind):
    """The reply before comes while it is under way; trailers stay no headers too."""
    seen, go = [], threading.Event()

    def handler(request):
        seen.append(request.message)
        assert len(seen) > 1 or go.wait(10)
        return request.message

    body = bytes(150_000)
    ways = {
        "length": (b"content-length: 150000", body),
        "chunks": (
            b"transfer-encoding: chunked",
            b"249f0\r\n" + body + b"\r\n0\r\nx-trailer: 1\r\n\r\n",
        ),
    }
    how, sent = ways[kind]
    head = b"POST /two HTTP/1.1\r\nhost: h\r\n" + how + b"\r\n\r\n"
    with running(transport, of_bob(handler)) as server, connected(server.url) as line:
        line.sendall(b"GET /one HTTP/1.1\r\nhost: h\r\n\r\n" + head + sent[:100])
        go.set()
        assert line.recv(65536).startswith(b"HTTP/1.1 200")
        line.sendall(sent[100:])
        found = b""
        while len(found) < len(body) and (piece := line.recv(65536)):
            found += piece

    assert found.startswith(b"HTTP/1.1 200")
    assert [(one.target, len(one.body)) for one in seen] == [
        ("/one", 0), ("/two", 150_000),
    ]  # fmt: skip
    assert [name for name, _ in seen[1].headers] == [
        "host",
        how.split(b":")[0].decode(),
    ]


def test_a_body_behind_other_requests_is_read_when_it_is_its_turn(transport):
    """Before, it is in nobody's count: neither of its sender's memory nor of all."""
    inside, go, seen = threading.Semaphore(0), threading.Semaphore(0), []

    async def handler(request):
        seen.append(len(request.message.body))
        if request.message.target == "/slow":
            inside.release()
            await asyncio.to_thread(go.acquire, timeout=10)
        return Message()

    body = bytes(8_000_000)
    slow = head("Content-Length: 0", first="GET /slow HTTP/1.1") * 8
    with running(transport, of_bob(handler)) as server, connected(server.url) as line:
        large = slow + head(f"Content-Length: {len(body)}") + body
        sending = threading.Thread(target=line.sendall, args=(large,))
        tracemalloc.start()
        try:
            sending.start()
            for _ in range(8):
                assert inside.acquire(timeout=10)
                for _ in range(5):  # it reads for all connections by turns
                    talk(server.url, head("Content-Length: 0"))
                held, _ = tracemalloc.get_traced_memory()
                assert held < 1_500_000
                go.release()
        finally:
            tracemalloc.stop()
            go.release(8)
            sending.join(10)
        _settled(lambda: seen.count(len(body)) == 1)


@pytest.mark.parametrize("apart", [False, True], ids=["one piece", "two pieces"])
@pytest.mark.parametrize("kind", ["length", "chunks"])
def test_the_body_of_an_upgrade_is_no_request(transport, kind, apart):
    """httptools takes what follows for another protocol, and us for who speaks it."""
    seen = []

    def handler(request):
        seen.append(request.message.target)
        return request.message

    inner = head("Content-Length: 0", first="DELETE /inside HTTP/1.1")
    how, body = {
        "length": (f"Content-Length: {len(inner)}", inner),
        "chunks": (
            "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
        ),
    }[kind]  # fmt: skip
    start = head("Connection: Upgrade", "Upgrade: h2c", how)
    with running(transport, of_bob(handler)) as server, connected(server.url) as line:
        line.sendall(start if apart else start + body)
        found = line.recv(65536)
        with suppress(ConnectionError):  # it closes before all of it is read
            line.sendall(body)
            while piece := line.recv(65536):
                found += piece

    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1
    assert seen == []


def test_an_upgrade_without_a_body_is_answered_and_the_last(transport):
    """What came with it is lost; half of it must not be taken for a request."""
    first = head("Connection: Upgrade", "Upgrade: h2c", first="GET /a HTTP/1.1")
    with running(transport, echo) as server:
        found = talk(server.url, first + head("Content-Length: 0"), until_closed=True)

    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in found
    assert found.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(("number", "whole"), [(9, True), (30, False)])
def test_a_connection_has_so_many_requests_that_wait(transport, number, whole):
    """Each takes memory, and one piece that is read holds thousands."""
    go = threading.Event()

    def handler(request):
        assert go.wait(10)
        return Message()

    found = b""
    with running(transport, of_bob(handler)) as server, connected(server.url) as line:
        line.sendall(head("Content-Length: 0") * number)
        if whole:
            go.set()
        with suppress(ConnectionError):
            while found.count(b"HTTP/1.1 200 ") < number and (piece := line.recv(9999)):
                found += piece
        go.set()

    assert found.count(b"HTTP/1.1 200 ") == (number if whole else 0)


def test_one_address_has_so_many_connections(transport):
    with running(
        transport, of_bob(echo, limits=Limits(address_connections=3))
    ) as server:
        held = [connected(server.url) for _ in range(3)]
        for line in held:  # each is surely counted
            line.sendall(head("Content-Length: 0"))
            assert line.recv(12) == b"HTTP/1.1 200"
        found = talk(server.url, head("Content-Length: 0"))
        for line in held:
            line.close()
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in found
        _settled(lambda: talk(server.url, head("Content-Length: 0"))[9:12] == b"200")


def test_so_many_connections_wait_to_be_taken(transport):
    """All that wait are taken in one turn of the loop, and everybody else stands."""
    held, go = threading.Event(), threading.Event()

    async def stall(request):
        held.set()
        assert go.wait(20)
        return Message()

    lines = [socket.socket() for _ in range(400)]
    with running(transport, of_bob(stall)) as server, connected(server.url) as first:
        first.sendall(head("Content-Length: 0"))
        assert held.wait(10)
        for line in lines:
            line.setblocking(False)
            line.connect_ex(first.getpeername())
        there = [line for line in lines if select.select([], [line], [], 0)[1]]
        for line in lines:
            line.close()
        go.set()

    assert 100 < len(there) < 150


def test_who_is_gone_before_he_is_taken_has_an_address_all_the_same(transport):
    """Without one he would have no limits; his request is there, and is served."""
    seen, held, go = [], threading.Event(), threading.Event()

    async def handler(request):
        seen.append(request.address)
        if request.message.target == "/hold":
            held.set()
            assert go.wait(20)
        return Message()

    with running(transport, of_bob(handler)) as server, connected(server.url) as first:
        first.sendall(head("Content-Length: 0", first="GET /hold HTTP/1.1"))
        assert held.wait(10)
        with connected(server.url) as gone:
            here = gone.getsockname()
            gone.sendall(head("Content-Length: 0"))
            # Closed so, it is reset.
            gone.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        go.set()
        _settled(lambda: len(seen) == 2)

    assert seen[1] == f"{here[0]}:{here[1]}"


@pytest.mark.parametrize("more", [0, 1, 3])
def test_who_leaves_gives_back_his_place_whatever_he_sent_before(transport, more):
    """uvicorn tells the last request of a connection, which may not have begun."""
    inside, ended = threading.Event(), threading.Event()

    async def handler(request):
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    app = of_bob(handler, limits=Limits(running=1))
    with running(transport, app) as server:
        with connected(server.url) as line:
            line.sendall(head("Content-Length: 0") * (1 + more))
            assert inside.wait(10)
        assert ended.wait(10)
        _settled(lambda: app._work._turns._free == 1)


def _connections():
    """Return how many sockets this process has."""
    return sum(one.startswith("socket:") for one in hostile_server.held())


def _settled(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_reply_that_nobody_reads_is_not_kept(transport):
    def large(request):
        return Reply(status=200, body=b"x" * 30_000_000)

    size = 0
    with running(transport, of_bob(large, limits=Limits(keep_alive=0.2))) as server:
        before = _connections() + 1  # of ours
        with connected(server.url) as line:
            line.sendall(head("Content-Length: 0"))
            assert line.recv(12) == b"HTTP/1.1 200"
            # Nothing is read until the server has let go of it.
            _settled(lambda: _connections() == before)
            with suppress(ConnectionError):
                while piece := line.recv(1 << 20):
                    size += len(piece)

    assert size < 30_000_000


@pytest.mark.parametrize(
    "more",
    [
        head("Content-Length: 0"),
        head("Content-Length: 0") * 3,
        b"\r\n",
        b"\0\r\n",
        b"G",
    ],
    ids=["a request", "three requests", "a line break", "no HTTP", "a byte"],
)
def test_a_reply_that_nobody_reads_is_not_kept_for_what_follows(transport, more):
    """The next one waits for it with its place and its body; a refusal did, too."""

    def large(request):
        return Reply(status=200, body=b"x" * 30_000_000)

    app = of_bob(large, limits=Limits(keep_alive=0.2, head_time=0.2))
    with running(transport, app) as server:
        before = _connections() + 1  # of ours
        with connected(server.url) as line:
            line.sendall(head("Content-Length: 0"))
            assert line.recv(12) == b"HTTP/1.1 200"
            line.sendall(more)
            _settled(lambda: _connections() == before)
            _settled(lambda: not app._tasks)


def test_replies_that_nobody_reads_have_no_more_than_the_memory(transport):
    def large(request):
        return Reply(status=200, body=b"x" * 30_000_000)

    limits = Limits(keep_alive=30, memory=40_000_000)
    with running(transport, of_bob(large, limits=limits)) as server:
        before = _connections() + 3  # of ours
        lines = [connected(server.url) for _ in range(3)]
        for line in lines:
            line.sendall(head("Content-Length: 0"))
            assert line.recv(12) == b"HTTP/1.1 200"
        _settled(lambda: _connections() == before + 1)
        for line in lines:
            line.close()


def test_who_reads_least_is_given_up_and_nobody_else(transport):
    """Many replies of one sender, each smaller than the one of somebody else."""

    def large(request):
        return Reply(status=200, body=b"x" * int(request.message.target[1:]))

    limits = Limits(keep_alive=30, memory=80_000_000)
    found = 0
    with running(transport, of_bob(large, limits=limits)) as server:
        before = _connections()
        lines = [connected(server.url, source=("127.0.0.9", 0))]
        lines += [connected(server.url) for _ in range(5)]
        for line, size in zip(lines, [40, *[20] * 5], strict=True):
            line.sendall(head("Content-Length: 0", first=f"GET /{size}000000 HTTP/1.1"))
            assert line.recv(12) == b"HTTP/1.1 200"
        _settled(lambda: _connections() < before + 2 * len(lines))
        while found < 40_000_000 and (piece := lines[0].recv(1 << 20)):
            found += len(piece)
        for line in lines:
            line.close()

    assert found > 40_000_000


def test_what_is_no_http_is_answered_and_not_warned_of(transport, caplog):
    with running(transport, echo) as server:
        found = talk(server.url, b"\x16\x03\x01 hello\r\n\r\n", until_closed=True)
        upgrade = head("Upgrade: websocket", "Connection: upgrade", "Content-Length: 0")
        talk(server.url, upgrade)

    assert found == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    assert [r for r in caplog.records if r.levelname != "INFO"] == []


def test_the_server_does_not_say_what_it_is(transport):
    with running(transport, echo) as server:
        found = talk(server.url, head("Content-Length: 0")).lower()

    assert b"uvicorn" not in found
    assert b"\r\nserver:" not in found


def test_nobody_says_who_he_is_by_a_header_of_proxies(transport):
    seen = []

    def handler(request):
        seen.append(request.address)
        return request.message

    with running(transport, handler) as server:
        talk(server.url, head("X-Forwarded-For: 192.0.2.1", "Content-Length: 0"))

    assert seen[0].startswith("127.0.0.1:")


def test_uvicorn_is_imported_by_nobody_who_does_not_serve():
    import subprocess

    code = (
        "import sys, btplug; c = btplug.Context();"
        f"r = btplug.TransportPluginRegistry(c); r.discover_plugins({str(hostile_server.SHIPPED)!r});"
        "print(sorted({'uvicorn', 'asyncio', 'btplug.serving'} & {*sys.modules}));"
        "r.shut_down(); c.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


def test_a_failed_reply_is_no_reason_to_be_silent_about_the_next(form):
    def handler(request):
        raise ValueError("precious")

    with running(form.transport, of_bob(handler)) as server:
        found = [form.send(Peer(server.url), b"x") for _ in range(2)]

    assert [answer.status for answer in found] == [500, 500]
    assert b"precious" not in found[0].body


def test_a_client_that_cannot_reach_a_server_that_has_ended_is_told(form):
    with running(form.transport, of_bob(echo)) as server:
        pass

    with pytest.raises(TransportError):
        form.send(Peer(server.url), b"x", timeout=5)
