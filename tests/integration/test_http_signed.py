"""Who is speaking: signed messages over HTTP, as the other side verifies them."""

from __future__ import annotations

import time

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, open_http, recording

from btplug import Context, Message, Peer, Request, TransportPluginRegistry
from btplug.dialects import V10, BtAuth1, load_signer
from btplug.errors import Unauthentic, Unsupported

open_form = hostile_server.open_form

ALICE, BOB = load_signer("//Alice"), load_signer("//Bob")
KEYS = {"btauth/1": {"key": "//Alice"}, "v10": {"key": "//Alice"}}


@pytest.fixture
def form(open_form):
    with open_form(dialects=KEYS) as form:
        yield form


def request_of(data):
    """Return what a server reads as a Request: the bytes that stood on the wire."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = tuple(tuple(line.split(": ", 1)) for line in lines)
    message = Message(method=method, target=target, headers=headers, body=body)
    return Request(message=message, address="127.0.0.1:1")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "deep/path",
        "a?b=c&d=e",
        "sp%20ace",
        "é/{x}|y",
        "?q=[1]\"<>^`\\'",
        "a//b/../c",
    ],
)
def test_what_is_signed_is_what_is_sent_to_the_byte(form, target):
    seen = []
    with Hostile(recording(seen)) as server:
        peer = Peer(f"{server.url}/base", hotkey=BOB.hotkey)
        answer = form.send(peer, b"body", target=target, headers=(("X-One", "1"),))

    assert answer.ok
    found = BtAuth1(BOB).incoming(request_of(seen[0]), time.time_ns())
    assert found.hotkey == ALICE.hotkey


def test_a_received_message_is_signed_too(form):
    seen = []
    with Hostile(recording(seen)) as server:
        form.receive(Peer(f"{server.url}/a?b", hotkey=BOB.hotkey))

    request = request_of(seen[0])
    assert request.message.method == "GET"
    assert BtAuth1(BOB).incoming(request, time.time_ns()).hotkey == ALICE.hotkey


def test_each_message_has_a_nonce_of_its_own(form):
    seen = []
    with Hostile(recording(seen)) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        for _ in range(3):
            form.send(peer, b"same")

    verifier = BtAuth1(BOB)
    for data in seen:
        assert verifier.incoming(request_of(data), time.time_ns()).hotkey
    with pytest.raises(Unauthentic):
        verifier.incoming(request_of(seen[0]), time.time_ns())


def test_what_is_asked_again_on_a_new_connection_is_signed_anew(form):
    """A GET whose kept connection died: sent twice, and no replay."""
    seen = []

    def script(line):
        seen.append(line.request())
        line.send(OK)
        if line.number == 0:
            seen.append(line.request())
            return
        while data := line.request():
            seen.append(data)
            line.send(OK)

    with Hostile(script) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        assert form.receive(peer).ok
        assert form.receive(peer).ok

    sent = [data for data in seen if data]
    assert len(sent) == 3
    verifier = BtAuth1(BOB)
    for data in sent:
        assert verifier.incoming(request_of(data), time.time_ns()).hotkey


BUSY = {
    "cut": b"",
    "503": b"HTTP/1.1 503 X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
    "429 and a date": b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n"
    b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
}


@pytest.mark.parametrize("first", BUSY)
@pytest.mark.parametrize("repeatable", [True, False])
def test_each_try_of_a_fanout_is_signed_afresh_and_made_only_if_it_may(
    first, repeatable
):
    seen = []

    def script(line):
        while data := line.request():
            seen.append(data)
            if len(seen) > 1:
                line.send(OK)
            elif not BUSY[first]:
                return
            else:
                line.send(BUSY[first])

    with open_http(dialects=KEYS) as http, Hostile(script) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        message = Message(body=b"once")
        (outcome,) = http.send_many([peer], message, repeatable=repeatable)

    assert outcome.attempts == len(seen) == (2 if repeatable else 1)
    verifier = BtAuth1(BOB)
    for data in seen:  # two with one nonce would be a replay
        assert verifier.incoming(request_of(data), time.time_ns()).hotkey
    if repeatable:
        assert outcome.reply.ok
    else:
        assert (outcome.failure is not None) is (first == "cut")
        assert outcome.reply or outcome.failure.delivered is None


def test_the_peer_may_ask_for_another_dialect(form):
    seen = []
    done = hostile_server.reply(b"{}", b"bt_header_axon_status_code: 200")
    with Hostile(recording(seen, done)) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey, dialect="v10")
        form.send(peer, b'{"text": "hi"}', target="EchoSynapse")

    request = request_of(seen[0])
    assert request.message.target == "/EchoSynapse"
    assert V10(BOB).incoming(request, time.time_ns()).hotkey == ALICE.hotkey


def test_a_peer_without_a_hotkey_is_sent_nothing_that_says_who_we_are(form):
    seen = []
    with Hostile(recording(seen)) as server:
        form.send(Peer(server.url), b"body")

    assert b"bittensor" not in seen[0].lower()
    assert ALICE.hotkey.encode() not in seen[0]


@pytest.mark.parametrize(
    ("peer", "error", "what"),
    [
        (
            Peer("http://127.0.0.1/", BOB.hotkey),
            Unsupported,
            "found a peer to be spoken to in 'btauth/1', and no key for that",
        ),
        (
            Peer("http://127.0.0.1/", None, "v10"),
            Unsupported,
            "found a peer to be spoken to in 'v10', and no key for that",
        ),
        (
            Peer("http://127.0.0.1/", BOB.hotkey, "btauth"),
            Unsupported,
            (
                "found a peer with the dialect 'btauth', "
                "expected one of: none, btauth/1, v10"
            ),
        ),
        (
            Peer("http://127.0.0.1/", BOB.hotkey, "none"),
            Unauthentic,
            f"the peer must be {BOB.hotkey}, and the dialect 'none' proves nothing",
        ),
    ],
)
def test_a_peer_that_must_prove_itself_is_not_spoken_to_unproven(
    open_form, peer, error, what
):
    with open_form() as form, pytest.raises(error) as caught:
        form.send(peer)

    assert caught.value.what == what
    assert caught.value.delivered is False


@pytest.mark.parametrize(
    ("dialects", "what"),
    [
        ({"btauth": {"key": "//Alice"}}, "found the dialect 'btauth', expected one of"),
        ({"btauth/1": {"kee": "//Alice"}}, "found the option 'kee' of the dialect"),
    ],
)
def test_a_wrong_dialect_is_an_error_of_the_start(monkeypatch, dialects, what):
    monkeypatch.setenv("BTPLUG_HTTP__DIALECTS", str(dialects))
    context = Context()

    (error,) = TransportPluginRegistry(context).discover_plugins(hostile_server.SHIPPED)

    context.close()
    assert error.exit_code == 4
    assert what in error.what


def test_a_fanout_binds_each_request_to_the_hotkey_of_its_peer(form):
    seen = []
    with Hostile(recording(seen)) as server:
        given = [Peer(server.url, hotkey=h.hotkey) for h in (ALICE, BOB)]
        found = list(form.transport.send_many(given, Message(body=b"x")))

    assert all(outcome.reply for outcome in found)
    receivers = {request_of(d).message.header("x-bittensor-receiver") for d in seen}
    assert receivers == {ALICE.hotkey, BOB.hotkey}


def test_a_reply_proves_nobody_where_nothing_is_signed(form):
    with Hostile(answering(OK)) as server:
        assert form.send(Peer(server.url, hotkey=BOB.hotkey)).signer is None
