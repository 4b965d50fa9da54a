"""The commands `send` and `fetch`, from the library."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest
from hostile_server import OK, Hostile, answering, recording, reply

from btplug import (
    CLIPluginRegistry,
    Context,
    Message,
    TransportPluginRegistry,
    UsageError,
)
from btplug.errors import BadReply, NotAllowed, Refused, Unsupported

ROOT = Path(__file__).resolve().parent.parent.parent
MISSING = reply(b"no such thing", b"Content-Type: text/plain", status="404 X")
DEAD = "http://127.0.0.1:1/"  # nobody listens on port 1


@pytest.fixture
def commands():
    """The registry of commands; its context has the HTTP transport."""
    context = Context()
    registry = CLIPluginRegistry(context)
    transports = TransportPluginRegistry(context)
    for one in (registry, transports):
        for kind in ("cli_plugins", "transport_plugins"):
            assert not one.discover_plugins(ROOT / kind)
    yield registry
    assert not registry.shut_down()
    assert not transports.shut_down()
    context.close()


@pytest.mark.parametrize(
    ("data", "kind", "body"),
    [
        (None, None, b""),
        ("täxt", b"text/plain; charset=utf-8", "täxt".encode()),
        (b"\x00\xff", b"application/octet-stream", b"\x00\xff"),
        (
            Message(body=b"{}", media_type="application/json"),
            b"application/json",
            b"{}",
        ),
        ("@not-a-file", b"text/plain; charset=utf-8", b"@not-a-file"),
    ],
)
def test_send_takes_data_as_it_is_and_returns_the_body(commands, data, kind, body):
    seen = []
    with Hostile(recording(seen)) as server:
        result = commands.execute_plugin("send", data, url=server.url)

    assert result == b"ok"
    assert seen[0].startswith(b"POST / ")
    assert seen[0].endswith(b"\r\n\r\n" + body)
    if kind is None:
        assert b"content-type" not in seen[0]
    else:
        assert b"content-type: " + kind + b"\r\n" in seen[0]


def test_options_of_send_add_to_a_message(commands):
    seen = []
    sent = Message(body=b"x", method="PUT", headers=(("A", "1"),), target="/deep")
    with Hostile(recording(seen)) as server:
        commands.execute_plugin("send", sent, url=server.url, header=(("B", "2"),))
        commands.execute_plugin("send", sent, url=server.url, method="PATCH")

    assert seen[0].startswith(b"PUT /deep ")
    assert b"A: 1\r\nB: 2\r\n" in seen[0]
    assert seen[1].startswith(b"PATCH /deep ")


def test_fetch_returns_the_body(commands):
    seen = []
    with Hostile(recording(seen)) as server:
        assert commands.execute_plugin("fetch", url=f"{server.url}/a") == b"ok"

    assert seen[0].startswith(b"GET /a ")


@pytest.mark.parametrize("name", ["send", "fetch"])
def test_a_status_that_is_not_ok_gives_the_body_and_then_the_error(commands, name):
    with Hostile(answering(MISSING)) as server:
        result = commands.execute_plugin(name, url=server.url)
        assert next(result) == b"no such thing"
        with pytest.raises(BadReply) as caught:
            next(result)

    assert str(caught.value) == (
        "the peer answered with status 404, expected 200 to 299: "
        "a body of 13 bytes (text/plain): 'no such thing'\n"
        f"  where: {server.url}\n"
        "  fix:   the reply says why, or ask the owner of the peer"
    )
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("name", ["send", "fetch"])
def test_with_json_wanted_the_whole_reply_is_a_mapping(commands, name):
    commands.context.wants_json = True
    data = reply(b"\xff\x00", b"Content-Type: a/b", b"X: 1", b"X: 2")
    with Hostile(answering(data)) as server:
        result = commands.execute_plugin(name, url=server.url)

    assert result.pop("seconds") > 0
    assert result == {
        "url": server.url,
        "status": 200,
        "ok": True,
        "media_type": "a/b",
        "headers": [
            ["Content-Length", "2"],
            ["Content-Type", "a/b"],
            ["X", "1"],
            ["X", "2"],
        ],
        "signer": None,
        "body_base64": base64.b64encode(b"\xff\x00").decode(),
    }


@pytest.mark.parametrize("name", ["send", "fetch"])
def test_status_and_headers_are_logged_for_who_asks(commands, caplog, name):
    with caplog.at_level(logging.INFO, "btplug"), Hostile(answering(OK)) as server:
        commands.execute_plugin(name, url=server.url)

    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("status 200 after ")
    assert said[1:] == ["Content-Length: 2"]


@pytest.mark.parametrize("name", ["send", "fetch"])
@pytest.mark.parametrize(
    ("url", "error"),
    [
        (DEAD, Refused),
        ("http://me:pa55@x/", UsageError),
        ("ftp://x/", Unsupported),
    ],
)
def test_errors_pass_unchanged(commands, name, url, error):
    with pytest.raises(error) as caught:
        commands.execute_plugin(name, url=url)

    assert "pa55" not in str(caught.value)


def test_a_header_that_may_not_be_sent_is_refused_by_the_transport(commands):
    with pytest.raises(NotAllowed):
        commands.execute_plugin("send", url=DEAD, header=(("Host", "x"),))
