"""One message to many peers: turns, limits, outcomes as they complete."""

import asyncio
import gc
import threading
import time
from contextlib import ExitStack

import pytest

from btplug import Context, Message, Peer, Reply, TransportPlugin, UsageError
from btplug.errors import Cut, Refused

MESSAGE = Message(body=b"hello")
LARGE = bytes(100 * 1024 * 1024)  # untouched, it takes no memory


class Wire(TransportPlugin):
    """Does for each peer what the host of its URL says, and notes what happens.

    ``sleep-0.1`` answers after that long, ``hang`` never, ``refuse`` and ``cut`` fail,
    ``odd`` raises what is no error of ours; all else answers at once.
    """

    schemes = ("wire",)

    def initialize(self, config):
        pass

    def shutdown(self):
        pass

    def __init__(self):
        self.open = self.most = 0
        self.sent = []
        self.timeouts = []
        self.cancelled = 0
        self.context = Context()

    async def asend(self, peer, message, *, timeout=None):
        word, _, rest = peer.url.removeprefix("wire://").partition("-")
        self.sent.append((peer.url, message.body))
        self.timeouts.append(timeout)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            if word == "sleep":
                await asyncio.sleep(float(rest))
            elif word == "hang":
                await asyncio.Event().wait()
            elif word == "refuse":
                raise Refused("nobody there", delivered=False)
            elif word == "cut":
                raise Cut("it ended")
            elif word == "odd":
                raise KeyError("x")
            elif word == "cancel":
                raise asyncio.CancelledError
            elif word == "nothing":
                return None
            elif word == "large":
                return Reply(status=200, body=LARGE)
            elif word == "busy" and self.sent.count((peer.url, message.body)) == 1:
                return Reply(status=503, headers=(("Retry-After", rest),))
            return Reply(status=200, body=message.body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open -= 1


@pytest.fixture
def wire():
    made = Wire()
    yield made
    made.context.close()


def peers(*words):
    return [Peer(f"wire://{word}") for word in words]


def fill(found, outcomes):
    """Put each outcome into *found* as it comes: an error may follow."""
    for outcome in outcomes:
        found.append(outcome)


def many(count, word="ok"):
    return peers(*(f"{word}{n}" for n in range(count)))


def test_every_peer_has_one_outcome_with_its_position(wire):
    given = [*many(50), *peers("refuse"), *many(2)]

    found = list(wire.send_many(given, MESSAGE))

    assert sorted(outcome.index for outcome in found) == list(range(53))
    assert all(given[outcome.index] is outcome.peer for outcome in found)
    assert {o.reply.body for o in found if o.reply} == {b"hello"}
    assert [o.failure.what for o in found if o.failure] == ["nobody there"]


def test_a_failure_loses_nothing_of_the_others(wire):
    found = list(wire.send_many(peers("odd", "cut", "ok", "refuse"), MESSAGE))

    by_index = {outcome.index: outcome for outcome in found}
    assert by_index[0].failure.what == "KeyError: 'x'"
    assert by_index[0].failure.kind == "failed"
    assert by_index[1].failure.kind == "cut"
    assert by_index[2].reply.ok
    assert by_index[3].failure.delivered is False


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("cancel", "RuntimeError: it was cancelled, by itself"),
        ("nothing", "TypeError: found a NoneType as reply, expected a Reply"),
    ],
)
def test_a_turn_that_ends_as_none_should_is_a_failure_too(wire, word, what):
    found = list(wire.send_many(peers("ok", word, "sleep-0.05"), MESSAGE))

    by_index = {outcome.index: outcome for outcome in found}
    assert by_index[0].reply.ok
    assert (by_index[1].reply, by_index[1].failure.what) == (None, what)
    assert by_index[1].failure.kind == "failed"
    assert by_index[2].reply.ok


def test_outcomes_come_as_they_complete_not_in_order(wire):
    with wire.send_many(peers("hang", "sleep-0.05", "ok"), MESSAGE) as outcomes:
        assert [next(outcomes).index, next(outcomes).index] == [2, 1]


def test_no_more_peers_have_their_turn_at_once_than_the_limit(wire):
    found = list(wire.send_many(many(40, "sleep-0.01"[:-2] + "0"), MESSAGE, limit=7))

    assert len(found) == 40
    assert wire.most <= 7


def test_the_time_of_a_peer_starts_with_its_turn(wire):
    """Five turns of 0.2 s one after the other, each with 0.4 s, last 1 s in all."""
    found = list(
        wire.send_many(peers(*["sleep-0.2"] * 5), MESSAGE, limit=1, timeout=0.4)
    )

    assert all(outcome.reply for outcome in found)
    assert all(0.2 <= outcome.seconds < 0.4 for outcome in found)
    assert wire.timeouts == [0.4] * 5


