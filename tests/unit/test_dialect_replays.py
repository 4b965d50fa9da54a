"""The memory of accepted requests: it forgets nothing too soon, and is bounded."""

from __future__ import annotations

import threading
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug.dialects import Replays
from btplug.errors import ConfigError, NotAllowed, Unauthentic

SECOND = 1_000_000_000
NOW = 1_752_076_800_500_000_000


def test_a_nonce_is_taken_once_for_each_sender():
    seen = Replays()
    seen.add("a", NOW, NOW)
    seen.add("b", NOW, NOW)
    seen.add("a", NOW + 1, NOW)

    for hotkey, nonce in (("a", NOW), ("b", NOW), ("a", NOW + 1)):
        with pytest.raises(Unauthentic) as caught:
            seen.add(hotkey, nonce, NOW)
        assert caught.value.what == (
            f"the nonce {nonce} was accepted before, expected a new one"
        )
    assert len(seen) == 3


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.integers(-15 * SECOND, 2 * SECOND),  # the nonce, from now
            st.integers(-SECOND, 4 * SECOND),  # time goes on, mostly
        )
        | st.tuples(
            st.sampled_from("ab"), st.sampled_from([0, 1, -SECOND]), st.just(0)
        ),
        max_size=60,
    )
)
def test_nothing_is_ever_accepted_twice_and_what_is_fresh_is_accepted(steps):
    """Compared with a memory that forgets nothing."""
    seen, everything, now, newest = Replays(keep=12), set(), NOW, NOW
    for hotkey, offset, passed in steps:
        now += passed
        newest = max(newest, now)
        nonce = now + offset
        try:
            seen.add(hotkey, nonce, now)
        except Unauthentic:
            assert (hotkey, nonce) in everything or nonce < newest - 12 * SECOND
        else:
            assert (hotkey, nonce) not in everything
            everything.add((hotkey, nonce))


def test_what_is_too_old_is_forgotten_and_refused_by_its_age():
    seen = Replays(keep=12)
    seen.add("a", NOW, NOW)
    seen.add("a", NOW + 14 * SECOND, NOW + 14 * SECOND)

    assert len(seen) == 1
    with pytest.raises(Unauthentic, match=r"older than what is remembered.* 12 s"):
        seen.add("a", NOW, NOW)


def test_an_entry_is_kept_to_the_end_of_its_time():
    seen = Replays(keep=12)
    seen.add("a", NOW, NOW)
    seen.add("b", NOW + 12 * SECOND, NOW + 12 * SECOND)

    with pytest.raises(Unauthentic, match="was accepted before"):
        seen.add("a", NOW, NOW + 12 * SECOND)


def test_a_clock_that_goes_back_brings_nothing_back():
    seen = Replays(keep=12)
    seen.add("a", NOW, NOW)
    seen.add("a", NOW + 3600 * SECOND, NOW + 3600 * SECOND)

    with pytest.raises(Unauthentic, match="older than what is remembered"):
        seen.add("a", NOW, NOW)
    with pytest.raises(Unauthentic, match="older than what is remembered"):
        seen.add("a", NOW + 1, NOW + 1)


def test_a_full_memory_refuses_new_requests_until_old_ones_are_too_old():
    seen = Replays(keep=12, limit=2)
    seen.add("a", NOW, NOW)
    seen.add("b", NOW + SECOND, NOW + SECOND)

    with pytest.raises(NotAllowed) as caught:
        seen.add("c", NOW + 2, NOW + 2 * SECOND)
    assert caught.value.what == (
        "the memory of 2 accepted requests is full, expected fewer at a time"
    )
    with pytest.raises(Unauthentic, match="was accepted before"):
        seen.add("a", NOW, NOW + 2 * SECOND)
    seen.add("a", NOW + 9 * SECOND, NOW + 13 * SECOND)
    assert len(seen) == 2


def test_one_sender_has_a_quarter_of_the_memory_and_the_others_the_rest():
    seen = Replays(keep=12, limit=8)
    for n in range(2):
        seen.add("a", NOW + n, NOW)

    for _ in range(2):
        with pytest.raises(NotAllowed) as caught:
            seen.add("a", NOW + 2, NOW)
        assert caught.value.what == (
            "the memory holds 2 accepted requests of a, "
            "expected at most 2 of one sender in 12 s"
        )
    with pytest.raises(Unauthentic, match="was accepted before"):
        seen.add("a", NOW, NOW)
    for hotkey in "bcd":
        seen.add(hotkey, NOW, NOW)
        seen.add(hotkey, NOW + 1, NOW)
    assert len(seen) == 8


def test_a_sender_has_its_share_again_as_its_requests_become_too_old():
    seen = Replays(keep=12, limit=8)
    seen.add("a", NOW, NOW)
    seen.add("a", NOW + 5 * SECOND, NOW)

    seen.add("a", NOW + 6 * SECOND, NOW + 13 * SECOND)
    with pytest.raises(NotAllowed, match="holds 2 accepted requests of a"):
        seen.add("a", NOW + 7 * SECOND, NOW + 13 * SECOND)
    for n in range(2):
        seen.add("a", NOW + (40 + n) * SECOND, NOW + 40 * SECOND)
    assert len(seen) == 2


def test_a_sender_that_is_forgotten_leaves_nothing():
    seen = Replays(keep=2)
    tracemalloc.start()
    try:
        for n in range(20_000):
            seen.add(f"sender {n}", NOW + n * SECOND, NOW + n * SECOND)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_what_was_signed_before_the_server_started_is_refused():
    """Another process may have accepted it: nobody here knows."""
    seen = Replays(keep=12)
    seen.begin(NOW)

    with pytest.raises(Unauthentic) as caught:
        seen.add("a", NOW - 1, NOW + SECOND)
    assert caught.value.what == (
        f"the nonce {NOW - 1} is from before this server started, expected a later "
        "one: what was accepted before that is not known"
    )
    assert "sign again and send again" in (caught.value.fix or "")
    assert len(seen) == 0
    seen.add("a", NOW, NOW + SECOND)


def test_a_server_that_starts_later_with_the_same_memory_refuses_no_more():
    seen = Replays(keep=12)
    seen.begin(NOW)
    seen.begin(NOW + 5 * SECOND)

    seen.add("a", NOW + SECOND, NOW + 5 * SECOND)
    with pytest.raises(Unauthentic, match="was accepted before"):
        seen.add("a", NOW + SECOND, NOW + 5 * SECOND)


class Yielding(str):
    """A hotkey at which a thread gives way whenever it is looked up."""

    __slots__ = ()

    def __hash__(self):
        time.sleep(0.001)
        return super().__hash__()


def test_threads_accept_a_nonce_once():
    seen, taken, together = Replays(), [], threading.Barrier(4)

    def work():
        together.wait(5)
        for n in range(10):
            try:
                seen.add(Yielding("a"), NOW + n, NOW)
            except Unauthentic:
                continue
            taken.append(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == list(range(10))


def test_a_long_run_takes_no_more_memory_than_what_is_live():
    seen = Replays(keep=2)
    tracemalloc.start()
    try:
        for n in range(50_000):
            seen.add("a", NOW + n * 10_000_000, NOW + n * 10_000_000)
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
    assert len(seen) <= 400


@pytest.mark.parametrize(
    "options",
    [{"keep": 0}, {"keep": -1}, {"keep": float("nan")}, {"keep": 1e9}, {"limit": 0}],
)
def test_a_memory_of_no_size_is_refused(options):
    with pytest.raises(ConfigError, match="expected at most a day in seconds"):
        Replays(**options)
