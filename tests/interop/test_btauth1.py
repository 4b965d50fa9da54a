"""btauth/1 against the SDK that defined it: what each side signs, the other verifies."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from between import moved
from hostile_server import Hostile, answering, open_http, recording

from btplug import Message, Peer, Request
from btplug.dialects import BtAuth1, load_signer
from btplug.errors import Unauthentic
from btplug.serving import application
from btplug.testing import serving

ALICE, BOB = load_signer("//Alice"), load_signer("//Bob")
TARGETS = ["/", "/a/b?c=d&e=%20", "/é/{x}"]
BODIES = [b"", b"\x00\xff" * 500]
VECTORS = json.loads(
    (Path(__file__).parents[1] / "unit/vectors/btauth1.json").read_text()
)
KEYS = {"btauth/1": {"key": "//Alice"}}


def asked(data):
    """Return what stood on the wire, as bittensor's verifier wants it."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    return {"method": method, "target": target, "headers": headers, "body": body.hex()}


# -- The published vectors, and more of their kind


def body_of(vector):
    text = vector["body_hex"]
    return bytes(range(256)) * 4 if "range" in text else bytes.fromhex(text)


@pytest.fixture(params=VECTORS, ids=lambda vector: vector["name"])
def vector(request):
    """A vector, its body in hex, and its bytes as bittensor is asked about them."""
    body = body_of(request.param)
    return {**request.param, "body": body.hex(), "target": request.param["path"]}


def test_bittensor_11_signs_the_bytes_of_the_vectors(auth11, vector):
    found = auth11(**{**vector, "do": "payload"})

    assert found == {"sha256": vector["payload_sha256"], "size": vector["payload_len"]}


def test_we_believe_the_vectors_as_bittensor_11_signs_them(auth11, vector):
    scheme = {"ed25519": 0, "sr25519": 1}[vector["scheme"]]
    headers = auth11(**{**vector, "do": "sign", "scheme": scheme})
    message = Message(
        method=vector["method"].upper(), target=vector["path"], body=body_of(vector),
        headers=tuple(headers.items()),
    )  # fmt: skip
    request = Request(message=message, address="127.0.0.1:1")
    bound = vector["receiver"] is not None
    verifier = BtAuth1(hotkey=vector["receiver"] or BOB.hotkey, require_receiver=bound)

    assert sorted(headers) == vector["headers"]
    assert vector["signature"] in (None, headers["X-Bittensor-Signature"])
    assert verifier.incoming(request, vector["nonce"]).hotkey == vector["sender"]


def test_bittensor_11_believes_the_vectors_as_we_sign_them(auth11, vector):
    signer = load_signer(vector["uri"], scheme=vector["scheme"])
    message = Message(
        method=vector["method"], target=vector["path"], body=body_of(vector)
    )
    sent = BtAuth1(signer).outgoing(
        Peer("http://h", vector["receiver"]), message, timeout=12.0,
        now_ns=vector["nonce"],
    )  # fmt: skip
    found = auth11(
        do="verify", method=vector["method"], target=vector["target"],
        headers=dict(sent.headers), body=vector["body"], now=vector["nonce"],
        bound=vector["receiver"] is not None,
        receiver=vector["receiver"] or BOB.hotkey,
    )  # fmt: skip

    assert found == {"hotkey": vector["sender"]}


# -- What our transport sends


def sent(body=b"", target="/", *, key="//Alice", scheme="sr25519", chunks=None):
    """Return a request as our transport writes it, asked about as bittensor is."""
    seen = []
    dialects = {"btauth/1": {"key": key, "scheme": scheme}}
    with open_http(dialects=dialects) as transport, Hostile(recording(seen)) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        message = Message(body=body, target=target)
        if chunks is None:
            transport.send(peer, message)
        else:
            with transport.stream(peer, message, chunks) as stream:
                assert stream.head.ok
    return {"do": "verify", "receiver": BOB.hotkey, **asked(seen[0])}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", BODIES)
def test_bittensor_11_believes_what_our_transport_sends(auth11, target, body):
    request = sent(body, target)

    other = auth11(**{**request, "receiver": ALICE.hotkey})
    assert other == {"error": "WrongReceiver"}
    for change in (
        {"body": "00"},
        {"body": request["body"] + "00"},
        {"target": "/other"},
        {"method": "PUT"},
    ):
        assert auth11(**request | change) == {"error": "BadSignature"}, change
    for ahead in (60, -60):
        assert auth11(**request, ahead=ahead) == {"error": "StaleRequest"}, ahead
    assert auth11(**request) == {"hotkey": ALICE.hotkey}
    assert auth11(**request) == {"error": "ReplayedRequest"}