def test_a_transport_that_forgets_its_limit_is_stopped_and_the_others_go_on(wire):
    began = time.monotonic()

    found = list(wire.send_many(peers("hang", "ok", "hang"), MESSAGE, timeout=0.2))

    assert time.monotonic() - began < 5
    late = [outcome for outcome in found if outcome.failure]
    assert [outcome.failure.what for outcome in late] == [
        "waited 0.2 s for the reply"
    ] * 2
    assert late[0].failure.kind == "late"
    assert late[0].failure.delivered is None
    assert wire.cancelled == 2


def test_who_has_no_turn_within_the_time_for_all_was_surely_not_sent_to(wire):
    given = peers(*["sleep-0.2"] * 4)

    found = list(wire.send_many(given, MESSAGE, limit=1, deadline=0.3))

    good = [o for o in found if o.reply]
    unsent = [o for o in found if o.failure and o.failure.delivered is False]
    assert len(found) == 4
    assert len(good) >= 1
    assert len(unsent) >= 2
    assert unsent[0].failure.what == "its turn did not come within 0.3 s for all"
    assert len(wire.sent) == 4 - len(unsent)


def test_the_time_for_all_stops_who_is_under_way(wire):
    found = list(wire.send_many(peers("hang"), MESSAGE, deadline=0.1))

    assert [outcome.failure.kind for outcome in found] == ["late"]
    assert found[0].failure.delivered is None


def test_a_message_may_be_made_for_each_peer(wire):
    def message(peer):
        return Message(body=peer.url.encode())

    found = list(wire.send_many(many(3), message))

    assert all(o.reply.body == o.peer.url.encode() for o in found)


def test_a_message_that_cannot_be_made_is_the_failure_of_that_peer(wire):
    def message(peer):
        return Message(body={"wire://ok1": b""}[peer.url])

    found = list(wire.send_many(many(2), message))

    assert [o.failure and o.failure.what for o in sorted(found, key=lambda o: o.index)] == [
        "KeyError: 'wire://ok0'", None,
    ]  # fmt: skip


def test_peers_are_taken_as_turns_come_free(wire):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield Peer("wire://ok")

    with wire.send_many(endless(), MESSAGE, limit=4) as outcomes:
        for _ in range(100):
            assert next(outcomes).reply

    assert len(taken) < 200


def test_what_the_iterable_of_peers_raises_comes_after_what_completed(wire):
    def broken():
        yield from peers("ok", "ok")
        raise ValueError("no more")

    outcomes = wire.send_many(broken(), MESSAGE, limit=1)

    assert next(outcomes).reply
    assert next(outcomes).reply
    with pytest.raises(ValueError, match="no more"):
        next(outcomes)


@pytest.mark.parametrize("limit", [1, 2, 512])
def test_who_has_a_turn_keeps_it_where_the_iterable_of_peers_raises(wire, limit):
    """Those who were sent the message are heard, and nobody is asked afterwards."""

    def read(word):
        if word == "wrong":
            raise ValueError(word)
        return Peer(f"wire://{word}")

    # It could go on after its error, as a generator could not.
    given = map(read, ["sleep-0.05", "sleep-0.06", "wrong", "ok"])
    found = []
    with pytest.raises(ValueError, match="wrong"):
        fill(found, wire.send_many(given, MESSAGE, limit=limit))

    assert [(one.index, one.reply.ok) for one in found] == [(0, True), (1, True)]
    assert [url for url, _ in wire.sent] == ["wire://sleep-0.05", "wire://sleep-0.06"]


@pytest.mark.parametrize("odd", [None, "wire://ok", 3])
def test_what_is_no_peer_is_an_error_and_not_the_end(wire, odd):
    found = []
    with pytest.raises(UsageError) as caught:
        fill(found, wire.send_many([*peers("ok"), odd, *peers("ok")], MESSAGE))

    assert [outcome.reply.ok for outcome in found] == [True]
    assert caught.value.what == (
        f"found a {type(odd).__name__} after 1 peers, expected a Peer"
    )
    assert caught.value.fix == "make one of a text with Peer.parse(text)"


@pytest.mark.parametrize("ask", ["sync", "async"])
def test_peers_that_are_cancelled_by_themselves_are_no_silent_end(wire, ask):
    def broken():
        yield from peers("ok")
        raise asyncio.CancelledError

    async def later():
        for peer in broken():
            yield peer

    async def read():
        async for outcome in wire.asend_many(later(), MESSAGE):
            found.append(outcome)

    def run():
        if ask == "async":
            asyncio.run(read())
        fill(found, wire.send_many(broken(), MESSAGE))

    found = []
    with pytest.raises(RuntimeError, match="was cancelled, by itself"):
        run()
    assert [outcome.reply.ok for outcome in found] == [True]


