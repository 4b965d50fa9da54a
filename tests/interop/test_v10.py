"""v10 against the real axon of bittensor 10."""

from __future__ import annotations

import json

from hostile_server import open_http

from btplug import Message, Peer
from btplug.dialects import load_signer

FIELDS = {"hash_fields": {"EchoSynapse": ["prompt", "numbers"]}}
ASK = Message(body=json.dumps({"prompt": "hi", "numbers": [1, 2]}).encode())


def options(uri):
    required = {"required_fields": {"EchoSynapse": ["prompt"]}}
    return {"v10": {"key": uri, **FIELDS, **required}}


def test_a_real_axon_answers_our_client(axon10):
    with axon10() as (port, hotkey), open_http(dialects=options("//Alice")) as http:
        peer = Peer(f"http://127.0.0.1:{port}/EchoSynapse", hotkey, "v10")
        found = [http.send(peer, ASK, timeout=10) for _ in range(3)]
        many = [one.unwrap() for one in http.send_many([peer] * 5, ASK, limit=1)]

    alice = load_signer("//Alice").hotkey
    for reply in found + many:
        assert reply.status == 200, reply.body
        assert reply.json()["reply"] == f"hi|3|{alice}"


def test_a_real_axon_refuses_whom_it_does_not_want(axon10):
    with axon10() as (port, hotkey), open_http(dialects=options("//Mallory")) as http:
        peer = Peer(f"http://127.0.0.1:{port}/EchoSynapse", hotkey, "v10")
        assert http.send(peer, ASK, timeout=10).status == 403


def test_a_real_axon_refuses_what_was_meant_for_another(axon10):
    other = load_signer("//Charlie").hotkey
    with axon10() as (port, _), open_http(dialects=options("//Alice")) as http:
        peer = Peer(f"http://127.0.0.1:{port}/EchoSynapse", other, "v10")
        assert http.send(peer, ASK, timeout=10).status == 401
