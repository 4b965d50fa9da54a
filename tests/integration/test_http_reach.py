"""Where a transport that was lent may connect to: S18, in both forms.

The stand-in for an address that is not allowed is 127.0.0.2, as 127.0.0.1 is the one
for the open Internet: both are here.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import hostile_server
import pytest
from hostile_server import OK, Form, Hostile, answering, open_http, recording, reply

from btplug import Message, Peer, TransportPlugin
from btplug.errors import NotAllowed, TransportError, Unsupported
from btplug.network import is_public

form, open_form = hostile_server.form, hostile_server.open_form


def outside(host, port, address):
    """Allow what stands for the open Internet."""
    return address == "127.0.0.1"


@pytest.fixture
def lent(form):
    """The transport of `form`, limited to *allow*."""
    return lambda allow=outside: Form(form.kind, form.transport.limited_to(allow))


class Names:
    """A resolver: what a name of it stands for, one answer after the other.

    Attributes:
        asked: How often each name was looked up.
    """

    def __init__(self, monkeypatch):
        self._answers, self.asked = {}, {}
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def __setitem__(self, name, answers):
        self._answers[name] = answers

    def _look_up(self, host, port, *args, flags=0, **keywords):
        if host not in self._answers:
            return self._real(host, port, *args, flags=flags, **keywords)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "it is a name")
        at = self.asked[host] = self.asked.get(host, 0) + 1
        answers = self._answers[host]
        found = answers[min(at, len(answers)) - 1]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in found
        ]


@pytest.fixture
def names(monkeypatch):
    return Names(monkeypatch)


def refused(form, url):
    with pytest.raises(NotAllowed) as caught:
        form.send(url, b"secret")
    assert caught.value.delivered is False
    assert caught.value.exit_code == 5
    return caught.value


# Each of them reaches a server on 127.0.0.1 or ::1 of some system.
INSIDE = [
    "127.0.0.1", "127.0.0.2", "127.1", "2130706433", "0x7f000001", "0x7f.1",
    "0177.0.0.1", "017700000001", "0.0.0.0", "0", "localhost", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]",
    "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1",
    "%31%32%37.0.0.1", "①②⑦.0.0.1", "127。0。0。1",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_what_is_not_of_the_open_internet_is_never_connected_to(lent, host):
    """However it is written: what counts is the address that would be connected to."""
    limited = lent(lambda host, port, address: is_public(address))
    with Hostile(answering(OK)) as server:
        error = None
        # Some are no host that this system, or a URL, knows: nobody is reached either.
        try:
            limited.send(f"http://{host}:{server.port}/", timeout=2)
        except Exception as exc:
            error = exc
        assert not server.lines

    assert error is not None
    assert error.delivered is False
    assert type(error).__name__ in ("NotAllowed", "Refused")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0.0.0.0", "localhost"]
)
def test_the_message_says_which_address_was_found(lent, host):
    limited = lent(lambda host, port, address: is_public(address))
    error = refused(limited, f"http://{host}:9/a?key=s3cret")

    assert error.what.startswith("the address ")
    assert error.what.endswith(" is not allowed")
    assert host in error.what
    assert any(one in error.what for one in ("127.0.0.1", "::1", "0.0.0.0"))
    assert error.where == f"http://{host}:9/a?…"
    assert error.fix == "whoever lends the transport has to allow it"


def test_the_caller_himself_may_connect_anywhere(form):
    with Hostile(answering(OK), host="127.0.0.2") as server:
        assert form.send(server.url).ok


def test_a_name_is_judged_by_its_address(lent, names):
    names["good.test"], names["evil.test"] = [["127.0.0.1"]], [["127.0.0.2"]]
    limited = lent()
    with Hostile(answering(OK), name="good.test") as server:
        assert limited.send(server.url).ok
    with Hostile(answering(OK), host="127.0.0.2", name="evil.test") as server:
        error = refused(limited, server.url)
        assert not server.lines

    assert error.what == "the address 127.0.0.2 of evil.test is not allowed"


def test_who_allows_hears_what_was_written(lent, names):
    names["good.test"], heard = [["127.0.0.1", "127.0.0.3"]], []

    def allow(host, port, address):
        heard.append((host, port, address))
        return True

    with Hostile(answering(OK), name="good.test") as server:
        assert lent(allow).send(f"{server.url}/path").ok

    port = server.port
    assert heard == [("good.test", port, "127.0.0.1"), ("good.test", port, "127.0.0.3")]


def test_a_name_that_stands_for_another_address_a_moment_later_gains_nothing(
    lent, names
):
    """What was judged is what is connected to: it is looked up once."""
    names["turn.test"] = [["127.0.0.1"], ["127.0.0.2"]]
    limited, inside = lent(), []
    with Hostile(recording(inside), host="127.0.0.2") as secret:
        with suppress(TransportError):
            limited.send(f"http://turn.test:{secret.port}/")
        assert names.asked == {"turn.test": 1}
        error = refused(limited, f"http://turn.test:{secret.port}/")
        assert not secret.lines

    assert "127.0.0.2 of turn.test" in error.what
    assert inside == []


def test_of_many_addresses_only_the_allowed_are_tried(lent, names):
    names["both.test"] = [["127.0.0.2", "127.0.0.3", "127.0.0.1"]]
    with Hostile(answering(OK), host="127.0.0.2") as secret:
        # Whoever may listen on that port of 127.0.0.1, or nobody.
        with suppress(TransportError):
            lent().send(f"http://both.test:{secret.port}/", timeout=5)
        assert not secret.lines
    with Hostile(answering(OK), name="both.test") as server:
        assert lent().send(server.url).ok


def test_a_connection_that_the_caller_has_open_is_not_shared(form, lent):
    with Hostile(answering(OK), host="127.0.0.2") as server:
        assert form.send(server.url).ok  # and its connection is kept
        refused(lent(), server.url)
        assert len(server.lines) == 1


def test_a_redirect_that_is_followed_by_hand_is_checked(form, lent):
    inside = []
    with Hostile(recording(inside), host="127.0.0.2") as secret:
        moved = reply(b"", f"Location: {secret.url}/x".encode(), status="307 X")
        with Hostile(answering(moved)) as server:
            answer = form.send(server.url, b"body")
            refused(lent(), answer.header("location"))

    assert inside == []


def test_a_fanout_and_a_stream_are_limited_too():
    async def astream(transport, url):
        async with transport.astream(Peer(url), Message(), b"x"):
            pass

    with open_http() as transport, Hostile(answering(OK), host="127.0.0.2") as server:
        limited = transport.limited_to(outside)
        message = Message(body=b"x")
        (outcome,) = limited.send_many([Peer(server.url)], message, repeatable=True)
        assert (outcome.failure.kind, outcome.attempts) == ("not-allowed", 1)
        with pytest.raises(NotAllowed):
            limited.receive(Peer(server.url))
        with pytest.raises(NotAllowed):
            with limited.stream(Peer(server.url), Message(), b"x"):
                pass
        with pytest.raises(NotAllowed):
            asyncio.run(astream(limited, server.url))
        assert not server.lines


def test_it_ends_before_its_transport_or_with_it():
    with open_http() as transport, Hostile(answering(OK)) as server:
        one, other = transport.limited_to(outside), transport.limited_to(outside)
        for limited in (one, other):
            assert limited.send(Peer(server.url), Message(body=b"x")).ok
        one.shutdown()
        with pytest.raises(NotAllowed, match="not open"):
            one.send(Peer(server.url), Message())
        assert other.send(Peer(server.url), Message()).ok
        assert transport.send(Peer(server.url), Message()).ok
    with pytest.raises(NotAllowed, match="not open"):
        other.send(Peer("http://127.0.0.1:9/"), Message())


def test_those_that_have_ended_are_not_kept():
    with open_http() as transport:
        for _ in range(5):
            transport.limited_to(outside).shutdown()
        assert len(transport._limited) <= 1


def test_a_limit_of_a_limit_is_not_a_way_out():
    with open_http() as transport, Hostile(answering(OK), host="127.0.0.2") as server:
        limited = transport.limited_to(outside).limited_to(lambda *_: True)
        with pytest.raises(NotAllowed):
            limited.send(Peer(server.url), Message())
        assert not server.lines


def test_behind_a_proxy_no_address_can_be_checked():
    with open_http(proxy="http://127.0.0.1:9") as transport:
        with pytest.raises(Unsupported, match="cannot be checked behind a proxy"):
            transport.limited_to(outside)


def test_a_transport_that_cannot_check_addresses_says_so():
    class Plain(TransportPlugin):
        schemes = ("plain",)

        def initialize(self, config): ...
        def shutdown(self): ...
        def send(self, peer, message, *, timeout=None): ...

    with pytest.raises(Unsupported, match="does not check addresses"):
        Plain().limited_to(outside)
