"""The HTTP transport's settings: a proxy, and what cannot work."""

from __future__ import annotations

import asyncio
import threading

import hostile_server
import pytest
from hostile_server import (
    OK,
    SHIPPED,
    Hostile,
    answering,
    open_http,
    recording,
    reply,
)
from test_http_tls import authority, good

from btplug import (
    Context,
    Message,
    Peer,
    TransportPluginRegistry,
)
from btplug.errors import BadReply, Late, Refused

form, open_form = hostile_server.form, hostile_server.open_form
__all__ = ["authority", "good"]  # fixtures


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


def test_a_tunnel_is_made_once_and_what_is_in_it_the_proxy_cannot_read(
    open_form, authority, good
):
    asked, seen = [], []

    def script(line):
        asked.append(line.request())
        line.send(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n")
        line.sock = good.wrap_socket(line.sock, server_side=True)
        recording(seen)(line)

    config = {"proxy_auth": "me:pa55", "ca_file": authority.file}
    with Hostile(script) as proxy, open_form(proxy=proxy.url, **config) as form:
        for _ in range(3):
            assert form.send("https://localhost/a?b", b"x").ok
        assert form.send("https://localhost:99/", b"x").ok

    assert [one.partition(b"\r\n")[0] for one in asked] == [
        b"CONNECT localhost:443 HTTP/1.1",
        b"CONNECT localhost:99 HTTP/1.1",
    ]
    assert b"\r\nHost: localhost:443\r\n" in asked[0]
    assert b"Proxy-Authorization: Basic bWU6cGE1NQ==\r\n" in asked[0]
    assert len(seen) == 4
    assert seen[0].startswith(b"POST /a?b HTTP/1.1\r\nhost: localhost\r\n")
    assert not any(b"authorization" in one.lower() for one in seen)


PROXIES = {
    "hangs": (lambda line: None, Late, "waited 0.5 s for a connection to "),
    "closes": (lambda line: None, Refused, "no connection to the proxy 127.0.0.1:"),
    "sends no end": (
        lambda line: line.drip(b"HTTP/1.1 200 OK\r\nX: y", 0.01),
        Late, "waited 0.5 s for a connection to "),
    "sends too much": (
        lambda line: line.send(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000),
        Refused, "the proxy refused: found headers and no end"),
    "is no proxy": (
        lambda line: line.send(b"220 mail.test\r\n\r\n"),
        Refused, "no connection to the proxy 127.0.0.1:"),
    "wants a password": (
        lambda line: line.send(reply(b"", status="407 Proxy Authentication Required")),
        Refused, "the proxy refused: 407 Proxy Authentication Required"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_makes_no_tunnel_is_an_error(open_form, name):
    answer, kind, what = PROXIES[name]

    def script(line):
        line.request()
        answer(line)
        while name != "closes" and line.sock.recv(1000):
            pass  # until the client has gone

    with (
        Hostile(script) as proxy,
        open_form(proxy=proxy.url) as form,
    ):
        limit = 0.5 if kind is Late else 20
        with pytest.raises(kind) as caught:
            form.send("https://neuron.test/", b"x", timeout=limit)

    assert caught.value.what.startswith(what)
    assert caught.value.delivered is False


@pytest.mark.parametrize("host", ["a..b", ".x", "x" * 70 + ".com"])
def test_a_name_that_cannot_be_one_is_an_error_behind_a_proxy(open_form, host):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        line.sock.recv(1000)

    with (
        Hostile(script) as proxy,
        open_form(proxy=proxy.url) as form,
        pytest.raises(
            Refused, match=r"^the name of .* has no address \(not a possible name\)"
        ) as caught,
    ):
        form.send(f"https://{host}/", b"x")

    assert caught.value.delivered is False


def test_a_peer_behind_a_proxy_has_the_same_limits(open_form):
    with (
        Hostile(
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok")
        ) as proxy,
        open_form(proxy=proxy.url) as form,
        pytest.raises(BadReply, match="found headers that break the rules of HTTP"),
    ):
        form.send("http://neuron.test/", b"x")


def test_many_messages_go_through_a_proxy_at_once():
    together = threading.Barrier(20)

    def script(line):
        line.request()
        together.wait(20)
        line.send(OK)

    peers = [Peer(f"http://neuron.test:{port}/") for port in range(1, 21)]
    with Hostile(script) as proxy, hostile_server.open_http(proxy=proxy.url) as http:
        found = [one.unwrap().status for one in http.send_many(peers, Message())]

    assert found == [200] * 20


def test_what_is_cancelled_does_not_go_through_a_proxy_later():
    seen, go, came = [], threading.Event(), threading.Event()

    def script(line):
        while request := line.request():
            seen.append(request.partition(b"\r\n\r\n")[2])
            came.set()
            go.wait(20)
            line.send(OK)

    async def main(http):
        first = asyncio.create_task(http.asend(peers[0], Message(body=b"first")))
        await asyncio.to_thread(came.wait, 20)
        others = [
            asyncio.create_task(http.asend(peer, Message(body=b"late")))
            for peer in peers[1:]
        ]
        async with asyncio.timeout(20):
            while len(http._engine._sync._queue) < 3:  # for the only connection
                await asyncio.sleep(0.005)
        for one in others:
            one.cancel()
        assert all(
            isinstance(one, asyncio.CancelledError)
            for one in await asyncio.gather(*others, return_exceptions=True)
        )
        go.set()
        assert (await first).ok
        # Nor is a reply awaited by the thread.
        came.clear()
        go.clear()
        last = asyncio.create_task(http.asend(peers[0], Message(body=b"left")))
        await asyncio.to_thread(came.wait, 20)
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        go.set()

    peers = [Peer(f"http://10.9.9.{number}/") for number in range(4)]
    with Hostile(script) as proxy, open_http(proxy=proxy.url, connections=1) as http:
        asyncio.run(main(http))
        assert http.send(peers[0], Message(body=b"last")).ok

    assert seen == [b"first", b"left", b"last"]


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("proxy", "http://me:pa55@proxy:1", "expected it in proxy_auth"),
        ("proxy", "socks5://proxy:1", "expected http://host:port"),
        ("proxy", "http://", "expected http://host:port"),
        ("proxy", "http://proxy:x", "expected http://host:port"),
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
