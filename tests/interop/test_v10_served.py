"""v10: the real dendrite of bittensor 10 asks our server."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

import pytest
from between import between, half, moved, with_body
from hostile_server import open_http

from btplug import Message, Reply
from btplug.dialects import V10, load_signer
from btplug.serving import Limits, application
from btplug.testing import serving

ALICE, BOB, EVE = (load_signer(f"//{name}") for name in ("Alice", "Bob", "Eve"))
CHARLIE = load_signer("//Charlie").hotkey
HASHED = {"EchoSynapse": ["prompt", "numbers"]}
FIELDS = {"hash_fields": HASHED, "required_fields": {"EchoSynapse": ["prompt"]}}
ECHO = {"synapse": "EchoSynapse", "fields": {"prompt": "hi", "numbers": [1, 2]}}
UNPROVEN = (401, "the request is not authentic")


class Neuron:
    """Our server as //Bob; *ask* asks it, by the dendrite."""

    def __init__(self, dendrite, url, seen):
        self.dendrite, self.url, self.seen = dendrite, url, seen
        self.port = int(url.rpartition(":")[2])

    def ask(self, **asked):
        """Return the status and the message that the dendrite reports."""
        where = {"port": self.port, "hotkey": BOB.hotkey}
        found = self.dendrite(**where | ECHO | asked)
        return found["status"], found["message"]


async def echo(request):
    fields = json.loads(request.message.body)
    reply = f"{fields['prompt']}|{sum(fields['numbers'])}|{request.hotkey}"
    return Message(
        body=json.dumps({"reply": reply}).encode(), media_type="application/json"
    )


@pytest.fixture
def open_neuron(dendrite10):
    @contextmanager
    def opened(handler=echo, fields=FIELDS, **options):
        seen = []

        async def watched(request):
            seen.append(request)
            return await handler(request)

        app = application(watched, dialects=[V10(BOB, **fields)], **options)
        with open_http() as http, serving(http, app) as url:
            yield Neuron(dendrite10, url, seen)

    return opened


@pytest.fixture
def neuron(open_neuron):
    with open_neuron() as neuron:
        yield neuron


def test_a_real_dendrite_is_answered_by_our_server(neuron):
    found = [
        neuron.dendrite(port=neuron.port, hotkey=BOB.hotkey, **ECHO) for _ in range(3)
    ]

    for one in found:
        assert (one["status"], one["message"]) == (200, "Success")
        assert one["reply"] == f"hi|3|{ALICE.hotkey}"
        # Not in the handler's reply, and its class cannot be made without it.
        assert one["prompt"] == "hi"
    assert [request.hotkey for request in neuron.seen] == [ALICE.hotkey] * 3


def test_a_class_without_hashed_fields_is_answered_too(open_neuron):
    async def double(request):
        seconds = json.loads(request.message.body)["seconds"] * 2
        body = json.dumps({"seconds": seconds}).encode()
        return Message(body=body, media_type="application/json")

    slow = {"synapse": "SlowSynapse", "fields": {"seconds": 1.5}}
    with open_neuron(double) as neuron:
        found = neuron.dendrite(port=neuron.port, hotkey=BOB.hotkey, **slow)

    assert (found["status"], found["seconds"]) == (200, 3.0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"hotkey": CHARLIE}, UNPROVEN),
        ({"clock": -60}, UNPROVEN),
        ({"clock": 60}, UNPROVEN),
        ({"uri": "//Eve"}, (403, "not allowed")),
        ({"uri": "//Dave"}, (403, "not allowed")),
    ],
    ids=["receiver", "stale", "future", "denied", "not-allowed"],
)
def test_a_real_dendrite_understands_why_it_is_refused(open_neuron, asked, expected):
    with open_neuron(deny={EVE.hotkey}, allow={ALICE.hotkey, EVE.hotkey}) as neuron:
        assert neuron.ask(**asked) == expected
        assert not neuron.seen
        assert neuron.ask() == (200, "Success")


def test_a_dendrite_whose_clock_stands_still_is_served_once(neuron):
    now = time.time_ns()

    assert neuron.ask(at=now) == (200, "Success")
    assert neuron.ask(at=now) == UNPROVEN
    assert len(neuron.seen) == 1


def test_fields_that_are_hashed_on_one_side_only_are_refused(open_neuron):
    with open_neuron(fields={}) as neuron:
        assert neuron.ask() == UNPROVEN
        assert not neuron.seen


CHANGES = {
    "replay": lambda data: (data, data),
    "body": lambda data: (with_body(data, b'"hi"', b'"ho"'),),
    "path": lambda data: (data.replace(b"/EchoSynapse", b"/SlowSynapse", 1),),
    "sender": lambda data: (renamed(data),),
}


def renamed(data):
    """Return a request whose headers name another sender."""
    head, end, body = data.partition(b"\r\n\r\n")
    return head.replace(ALICE.hotkey.encode(), EVE.hotkey.encode()) + end + body


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_on_its_way_is_refused(neuron, change):
    with between(neuron.port, asked=CHANGES[change]) as middle:
        assert neuron.ask(port=middle.port) == UNPROVEN

    assert len(neuron.seen) == (change == "replay")


def test_the_sender_that_a_handler_sees_is_the_one_that_signed(neuron):
    def renamed(data):
        # The body's dendrite is covered by nothing; the reference shows it as sender.
        return (with_body(data, ALICE.hotkey.encode(), EVE.hotkey.encode()),)

    with between(neuron.port, asked=renamed) as middle:
        assert neuron.ask(port=middle.port) == (200, "Success")

    (request,) = neuron.seen
    assert request.hotkey == ALICE.hotkey
    assert json.loads(request.message.body)["dendrite"]["hotkey"] == ALICE.hotkey


def test_what_another_neuron_sends_on_to_us_is_refused(neuron):
    """A dendrite follows redirects with its signed headers, wherever they lead."""
    url = f"{neuron.url}/EchoSynapse"
    with between(0, asked=lambda _: (), answered=lambda _: moved(url)) as middle:
        assert neuron.ask(port=middle.port, hotkey=CHARLIE) == UNPROVEN
        # What was signed for us is ours, whichever way it came.
        assert neuron.ask(port=middle.port) == (200, "Success")

    assert len(neuron.seen) == 1


def test_half_a_request_reaches_no_handler(neuron):
    with between(neuron.port, asked=lambda data: (half(data),)) as middle:
        assert neuron.ask(port=middle.port)[0] in (400, 503)

    assert not neuron.seen
    assert neuron.ask() == (200, "Success")


def test_half_an_answer_is_none_to_a_dendrite(neuron):
    with between(neuron.port, answered=half) as middle:
        status, message = neuron.ask(port=middle.port)

    assert status != 200, message


def test_a_handler_that_fails_and_one_that_is_busy_are_told_apart(open_neuron):
    async def fail(request):
        raise RuntimeError("a secret of the handler")

    with open_neuron(fail) as neuron:
        assert neuron.ask() == (500, "the server failed")
    with open_neuron(limits=Limits(hotkey_rate=0.001)) as neuron:
        found = {neuron.ask() for _ in range(5)}
    assert (429, "too many requests") in found


def test_a_refusal_by_a_handler_keeps_its_status(open_neuron):
    async def refuse(request):
        body = b'{"message": "come back tomorrow"}'
        return Reply(status=403, body=body, media_type="application/json")

    with open_neuron(refuse) as neuron:
        assert neuron.ask() == (403, "Forbidden")
