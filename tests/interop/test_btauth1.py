"""btauth/1 against the SDK that defined it, both ways and over real connections."""

from __future__ import annotations

import time

import pytest
from hostile_server import Hostile, open_http, recording

from btplug import Message, Peer, Request
from btplug.dialects import BtAuth1, load_signer
from btplug.errors import Unauthentic

ALICE, BOB = load_signer("//Alice"), load_signer("//Bob")
TARGETS = ["/", "/a/b?c=d&e=%20", "/é/{x}"]


def asked(data):
    """Return what stood on the wire, as bittensor's verifier wants it."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    return {"method": method, "target": target, "headers": headers, "body": body.hex()}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", [b"", b"\x00\xff" * 500])
def test_bittensor_11_believes_what_our_transport_sends(auth11, target, body):
    seen = []
    dialects = {"btauth/1": {"key": "//Alice"}}
    with open_http(dialects=dialects) as http, Hostile(recording(seen)) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        http.send(peer, Message(body=body, target=target))

    request = asked(seen[0])

    assert auth11(do="verify", receiver=BOB.hotkey, **request) == {
        "hotkey": ALICE.hotkey
    }
    other = auth11(do="verify", receiver=ALICE.hotkey, **request)
    assert other == {"error": "WrongReceiver"}
    for change in ({"body": "00"}, {"target": "/other"}, {"method": "PUT"}):
        found = auth11(do="verify", receiver=BOB.hotkey, **request | change)
        assert found == {"error": "BadSignature"}, change


@pytest.mark.parametrize("body", [b"", b"\x00\xff" * 500])
def test_we_believe_what_bittensor_11_signs(auth11, body):
    headers = auth11(
        do="sign", uri="//Alice", method="POST", target="/a?b", body=body.hex(),
        receiver=BOB.hotkey,
    )  # fmt: skip
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
        BtAuth1(BOB).incoming(request, time.time_ns() + 11 * 10**9)  # stale
    with pytest.raises(Unauthentic):
        BtAuth1(BOB).incoming(request, time.time_ns() - 3 * 10**9)  # from the future