def test_an_async_iterable_is_refused_where_its_loop_would_wait(wire):
    async def given():
        yield Peer("wire://ok")

    async def main():
        with pytest.raises(UsageError) as caught:
            wire.send_many(given(), MESSAGE)
        return caught.value

    error = asyncio.run(main())
    assert error.what == (
        "found an async iterable of peers in send_many, expected a sync one"
    )
    assert error.fix == "read the outcomes of asend_many in a coroutine"


def test_a_time_for_all_ends_who_has_no_limit_of_his_own_in_time(wire):
    wire.send_many(peers("ok"), MESSAGE).close()  # the loop is there
    began = time.monotonic()
    (late,) = wire.send_many(peers("hang"), MESSAGE, deadline=0.3)
    took = time.monotonic() - began

    assert late.failure.kind == "late"
    assert wire.timeouts == [None]
    assert 0.3 <= took < 0.5


@pytest.mark.parametrize("word", ["refuse", "cut"])
def test_only_what_may_be_sent_twice_is_tried_again(wire, word):
    (once,) = wire.send_many(peers(word), MESSAGE)
    (often,) = wire.send_many(peers(word), MESSAGE, repeatable=True)

    assert (once.attempts, often.attempts) == (1, 3)
    assert often.failure.kind == once.failure.kind
    assert len(wire.sent) == 4


def test_a_busy_peer_is_asked_again_after_the_time_it_names(wire):
    (once,) = wire.send_many(peers("busy-0"), MESSAGE)
    wire.sent.clear()
    (again,) = wire.send_many(peers("busy-0"), MESSAGE, repeatable=True)
    wire.sent.clear()
    (too_long,) = wire.send_many(peers("busy-9"), MESSAGE, repeatable=True, timeout=0.5)

    assert once.reply.status == 503
    assert (again.reply.status, again.attempts) == (200, 2)
    assert (too_long.reply.status, too_long.attempts) == (503, 1)


def test_a_peer_may_name_a_date(wire):
    past, far = "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"
    (again,) = wire.send_many(peers(f"busy-{past}"), MESSAGE, repeatable=True)
    (not_now,) = wire.send_many(peers(f"busy-{far}"), MESSAGE, repeatable=True)

    assert (again.reply.status, again.attempts) == (200, 2)
    assert (not_now.reply.status, not_now.attempts) == (503, 1)


@pytest.mark.parametrize("rest", ["9999999", "13", "99999999999"])
def test_without_any_limit_no_peer_can_have_us_wait_for_days(wire, rest):
    (outcome,) = wire.send_many(peers(f"busy-{rest}"), MESSAGE, repeatable=True)

    assert (outcome.reply.status, outcome.attempts) == (503, 1)


def test_the_time_for_all_bounds_what_a_peer_names(wire):
    given = peers("busy-60", "ok")
    found = list(wire.send_many(given, MESSAGE, repeatable=True, deadline=30))

    assert sorted(outcome.reply.status for outcome in found) == [200, 503]
    assert [outcome.attempts for outcome in found] == [1, 1]


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"timeout": 0}, "found timeout=0, expected seconds above 0"),
        ({"timeout": float("nan")}, "found timeout=nan, expected seconds above 0"),
        ({"deadline": -1}, "found deadline=-1, expected seconds above 0"),
        ({"limit": 0}, "found limit=0, expected 1 or more"),
    ],
)
def test_a_limit_that_is_none_is_refused_before_anything_is_sent(wire, limits, what):
    with pytest.raises(UsageError) as caught:
        wire.send_many(many(1), MESSAGE, **limits)

    assert caught.value.what == what
    assert wire.sent == []


# -- ends


def test_leaving_the_with_cancels_what_is_open(wire):
    with wire.send_many([*many(3), *peers(*["hang"] * 20)], MESSAGE) as outcomes:
        next(outcomes)

    begun = sum("hang" in url for url, _ in wire.sent)
    assert (wire.open, wire.cancelled) == (0, begun)
    assert list(outcomes) == []


def test_a_loop_that_was_left_early_leaves_nothing_open(wire):
    for _ in wire.send_many([*many(1), *peers(*["hang"] * 20)], MESSAGE):
        break
    gc.collect()

    until = time.monotonic() + 5
    while wire.open and time.monotonic() < until:
        time.sleep(0.01)
    assert wire.open == 0


