"""The ASGI application, driven directly: who gets in, in what order, and what is said."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager

import pytest
from asgi import ALICE, BOB, EVE, ME, Call, ask, head_of, open_app, signed
from hypothesis import given, settings
from hypothesis import strategies as st

from btplug import Message, Reply
from btplug.dialects import V10, BtAuth1, NoProof, Replays, create, load_signer
from btplug.errors import ConfigError
from btplug.serving import Limits, application
from btplug.serving._requests import TEXTS

FAST = 0.05  # seconds of limits that a test waits for


async def echo(request):
    return request.message


def status(app, **request):
    return asyncio.run(ask(app, **request)).status


# -- What passes


@pytest.mark.parametrize("name", ["none", "btauth/1", "v10"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_request_in_a_spoken_dialect_reaches_the_handler(name, kind):
    seen = []

    def sync(request):
        seen.append(request)
        return request.message

    async def coroutine(request):
        return sync(request)

    app = open_app(sync if kind == "sync" else coroutine, name)
    body = b'{"text": "hi"}'
    answer = asyncio.run(ask(app, **signed(name, body)))

    assert answer.status == 200
    assert seen[0].hotkey == (None if name == "none" else ALICE.hotkey)
    assert seen[0].address == "192.0.2.1:4711"
    assert seen[0].message.method == "POST"
    assert seen[0].message.target == "/Echo?a=b"
    assert json.loads(answer.body)["text"] == "hi"


@pytest.mark.parametrize("name", ["btauth/1", "v10"])
def test_what_was_signed_before_the_server_started_may_have_been_accepted(name):
    """A restart forgets what was accepted: the same bytes would be taken again."""
    old = signed(name, b'{"text": "hi"}')
    app = open_app(echo, name)

    assert status(app, **old) == 401
    assert status(app, **signed(name, b'{"text": "hi"}')) == 200


@pytest.mark.parametrize("kind", [BtAuth1, V10])
@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_clock_that_went_back_is_503_and_said_once(kind, when, caplog):
    """Nobody would learn why all of them are refused: they have done nothing wrong."""
    memory, ahead = Replays(), time.time_ns() + 3600 * 10**9
    if when == "at the start":
        memory.begin(ahead)
    else:
        memory.add(ALICE.hotkey, ahead, ahead)
    app = application(echo, dialects=[kind(ME, replays=memory), NoProof()])

    found = [asyncio.run(ask(app, **signed(kind.name, b"{}"))) for _ in range(3)]

    assert [one.status for one in found] == [503] * 3
    assert found[0].headers["retry-after"] == "1"
    (record,) = caplog.records
    assert "the clock went back 3" in record.message
    assert "restart" in record.message
    assert status(app) == 200  # nothing proves that it is new


def test_a_message_is_a_reply_of_200_with_its_type():
    async def handler(request):
        return Message(body=b"x", media_type="text/plain", headers=(("a", "b"),))

    answer = asyncio.run(ask(open_app(handler)))

    assert (answer.status, answer.body) == (200, b"x")
    assert answer.headers == {"content-length": "1", "content-type": "text/plain"}


def test_a_reply_is_sent_as_it_is_but_for_its_framing():
    async def handler(request):
        headers = (("X-One", "1"), ("Content-Length", "99"), ("Connection", "close"))
        return Reply(status=404, body=b"no", media_type="text/plain", headers=headers)

    answer = asyncio.run(ask(open_app(handler)))

    assert (answer.status, answer.body) == (404, b"no")
    assert answer.headers == {
        "content-length": "2", "content-type": "text/plain", "x-one": "1",
    }  # fmt: skip


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_without_a_body_gets_none(code):
    async def handler(request):
        return Reply(status=code, body=b"no", media_type="text/plain")

    answer = asyncio.run(ask(open_app(handler)))

    assert (answer.status, answer.body, answer.headers) == (code, b"", {})


def test_a_head_request_is_told_the_size_and_gets_no_body():
    app = open_app(lambda request: Reply(status=200, body=b"four"))
    answer = asyncio.run(ask(app, method="HEAD"))

    assert (answer.body, answer.headers["content-length"]) == (b"", "4")


def test_a_sync_handler_may_return_an_awaitable():
    answer = asyncio.run(ask(open_app(lambda request: echo(request)), body=b"x"))

    assert answer.body == b"x"


def test_a_handler_sees_an_upload_only_after_its_end():
    seen = []
    app = open_app(lambda r: seen.append(r) or r.message, "btauth/1")

    async def run():
        call = Call(**signed("btauth/1", b"whole body"), pieces=[b"whole ", b"body"])
        task = asyncio.ensure_future(call.run(app))
        await call.taken(1)
        assert seen == []
        call.give(2)
        return (await task).status

    assert asyncio.run(run()) == 200
    assert seen[0].message.body == b"whole body"


def test_the_target_is_what_the_server_says_was_sent():
    """Where a path and a query are apart, ``/a?`` and ``/a`` are the same."""
    seen = []
    app = open_app(lambda r: seen.append(r.message.target) or r.message)

    asyncio.run(ask(app, target="/a?", extensions={"btplug.target": {"raw": b"/a?"}}))

    assert seen == ["/a?"]


# -- Who does not get in


def test_a_replay_is_not_authentic():
    app = open_app(echo, "btauth/1")
    request = signed("btauth/1", b"x")

    async def run():
        return [(await ask(app, **request)).status for _ in range(2)]

    assert asyncio.run(run()) == [200, 401]


@pytest.mark.parametrize("name", ["btauth/1", "v10"])
@pytest.mark.parametrize("fault", ["receiver", "stale", "future", "signature"])
def test_what_is_not_authentic_is_401(name, fault):
    changes = {
        "receiver": {"receiver": EVE.hotkey},
        "stale": {"ago": 60.0},
        "future": {"ago": -10.0},
        "signature": {},
    }[fault]
    request = signed(name, b"{}", **changes)
    if fault == "signature":
        request["headers"] = [
            (k, v[:-4] + b"0000" if k.endswith(b"signature") else v)
            for k, v in request["headers"]
        ]

    answer = asyncio.run(ask(open_app(echo, name), **request))

    assert answer.status == 401
    assert answer.body == b'{"message": "the request is not authentic"}'


def test_what_headers_tell_is_refused_before_the_body_is_read():
    app = open_app(echo, "btauth/1", deny={EVE.hotkey})
    bad = {
        401: signed("btauth/1", b"x", receiver=EVE.hotkey),
        403: signed("btauth/1", b"x", signer=EVE),
        405: {"method": "BREW"},
        413: {"headers": [(b"content-length", b"99999999")]},
        431: {"headers": [(b"x", b"y" * 40_000)]},
    }
    for code, request in bad.items():
        call = Call(**request)
        answer = asyncio.run(call.run(app))

        assert answer.status == code
        assert call.received == 0
        assert answer.headers["connection"] == "close", "an unread body would follow"


def test_freshness_is_judged_when_the_headers_arrive(monkeypatch):
    """A slow body does not make a request stale, nor a stale one fresh."""
    app = open_app(echo, "btauth/1")
    request = signed("btauth/1", b"ab")
    arrived = time.time_ns()

    async def run():
        call = Call(**request, pieces=[b"a", b"b"])
        monkeypatch.setattr("btplug.serving.time.time_ns", lambda: arrived)
        task = asyncio.ensure_future(call.run(app))
        await call.taken(1)
        later = arrived + 25_000_000_000
        monkeypatch.setattr("btplug.serving.time.time_ns", lambda: later)
        call.give(2)
        return (await task).status, (await ask(app, **request)).status

    assert asyncio.run(run()) == (200, 401)


@pytest.mark.parametrize(
    ("spoken", "asked"),
    [("none", "btauth/1"), ("none", "v10"), ("btauth/1", "none"), ("v10", "btauth/1")],
)
def test_a_dialect_that_is_not_spoken_is_401(spoken, asked):
    assert status(open_app(echo, spoken), **signed(asked, b"{}")) == 401


@pytest.mark.parametrize("header", [b"x-bittensor-hotkey", b"bt_header_dendrite_uuid"])
def test_half_a_signature_is_not_taken_for_none(header):
    app = open_app(echo, "none", "btauth/1", "v10")

    assert status(app, target="/Echo", headers=[(header, b"x")]) == 401


def test_the_allow_list_is_about_verified_hotkeys():
    app = open_app(echo, "btauth/1", "none", allow={ALICE.hotkey})

    assert status(app, **signed("btauth/1", b"")) == 200
    assert status(app, **signed("btauth/1", b"", signer=EVE)) == 403
    assert status(app, **signed("none", b"")) == 403
    stolen = signed("btauth/1", b"", signer=EVE)
    stolen["headers"] = [
        (k, ALICE.hotkey.encode() if k == b"x-bittensor-hotkey" else v)
        for k, v in stolen["headers"]
    ]
    assert status(app, **stolen) == 401


@pytest.mark.parametrize("name", ["btauth/1", "v10"])
def test_who_is_not_allowed_fills_no_memory(name):
    """Keys cost nothing: many of them must not keep those out who are allowed."""
    dialect = create(name, key=ME, limit=20)
    app = application(echo, dialects=[dialect], allow={ALICE.hotkey})
    for number in range(30):
        call = Call(**signed(name, b"{}", signer=load_signer(f"//Eve//{number}")))
        assert asyncio.run(call.run(app)).status == 403
        assert call.received == 0

    assert status(app, **signed(name, b"{}")) == 200


def test_what_v10_does_not_allow_is_403():
    assert status(open_app(echo, "v10"), **signed("v10", b"{}", path="/a/")) == 403


@pytest.mark.parametrize("error", ["BadReply", "UsageError"])
def test_a_body_that_a_dialect_cannot_read_is_400(error):
    import btplug.errors

    class Odd(NoProof):
        def incoming(self, request, now_ns):
            raise getattr(btplug.errors, error)("found this, expected that")

    assert status(application(echo, dialects=[Odd()])) == 400


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"headers": [(b"content-length", b"1"), (b"content-length", b"1")]}, 400),
        ({"headers": [(b"content-length", b"-1")]}, 400),
        ({"headers": [(b"content-length", "²".encode())]}, 400),
        (
            {"headers": [(b"content-length", b"1"), (b"transfer-encoding", b"x")]},
            400,
        ),
        ({"target": "*"}, 400),
        ({"target": "http://a/b"}, 400),
        ({"target": "/\xff"}, 400),
        ({"headers": [(b"a", b"")] * 101}, 431),
        ({"target": "/" + "a" * 33_000}, 431),
        ({"method": "TRACE"}, 405),
    ],
)
def test_a_head_out_of_shape_or_limits_is_refused(request_, code):
    assert status(open_app(echo), **request_) == code


def test_blanks_behind_the_value_of_a_header_are_no_part_of_it():
    seen = []

    def handler(request):
        seen.append(request.message)
        return request.message

    headers = [(b"content-length", b"2 \t"), (b"content-type", b"text/x ")]
    request = {"headers": headers, "body": b"ok"}

    assert status(open_app(handler), **request) == 200
    assert (seen[0].body, seen[0].media_type) == (b"ok", "text/x")


# -- Bodies


def test_a_body_is_limited_as_announced_and_as_it_comes():
    app = open_app(echo, limits=Limits(body=10))

    assert status(app, body=b"x" * 10) == 200
    assert status(app, body=b"x" * 11) == 413
    assert status(app, pieces=[b"x" * 6, b"x" * 6], headers=[]) == 413


def test_a_body_that_is_too_slow_is_408():
    app = open_app(echo, limits=Limits(body_time=FAST))
    call = Call(pieces=[b"x", b"y"])  # of which the second never comes

    assert asyncio.run(call.run(app)).status == 408


def test_whoever_leaves_in_the_middle_of_a_body_gets_nothing():
    call = Call(pieces=[b"x", None])
    call.give(2)

    assert asyncio.run(call.run(app := open_app(echo))) is None
    assert app._uploads.held == 0


def test_all_bodies_together_are_limited():
    app = open_app(echo, limits=Limits(memory=15))

    async def run():
        held = Call(pieces=[b"x" * 10, b""])
        task = asyncio.ensure_future(held.run(app))
        await held.taken(1)
        unread = Call(body=b"x" * 10)
        announced = await unread.run(app)
        assert unread.received == 0
        coming = Call(pieces=[b"x" * 10, b""], headers=[])
        coming.give(2)
        refused = await coming.run(app)
        held.give(2)
        return announced, refused, (await task).status, await ask(app, body=b"x" * 10)

    announced, refused, first, last = asyncio.run(run())

    assert (announced.status, refused.status, first, last.status) == (
        503,
        503,
        200,
        200,
    )
    assert announced.headers["retry-after"] == "1"
    assert app._uploads.held == 0


def test_one_address_has_a_quarter_of_the_memory_of_all_bodies():
    """Without a key, one sender would keep out all others."""
    app = open_app(echo, limits=Limits(body=10, memory=80))

    async def run():
        held = [Call(pieces=[b"x" * 10, b""]) for _ in range(2)]
        tasks = [asyncio.ensure_future(call.run(app)) for call in held]
        for call in held:
            await call.taken(1)
        unread = Call(body=b"x")
        announced = await unread.run(app)
        assert unread.received == 0
        coming = await ask(app, pieces=[b"x", b""], headers=[])
        empty = await ask(app)
        others = [
            await ask(app, body=b"x" * 10, client=client)
            for client in (("192.0.2.2", 1), None)
        ]
        for call in held:
            call.give(2)
        done = [*await asyncio.gather(*tasks), await ask(app, body=b"x" * 10)]
        return announced, coming.status, [one.status for one in (empty, *others, *done)]

    announced, coming, rest = asyncio.run(run())

    assert (announced.status, announced.headers["retry-after"]) == (429, "1")
    assert coming == 429
    assert rest == [200] * 6
    assert app._uploads._shares == {}


def test_a_body_that_is_announced_takes_no_memory_before_it_comes():
    """The system does not always give pages that cost nothing until they are used."""
    app, size = open_app(echo), 8 * 1024 * 1024

    async def run():
        headers = [(b"content-length", str(size).encode())]
        calls = [Call(headers=headers, pieces=[b"x", b"y"]) for _ in range(10)]
        tasks = [asyncio.ensure_future(call.run(app)) for call in calls]
        for call in calls:
            await call.taken(1)
            await asyncio.sleep(0)
        held, _ = tracemalloc.get_traced_memory()
        for call in calls:
            call.leave()
        await asyncio.gather(*tasks)
        return held

    tracemalloc.start()
    try:
        assert asyncio.run(run()) < size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_whole_however_it_comes(announced):
    """It moves to where it has room once enough of it has come."""
    pieces = [bytes([n]) * 100_000 * n for n in range(1, 9)]
    size = sum(map(len, pieces))
    headers = [(b"content-length", str(size).encode())] if announced else []

    answer = asyncio.run(ask(open_app(echo), headers=headers, pieces=pieces))

    assert answer.body == b"".join(pieces)


def test_one_body_has_room_where_a_quarter_of_the_memory_is_less():
    app = open_app(echo, limits=Limits(body=10, memory=10))

    assert status(app, body=b"x" * 10) == 200


# -- How much one may ask


def test_one_address_has_so_many_requests_in_flight_and_others_their_own():
    app = open_app(echo, limits=Limits(address_running=2))

    async def run():
        held = [Call(client=("192.0.2.1", n), pieces=[b"x", b""]) for n in (1, 2)]
        tasks = [asyncio.ensure_future(call.run(app)) for call in held]
        for call in held:
            await call.taken(1)
        third = await ask(app)
        other = await ask(app, client=("192.0.2.2", 1))
        for call in held:
            call.give(2)
        done = await asyncio.gather(*tasks)
        return third, other.status, [d.status for d in done], (await ask(app)).status

    third, other, done, after = asyncio.run(run())

    assert (third.status, third.headers["retry-after"]) == (429, "1")
    assert (other, done, after) == (200, [200, 200], 200)


def test_who_has_no_address_has_no_limit_of_one():
    """As on a Unix socket: what was in flight was never given back."""
    app = open_app(echo, limits=Limits(address_running=2, address_rate=3))

    assert [status(app, client=None) for _ in range(9)] == [200] * 9
    assert len(app._addresses) == 0


def test_one_address_has_so_many_requests_a_second():
    app = open_app(echo, limits=Limits(address_rate=3))

    assert [status(app) for _ in range(4)] == [200, 200, 200, 429]
    assert status(app, client=("192.0.2.9", 1)) == 200


def test_one_verified_hotkey_has_so_many_requests_a_second():
    app = open_app(echo, "btauth/1", limits=Limits(hotkey_rate=2))

    def asked(signer):
        return status(app, **signed("btauth/1", b"", signer=signer))

    assert [asked(ALICE) for _ in range(3)] == [200, 200, 429]
    assert asked(EVE) == 200


def test_a_slow_upload_is_not_too_many_requests_by_what_came_meanwhile():
    """Its turn is when it is whole: before that, all others were ahead of its time."""
    app = open_app(echo, "btauth/1", limits=Limits(hotkey_rate=2))

    async def run():
        upload = Call(**signed("btauth/1", b"whole"), pieces=[b"who", b"le"])
        task = asyncio.ensure_future(upload.run(app))
        await upload.taken(1)
        small = await ask(app, **signed("btauth/1", b""))
        upload.give(2)
        return small.status, (await task).status

    assert asyncio.run(run()) == (200, 200)


@pytest.mark.parametrize("kind", [BtAuth1, V10])
def test_what_is_answered_429_is_not_remembered_as_accepted(kind):
    """One hotkey would fill the memory for all others, and its retry be a replay."""
    memory = Replays()
    dialect = kind(ME, replays=memory)
    app = application(echo, dialects=[dialect], limits=Limits(hotkey_rate=2))

    found = [status(app, **signed(kind.name, b"{}")) for _ in range(9)]

    assert found == [200, 200] + [429] * 7
    assert len(memory) == 2


@pytest.mark.parametrize("kind", [BtAuth1, V10])
def test_a_full_memory_of_accepted_requests_is_503(kind):
    """Who is told 403 does not come back."""
    app = application(echo, dialects=[kind(ME, replays=Replays(limit=1))])

    assert status(app, **signed(kind.name, b"{}")) == 200
    answer = asyncio.run(ask(app, **signed(kind.name, b"{}", signer=EVE)))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_nobody_uses_up_the_rate_of_a_hotkey_by_claiming_it():
    app = open_app(echo, "btauth/1", limits=Limits(hotkey_rate=1))
    forged = signed("btauth/1", b"")
    forged["headers"] = [
        (k, b"0x" + b"0" * 128 if k.endswith(b"signature") else v)
        for k, v in forged["headers"]
    ]

    assert [status(app, **forged) for _ in range(3)] == [401] * 3
    assert status(app, **signed("btauth/1", b"")) == 200


def test_what_is_kept_of_senders_is_bounded():
    app = open_app(echo, "btauth/1", limits=Limits(remembered=50))

    for n in range(200):
        status(app, client=(f"10.0.{n}.1", 1))
        status(app, client=(f"2001:db8:0:{n:x}::1", 1))
        key = create("btauth/1", key=f"//{n}")._signer
        assert status(app, **signed("btauth/1", b"", signer=key)) in (200, 429)

    assert len(app._addresses) <= 50
    assert len(app._hotkeys) <= 50
    assert app._tasks == set()
    assert app._uploads.held == 0


# -- Who is served first


def gated(limits, **options):
    """Return an application whose async handler waits for `gate`, and what it saw."""
    seen, gate = [], asyncio.Event()

    async def handler(request):
        seen.append(request.message.body)
        await gate.wait()
        return request.message

    return open_app(handler, limits=limits, **options), seen, gate


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


def test_priority_orders_what_waits_and_equals_keep_their_order():
    async def run():
        app, seen, gate = gated(
            Limits(running=1), priority=lambda r: len(r.message.body)
        )
        tasks = []
        for body in (b"first", b"a", b"bbb", b"c", b"dd", b"eee"):
            tasks.append(asyncio.ensure_future(ask(app, body=body)))
            await until(lambda: seen and len(app._work._turns._heap) == len(tasks) - 1)
        gate.set()
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(run()) == [b"first", b"bbb", b"eee", b"dd", b"a", b"c"]


def test_a_full_queue_answers_503_at_once_and_yields_to_the_more_urgent():
    async def run():
        limits = Limits(running=1, waiting=1)
        app, seen, gate = gated(limits, priority=lambda r: len(r.message.body))
        first = asyncio.ensure_future(ask(app, body=b"x"))
        await until(lambda: seen)
        waiting = asyncio.ensure_future(ask(app, body=b"yy"))
        await until(lambda: app._work._turns._heap)
        begun = time.monotonic()
        full = await ask(app, body=b"zz")
        assert time.monotonic() - begun < Limits().wait_time / 2
        urgent = asyncio.ensure_future(ask(app, body=b"urgent"))
        pushed = await waiting
        gate.set()
        return full, pushed, (await first).status, (await urgent).status, seen

    full, pushed, first, urgent, seen = asyncio.run(run())

    assert (full.status, full.headers["retry-after"]) == (503, "1")
    assert "connection" not in full.headers, "its body was read: the line can be kept"
    assert (pushed.status, first, urgent) == (503, 200, 200)
    assert seen == [b"x", b"urgent"]


def test_who_waits_too_long_is_503():
    async def run():
        app, seen, gate = gated(Limits(running=1, wait_time=FAST))
        first = asyncio.ensure_future(ask(app))
        await until(lambda: seen)
        late = await ask(app)
        assert app._work._turns._heap == []
        gate.set()
        return late.status, (await first).status, app._work._turns

    late, first, turns = asyncio.run(run())

    assert (late, first) == (503, 200)
    assert (turns._heap, turns._free) == ([], 1)


def test_a_place_is_not_lost_when_who_waits_is_cancelled():
    """Also in the moment between getting the place and going on."""

    async def run(granted):
        app, seen, gate = gated(Limits(running=1))
        first = asyncio.ensure_future(ask(app))
        await until(lambda: seen)
        waiting = asyncio.ensure_future(ask(app))
        await until(lambda: app._work._turns._heap)
        if granted:
            gate.set()
            await until(lambda: not app._work._turns._heap)
        waiting.cancel()
        gate.set()
        await asyncio.gather(first, waiting, return_exceptions=True)
        return app._work._turns

    for granted in (True, False):
        turns = asyncio.run(run(granted))
        assert (turns._heap, turns._free) == ([], 1)


# -- Handlers


class Odd(BaseException):
    """What derives from no Exception, as exits of some libraries do."""


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "fault",
    [
        ValueError("precious"),
        StopIteration(1),
        SystemExit(3),
        KeyboardInterrupt(),
        TimeoutError("own"),
        asyncio.CancelledError(),
        GeneratorExit(),
        Odd("precious"),
        BaseExceptionGroup("precious", [Odd("precious")]),
    ],
    ids=repr,
)
def test_a_handler_that_raises_is_500_and_its_reason_goes_to_the_log(
    kind, fault, caplog
):
    def sync(request):
        raise fault

    async def coroutine(request):
        raise fault

    app = open_app(sync if kind == "sync" else coroutine)
    answer = asyncio.run(ask(app))

    assert answer.status == 500
    assert b"precious" not in answer.body
    (record,) = caplog.records
    assert record.name == "btplug"
    assert record.message == "a request of 192.0.2.1:4711 failed"
    assert app._work._turns._free == (16 if kind == "sync" else 64)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"bytes",
        Reply(status=99),
        Reply(status=600),
        Reply(status=200.5),
        Reply(status=200.0),
        Reply(status="200"),
        Message(body="pong"),
        Message(body=[1, 2]),
        Message(body=None),
        pytest.param(Message(body=memoryview(b"12345678").cast("I")), id="words"),
        Reply(status=200, headers=(("a", "b\r\nc: d"),)),
        Reply(status=200, headers=(("a b", "c"),)),
        Reply(status=200, media_type="☃"),
    ],
    ids=repr,
)
def test_an_answer_that_cannot_be_sent_is_500(answer, caplog):
    assert status(open_app(lambda request: answer)) == 500
    (record,) = caplog.records
    assert record.message == "a request of 192.0.2.1:4711 failed"


@pytest.mark.parametrize("name", ["none", "v10"])
def test_a_body_of_text_is_500_and_the_log_says_why(name, caplog):
    app = open_app(lambda request: Message(body="pong"), name)

    assert status(app, **signed(name, b"{}")) == 500
    what = str(caplog.records[0].exc_info[1])
    assert what == "the handler returned a body of type str, expected bytes"


def test_a_body_of_other_bytes_is_sent_as_it_was():
    given = bytearray(b"x" * 3)
    views = [given, memoryview(given), memoryview(b"xyxyxy")[::2]]
    for view in views:
        app = open_app(lambda request, view=view: Message(body=view))
        answer = asyncio.run(ask(app))
        assert (answer.status, answer.headers["content-length"]) == (200, "3")
        assert answer.body == b"xxx"


def test_a_failing_priority_or_allow_list_is_500():
    class Failing:
        def __contains__(self, hotkey):
            raise KeyError(hotkey)

    assert status(open_app(echo, priority=lambda r: 1 / 0)) == 500
    assert status(open_app(echo, priority=lambda r: float("nan"))) == 500
    app = open_app(echo, "btauth/1", allow=Failing())
    assert status(app, **signed("btauth/1", b"")) == 500


def test_an_async_handler_that_is_late_is_cancelled_and_408():
    ended = []

    async def handler(request):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    app = open_app(handler, limits=Limits(handler_time=FAST))

    assert status(app) == 408
    assert ended == [True]


def test_a_sync_handler_that_is_late_is_408_and_keeps_its_place_until_it_ends():
    gate = threading.Event()

    def handler(request):
        gate.wait(10)
        return request.message

    async def run():
        limits = Limits(handler_time=FAST, wait_time=FAST, threads=1)
        app = open_app(handler, limits=limits)
        first, second = await ask(app), await ask(app)
        gate.set()
        await until_later(lambda: app._work._turns._free == 1)
        third = await ask(app)
        await app.stop()
        return first.status, second.status, third.status

    assert asyncio.run(run()) == (408, 503, 200)


async def until_later(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_handler_that_cancels_its_own_request_is_500(caplog):
    async def handler(request):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    app, call = open_app(handler), Call()
    with pytest.raises(asyncio.CancelledError):  # nobody can tell who did it
        asyncio.run(call.run(app))

    start = call._sent[0]
    assert start["status"] == 500
    assert (b"content-type", b"application/json") in start["headers"]
    (record,) = caplog.records
    assert record.message == "a request of 192.0.2.1:4711 failed"
    assert app._work._turns._free == 64


def test_who_cancels_a_request_hears_of_it():
    begun = asyncio.Event()

    async def handler(request):
        begun.set()
        await asyncio.Event().wait()

    async def run(app, call):
        running = asyncio.create_task(call.run(app))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    call = Call()
    asyncio.run(run(open_app(handler), call))
    assert call._sent[0]["status"] == 500


def test_a_request_that_is_thrown_away_is_nobody_s_fault(caplog):
    """Its loop has ended: no reply can be sent, and nothing failed."""

    async def never(request):
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    call = Call()
    running = open_app(never)(call.scope, call._receive, call._send)
    task = loop.create_task(running)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    task._log_destroy_pending = False
    running.close()

    assert (call._sent, caplog.records) == ([], [])


def test_a_handler_nobody_waits_for_any_more_is_cancelled(monkeypatch):
    monkeypatch.setattr("btplug.serving._WATCHED", 0.01)
    ended = asyncio.Event()

    async def handler(request):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run():
        call = Call()
        task = asyncio.ensure_future(call.run(open_app(handler)))
        await call.taken(1)
        call.leave()
        async with asyncio.timeout(10):
            await ended.wait()
            return await task

    assert asyncio.run(run()) is None


# -- The end


def test_a_stop_finishes_what_has_begun_and_refuses_what_is_new():
    async def run():
        app, seen, gate = gated(Limits())
        task = asyncio.ensure_future(ask(app))
        await until(lambda: seen)
        stop = asyncio.ensure_future(app.stop())
        await asyncio.sleep(0)
        late = await ask(app)
        assert not stop.done()
        gate.set()
        await stop
        app.start()
        return (await task).status, late, (await ask(app)).status

    begun, late, again = asyncio.run(run())

    assert (begun, late.status, again) == (200, 503, 200)
    assert late.headers["connection"] == "close"


def test_a_stop_cancels_what_is_not_finished_within_its_limit():
    async def run():
        app, seen, _ = gated(Limits(stop_time=FAST, running=1))
        tasks = [asyncio.ensure_future(ask(app)) for _ in range(2)]
        await until(lambda: seen)
        await app.stop()
        assert all(task.done() for task in tasks)
        return [(await task).status for task in tasks]

    assert asyncio.run(run()) == [503, 503]


def test_an_application_serves_until_the_last_of_its_servers_stops():
    async def run():
        app = open_app(echo)
        app.start()
        app.start()
        found = []
        for _ in range(2):
            await app.stop()
            found.append((await ask(app)).status)
        app.start()
        found.append((await ask(app)).status)
        await app.stop()
        await app.stop()  # one that never began
        app.start()
        return [*found, (await ask(app)).status]

    assert asyncio.run(run()) == [200, 503, 200, 200]


def handler_threads():
    return {one for one in threading.enumerate() if "btplug handler" in one.name}


@contextmanager
def no_thread_left():
    """Other tests stop no application: theirs do not count."""
    before = handler_threads()
    yield before
    until = time.monotonic() + 10
    while left := handler_threads() - before:
        assert time.monotonic() < until, left
        time.sleep(0.005)


def test_a_stop_that_is_cut_short_leaves_no_thread_to_who_waited_then():
    go, seen = threading.Event(), []

    def handler(request):
        seen.append(request)
        assert go.wait(10)
        return Reply(status=200)

    async def run():
        app = open_app(handler, limits=Limits(threads=1))
        asked = [asyncio.ensure_future(ask(app)) for _ in range(2)]
        while not seen:
            await asyncio.sleep(0.001)
        stop = asyncio.ensure_future(app.stop())
        await asyncio.sleep(0)
        stop.cancel()
        await asyncio.wait([stop])
        go.set()
        return app, [(await one).status for one in asked]

    with no_thread_left():
        kept, ended = asyncio.run(run())
        assert ended == [200, 200]
    del kept  # it would end them, too


def test_threads_are_used_again_before_a_stop_and_after_a_start():
    async def run(before):
        app = open_app(lambda request: Reply(status=200))
        found = []
        for _ in range(2):
            for _ in range(5):
                assert (await ask(app)).status == 200
            found.append(handler_threads() - before)
            await app.stop()
            app.start()
        return app, found

    with no_thread_left() as before:
        kept, (first, second) = asyncio.run(run(before))
    del kept

    assert (len(first), len(second), first & second) == (1, 1, set())


NEVER = """
import asyncio, threading
from btplug import Reply
from btplug.dialects import create
from btplug.serving import Limits, application

