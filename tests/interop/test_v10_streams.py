"""v10's streams: read from the real axon as they come, and by the real dendrite."""

from __future__ import annotations

import asyncio
import json

import pytest
from hostile_server import open_http
from test_v10 import BODY, V10_ALICE, echo_at

from btplug import Message, Peer, Reply
from btplug.dialects import V10, load_signer
from btplug.errors import Late
from btplug.serving import application
from btplug.testing import serving

BOB = load_signer("//Bob")
CHARLIE = load_signer("//Charlie").hotkey
GO_ON = Message(body=json.dumps({"prompt": "go on", "numbers": []}).encode())
WORDS = Message(body=json.dumps({"prompt": "first wait second third"}).encode())
SHORT = Message(body=json.dumps({"prompt": "one two"}).encode())


@pytest.fixture
def http():
    with open_http(dialects=V10_ALICE) as http:
        yield http


def stream_at(axon, hotkey=None):
    return Peer(f"http://127.0.0.1:{axon[0]}/WordStream", hotkey or axon[1], "v10")


def test_a_stream_of_a_real_axon_is_read_while_it_is_written(http, axon10):
    with http.stream(stream_at(axon10), WORDS, timeout=30) as stream:
        parts = iter(stream)
        first = next(parts)
        # The axon writes nothing more before it is asked to: had we waited for the
        # end, it would never come.
        assert http.send(echo_at(axon10), GO_ON, timeout=20).ok
        rest = b"".join(parts)

    assert stream.head.status == 200
    assert stream.head.media_type.startswith("text/event-stream")
    assert (first, rest) == (b"first", b"secondthird")


def test_the_async_form_reads_a_stream_of_a_real_axon(http, axon10):
    async def main():
        async with http.astream(stream_at(axon10), WORDS, timeout=30) as stream:
            parts = aiter(stream)
            first = await anext(parts)
            assert (await http.asend(echo_at(axon10), GO_ON, timeout=20)).ok
            return stream.head.status, first, b"".join([part async for part in parts])

    assert asyncio.run(main()) == (200, b"first", b"secondthird")


def test_a_stream_that_a_real_axon_refuses_has_its_status(http, axon10):
    with http.stream(stream_at(axon10, CHARLIE), SHORT, timeout=20) as stream:
        body = b"".join(stream)

    assert stream.head.status == 401
    assert "Signature mismatch" in json.loads(body)["message"]


def test_a_stream_that_stalls_is_late_and_one_that_is_left_is_closed(http, axon10):
    with http.stream(stream_at(axon10), WORDS, timeout=1.0) as stream:
        with pytest.raises(Late):
            list(stream)
    with http.stream(stream_at(axon10), SHORT, timeout=20) as stream:
        next(iter(stream))

    assert http.send(echo_at(axon10), Message(body=BODY), timeout=20).ok


def test_a_real_dendrite_reads_a_stream_of_our_server(dendrite10):
    async def words(request):
        prompt = json.loads(request.message.body)["prompt"]
        body = " ".join(reversed(prompt.split())).encode()
        return Reply(status=200, body=body, media_type="text/event-stream")

    fields = {"prompt": "one two three"}
    dialect = V10(BOB, hash_fields={"WordStream": ["prompt"]})
    app = application(words, dialects=[dialect])
    with open_http() as server, serving(server, app) as url:
        port = int(url.rpartition(":")[2])
        asked = {"port": port, "synapse": "WordStream", "fields": fields}
        found = dendrite10(**asked, hotkey=BOB.hotkey)
        refused = dendrite10(**asked, hotkey=CHARLIE)

    assert (found["status"], found["message"]) == (200, "Success")
    assert "".join(found["chunks"]) == "three two one"
    assert refused["status"] == 401
