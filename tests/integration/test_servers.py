"""What peers on an open network do, line by line, by every way of asking them.

Each test carries the number of its line. What one line has more to say about stands
beside it: `test_http_kept` (S23), `test_http_tls` (S25), `test_http_reach` (S18),
`test_servers_memory` (S05, S11), `test_servers_more` (of the same kind).
"""

from __future__ import annotations

import re
import socket
import threading
import time

import asking
import pytest
from asking import STREAMS, ask, failing
from hostile_server import (
    OK,
    Hostile,
    answering,
    open_http,
    recording,
    reply,
    then_close,
)
from servers import CASES, LIMIT, RAISE, TWICE

from btplug.errors import BadReply, NotAllowed, TransportError

way, http = asking.way, asking.http

MANY = 10  # times its limit is what a call may last on a busy machine


@pytest.mark.parametrize("name", CASES)
def test_a_server_that_does_this_is_one_error_in_time(name, way):
    case = CASES[name]
    kind, what, fix = case.kind, case.what, case.fix
    if case.streamed and way in STREAMS:
        kind, what, fix = case.streamed
    timeout = LIMIT if kind == "late" else 20
    if kind == "late" and way == "send_many":
        # On a machine that stood still the limit of the turn may come first.
        what = f"{what}|waited 0.4 s for the reply"
    with open_http(**case.config) as http, failing(http, way) as caught:
        with Hostile(case.script) as server:
            began = time.monotonic()
            ask(http, way, server.url, b"x", timeout=timeout)
    took = time.monotonic() - began

    error = caught.value
    assert error.kind == kind
    assert re.fullmatch(what, error.what), error.what
    assert error.where == server.url
    assert fix in error.fix
    assert error.delivered is None
    assert "\x1b" not in str(error)
    assert took < MANY * max(timeout, 1)
    if kind == "late":
        assert took >= LIMIT


# -- redirects


def test_s16_a_redirect_loop_is_one_reply(http, way):
    seen = []

    def script(line):
        while data := line.request():
            seen.append(data)
            line.send(reply(b"", b"Location: /again", status="302 Found"))

    with Hostile(script) as server:
        answer = ask(http, way, server.url)

    assert (answer.status, answer.header("location"), len(seen)) == (302, "/again", 1)
    with pytest.raises(BadReply) as caught:
        answer.expect_ok(server.url)
    assert caught.value.what.startswith("the peer answered with status 302, expected")
    assert caught.value.fix == (
        "redirects are not followed; if you trust it, send to '/again'"
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_s18_s19_s20_nothing_is_sent_where_a_redirect_points(http, way, status):
    """No request, so no body, and none of the credentials a caller has added."""
    elsewhere = []
    with Hostile(recording(elsewhere), host="127.0.0.2") as other:
        to = f"Location: {other.url}/steal".encode()
        with Hostile(answering(reply(b"gone", to, status=f"{status} X"))) as server:
            answer = ask(
                http,
                way,
                server.url,
                b"secret",
                headers=(("authorization", "Bearer t"), ("x-api-key", "k")),
            )
        assert not other.lines

    assert (answer.status, answer.body, answer.ok) == (status, b"gone", False)
    assert answer.header("location") == f"{other.url}/steal"
    assert elsewhere == []


def test_s18_who_follows_a_redirect_can_have_its_address_checked(http, way):
    limited = http.limited_to(lambda host, port, address: address == "127.0.0.1")
    with Hostile(answering(OK), host="127.0.0.2") as inside:
        to = f"Location: {inside.url}/".encode()
        with Hostile(answering(reply(b"", to, status="307 X"))) as server:
            answer = ask(limited, way, server.url)
            with pytest.raises(NotAllowed) as caught:
                ask(limited, way, answer.header("location"))
        assert not inside.lines

    assert caught.value.what == "the address 127.0.0.2 is not allowed"
    assert caught.value.exit_code == 5
    assert caught.value.delivered is False


@pytest.mark.parametrize("target", [b"http://[bad", b"ftp://x/", b"\xff\xfe", b""])
def test_s16_a_redirect_to_nowhere_is_a_reply_too(http, way, target):
    data = reply(b"", b"Location: " + target, status="302 Found")
    with Hostile(answering(data)) as server:
        assert ask(http, way, server.url).status == 302


# -- connections and names


@pytest.fixture
def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def test_s21_a_refused_connection_says_so_and_delivered_nothing(http, way, free_port):
    with failing(http, way) as caught:
        ask(http, way, f"http://127.0.0.1:{free_port}/x")

    assert str(caught.value) == (
        f"127.0.0.1:{free_port} refused the connection\n"
        f"  where: http://127.0.0.1:{free_port}/x\n"
        "  fix:   check the address, and that the peer runs"
    )
    assert caught.value.kind == "refused"
    assert caught.value.delivered is False


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1)])
def test_s21_only_what_does_no_harm_is_sent_again_once_and_within_the_limit(
    http, way, method, times
):
    seen = []

    def script(line):
        while data := line.request():
            seen.append(data)
            if len(seen) == 1:
                line.send(OK)
            elif line.number == 0:
                return  # the second request, on the connection that was kept
            else:
                line.wait()

    with Hostile(script) as server:
        ask(http, way, server.url, method=method)
        began = time.monotonic()
        with pytest.raises(TransportError) as caught:
            ask(http, way, server.url, method=method, timeout=1)
        took = time.monotonic() - began

    assert len(seen) == 1 + times
    assert caught.value.kind == ("late" if method == "GET" else "cut")
    assert caught.value.fix == (RAISE if method == "GET" else TWICE)
    assert took < MANY


def test_s22_a_name_without_an_address_is_refused_with_its_reason(http, way):
    with failing(http, way) as caught:
        ask(http, way, "http://no-such-host.invalid:81/", timeout=20)

    assert caught.value.what.startswith(
        "the name of no-such-host.invalid:81 has no address ("
    )
    assert caught.value.fix == "check the address, and that the peer runs"
    assert caught.value.kind == "refused"
    assert caught.value.delivered is False


def test_s22_a_slow_look_up_ends_at_the_deadline(http, way, monkeypatch):
    release, real = threading.Event(), socket.getaddrinfo

    def slow(host, *args, **keywords):
        if host == "slow.test" and not keywords.get("flags"):
            release.wait(30)
        return real(host, *args, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with failing(http, way) as caught:
        ask(http, way, "http://slow.test/", timeout=LIMIT)
    release.set()

    assert LIMIT <= time.monotonic() - began < MANY
    assert re.fullmatch(
        "waited 0.4 s for (the address of slow.test:80: no bytes had arrived|the reply)",
        caught.value.what,
    )
    assert caught.value.kind == "late"
    assert caught.value.delivered is False or way == "send_many"


@pytest.mark.parametrize("announces", [True, False])
def test_s23_a_server_that_closes_after_each_reply_fails_none_of_20(
    http, way, announces
):
    data = reply(b"ok", b"Connection: close") if announces else OK
    with Hostile(then_close(data)) as server:
        for _ in range(20):
            assert ask(http, way, server.url, method="GET").body == b"ok"


def test_s23_a_post_never_goes_into_a_connection_that_was_closed(http, way):
    closed = threading.Semaphore(0)

    def script(line):
        line.request()
        line.send(OK)
        line.sock.close()
        closed.release()

    with Hostile(script) as server:
        for _ in range(20):
            assert ask(http, way, server.url, b"x").body == b"ok"
            assert closed.acquire(timeout=5)
        assert len(server.lines) == 20
