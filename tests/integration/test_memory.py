"""The memory transport: names, faults on demand, who is speaking, how a server ends."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack

import pytest

from btplug import Message, Peer, Reply, UsageError
from btplug.dialects import load_signer
from btplug.errors import (
    BadReply,
    ConfigError,
    Cut,
    Late,
    NotAllowed,
    Refused,
    Unauthentic,
    Unsupported,
)
from btplug.testing import MemoryTransportPlugin, echo, hang, running, serving

ALICE, BOB = load_signer("//Alice"), load_signer("//Bob")


@pytest.fixture
def live():
    """Start one more memory transport; all end with the test."""
    with ExitStack() as stack:
        yield lambda **config: stack.enter_context(
            running(MemoryTransportPlugin, **config)
        )


@pytest.fixture
def memory(live):
    return live()


def recording(seen):
    def handler(request):
        seen.append(request)
        return Reply(status=200, body=request.message.body)

    return handler


# -- names


def test_a_server_is_reached_from_every_transport_of_the_process(live):
    here, there = live(), live()

    with serving(there, echo, host="alice") as url:
        assert url == "memory://alice"
        assert here.send(Peer(url), Message(body=b"x")).body == b"x"
        assert here.send(Peer("memory://ALICE"), Message()).ok


def test_port_0_is_a_name_that_is_free(memory):
    with serving(memory, echo) as one, serving(memory, echo) as two:
        assert (one, two) == ("memory://127.0.0.1", "memory://127.0.0.1:1")


def test_a_port_is_part_of_the_name(memory):
    with serving(memory, echo, host="::1", port=80) as url:
        assert url == "memory://[::1]:80"
        assert memory.send(Peer(url), Message()).ok
        with pytest.raises(Refused) as caught:
            memory.send(Peer("memory://[::1]:81"), Message())

    assert str(caught.value) == (
        "nobody answers to memory://[::1]:81\n"
        "  where: memory://[::1]:81\n"
        "  fix:   start a server there, or correct the peer"
    )


def test_a_name_is_taken_once_and_free_again_afterwards(memory):
    for _ in range(2):
        with serving(memory, echo, host="a", port=7):
            with (
                pytest.raises(UsageError) as caught,
                serving(memory, echo, host="a", port=7),
            ):
                pass
            assert caught.value.what == (
                "found a server at memory://a:7, expected a name that is free"
            )


@pytest.mark.parametrize("host", ["a b", "a@b", "a\n"])
def test_a_name_no_url_can_hold_is_refused(memory, host):
    with pytest.raises(UsageError), serving(memory, echo, host=host):
        pass


# -- what arrives


@pytest.mark.parametrize(
    ("path", "target", "arrives"),
    [
        ("", "", "/"),
        ("/base", "", "/base"),
        ("/base?a=1", "deep/x", "/base/deep/x?a=1"),
        ("/base?a=1", "x?b=2", "/base/x?b=2"),
        ("", "é", "/%C3%A9"),
    ],
)
def test_the_target_is_joined_as_in_http(memory, path, target, arrives):
    seen = []
    with serving(memory, recording(seen)) as url:
        memory.send(Peer(url + path), Message(target=target))

    assert seen[0].message.target == arrives


def test_the_method_is_post_get_or_what_the_message_says(memory):
    seen = []
    with serving(memory, recording(seen)) as url:
        memory.send(Peer(url), Message())
        memory.receive(Peer(url))
        memory.send(Peer(url), Message(method="put"))

    assert [request.message.method for request in seen] == ["POST", "GET", "PUT"]
    assert {request.hotkey for request in seen} == {None}
    assert len({request.address for request in seen}) == 1
    assert seen[0].address.startswith("memory:")


@pytest.mark.parametrize("body", [5, "text", None, [1, 2]])
def test_a_body_that_is_no_bytes_is_refused_undelivered(memory, body):
    seen = []
    with serving(memory, recording(seen)) as url:
        with pytest.raises(NotAllowed) as caught:
            memory.send(Peer(url), Message(body=body))

    name = type(body).__name__
    assert caught.value.what == f"found a body of type {name}, expected bytes"
    assert caught.value.delivered is False
    assert not seen


def test_a_handler_may_be_an_object_that_is_called_and_awaited(memory):
    class Handler:
        async def __call__(self, request):
            return Message(body=b"m", media_type="a/b", headers=(("X", "y"),))

    with serving(memory, Handler()) as url:
        reply = memory.send(Peer(url), Message())

    assert (reply.status, reply.body, reply.media_type) == (200, b"m", "a/b")
    assert reply.header("x") == "y"


def test_a_sync_handler_does_not_hold_up_the_others(memory):
    free = threading.Event()

    def handler(request):
        if request.message.body == b"free":
            free.set()
        assert free.wait(5)
        return Reply(status=200)

    with serving(memory, handler) as url:
        bodies = iter([b"wait", b"free"])
        found = memory.send_many(
            [Peer(url)] * 2, lambda peer: Message(body=next(bodies)), timeout=5
        )
        assert all(outcome.reply.ok for outcome in found)


@pytest.mark.parametrize(
    "handler",
    [
        lambda r: "text",
        lambda r: 1 / 0,
        lambda r: Reply(status=200, body=5),
        lambda r: Message(body=None),
    ],
    ids=["type", "error", "number", "none"],
)
def test_what_a_handler_does_wrong_is_500_and_is_logged(memory, handler, caplog):
    with serving(memory, handler) as url:
        assert memory.send(Peer(url), Message()).status == 500

    assert "the handler of a memory server failed" in caplog.text


# -- faults


@pytest.mark.parametrize(
    ("fault", "error", "delivered", "calls"),
    [
        ("refuse", Refused, False, 0),
        ("drop", Late, None, 0),
        ("cut", Cut, None, 1),
        ("garble", BadReply, None, 1),
    ],
)
@pytest.mark.parametrize("how", ["url", "config"])
def test_a_fault_comes_on_demand(live, fault, error, delivered, calls, how):
    seen, given = [], {"fault": fault} if how == "config" else {}
    memory = live(**given)
    with serving(memory, recording(seen)) as url:
        peer = Peer(url if how == "config" else f"{url}?fault={fault}")
        for _ in range(2):  # the same every time
            with pytest.raises(error) as caught:
                memory.send(peer, Message(), timeout=0.1)
            assert caught.value.delivered is delivered
            assert "?" not in caught.value.where
        assert len(seen) == 2 * calls
        if how == "config":
            assert memory.send(Peer(f"{url}?fault="), Message()).ok


def test_a_delay_is_in_seconds_and_counts_for_the_limit(live):
    memory = live(delay=0.1)
    with serving(memory, echo) as url:
        began = time.monotonic()
        reply = memory.send(Peer(url), Message())
        assert 0.1 <= reply.seconds <= time.monotonic() - began
        assert memory.send(Peer(f"{url}?delay=0"), Message()).seconds < 0.1
        with pytest.raises(Late) as caught:
            memory.send(Peer(f"{url}?delay=9"), Message(), timeout=0.05)

    assert caught.value.what == "waited 0.05 s for the reply"


@pytest.mark.parametrize(
    "query", ["fault=odd", "delay=x", "delay=-1", "delay=nan", "delay=inf"]
)
def test_a_fault_that_is_none_is_refused(memory, query):
    with pytest.raises(
        UsageError, match="expected one of refuse, drop, cut, garble and"
    ):
        memory.send(Peer(f"memory://a?{query}"), Message())


@pytest.mark.parametrize(
    ("key", "value"), [("fault", "odd"), ("delay", -1), ("timeout", 0), ("grace", -1)]
)
def test_settings_out_of_range_are_refused(live, key, value):
    with pytest.raises(ConfigError, match=f"{key} is"):
        live(**{key: value})


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_at_all_is_late_and_nothing_was_delivered(memory, timeout):
    seen = []
    with serving(memory, recording(seen)) as url, pytest.raises(Late) as caught:
        memory.send(Peer(url), Message(), timeout=timeout)

    assert (seen, caught.value.delivered) == ([], False)


def test_a_handler_is_cancelled_when_nobody_waits_for_it(memory):
    ended = threading.Event()

    async def handler(request):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with serving(memory, handler) as url:
        with pytest.raises(Late):
            memory.send(Peer(url), Message(), timeout=0.1)
        assert ended.wait(0.5)  # less than the grace of a stop


def test_the_limit_of_the_configuration_holds_where_the_caller_gives_none(live):
    memory = live(timeout=0.1)
    with serving(memory, hang) as url, pytest.raises(Late):
        memory.send(Peer(url), Message())


# -- who is speaking


def keys(name, signer, **options):
    return {name: {"key": f"//{signer}", **options}}


@pytest.mark.parametrize("dialect", ["btauth/1", "v10"])
def test_the_server_verifies_who_sent_it_in_its_dialect(live, dialect):
    alice = live(dialect=dialect, dialects=keys(dialect, "Alice"))
    bob = live(dialect=dialect, dialects=keys(dialect, "Bob"))
    seen, body = (
        [],
        Message(body=b'{"a":1}', media_type="application/json", target="Syn"),
    )
    with serving(bob, recording(seen)) as url:
        assert alice.send(Peer(url, BOB.hotkey), body).ok
        stranger = alice.send(Peer(url), body)
        other = alice.send(Peer(url, ALICE.hotkey), body)

    assert [request.hotkey for request in seen] == [ALICE.hotkey]
    assert (stranger.status, other.status) == (401, 401)
    assert (stranger.body, other.body) == (b"", b"")


def test_a_server_without_dialects_asks_nobody(live):
    alice, plain = live(dialects=keys("btauth/1", "Alice")), live()
    seen = []
    with serving(plain, recording(seen)) as url:
        assert alice.send(Peer(url, BOB.hotkey), Message()).ok

    assert seen[0].hotkey is None
    assert seen[0].message.header("x-bittensor-hotkey") == ALICE.hotkey


def test_a_full_memory_of_nonces_is_forbidden(live):
    alice = live(dialects=keys("btauth/1", "Alice"))
    bob = live(dialects=keys("btauth/1", "Bob", limit=1))
    with serving(bob, echo) as url:
        found = [alice.send(Peer(url, BOB.hotkey), Message()).status for _ in range(2)]

    assert found == [200, 403]


def test_the_signer_a_handler_names_is_not_believed(memory):
    def handler(request):
        return Reply(status=200, signer=BOB.hotkey)

    with serving(memory, handler) as url:
        assert memory.send(Peer(url), Message()).signer is None


def test_a_hotkey_without_a_key_or_with_none_is_refused(live):
    with pytest.raises(Unsupported):
        live().send(Peer("memory://a", BOB.hotkey), Message())
    memory = live(dialect="none")
    with serving(memory, echo) as url, pytest.raises(Unauthentic):
        memory.send(Peer(url, BOB.hotkey), Message())


# -- the end


@pytest.mark.parametrize("grace", [5.0, 0.0])
def test_a_stop_finishes_what_has_begun_within_its_grace(live, grace):
    memory, begun = live(grace=grace), threading.Event()

    async def handler(request):
        begun.set()
        await asyncio.sleep(0.2)
        return Reply(status=200)

    async def main():
        ready = asyncio.Event()
        server = asyncio.ensure_future(
            memory.aserve(handler, host="x", ready=lambda url: ready.set())
        )
        await ready.wait()
        asked = asyncio.ensure_future(memory.asend(Peer("memory://x"), Message()))
        await asyncio.to_thread(begun.wait, 5)
        server.cancel()
        return (await asyncio.gather(asked, server, return_exceptions=True))[0]

    found = memory.context.home.run(main())

    if grace:
        assert found.status == 200
    else:
        assert (type(found), found.delivered) == (Cut, None)


def test_shutdown_ends_what_it_serves():
    with running(MemoryTransportPlugin) as other:
        with running(MemoryTransportPlugin) as memory:
            ended = threading.Event()

            async def serve():
                await memory.aserve(echo, host="short", ready=lambda url: ready.set())
                ended.set()

            ready = threading.Event()
            thread = threading.Thread(target=lambda: asyncio.run(serve()))
            thread.start()
            assert ready.wait(5)
            memory.shutdown()
            thread.join(5)
            assert ended.is_set()
            assert memory.health().ok is False
        with pytest.raises(Refused):
            other.send(Peer("memory://short"), Message())


def test_what_is_not_open_sends_and_serves_nothing():
    with running(MemoryTransportPlugin) as memory:
        pass
    for call in (
        lambda: memory.send(Peer("memory://a"), Message()),
        lambda: memory.serve(echo),
    ):
        with pytest.raises(NotAllowed, match="the memory transport is not open"):
            call()
    memory.context.close()
