"""v10: our client, in both forms, asks the real axon of bittensor 10."""

from __future__ import annotations

import json
import time

import hostile_server
import pytest
from between import between, half, moved, with_body
from hostile_server import open_http

from btplug import Message, Peer
from btplug.dialects import V10, load_signer
from btplug.errors import Cut, Late

open_form = hostile_server.open_form

ALICE = load_signer("//Alice")
CHARLIE = load_signer("//Charlie").hotkey
HASHED = {"EchoSynapse": ["prompt", "numbers"], "WordStream": ["prompt"]}
REQUIRED = {"EchoSynapse": ["prompt"], "WordStream": ["prompt"]}
FIELDS = {"hash_fields": HASHED, "required_fields": REQUIRED}
BODY = json.dumps({"prompt": "hi", "numbers": [1, 2]}).encode()
V10_ALICE = {"v10": {"key": "//Alice", **FIELDS}}


@pytest.fixture
def form(open_form):
    with open_form(dialects=V10_ALICE) as form:
        yield form


def echo_at(axon, port=None):
    return Peer(f"http://127.0.0.1:{port or axon[0]}/EchoSynapse", axon[1], "v10")


def served(form, axon):
    """Return how many echoes the axon has served, this one too."""
    return form.send(echo_at(axon), BODY, timeout=20).json()["served"]


def test_a_real_axon_answers_our_client(form, axon10):
    found = [form.send(echo_at(axon10), BODY, timeout=20) for _ in range(3)]

    for reply in found:
        assert reply.status == 200, reply.body
        assert reply.json()["reply"] == f"hi|3|{ALICE.hotkey}"


def test_a_real_axon_answers_a_fanout(axon10):
    with open_http(dialects=V10_ALICE) as http:
        # One at a time: its nonces have to grow, in the order in which they arrive.
        outcomes = http.send_many([echo_at(axon10)] * 5, Message(body=BODY), limit=1)
        found = [one.unwrap().json()["reply"] for one in outcomes]

    assert found == [f"hi|3|{ALICE.hotkey}"] * 5


@pytest.mark.parametrize(
    ("uri", "fields", "hotkey", "name", "status", "said"),
    [
        ("//Mallory", FIELDS, None, "EchoSynapse", 403, "not welcome"),
        ("//Alice", FIELDS, CHARLIE, "EchoSynapse", 401, "Signature mismatch"),
        ("//Alice", FIELDS, None, "NoSynapse", 404, "'NoSynapse' not found"),
        ("//Alice", {}, None, "EchoSynapse", 500, "Internal Server Error"),
    ],
    ids=["sender", "receiver", "class", "hash"],
)  # fmt: skip
def test_a_refusal_of_a_real_axon_is_a_reply(
    open_form, axon10, uri, fields, hotkey, name, status, said
):
    peer = Peer(f"http://127.0.0.1:{axon10[0]}", hotkey or axon10[1], "v10")
    with open_form(dialects={"v10": {"key": uri, **fields}}) as form:
        reply = form.send(peer, BODY, timeout=20, target=f"/{name}")

    assert (reply.status, reply.ok) == (status, False)
    assert said in reply.json()["message"]
    assert reply.header("bt_header_axon_status_code") == str(status)


CHANGES = {
    "replay": (lambda data: (data, data), 401, "a newer one was last processed"),
    "body": (
        lambda data: (with_body(data, b'"hi"', b'"ho"'),),
        500,
        "Internal Server Error",
    ),
    "path": (
        lambda data: (data.replace(b"/EchoSynapse", b"/SlowSynapse", 1),),
        500,
        "Internal Server Error",
    ),
    "nonce": (lambda data: (later(data),), 401, "Signature mismatch"),
}


def later(data):
    """Return a request with a nonce that is one nanosecond younger."""
    name = b"bt_header_dendrite_nonce: "
    before, _, rest = data.partition(name)
    nonce, _, rest = rest.partition(b"\r\n")
    return before + name + str(int(nonce) + 1).encode() + b"\r\n" + rest


