"""HTTP that is lent to a confined plugin: whom it reaches, and who may break what."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import threading
import time

import numpy as np
import pytest
from hostile_server import OK, Hostile, open_http, recording, reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lending import Lent, lent
from test_http_stream import body_of

from btplug import Message, Peer, Reply
from btplug._broker import broker
from btplug._broker.broker import MOST_BODY, MOST_CALLS
from btplug._broker.parcels import Ask, Done, Fault, Turn, packed, unpacker
from btplug._confine.frames import LONGEST, WINDOW, BadFrame, Frame, Kind
from btplug.errors import (
    Late,
    NotAllowed,
    PluginFailed,
    TooLarge,
    TransportError,
    Unsupported,
    UsageError,
)
from btplug.outcome import Failure

MIB = 1024 * 1024
NOBODY = Peer("http://127.0.0.1:1")


@pytest.fixture
def http():
    with open_http() as transport:
        yield transport


@pytest.fixture
def proxy(http):
    with lent(http) as made:
        yield made


def parrot(line):
    """Answer with the body that came."""
    while data := line.request():
        line.send(reply(data.partition(b"\r\n\r\n")[2]))


def parrot_of_streams(line):
    """The same, for a body without a length."""
    with contextlib.suppress(ConnectionError):
        line.send(reply(body_of(line)[1]))


# --- bodies -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 200_000, MIB, 5 * MIB + 3])
def test_a_body_of_any_size_goes_there_and_back(proxy, size):
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with Hostile(parrot) as there:
        assert proxy.send(Peer(there.url), Message(body=body)).body == body


def test_what_is_no_peer_is_refused_here_and_the_line_lives_on(proxy):
    with Hostile(parrot) as there:
        with pytest.raises(
            UsageError, match="send: found arguments that are not of its"
        ):
            proxy.send(there.url, Message(body=b"x"))
        with pytest.raises(
            UsageError, match="send: found arguments that are not of its"
        ):
            proxy.send(Peer(there.url), Message(body=b"x"), timeout="soon")
        with pytest.raises(
            UsageError, match="found a str after 1 peers, expected a Peer"
        ):
            list(proxy.send_many([Peer(there.url), there.url], Message(body=b"x")))

        assert proxy.send(Peer(there.url), Message(body=b"y")).body == b"y"


def test_a_stream_goes_both_ways_in_parts(proxy):
    with Hostile(parrot_of_streams) as there:
        chunks = (bytes([i % 256]) * 70_000 for i in range(40))
        with proxy.stream(Peer(there.url), Message(method="POST"), [*chunks]) as stream:
            assert stream.head.ok
            found = b"".join(stream)

    assert found == b"".join(bytes([i % 256]) * 70_000 for i in range(40))


@pytest.mark.parametrize("shape", [(60_000,), (300, 200), ()])
def test_an_array_is_sent_as_its_bytes(proxy, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype="float64").reshape(shape)
    with Hostile(parrot_of_streams) as there:
        message = Message(method="POST")
        with proxy.stream(Peer(there.url), message, [memoryview(array)]) as stream:
            assert b"".join(stream) == array.tobytes()


@pytest.mark.parametrize("chunks", [io.StringIO("abc"), [b"a", "b"], (b"a", 5)])
def test_what_is_no_bytes_is_refused_before_anything_is_sent(proxy, chunks):
    seen = []
    with Hostile(recording(seen)) as there, pytest.raises(UsageError) as caught:
        with proxy.stream(Peer(there.url), Message(method="POST"), chunks):
            pass
    assert "expected" in caught.value.what
    assert not seen


def test_who_waits_for_a_turn_sees_those_that_were_dropped(proxy):
    held, release = [], threading.Event()

    def script(line):
        while line.request():
            release.wait(30)
            line.send(OK)

    with Hostile(script) as there:
        peer = Peer(there.url)
        line = proxy._line
        while len(held) < 48:
            held.append(proxy.send_many([peer], Message(body=b"x"), timeout=25))
        waiting = threading.Thread(
            target=lambda: found.append(proxy.send(peer, Message(), timeout=25))
        )
        found = []
        waiting.start()
        while line._turns._value or not waiting.is_alive():
            time.sleep(0.005)
        time.sleep(0.05)  # it waits by now, or will: both have to end well
        held.clear()
        release.set()
        waiting.join(20)
    assert [one.ok for one in found] == [True]


def test_an_async_stream_takes_an_async_iterable(proxy):
    async def chunks():
        for index in range(5):
            await asyncio.sleep(0)
            yield bytes([index]) * 1000

    async def main():
        message = Message(method="POST")
        async with proxy.astream(Peer(url), message, chunks()) as stream:
            return b"".join([part async for part in stream])

    with Hostile(parrot_of_streams) as there:
        url = there.url
        assert asyncio.run(main()) == b"".join(bytes([i]) * 1000 for i in range(5))


@pytest.mark.parametrize(
    "chunks",
    [["text"], [7], [np.int64(7)], io.StringIO("text")],
    ids=["text", "number", "number of numpy", "file of text"],
)
def test_a_chunk_that_is_no_bytes_is_wrong_usage(proxy, chunks):
    with Hostile(parrot_of_streams) as there:
        with pytest.raises(
            UsageError, match=r"found a (chunk of type|file of) \w+, expe"
        ):
            with proxy.stream(Peer(there.url), Message(method="POST"), chunks):
                pass


def test_a_stream_that_is_left_early_frees_the_call(proxy):
    with Hostile(parrot) as there:
        for _ in range(MOST_CALLS + 10):
            with proxy.stream(Peer(there.url), Message(body=bytes(MIB))) as stream:
                next(iter(stream))
        assert proxy.send(Peer(there.url), Message(body=b"x")).body == b"x"


def test_what_an_iterable_of_the_plugin_raises_reaches_the_plugin(proxy):
    def chunks():
        yield b"x"
        raise KeyError("mine")

    def streamed(url):
        with proxy.stream(Peer(url), Message(method="POST"), chunks()) as stream:
            b"".join(stream)

    with (
        Hostile(lambda line: line.wait()) as there,
        pytest.raises(KeyError, match="mine"),
    ):
        streamed(there.url)


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(proxy):
    with Hostile(parrot) as there:
        message = Message(body=bytes(MOST_BODY + 1))
        with pytest.raises(TooLarge) as caught:
            proxy.send(Peer(there.url), message)

    assert str(caught.value) == (
        "found a body of 67,108,865 bytes, expected 67,108,864 at most, and "
        "268,435,456 for all that is under way\n  fix:   send it with stream"
    )
    assert caught.value.delivered is False


# --- cancelled ----------------------------------------------------------------------


def holding(seen, ended):
    """Make a script that never answers, and tells when its client goes."""

    def script(line):
        line.request()
        seen.set()
        with contextlib.suppress(OSError):
            line.sock.recv(1)
        ended.set()

    return script


async def cancelled(work, when):
    """Cancel *work* once *when* is set."""
    task = asyncio.ensure_future(work)
    while not when.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def entered(stream):
    async with stream:
        pass


ASYNC = {
    "asend": lambda proxy, peer: proxy.asend(peer, Message(body=b"x")),
    "areceive": lambda proxy, peer: proxy.areceive(peer),
    "astream": lambda proxy, peer: entered(proxy.astream(peer, Message(body=b"x"))),
}


@pytest.mark.parametrize("form", ASYNC)
def test_a_call_that_is_cancelled_ends(proxy, form):
    seen, ended = threading.Event(), threading.Event()
    with Hostile(holding(seen, ended)) as there:
        asyncio.run(cancelled(ASYNC[form](proxy, Peer(there.url)), seen))
        assert ended.wait(20)
        broker = proxy.lent.broker
        with broker._over:
            assert broker._over.wait_for(lambda: not broker._calls, 20)


class Turns(threading.BoundedSemaphore):
    """One turn, which is taken; it tells who waits for it, and who got it."""

    def __init__(self):
        super().__init__(1)
        super().acquire()
        self.asked, self.given = threading.Event(), threading.Event()

    def acquire(self, *, timeout=None):
        self.asked.set()
        done = super().acquire(timeout=timeout)
        self.given.set()
        return done


@pytest.mark.parametrize("form", ASYNC)
def test_what_was_cancelled_before_its_turn_is_never_sent(proxy, form):
    seen = []
    turns = proxy._line._turns = Turns()
    with Hostile(recording(seen)) as there:
        peer = Peer(there.url)
        asyncio.run(cancelled(ASYNC[form](proxy, peer), turns.asked))
        turns.release()
        assert turns.given.wait(20)
        assert proxy.send(peer, Message(method="PUT", target="last")).ok
    assert [request.split()[1] for request in seen] == [b"/last"]


def test_calls_that_are_cancelled_and_have_not_ended_hinder_others_for_a_while(http):
    """A plugin counts them no more; but there is an end to it."""
    begun, more = threading.Semaphore(0), threading.Event()

    class Slow:
        schemes = ("http",)
        context = http.context
        health = http.health

        def send(self, *_, **__):
            begun.release()
            more.wait(20)
            return Reply(status=200)

    made = Lent({"http": Slow()}, http.context.home)
    send = made.channel.send
    try:
        for number in range(1, MOST_CALLS + 1):
            send(call(number=number))
            assert begun.acquire(timeout=20)
        for number in range(1, 6 * MOST_CALLS):
            if number > MOST_CALLS:
                send(call(number=number))
            send(Frame(Kind.CANCEL, b"", number))
        refused = [made.channel.receive() for _ in range(4 * MOST_CALLS - 1)]
        assert all(b"calls are under way already" in one.body for one in refused)
        assert len(made.broker._calls) == 2 * MOST_CALLS
        more.set()
        with made.broker._over:
            assert made.broker._over.wait_for(lambda: not made.broker._calls, 20)
        send(call(method="health", number=1))
        assert made.channel.receive().kind == Kind.RETURN
    finally:
        more.set()
        made.close()


FORMS = {
    "send": lambda proxy, **limits: proxy.send(NOBODY, Message(), **limits),
    "receive": lambda proxy, **limits: proxy.receive(NOBODY, **limits),
    "stream": lambda proxy, **limits: proxy.stream(
        NOBODY, Message(), **limits
    ).__enter__(),
    "send_many": lambda proxy, timeout: proxy.send_many(
        [NOBODY], Message(), timeout=9, deadline=timeout
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_call_waits_no_longer_for_its_turn_than_it_may_take(proxy, form):
    """A plugin with many streams open would wait for itself, for ever."""
    proxy._line._turns = Turns()
    with pytest.raises(Late) as caught:
        FORMS[form](proxy, timeout=0.2)

    assert str(caught.value) == (
        "waited 0.2 s while 48 calls and streams were under way, which is the most "
        "there may be\n  fix:   end some before you begin others, or ask many with "
        "send_many"
    )
    assert caught.value.delivered is False


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1.0, 0.0, 1e30])
def test_a_limit_that_is_none_is_judged_by_the_host(proxy, http, limit):
    with Hostile(parrot) as there:
        told = []
        for transport in (proxy, http):
            try:
                told.append(
                    transport.send(Peer(there.url), Message(), timeout=limit).status
                )
            except (UsageError, TransportError) as exc:
                told.append(str(exc))
    assert told[0] == told[1]


# --- many peers ---------------------------------------------------------------------


def test_many_peers_answer_with_bodies_of_any_size(proxy):
    with Hostile(parrot) as there:
        peers = [Peer(f"{there.url}/{i}") for i in range(30)]
        made = {
            p.url: Message(body=bytes([i]) * 30_000 * i) for i, p in enumerate(peers)
        }
        with proxy.send_many(peers, lambda p: made[p.url], timeout=20) as outcomes:
            found = {o.index: o for o in outcomes}

    assert sorted(found) == list(range(30))
    for index, outcome in found.items():
        assert outcome.peer is peers[index]
        assert outcome.unwrap().body == made[peers[index].url].body


def test_many_peers_are_read_as_turns_come_free(proxy):
    """Of peers without end only so many are asked for."""
    taken = []

    def peers():
        while True:
            taken.append(1)
            yield Peer(url)

    with Hostile(parrot) as there:
        url = there.url
        with proxy.send_many(peers(), Message(body=b"x"), limit=4) as outcomes:
            for _ in range(20):
                assert next(outcomes).unwrap().body == b"x"
    assert len(taken) < 20 + 10 * WINDOW


def test_loops_that_are_left_early_without_a_word_free_their_calls(proxy):
    with Hostile(parrot) as there:
        peers = [Peer(there.url)] * 20
        for _ in range(MOST_CALLS + 10):
            for outcome in proxy.send_many(peers, Message(body=b"x")):
                assert outcome.unwrap().ok
                break
        assert proxy.send(Peer(there.url), Message(body=b"x")).body == b"x"


def test_async_peers_and_outcomes(proxy):
    async def peers():
        for index in range(10):
            await asyncio.sleep(0)
            yield Peer(f"{url}/{index}")

    async def main():
        async with proxy.asend_many(peers(), Message(body=b"y")) as outcomes:
            return [o.unwrap().body async for o in outcomes]

    with Hostile(parrot) as there:
        url = there.url
        assert asyncio.run(main()) == [b"y"] * 10


def raising(peers):
    yield from peers
    raise KeyError("mine")


async def araising(peers):
    for peer in peers:
        await asyncio.sleep(0)
        yield peer
    raise KeyError("mine")


def wrong(peers):
    return [*peers, "no peer"]


@pytest.mark.parametrize("made", [raising, araising, wrong])
@pytest.mark.parametrize("read", ["sync", "async"])
def test_what_an_iterable_of_peers_raises_comes_after_the_outcomes(
    proxy, http, made, read
):
    """They are earned: the messages have arrived."""
    if read == "sync" and made is araising:
        pytest.skip("an async iterable is for asend_many")

    async def aread(transport):
        try:
            async for one in transport.asend_many(made(peers), Message(body=b"x")):
                found.append(one.index)
        except (KeyError, UsageError) as exc:
            found.append(str(exc))

    with Hostile(lambda line: line.wait(0.2) and parrot(line)) as there:
        peers = [Peer(f"{there.url}/{i}") for i in range(5)]
        all_found = []
        for transport in (proxy, http):
            found = []
            if read == "async":
                asyncio.run(aread(transport))
            else:
                try:
                    for one in transport.send_many(made(peers), Message(body=b"x")):
                        found.append(one.index)
                except (KeyError, UsageError) as exc:
                    found.append(str(exc))
            all_found.append([*sorted(found[:-1]), found[-1]])

    assert all_found[0][:-1] == [0, 1, 2, 3, 4]
    assert all_found[0] == all_found[1]


def test_several_threads_read_the_same_outcomes(proxy):
    with Hostile(parrot) as there:
        peers = [Peer(f"{there.url}/{i}") for i in range(40)]
        body, found, errors = bytes(600_000), [], []
        outcomes = proxy.send_many(peers, Message(body=body), limit=8)

        def read():
            try:
                found.extend(outcomes)
            except BaseException as exc:
                errors.append(exc)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert errors == []
    assert sorted(one.index for one in found) == list(range(40))
    assert all(one.unwrap().body == body for one in found)


def test_outcomes_that_are_closed_end_whoever_reads_them(proxy):
    seen, found = threading.Event(), []
    with Hostile(holding(seen, threading.Event())) as there:
        outcomes = proxy.send_many([Peer(there.url)], Message(body=b"x"))
        reader = threading.Thread(target=lambda: found.append(next(outcomes, "none")))
        reader.start()
        assert seen.wait(20)
        outcomes.close()
        reader.join(20)

    assert found == ["none"]


def test_reads_that_are_cancelled_lose_no_outcome(proxy):
    more = threading.Event()

    def script(line):
        while line.request():
            more.wait(20)
            line.send(OK)

    async def main():
        outcomes = proxy.asend_many(peers, Message(body=b"x"), limit=1)
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(outcomes), 0.02)
        more.set()

        async def read():
            async for one in outcomes:
                found.append(one.index)

        await asyncio.gather(read(), read(), read())

    found = []

    with Hostile(script) as there:
        peers = [Peer(there.url)] * 20
        asyncio.run(main())
    assert sorted(found) == list(range(20))


def test_loops_of_two_threads_share_the_outcomes(proxy):
    def read():
        async def main():
            async for one in outcomes:
                found.append(one.index)

        asyncio.run(main())

    found = []
    with Hostile(parrot) as there:
        outcomes = proxy.asend_many([Peer(there.url)] * 400, Message(body=b"x"))
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(found) == list(range(400))


def raising(text):
    def message(peer):
        raise ValueError(text)

    return message


LARGE = (("name", "x" * 1000),) * 20


@pytest.mark.parametrize(
    ("message", "url"),
    [
        (lambda peer: Message(body=b"x", headers=LARGE), ""),
        (raising("x" * 2 * MIB), ""),
        (raising("\ud800"), ""),
        (Message(body=b"x"), "/" + "x" * 60_000),
        (Message(body=b"x"), "/" + "x" * MIB),
        (Message(body=b"x"), "/\ud800"),
    ],
    ids=["headers", "long failures", "half a pair", "urls", "long urls", "odd urls"],
)
def test_many_of_which_each_is_too_much_have_an_outcome_each(proxy, message, url):
    with Hostile(parrot) as there:
        peers = [Peer(there.url + url)] * 64 + [Peer(there.url)]
        found = [*proxy.send_many(peers, message, timeout=20)]
    assert sorted(one.index for one in found) == list(range(65))
    assert all(one.peer is peers[one.index] for one in found)


def test_a_message_that_cannot_be_made_fails_for_its_peer_alone(proxy):
    def message(peer):
        if peer.url.endswith("/1"):
            raise ValueError("not this one")
        return Message(body=b"x")

    with Hostile(parrot) as there:
        peers = [Peer(f"{there.url}/{i}") for i in range(3)]
        found = {o.index: o for o in proxy.send_many(peers, message)}

    assert found[0].unwrap().body == found[2].unwrap().body == b"x"
    assert "not this one" in found[1].failure.what


def test_an_argument_that_is_wrong_is_the_same_error_as_in_process(proxy, http):
    for transport in (proxy, http):
        with pytest.raises(UsageError, match=r"found limit=0, expected 1 or more"):
            next(iter(transport.send_many([Peer("http://x")], Message(), limit=0)))


def streamed(transport, chunks):
    with transport.stream(NOBODY, Message(), chunks):
        pass


WRONG_CALLS = {
    "a stream of text": lambda t, _: streamed(t, __file__),
    "a stream of a number": lambda t, _: streamed(t, 5),
    "a stream of no file": lambda t, path: streamed(t, path / "x"),
    "a stream of a folder": lambda t, path: streamed(t, path),
    "many, no message": lambda t, _: t.send_many([NOBODY], None),
    "many, text": lambda t, _: t.send_many([NOBODY], "text"),
    "many, async peers": lambda t, _: t.send_many(araising([NOBODY]), Message()),
    "many, made of text": lambda t, _: [
        one.unwrap() for one in t.send_many([NOBODY], lambda _: "text")
    ],
    "many, made of nothing": lambda t, _: [
        one.unwrap() for one in t.send_many([NOBODY], lambda _: {}["x"])
    ],
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_the_same_error_as_in_process(proxy, http, name, tmp_path):
    """A text is no name of a file, which would be sent."""
    told = []
    for transport in (proxy, http):
        with pytest.raises((UsageError, TransportError, OSError)) as caught:
            WRONG_CALLS[name](transport, tmp_path)
        told.append((caught.type, str(caught.value)))
    assert told[0] == told[1]


NO_MESSAGES = {
    "none": None,
    "text": "text",
    "half a character": Message(headers=(("x", "\ud800"),)),
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_what_is_no_message_is_not_sent(proxy, name):
    calls = {
        "send": lambda: proxy.send(NOBODY, NO_MESSAGES[name]),
        "asend": lambda: asyncio.run(proxy.asend(NOBODY, NO_MESSAGES[name])),
        "stream": lambda: proxy.stream(NOBODY, NO_MESSAGES[name]).__enter__(),
    }
    for send in calls.values():
        with pytest.raises(UsageError, match=r"found a .* as message|not of its kinds"):
            send()
    assert not proxy.lent.broker.reached


@pytest.mark.parametrize("timeout", [3, True, 10**30])
def test_a_limit_may_be_any_number(proxy, timeout):
    with Hostile(parrot) as there:
        assert proxy.send(Peer(there.url), Message(), timeout=timeout).ok


def test_bytes_of_any_kind_can_be_signed_and_streamed(proxy):
    peer = Peer("http://127.0.0.1:1/", dialect="btauth/1")
    for chunks in (b"x", bytearray(b"x"), memoryview(b"x")):
        with pytest.raises(Unsupported, match="no key"):
            proxy.stream(peer, Message(), chunks).__enter__()


# --- whom it may reach --------------------------------------------------------------


def test_a_host_that_is_not_permitted_is_refused_by_name(http):
    seen = []
    with Hostile(recording(seen)) as there, lent(http, ["good.example"]) as proxy:
        for peer in (there.url, "http://evil.example/?q=secret"):
            with pytest.raises(NotAllowed) as caught:
                proxy.send(Peer(peer), Message(body=b"the key"))
        assert str(caught.value) == (
            "the plugin may not reach evil.example:80; its permissions name: "
            "good.example\n  fix:   add the host to 'permissions: network:' in the "
            "plugin's config.yaml, and trust it again"
        )
        assert caught.value.delivered is False
        assert not proxy.lent.broker.reached
    assert not seen


def test_of_many_peers_those_that_are_not_permitted_fail(http):
    with Hostile(parrot) as there, lent(http, ["127.0.0.1"]) as proxy:
        peers = [Peer(there.url), Peer("http://evil.example"), Peer(there.url)]
        found = {o.index: o for o in proxy.send_many(peers, Message(body=b"x"))}
        reached = list(proxy.lent.broker.reached)
        port = there.url.rpartition(":")[2].strip("/")

    assert found[0].reply.body == found[2].reply.body == b"x"
    assert found[1].failure.kind == "not-allowed"
    assert found[1].failure.delivered is False
    assert reached == [f"127.0.0.1:{port}"]


def test_a_redirect_leads_nowhere(http):
    seen = []
    with Hostile(recording(seen)) as other:
        moved = reply(b"", b"Location: " + other.url.encode(), status="302 Found")
        with Hostile(recording([], moved)) as there:
            port = there.url.rpartition(":")[2].strip("/")
            with lent(http, [f"127.0.0.1:{port}"]) as proxy:
                assert proxy.send(Peer(there.url), Message()).status == 302
    assert not seen


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "x", ""])
def test_another_scheme_is_refused(proxy, url):
    with pytest.raises(NotAllowed, match=r"found the scheme .* expected one of http"):
        proxy.send(Peer(url), Message())


@pytest.mark.parametrize(
    "message",
    [
        Message(method="CONNECT"),
        Message(headers=(("Host", "evil.example"),)),
        Message(headers=(("X", "a\r\nHost: evil.example"),)),
        Message(target="/x HTTP/1.1\r\nHost: evil.example"),
    ],
)
def test_a_message_cannot_be_turned_into_another(proxy, message):
    with pytest.raises((NotAllowed, UsageError)):
        proxy.send(Peer("http://127.0.0.1:1/"), message)


def test_a_transport_that_is_not_lent_is_refused(http):
    with lent(http) as proxy:
        proxy.name = "other"
        with pytest.raises(NotAllowed, match="the transport 'other' is not lent"):
            proxy.send(Peer("http://127.0.0.1:1"), Message())


def test_serving_is_not_lent(proxy):
    with pytest.raises(Unsupported) as caught:
        proxy.serve(lambda _: None)

    assert str(caught.value) == (
        "a confined plugin cannot serve with http\n  fix:   let it run in btplug's own "
        "process: btplug trust --in-process NAME"
    )


def test_health_is_the_hosts(proxy, http):
    assert proxy.health() == http.health()


def test_what_a_transport_raises_by_mistake_is_an_error_of_it(http):
    class Broken:
        schemes = ("http",)
        context = http.context

        def send(self, *_, **__):
            raise ZeroDivisionError("oops")

    with lent(Broken()) as proxy:
        with pytest.raises(TransportError, match="ZeroDivisionError: oops") as caught:
            proxy.send(Peer("http://127.0.0.1:1"), Message())
    assert not isinstance(caught.value, PluginFailed)


LONG = "\x1b" * 900_000 + "\ud800"
UNTELLABLE = {
    "a failure": TransportError(LONG, where=LONG, fix=LONG),
    "a wrong word": UsageError("\ud800", where=LONG),
    "of Python": ValueError(LONG),
    "no exception": SystemExit(LONG),
    "no text": TransportError(object()),
}


@pytest.mark.parametrize("name", UNTELLABLE)
def test_an_error_that_fits_into_no_frame_is_told_shorter(http, name, capfd):
    """Its words may be the plugin's, and a thread's last words are shown as they are."""

    class Broken:
        schemes = ("http",)
        context = http.context

        def send(self, *_, **__):
            raise UNTELLABLE[name]

    with lent(Broken()) as proxy:
        for _ in range(2):
            with pytest.raises((TransportError, UsageError)) as caught:
                proxy.send(Peer("http://127.0.0.1:1"), Message())
            assert len(str(caught.value)) < 60_000
    assert capfd.readouterr().err == ""


def test_an_outcome_that_fits_into_no_frame_is_told_shorter(proxy):
    failure = Failure(kind="failed", what=LONG[:-1], where="here", fix="do it")
    turns = [Turn(Peer("http://127.0.0.1:1"), failure=failure)]
    flow = proxy._line.open(Kind.CALL, packed(Ask("http", "send_many", limit=1)))
    flow.post(Kind.CHUNK, packed(turns))
    frame = flow.take()
    proxy._line.close(flow, cancel=True)

    assert frame.kind == Kind.OUTCOME
    assert unpacker(Done)(frame.body).failure.what.endswith("… (of 900,000 characters)")


# --- a hostile child ----------------------------------------------------------------


@pytest.fixture
def raw(http):
    """Both ends, of which the child's is written to by hand."""
    made = Lent({"http": http}, http.context.home)
    yield made
    made.close()


