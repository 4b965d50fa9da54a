"""A fan-out whose readers, transport or peers do what they should not."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from btplug import Context, Message, Peer, Reply, TransportPlugin
from btplug.errors import Cut

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