there = threading.Event()

def handler(request):
    there.set()
    threading.Event().wait()

async def main():
    app = application(
        handler, dialects=[create("none")], limits=Limits(stop_time=0.1)
    )
    scope = {"type": "http", "method": "GET", "raw_path": b"/", "headers": []}
    empty = {"type": "http.request"}

    async def receive():
        return empty

    async def send(event):
        print(event.get("status", ""), flush=True)

    task = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.to_thread(there.wait)
    await app.stop()
    await task

asyncio.run(main())
"""


def test_a_handler_that_never_returns_does_not_keep_the_process():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NEVER],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["503"]


def test_lifespan_starts_and_stops():
    async def run():
        app = open_app(echo)
        events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        sent = []

        async def receive():
            return events.pop(0)

        async def send(event):
            sent.append(event["type"])

        await app({"type": "lifespan"}, receive, send)
        return sent, (await ask(app)).status

    told = ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert asyncio.run(run()) == (told, 503)


def test_websockets_are_refused_and_other_scopes_are_an_error():
    sent = []

    async def send(event):
        sent.append(event)

    app = open_app(echo)
    asyncio.run(app({"type": "websocket"}, None, send))

    assert sent == [{"type": "websocket.close", "code": 1000}]
    with pytest.raises(ValueError, match="expected http or lifespan"):
        asyncio.run(app({"type": "mail"}, None, send))


# -- Limits


@pytest.mark.parametrize("field", dataclasses.fields(Limits), ids=lambda f: f.name)
@pytest.mark.parametrize("value", [0, -1, True, "1", None, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(field, value):
    with pytest.raises(ConfigError) as caught:
        Limits(**{field.name: value})

    assert f"found the limit {field.name} {value!r}, expected a" in caught.value.what
    assert caught.value.fix == f"leave {field.name!r} out: it is then {field.default}"


def test_a_server_of_no_dialect_is_refused():
    with pytest.raises(ConfigError, match="found no dialect to serve"):
        application(echo, dialects=[])


@pytest.mark.parametrize("name", ["allow", "deny"])
@pytest.mark.parametrize("kind", [frozenset, set, list, tuple])
@pytest.mark.parametrize("wrong", [ALICE.hotkey[:-1], f" {ALICE.hotkey}", "", 5])
def test_a_list_that_names_no_hotkey_is_refused(name, kind, wrong):
    """Who mistypes one would let nobody in, or everybody."""
    lists = {name: kind([ALICE.hotkey, wrong])}

    with pytest.raises(ConfigError) as caught:
        application(echo, dialects=[create("none")], **lists)

    assert caught.value.what == (
        f"found {wrong!r} in the list {name!r}, expected ss58 addresses of hotkeys"
    )
    assert caught.value.fix == "correct it: no request comes from a hotkey of that name"


# -- Nothing of a request is in an error

MARK = "Zq7"  # in everything a request says, and in no text of ours
GARBAGE = st.text(
    st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=30
).map(lambda text: f"{MARK}{text}{MARK}")
NAMES = [
    "x-bittensor-version", "x-bittensor-hotkey", "x-bittensor-receiver",
    "x-bittensor-nonce", "x-bittensor-crypto", "x-bittensor-signature",
    "bt_header_dendrite_hotkey", "bt_header_dendrite_nonce", "bt_header_axon_hotkey",
    "bt_header_dendrite_signature", "computed_body_hash", "timeout", "content-length",
    "content-type", "transfer-encoding", "x-other",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["none", "btauth/1", "v10"]),
    changed=st.dictionaries(st.sampled_from(NAMES), GARBAGE, max_size=4),
    body=st.binary(max_size=50).map(lambda b: b'{"Zq7": 1}' + b),
    path=st.sampled_from([f"/{MARK}", f"/a?{MARK}", f"/{MARK}/", MARK]),
    method=st.sampled_from(["POST", "GET", f"{MARK}"]),
    break_it=st.booleans(),
)
def test_no_error_holds_anything_of_the_request(
    name, changed, body, path, method, break_it
):
    def handler(request):
        if break_it:
            raise ValueError(request)
        return Reply(status=200)

    app = open_app(handler, "btauth/1", "v10", "none", limits=Limits(body=55))
    logging.getLogger("btplug").disabled = True
    try:
        request = signed(name, body, path="/Echo")
        new = {k.encode(): v.encode("latin-1") for k, v in changed.items()}
        request["headers"] = [*({**dict(request["headers"]), **new}).items()]
        if changed or break_it:
            request |= {"target": path, "method": method}
        answer = asyncio.run(ask(app, **request))
    finally:
        logging.getLogger("btplug").disabled = False

    if answer.status != 200:
        shown = json.dumps(answer.headers).encode() + answer.body
        assert MARK.encode() not in shown
        assert ALICE.hotkey.encode() not in shown
        assert ME.hotkey.encode() not in shown
        assert json.loads(answer.body) == {"message": TEXTS[answer.status]}


def test_the_garbage_above_gets_as_far_as_the_handler():
    """The trap is armed: without this every one of them might end at the door."""
    raised = []
    app = open_app(raised.append)
    asyncio.run(ask(app, target=f"/{MARK}"))

    assert raised[0].message.target == f"/{MARK}"


def test_the_dialects_of_these_tests_are_the_real_ones():
    assert {type(d) for d in open_app(echo, "none", "v10", "btauth/1")._door.spoken.values()} == {
        NoProof, V10, BtAuth1,
    }  # fmt: skip
    assert head_of(signed("none", b"")) == []
    assert BOB is ME