@pytest.mark.parametrize("change", CHANGES)
def test_a_real_axon_refuses_what_was_changed_on_its_way(form, axon10, change):
    asked, status, said = CHANGES[change]
    before = served(form, axon10)
    with between(axon10[0], asked=asked) as middle:
        reply = form.send(echo_at(axon10, middle.port), BODY, timeout=20)

    assert reply.status == status, reply.body
    assert said in reply.json()["message"]
    # A replay's first is honest; nothing else was served meanwhile.
    assert served(form, axon10) - before == (2 if change == "replay" else 1)


@pytest.mark.parametrize(("seconds", "status"), [(-60, 401), (60, 200)])
def test_a_real_axon_refuses_what_is_stale_and_not_what_is_from_the_future(
    form, axon10, seconds, status
):
    dialect = V10(ALICE, **FIELDS)
    sent = dialect.outgoing(
        echo_at(axon10), Message(body=BODY, method="POST"),
        timeout=12.0, now_ns=time.time_ns() + seconds * 10**9,
    )  # fmt: skip
    peer = Peer(echo_at(axon10).url)
    reply = form.send(
        peer, sent.body, timeout=20, headers=sent.headers, media_type=sent.media_type
    )

    assert reply.status == status, reply.body


def test_our_client_does_not_follow_a_real_axon_with_its_signature(form, axon10):
    before = served(form, axon10)
    url = echo_at(axon10).url
    with between(
        axon10[0], asked=lambda _: (), answered=lambda _: moved(url)
    ) as middle:
        reply = form.send(echo_at(axon10, middle.port), BODY, timeout=20)

    assert (reply.status, reply.header("location")) == (307, url)
    assert served(form, axon10) - before == 1


def test_an_answer_that_is_cut_short_is_no_answer(form, axon10):
    with between(axon10[0], answered=half) as middle:
        with pytest.raises(Cut) as caught:
            form.send(echo_at(axon10, middle.port), BODY, timeout=20)

    assert caught.value.delivered is not False


def test_a_real_axon_serves_nothing_of_half_a_request(form, axon10):
    before = served(form, axon10)
    with between(axon10[0], asked=lambda data: (half(data),)) as middle:
        with pytest.raises(Cut) as caught:
            form.send(echo_at(axon10, middle.port), BODY, timeout=20)

    assert caught.value.delivered is not False
    assert served(form, axon10) - before == 1


def test_a_slow_real_axon_is_late(form, axon10):
    peer = Peer(f"http://127.0.0.1:{axon10[0]}/SlowSynapse", axon10[1], "v10")

    with pytest.raises(Late):
        form.send(peer, b'{"seconds": 60}', timeout=0.5)
    assert form.send(peer, b'{"seconds": 0}', timeout=20).ok


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        (
            {"prompt": "hi", "numbers": [1, 2]},
            "9157167b4160d35bccea1110bdf674e2922546b04a489a9f987d6b20554d9a0c",
        ),
        (
            {"prompt": "hello", "numbers": [1, 2, 3]},
            "3b23b33b8af6f011f0667d57cfd3c9c1fa39e9de4210fd9a463d83d1c457eb65",
        ),
    ],
)
def test_both_sides_hash_a_body_as_its_vector_says(dendrite10, axon10, fields, digest):
    port, hotkey = axon10
    theirs = dendrite10(port=port, hotkey=hotkey, synapse="EchoSynapse", fields=fields)
    message = Message(method="POST", body=json.dumps(fields).encode())
    ours = V10(ALICE, **FIELDS).outgoing(
        echo_at(axon10), message, timeout=12.0, now_ns=time.time_ns()
    )

    assert theirs["status"] == 200
    assert theirs["body_hash"] == ours.header("computed_body_hash") == digest