def call(url="http://127.0.0.1:1/", method="send", number=1, **more):
    return Frame(
        Kind.CALL, packed(Ask("http", method, Peer(url), Message(), **more)), number
    )


def refusal(raw, *frames):
    """Send frames; return why the child was ended."""
    with contextlib.suppress(OSError):
        for frame in frames:
            raw.channel.send(frame)
    raw._thread.join(20)
    assert isinstance(raw.error, BadFrame)
    return raw.error.what.partition("found ")[2]


def test_a_call_that_is_no_call_ends_the_child(raw):
    assert refusal(raw, Frame(Kind.CALL, b"\xc1", 1)).startswith(
        "a frame that cannot be"
    )


WRONG = {
    "no array": {"transport": "http"},
    "a method there is not": ["http", "initialize"],
    "a method of Python": ["http", "__class__"],
    "a number for a name": [1, "send"],
    "a peer that is text": ["http", "send", "http://x"],
    "a body that is text": ["http", "send", {"url": "x"}, {"body": 3}],
    "headers that are none": ["http", "send", {"url": "x"}, {"headers": [["a"]]}],
    "a limit that is text": ["http", "send", None, None, 0, False, False, "x"],
}


@pytest.mark.parametrize("name", WRONG)
def test_values_of_wrong_types_end_the_child(raw, name):
    frame = Frame(Kind.CALL, packed(WRONG[name]), 1)

    assert refusal(raw, frame).startswith("a frame that cannot be read")


