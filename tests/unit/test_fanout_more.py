"""A fan-out whose readers, transport or peers do what they should not."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from btplug import Context, Message, Peer, Reply, TransportPlugin, UsageError
from btplug.errors import Cut, Late

MESSAGE = Message(body=b"hello")


class Asked(TransportPlugin):
    """Answers with *answer*, a coroutine function, and notes who was asked."""

    schemes = ("x",)

    def __init__(self, answer):
        self.context = Context()
        self.sent = []
        self._answer = answer

    def initialize(self, config):
        pass

    def shutdown(self):
        pass

    async def asend(self, peer, message, *, timeout=None):
        self.sent.append(peer.url.removeprefix("x://"))
        return await self._answer(self.sent[-1])


@pytest.fixture
def ask():
    made = []

    def make(answer):
        made.append(Asked(answer))
        return made[-1]

    yield make
    for one in made:
        one.context.close()


async def slept(word):
    await asyncio.sleep(float(word))
    return Reply(status=200)


def peers(*words):
    return [Peer(f"x://{word}") for word in words]


def ended(work, *given):
    """Run *work* in a thread, which must not take for ever."""
    thread = threading.Thread(target=work, args=given, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


# -- leaving


@pytest.mark.parametrize("repeatable", [False, True])
@pytest.mark.parametrize("kind", ["reply", "error"])
@pytest.mark.parametrize("limit", [1, 4])
def test_a_transport_that_answers_its_cancel_is_asked_no_more(
    ask, limit, kind, repeatable
):
    async def answer(word):
        if word == "0":
            return Reply(status=200)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if kind == "error":
                raise Cut("it ended") from None
        return Reply(status=200)

    transport = ask(answer)
    given = peers(*range(40))
    outcomes = transport.send_many(given, MESSAGE, limit=limit, repeatable=repeatable)
    assert next(outcomes).index == 0
    while len(transport.sent) <= limit:
        time.sleep(0.001)

    ended(outcomes.close)

    assert transport.sent == [str(n) for n in range(limit + 1)]
    assert list(outcomes) == []


# -- readers


@pytest.mark.parametrize("count", [2, 5])
def test_tasks_that_read_together_share_the_outcomes_and_all_end(ask, count):
    async def read(outcomes, found):
        async for outcome in outcomes:
            found.append(outcome.index)

    async def main():
        found = []
        outcomes = ask(slept).asend_many(peers(0.03, 0, 0, 0.06, 0.09, 0.02), MESSAGE)
        async with asyncio.timeout(10):
            await asyncio.gather(*(read(outcomes, found) for _ in range(count)))
        return found

    assert sorted(asyncio.run(main())) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("count", [2, 5])
def test_threads_that_read_together_share_the_outcomes_and_all_end(ask, count):
    def read():
        for outcome in outcomes:
            found.append(outcome.index)

    found = []
    given = peers(0.03, 0, 0, 0.06, 0.09, 0.02)
    outcomes = ask(slept).send_many(given, MESSAGE)
    threads = [threading.Thread(target=read, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)
    assert sorted(found) == [0, 1, 2, 3, 4, 5]


def test_an_interrupted_read_loses_nothing_and_the_next_goes_on(ask):
    async def main():
        given = peers(*(0.01 * n for n in range(1, 11)))
        outcomes = ask(slept).asend_many(given, MESSAGE)
        found, interrupted = [], 0
        while True:
            try:
                found.append((await asyncio.wait_for(anext(outcomes), 0.003)).index)
            except TimeoutError:
                interrupted += 1
            except StopAsyncIteration:
                return found, interrupted

    found, interrupted = asyncio.run(main())

    assert sorted(found) == list(range(10))
    assert interrupted > 0


def test_what_came_as_the_reader_was_cancelled_is_there_for_the_next_read(ask):
    """His loop is busy: the batch is out before he is cancelled."""

    async def main():
        outcomes = ask(slept).asend_many(peers(0.02, 0.3), MESSAGE)
        reading = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0.001)
        time.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        return [outcome.index async for outcome in outcomes]

    assert asyncio.run(main()) == [0, 1]


INTERRUPTED = """
import asyncio, signal
from btplug import Message, Peer
from btplug.testing import MemoryTransportPlugin, echo, running, serving

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
found, interrupted = [], 0
with running(MemoryTransportPlugin) as transport, serving(transport, echo) as url:
    peers = [Peer(f"{url}?delay={0.05 * n}") for n in range(1, 6)]
    outcomes = transport.send_many(peers, Message())
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            outcome = next(outcomes, None)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
            continue
        if outcome is None:
            break
        found.append(outcome.index)
