"""The HTTP transport's settings: a proxy, and what cannot work."""

from __future__ import annotations

import threading

import hostile_server
import pytest
from hostile_server import (
    OK,
    SHIPPED,
    Hostile,
    answering,
    recording,
    reply,
)

from btplug import (
    Context,
    Message,
    Peer,
    TransportPluginRegistry,
)
from btplug.errors import Refused

form, open_form = hostile_server.form, hostile_server.open_form


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