def test_bittensor_11_believes_an_upload_and_not_the_first_half_of_it(auth11, tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 4096)  # 1 MiB: many pieces
    request = sent(chunks=upload)
    truncated = {**request, "body": request["body"][: len(request["body"]) // 2]}

    assert bytes.fromhex(request["body"]) == upload.read_bytes()
    assert auth11(**truncated) == {"error": "BadSignature"}
    assert auth11(**request) == {"hotkey": ALICE.hotkey}


def test_bittensor_11_believes_a_key_of_the_other_scheme(auth11):
    request = sent(b"body", key="//Bob", scheme="ed25519")
    signer = load_signer("//Bob", scheme="ed25519")

    assert auth11(**request) == {"hotkey": signer.hotkey}


def test_what_is_asked_again_is_no_replay(auth11):
    seen = []
    with open_http(dialects=KEYS) as transport, Hostile(recording(seen)) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        for outcome in transport.send_many([peer] * 20, Message(body=b"same")):
            assert outcome.unwrap().ok

    for data in seen:
        found = auth11(do="verify", receiver=BOB.hotkey, **asked(data))
        assert found == {"hotkey": ALICE.hotkey}


def test_a_redirect_gets_no_signed_request(auth11):
    """Where it leads, the same signature would be believed."""
    seen = []
    with open_http(dialects=KEYS) as transport, Hostile(recording(seen)) as other:
        with Hostile(answering(moved(f"{other.url}/"))) as server:
            reply = transport.send(Peer(server.url, BOB.hotkey), Message(body=b"x"))
            with transport.stream(Peer(server.url, BOB.hotkey), Message()) as stream:
                assert stream.head.status == 307

    assert reply.status == 307
    assert not seen


# -- What bittensor signs


def signed(auth11, body=b"body", target="/a?b", **changes):
    """Return the headers that bittensor 11 makes for our server."""
    return auth11(
        **{
            "do": "sign", "uri": "//Alice", "method": "POST", "target": target,
            "body": body.hex(), "receiver": BOB.hotkey, **changes,
        }
    )  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_we_believe_what_bittensor_11_signs(auth11, body):
    headers = signed(auth11, body)
    message = Message(
        method="POST", target="/a?b", body=body, headers=tuple(headers.items())
    )
    request = Request(message=message, address="127.0.0.1:1")
    verifier = BtAuth1(BOB)

    assert verifier.incoming(request, time.time_ns()).hotkey == ALICE.hotkey
    with pytest.raises(Unauthentic):
        verifier.incoming(request, time.time_ns())  # a replay
    with pytest.raises(Unauthentic):
        BtAuth1(ALICE).incoming(request, time.time_ns())  # another receiver
    with pytest.raises(Unauthentic):
        BtAuth1(BOB).incoming(request, time.time_ns() + 60 * 10**9)  # stale
    with pytest.raises(Unauthentic):
        BtAuth1(BOB).incoming(request, time.time_ns() - 60 * 10**9)  # from the future


class Neuron:
    """Our server as //Bob, asked by Python's own client with bittensor's headers.

    Attributes:
        seen: What reached the handler: hotkey and body.
    """

    def __init__(self, url, seen):
        self.port, self.seen = int(url.rpartition(":")[2]), seen

    def ask(self, headers, body=b"body", target="/a?b", method="POST"):
        """Return the status of the answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, target, body, headers)
            return line.getresponse().status
        finally:
            line.close()

    def half(self, headers, body=b"body", target="/a?b"):
        """Send half of *body*, and end the connection."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.putrequest("POST", target)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                line.putheader(name, value)
            line.endheaders(body[: len(body) // 2])
        finally:
            line.close()


@contextmanager
def open_neuron(signer=BOB):
    seen = []

    async def handler(request):
        seen.append((request.hotkey, request.message.body))
        return Message(body=b"taken")

    app = application(handler, dialects=[BtAuth1(signer)])
    with open_http() as transport, serving(transport, app) as url:
        yield Neuron(url, seen)


@pytest.fixture
def neuron():
    with open_neuron() as neuron:
        yield neuron


@pytest.mark.parametrize("target", ["/", "/a?b", "/a%20b/c?d=%C3%A9&e", "/x//y/../z"])
@pytest.mark.parametrize("body", BODIES)
def test_our_server_takes_what_bittensor_11_signs(auth11, neuron, target, body):
    assert neuron.ask(signed(auth11, body, target), body, target) == 200
    assert neuron.seen == [(ALICE.hotkey, body)]


def test_our_server_refuses_what_bittensor_11_did_not_sign_so(auth11, neuron):
    headers = signed(auth11)

    assert neuron.ask(headers, b"bodY") == 401
    assert neuron.ask(headers, b"body!") == 401
    assert neuron.ask(headers, target="/a?c") == 401
    assert neuron.ask(headers, target="/a?b&") == 401
    assert neuron.ask(headers, method="PUT") == 401
    neuron.half(headers)
    assert neuron.ask(signed(auth11, receiver=ALICE.hotkey)) == 401
    assert neuron.ask(signed(auth11, receiver=None)) == 401
    assert neuron.ask(signed(auth11, ahead=-60)) == 401
    assert neuron.ask(signed(auth11, ahead=60)) == 401
    assert not neuron.seen
    # None of all that used it up; this does.
    assert neuron.ask(headers) == 200
    assert neuron.ask(headers) == 401
    assert neuron.seen == [(ALICE.hotkey, b"body")]


def test_our_server_refuses_what_was_redirected_to_it(auth11):
    headers = signed(auth11)
    with open_neuron(ALICE) as other:
        assert other.ask(headers) == 401
        assert not other.seen