print(sorted(found), interrupted > 0)
"""


def test_ctrl_c_in_a_read_loses_nothing_of_what_is_read_afterwards():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60
    )

    assert done.stdout == "[0, 1, 2, 3, 4] True\n", done.stderr


def test_a_loop_that_was_cancelled_is_let_go_while_its_error_is_at_hand(ask):
    """Its traceback holds every frame it came through."""

    async def answer(word):
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async def read():
        async for _ in transport.asend_many(peers("a"), MESSAGE):
            pass

    async def main():
        reading = asyncio.ensure_future(read())
        while not transport.sent:
            await asyncio.sleep(0.001)
        reading.cancel()
        try:
            await reading
        except asyncio.CancelledError:
            assert gone.wait(5)

    gone, transport = threading.Event(), ask(answer)
    asyncio.run(main())
    assert gone.is_set()


DROPPED = """
import asyncio, signal, threading
from btplug import Message, Peer
from btplug.testing import MemoryTransportPlugin, running, serving

def interrupt(*_):
    raise KeyboardInterrupt

async def hang(request):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        await asyncio.Event().wait()
    finally:
        gone.set()

signal.signal(signal.SIGALRM, interrupt)
gone = threading.Event()
with running(MemoryTransportPlugin) as transport, serving(transport, hang) as url:
    try:
        for _ in transport.send_many([Peer(url)], Message()):
            pass
    except KeyboardInterrupt:
        print(gone.wait(5))