def test_outcomes_that_are_never_read_send_nothing(wire):
    outcomes = wire.send_many(many(3), MESSAGE)
    outcomes.close()

    assert list(outcomes) == []
    assert wire.sent == []


def test_a_slow_reader_stops_the_sending_instead_of_filling_memory(wire):
    with wire.send_many(many(1000), MESSAGE, limit=10) as outcomes:
        next(outcomes)
        time.sleep(0.2)
        assert len(wire.sent) <= 60
        assert sum(1 for _ in outcomes) == 999


def test_large_replies_that_nobody_reads_stop_the_sending(wire):
    with wire.send_many([Peer("wire://large")] * 100, MESSAGE, limit=50) as outcomes:
        next(outcomes)
        time.sleep(0.2)
        # Three are more than may wait, be they handed over or not.
        assert len(wire.sent) == 3
        assert sum(1 for _ in outcomes) == 99


def test_fanouts_that_nobody_reads_share_what_may_wait(wire):
    with ExitStack() as open_ones:
        every = []
        for _ in range(8):
            one = wire.send_many([Peer("wire://large")] * 20, MESSAGE, limit=10)
            every.append(open_ones.enter_context(one))
            next(one)
        time.sleep(0.2)
        assert len(wire.sent) <= 3 + 2 + 6
        # None waits for another's reader.
        assert [sum(1 for _ in one) for one in reversed(every)] == [19] * 8


def test_two_fanouts_share_one_transport(wire):
    counts = []

    def work():
        counts.append(sum(1 for o in wire.send_many(many(200), MESSAGE) if o.reply))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [200] * 4


# -- from other loops


async def collected(outcomes):
    return [outcome async for outcome in outcomes]


def test_the_async_form_works_from_any_loop_and_from_two(wire):
    async def work():
        return await collected(wire.asend_many(many(30), MESSAGE))

    assert len(asyncio.run(work())) == 30
    assert len(asyncio.run(work())) == 30
    assert len(wire.context.home.run(work())) == 30


def test_the_sync_form_works_inside_a_running_loop(wire):
    async def work():
        return list(wire.send_many(many(30), MESSAGE))

    assert len(asyncio.run(work())) == 30


def test_peers_may_come_from_an_async_iterable_of_the_callers_loop(wire):
    loops = set()

    async def source():
        for peer in many(30):
            loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0)
            yield peer

    async def work():
        found = await collected(wire.asend_many(source(), MESSAGE))
        return found, asyncio.get_running_loop()

    found, loop = asyncio.run(work())

    assert sorted(outcome.index for outcome in found) == list(range(30))
    assert loops == {loop}


def test_a_cancelled_caller_leaves_nothing_open(wire):
    async def work():
        async with wire.asend_many(peers(*["hang"] * 20), MESSAGE) as outcomes:
            async with asyncio.timeout(0.1):
                await anext(outcomes)

    with pytest.raises(TimeoutError):
        asyncio.run(work())

    assert (wire.open, wire.cancelled) == (0, 20)


def test_a_plugin_reaches_the_fanout_through_its_context(wire):
    wire.context.transports.lend("wire", wire)
    lent = wire.context.transport_for("wire://x")

    assert len(list(lent.send_many(many(3), MESSAGE))) == 3
    assert len(asyncio.run(collected(lent.asend_many(many(3), MESSAGE)))) == 3


def test_a_transport_with_a_sync_send_has_a_fanout_too():
    class Sync(TransportPlugin):
        schemes = ("sync",)
        context = Context()

        def initialize(self, config):
            pass

        def shutdown(self):
            pass

        def send(self, peer, message, *, timeout=None):
            return Reply(status=200, body=message.body)

    plugin = Sync()
    try:
        found = list(plugin.send_many([Peer("sync://a"), Peer("sync://b")], MESSAGE))
    finally:
        plugin.context.close()

    assert [outcome.reply.body for outcome in found] == [b"hello"] * 2


def test_a_transport_without_async_has_as_many_turns_at_once_as_it_is_given():
    """asyncio's own pool would let few of them begin before their time is over."""

    class Slow(TransportPlugin):
        schemes = ("slow",)
        context = Context()

        def initialize(self, config):
            pass

        def shutdown(self):
            pass

        def send(self, peer, message, *, timeout=None):
            barrier.wait(20)
            return Reply(status=200)

    barrier = threading.Barrier(40)
    plugin = Slow()
    try:
        found = list(plugin.send_many([Peer("slow://x")] * 40, MESSAGE))
    finally:
        plugin.context.close()

    assert all(outcome.reply for outcome in found)