def test_values_nested_without_end_end_the_child(raw):
    frame = Frame(Kind.CALL, b"\x91" * (LONGEST - 20) + b"\xc0", 1)

    assert refusal(raw, frame).startswith("a frame that cannot be read")


def test_an_id_that_is_in_use_or_none_ends_the_child(raw):
    assert "the id 0" in refusal(raw, call(number=0))


def test_a_second_call_with_one_id_ends_the_child(http):
    with Hostile(lambda line: line.sock.recv(1) and time.sleep(5)) as there:
        made = Lent({"http": http}, http.context.home)
        try:
            one = call(there.url, timeout=0.5)
            assert "the id 1, which is none or in use" in refusal(made, one, one)
        finally:
            made.close()


def test_frames_of_calls_there_are_not_are_nothing(raw):
    for kind in (Kind.CHUNK, Kind.CREDIT, Kind.CANCEL):
        raw.channel.send(Frame(kind, b"????", 99))
    raw.channel.send(call(method="health"))

    assert raw.channel.receive().kind == Kind.RETURN
    assert raw.error is None


@pytest.mark.parametrize("kind", [Kind.LOG, Kind.RESULT, Kind.ASK])
def test_a_kind_that_belongs_to_no_call_ends_the_child(raw, kind):
    assert refusal(raw, Frame(kind, b"", 1)).startswith("a frame of the kind")