"""


def test_a_loop_that_ctrl_c_ended_is_let_go_while_its_error_is_at_hand():
    done = subprocess.run(
        [sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=60
    )

    assert done.stdout == "True\n", done.stderr


# -- peers


def test_a_source_of_peers_that_stalls_does_not_outlast_the_time_for_all(ask):
    cleaned = asyncio.Event()

    async def source():
        yield Peer("x://0")
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(4):
                await asyncio.sleep(0.06)  # longer than from one look to the next
            cleaned.set()

    async def main():
        outcomes = ask(slept).asend_many(source(), MESSAGE, limit=3, deadline=0.2)
        began = asyncio.get_running_loop().time()
        found = [await anext(outcomes)]
        with pytest.raises(Late) as caught:
            await asyncio.wait_for(anext(outcomes), 10)
        took = asyncio.get_running_loop().time() - began
        await asyncio.wait_for(cleaned.wait(), 10)  # in this loop, its own
        return found, caught.value, took, [one async for one in outcomes]

    (first,), error, took, rest = asyncio.run(main())

    assert (first.index, rest) == (0, [])
    assert error.what == (
        "the iterable of peers gave no more of them within 0.2 s for all"
    )
    assert error.fix == "raise the deadline, or collect the peers before"
    assert 0.2 <= took < 5


def test_a_source_that_does_not_stall_gives_all_its_peers_after_the_time(ask):
    async def source():
        for n in range(100):
            await asyncio.sleep(0)
            yield Peer("x://60" if n == 10 else "x://0")

    async def main():
        outcomes = ask(slept).asend_many(source(), MESSAGE, limit=1, deadline=0.2)
        return [outcome async for outcome in outcomes]

    found = asyncio.run(main())

    assert len(found) == 100
    assert {one.failure.kind for one in found[10:]} == {"late"}


async def source_of_one():
    yield Peer("x://0")


def test_an_async_source_outside_of_a_loop_is_told_what_it_needs(ask):
    transport = ask(slept)
    with pytest.raises(UsageError) as sync:
        transport.send_many(source_of_one(), MESSAGE)
    outcomes = transport.asend_many(source_of_one(), MESSAGE)

    async def read():
        return [outcome async for outcome in outcomes]

    with pytest.raises(UsageError) as asynchronous:
        asyncio.run(read())

    assert sync.value.what == (
        "found an async iterable of peers in send_many, expected a sync one"
    )
    assert asynchronous.value.what == (
        "found an async iterable of peers that was given outside of a loop, "
        "expected it in the loop that it belongs to"
    )
    assert asynchronous.value.fix == "call asend_many in a coroutine"
    assert transport.sent == []


@pytest.mark.parametrize("started", [True, False])
def test_a_generator_of_peers_ends_with_its_fanout_and_not_with_the_collector(
    ask, started
):
    def endless():
        try:
            while True:
                yield Peer("x://0")
        finally:
            ended.append(True)

    ended = []
    given = endless()
    next(given)
    outcomes = ask(slept).send_many(given, MESSAGE)
    del given
    gc.disable()
    try:
        if started:
            next(outcomes)
        outcomes.close()
        assert ended == [True]
    finally:
        gc.enable()


def test_a_generator_that_somebody_else_has_goes_on_after_the_fanout(ask):
    given = iter(Peer("x://0") for _ in range(100))
    with ask(slept).send_many(given, MESSAGE, limit=2) as outcomes:
        next(outcomes)

    assert isinstance(next(given), Peer)


# -- turns that are late


def test_a_turn_that_is_late_may_clean_up(ask):
    steps = []

    async def answer(word):
        try:
            await asyncio.Event().wait()
        finally:
            for step in range(4):
                await asyncio.sleep(0.06)  # longer than from one look to the next
                steps.append(step)

    (late,) = ask(answer).send_many(peers("a"), MESSAGE, timeout=0.1)

    assert late.failure.kind == "late"
    assert steps == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_turn_that_takes_its_cancel_for_something_else_is_told_again(ask):
    async def answer(word):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    (late,) = ask(answer).send_many(peers("a"), MESSAGE, timeout=0.1)

    assert late.failure.kind == "late"


@pytest.mark.parametrize("again", ["cancel", "late", "0"])
def test_a_turn_that_swallowed_its_cancel_leaves_the_next_as_any_other(ask, again):
    async def answer(word):
        if word == "cancel":
            raise asyncio.CancelledError
        if word == "late":
            await asyncio.Event().wait()
        if word == "swallow":
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        if word == "taken back":
            async with asyncio.timeout(60):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    asyncio.current_task().uncancel()
        return Reply(status=200)

    given = peers("swallow", again, "taken back", again, "0")
    found = list(ask(answer).send_many(given, MESSAGE, limit=1, timeout=0.1))

    what = {
        "cancel": "RuntimeError: it was cancelled, by itself",
        "late": "waited 0.1 s for the reply",
        "0": None,
    }[again]
    said = [one.failure and one.failure.what for one in found]
    assert said == [None, what, None, what, None]


# -- what one turn could take from the others


BUSY = Reply(status=503, headers=(("Retry-After", "1"),))
ODD = {
    "exit": (SystemExit(3), "SystemExit: 3"),
    "body": (
        Reply(status=200, body=None),
        "TypeError: found a NoneType as body, expected bytes",
    ),
    "headers": (
        Reply(status=503, headers=None),
        "TypeError: found a NoneType as headers, expected pairs",
    ),
    "pairs": (
        Reply(status=503, headers=((1, 2),)),
        "AttributeError: 'int' object has no attribute 'lower'",
    ),
}


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("odd", sorted(ODD))
def test_what_a_turn_raises_or_returns_is_its_own_failure(ask, odd, limit):
    async def answer(word):
        if word != "odd":
            return Reply(status=200)
        if isinstance(given, BaseException):
            raise given
        return given

    given, what = ODD[odd]

    outcomes = ask(answer).send_many(
        peers("0", "odd", "1"), MESSAGE, limit=limit, repeatable=True
    )
    found = {one.index: one for one in outcomes}

    assert [found[0].reply.status, found[2].reply.status] == [200, 200]
    assert (found[1].reply, found[1].failure.what) == (None, what)
    assert (found[1].failure.kind, found[1].attempts) == ("failed", 1)


@pytest.mark.parametrize("limit", [1, 3])
def test_what_is_no_error_comes_after_the_outcomes_of_the_others(ask, limit):
    class Odd(BaseException):
        pass

    async def answer(word):
        if word == "odd":
            raise Odd
        return Reply(status=200)

    given = peers("0", "odd", "1", "2")
    outcomes = ask(answer).send_many(given, MESSAGE, limit=limit)

    assert sorted(next(outcomes).index for _ in range(3)) == [0, 2, 3]
    with pytest.raises(Odd):
        next(outcomes)
    assert list(outcomes) == []


def test_what_a_peer_may_have_us_wait_is_for_all_waits_of_its_turn(ask, monkeypatch):
    monkeypatch.setattr("btplug._fanout._PATIENCE", 1.5)

    async def answer(word):
        return BUSY

    (outcome,) = ask(answer).send_many(peers("a"), MESSAGE, repeatable=True)

    assert (outcome.reply.status, outcome.attempts) == (503, 2)


# -- messages


@pytest.mark.parametrize(
    ("make", "what", "fix"),
    [
        (
            lambda peer: {}[peer.url],
            "KeyError: 'x://a'",
            "the function that makes the messages raised it: mend that",
        ),
        (
            lambda peer: None,
            "found a NoneType as message, expected a Message",
            "return one from the function that makes the messages",
        ),
        (
            lambda peer: "hello",
            "found a str as message, expected a Message",
            "return one from the function that makes the messages",
        ),
    ],
)
def test_a_message_that_cannot_be_made_is_not_blamed_on_the_transport(
    ask, make, what, fix
):
    transport = ask(slept)
    (outcome,) = transport.send_many(peers("a"), make)

    failure = outcome.failure
    assert (failure.kind, failure.what, failure.fix) == ("failed", what, fix)
    assert failure.delivered is False
    assert transport.sent == []


def test_what_is_no_message_is_refused_before_anybody_is_asked(ask):
    with pytest.raises(UsageError) as caught:
        ask(slept).send_many(peers("a"), "hello")

    assert caught.value.what == "found a str as message, expected a Message"
    assert caught.value.fix == (
        "make one with Message.of(data), or give a function of the peer"
    )


def test_a_loop_that_is_closed_under_a_fanout_asks_nobody_more(ask):
    async def answer(word):
        if word == "0":
            return Reply(status=200)
        await asyncio.Event().wait()

    transport = ask(answer)
    outcomes = transport.send_many(peers(*range(9)), MESSAGE, limit=1)
    assert next(outcomes).index == 0
    while len(transport.sent) < 2:
        time.sleep(0.001)

    transport.context.home.close()

    assert transport.sent == ["0", "1"]