def test_parts_without_credit_end_the_child(http):
    with Hostile(lambda line: time.sleep(3)) as there:
        made = Lent({"http": http}, http.context.home)
        try:
            ask = call(there.url, method="stream", chunked=True, timeout=1.0)
            parts = [Frame(Kind.CHUNK, bytes(60_000), 1, more=True)] * 2000
            assert "more parts of a body" in refusal(made, ask, *parts)
        finally:
            made.close()


def test_credit_that_was_never_earned_ends_the_child(http):
    with Hostile(lambda line: line.sock.recv(1) and time.sleep(3)) as there:
        made = Lent({"http": http}, http.context.home)
        try:
            credit = Frame(Kind.CREDIT, b"\xff\xff\xff\xff", 1)
            assert "credit for parts" in refusal(
                made, call(there.url, timeout=1.0), credit
            )
        finally:
            made.close()


@contextlib.contextmanager
def no_more_threads():
    """No thread can start: the system has no room for such a stack."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_a_call_for_which_there_is_no_thread_fails_alone(raw):
    with no_more_threads():
        raw.channel.send(call(method="health"))
        failed = raw.channel.receive()
    raw.channel.send(call(method="health"))

    assert str(unpacker(Fault)(failed.body).error()) == (
        "found no thread for the call (can't start new thread), expected one\n  fix:   "
        "end other calls first, or have the system allow more processes (ulimit -u)"
    )
    assert raw.channel.receive().kind == Kind.RETURN
    assert raw.broker._threads._count == 1


def test_a_plugin_for_which_there_is_no_thread_can_call_later(proxy):
    with no_more_threads(), pytest.raises(RuntimeError, match="can't start new"):
        proxy.health()

    assert proxy.health().ok


def test_calls_without_end_are_refused_and_do_no_harm(http):
    with Hostile(lambda line: line.sock.recv(1) and time.sleep(5)) as there:
        made = Lent({"http": http}, http.context.home)
        try:
            before = threading.active_count()
            for number in range(1, 500):
                made.channel.send(call(there.url, number=number, timeout=2.0))
            frames = [made.channel.receive() for _ in range(499)]
            assert all(f.kind == Kind.FAILURE for f in frames)
            refused = [f for f in frames if b"calls are under way already" in f.body]
            assert len(refused) == 499 - MOST_CALLS
            # Those of the broker, of the server, and of the transport.
            assert threading.active_count() - before <= 3 * MOST_CALLS
            assert made.error is None
        finally:
            made.close()


def test_a_child_that_asks_and_never_reads_is_not_heard_any_more(raw):
    """What its answers take is bounded, and then it has to wait."""
    done = threading.Event()

    def ask():
        with contextlib.suppress(OSError):
            for number in range(1, 200_000):
                raw.channel.send(call("http://" + "x" * 300, number=number))
        done.set()

    thread = threading.Thread(target=ask)
    thread.start()
    until = time.monotonic() + 30
    while not raw.port.full and time.monotonic() < until:
        time.sleep(0.05)
    assert raw.port.full
    assert not done.wait(0.5)
    assert raw.port._held < 9 * MIB
    raw.close()
    thread.join()
    raw.close = lambda: None


def test_a_child_that_never_reads_a_long_reply_holds_little(http):
    body = bytes(30 * MIB)
    with Hostile(recording([], reply(body))) as there:
        made = Lent({"http": http}, http.context.home)
        try:
            made.channel.send(call(there.url))
            until = time.monotonic() + 20
            while not made.broker.reached and time.monotonic() < until:
                time.sleep(0.01)
            made.channel.send(call(there.url, method="health", number=2))
            time.sleep(0.5)
            assert made.port._held < 2 * MIB
        finally:
            made.close()


def test_replies_that_nobody_reads_are_held_up_to_a_limit(http, monkeypatch):
    monkeypatch.setattr(broker, "_MOST_UNREAD", 5 * MIB)
    with Hostile(recording([], reply(bytes(2 * MIB)))) as there:
        made = Lent({"http": http}, http.context.home)
        try:
            for number in (1, 2, 3):
                made.channel.send(call(there.url, number=number))
            ends = []
            while len(ends) < 3:
                frame = made.channel.receive()
                if frame.kind != Kind.CHUNK:
                    ends.append(frame)
            (failed,) = [one for one in ends if one.kind == Kind.FAILURE]
            error = unpacker(Fault)(failed.body).error()
        finally:
            made.close()

    assert isinstance(error, TooLarge)
    assert str(error) == (
        "found 6,291,456 bytes of replies that the plugin has not read, expected "
        "5,242,880 at most\n  fix:   send fewer at once, or take it with stream"
    )
    assert error.delivered is True
    assert made.broker._unread == 0


def test_parts_that_wait_to_be_sent_are_bounded_over_all_calls(http, monkeypatch):
    """Each call has its window; all of them together had a gigabyte."""
    monkeypatch.setattr(broker, "_MOST_QUEUED", 2_500_000)
    with Hostile(lambda line: line.wait()) as there:
        made = Lent({"http": http}, http.context.home)
        send, queued = made.channel.send, made.broker._queued
        try:
            for number in (1, 2, 3, 4):
                send(call(there.url, number=number, timeout=2.0))
                send(Frame(Kind.CHUNK, bytes(1_000_000), number, more=True))
                if number == 3:
                    failed = made.channel.receive()
                    send(Frame(Kind.CANCEL, b"", 1))
            send(call(method="health", number=9))
            assert made.channel.receive().id == 9
            assert queued._held == 2_000_000
            assert made.error is None
        finally:
            made.close()
        with made.broker._over:
            assert made.broker._over.wait_for(lambda: not made.broker._calls, 20)

    assert failed.id == 3
    error = unpacker(Fault)(failed.body).error()
    assert isinstance(error, TooLarge)
    assert str(error) == (
        "found more than 2,500,000 bytes that wait to be sent, of all calls together\n"
        "  fix:   send to fewer at once"
    )
    assert queued._held == 0


def test_a_frame_holds_no_more_peers_than_are_sent_together(raw):
    """A mebibyte of them took twenty when it was read."""
    send = raw.channel.send
    for number, count in ((1, 64), (2, 65)):
        send(call(method="send_many", number=number, limit=1))
        turns = [Turn(Peer("x:"))] * count
        send(Frame(Kind.CHUNK, packed(turns), number))
        while (found := raw.channel.receive()).id != number:
            continue  # an outcome more of the first
        assert found.kind == (Kind.OUTCOME if count == 64 else Kind.FAILURE)
        send(Frame(Kind.CANCEL, b"", number))
    assert b"a frame that cannot be read" in found.body


def test_what_is_to_be_signed_is_bounded_over_all_calls(http, monkeypatch):
    monkeypatch.setattr(broker, "_MOST_SPOOLED", 5 * MIB)
    peer = Peer("http://127.0.0.1:1/", dialect="btauth/1")
    begun, more = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            if not self.tell():
                return super().read(size)
            begun.set()
            more.wait(20)
            return b""

    def stream(file):
        with proxy.stream(peer, Message(), file):
            pass

    def first():
        with contextlib.suppress(Unsupported):
            stream(Slow(bytes(256 * 1024)))

    with lent(http) as proxy:
        room = proxy.lent.broker.spooled
        thread = threading.Thread(target=first)
        thread.start()
        assert begun.wait(20)
        with pytest.raises(TooLarge) as caught:
            stream(io.BytesIO(bytes(5 * MIB)))
        more.set()
        thread.join()
        assert room._held == 0
        with pytest.raises(Unsupported, match="no key"):
            stream(io.BytesIO(bytes(5 * MIB)))

    assert str(caught.value) == (
        "found more than 5,242,880 bytes to be signed, of all streams together\n"
        "  fix:   send it to a peer without a hotkey, or in several messages"
    )


def test_a_child_that_goes_away_frees_what_it_asked_for(http):
    ended = threading.Event()

    def endless(line):
        line.request()
        with contextlib.suppress(OSError):
            line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                line.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        ended.set()

    with Hostile(endless) as there:
        made = Lent({"http": http}, http.context.home)
        made.channel.send(call(there.url, method="stream"))
        assert made.channel.receive().kind == Kind.RETURN
        made.close()
        assert ended.wait(20)


def test_turns_that_are_none_fail_the_call(raw):
    raw.channel.send(call(method="send_many"))
    raw.channel.send(Frame(Kind.CHUNK, packed([["x"]]), 1))
    found = raw.channel.receive()

    assert found.kind == Kind.FAILURE
    assert b"a frame that cannot be read" in found.body


ASKS = st.builds(
    Ask,
    transport=st.sampled_from(["http", "", "x" * 100]),
    method=st.sampled_from(["send", "receive", "health", "stream", "send_many"]),
    peer=st.none() | st.builds(Peer, url=st.text(max_size=30)),
    message=st.none() | st.builds(Message, body=st.binary(max_size=50)),
    length=st.integers(-5, 10) | st.integers(-(2**63), 2**63 - 1),
    chunked=st.booleans(),
    again=st.booleans(),
    timeout=st.none() | st.floats(max_value=0.05) | st.just(float("nan")),
    deadline=st.none() | st.floats(max_value=0.05),
    limit=st.integers(-5, 2**40),
    repeatable=st.booleans(),
)
BODIES = st.one_of(
    ASKS.map(packed),
    st.lists(st.builds(Turn, st.builds(Peer, url=st.text(max_size=9))), max_size=3).map(
        packed
    ),
    st.binary(max_size=40),
)
FRAMES = st.builds(
    Frame,
    kind=st.sampled_from([Kind.CALL, Kind.CHUNK, Kind.CREDIT, Kind.CANCEL]),
    body=BODIES,
    id=st.integers(0, 4),
    more=st.booleans(),
)


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(frames=st.lists(FRAMES, max_size=8))
def test_a_broker_survives_whatever_a_child_sends(http, frames):
    made = Lent({"http": http}, http.context.home, ["127.0.0.1:1"])
    try:
        with contextlib.suppress(OSError):
            for frame in frames:
                made.channel.send(frame)
        if made.error is None:
            with contextlib.suppress(OSError):
                made.channel.send(Frame(Kind.CALL, packed(Ask("http", "health")), 77))
            while (frame := made.channel.receive()) is not None and frame.id != 77:
                pass
            assert frame is not None or isinstance(made.error, BadFrame)
    finally:
        made.close()


def test_the_server_of_these_tests_answers():
    """The trap is armed: without a proxy the same request arrives."""
    seen = []
    with Hostile(recording(seen)) as there:
        host, port = there.url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert sock.recv(100) == OK
    assert seen
