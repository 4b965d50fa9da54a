"""Many replies at once may not fill the memory, whoever sends them."""

from __future__ import annotations

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, open_http

from btplug import Message, Peer

open_form = hostile_server.open_form


def begun(size):
    """Return a script that announces a million bytes, sends *size* and no more."""

    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * size)
        line.wait()

    return script


def test_who_sends_most_is_given_up_and_all_others_are_answered():
    with (
        open_http(max_held=1_000_000, timeout=2) as transport,
        Hostile(begun(600_000)) as hog,
        Hostile(answering(OK)) as sound,
    ):
        peers = [Peer(hog.url)] * 4 + [Peer(sound.url)] * 20
        outcomes = list(transport.send_many(peers, Message(body=b"x")))

    failures = [one.failure for one in outcomes if one.failure]
    # Three had to go; the last may stay until it is late.
    failures.sort(key=lambda failure: failure.kind)
    assert [one.kind for one in failures] == ["late", *["too-large"] * 3]
    assert sum(one.reply is not None for one in outcomes) == 20
    failure = failures[-1]
    assert "bytes of replies on their way at once, 600,000 of them from" in failure.what
    assert failure.what.endswith("expected at most 1,000,000 bytes")
    assert failure.where == hog.url
    assert "btplug config set http.max_held N" in failure.fix


def test_one_large_reply_among_small_ones_goes_and_the_small_ones_stay():
    with (
        open_http(max_held=1_000_000, timeout=2) as transport,
        Hostile(begun(900_000)) as hog,
        Hostile(begun(60_000)) as small,
    ):
        peers = [Peer(small.url)] * 3 + [Peer(hog.url)]
        outcomes = list(transport.send_many(peers, Message(body=b"x")))

    kinds = {one.peer.url: one.failure.kind for one in outcomes}
    assert kinds == {hog.url: "too-large", small.url: "late"}


def test_what_is_streamed_is_not_held():
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(10):
            line.send(b"x" * 100_000)
            line.wait(0.01)

    with open_http(max_held=1000) as transport, Hostile(script) as server:
        with transport.stream(Peer(server.url), Message(body=b"x")) as stream:
            assert sum(map(len, stream)) == 1_000_000


def test_a_limit_below_zero_is_refused():
    with pytest.raises(AssertionError, match="max_held is -1, expected 0 or more"):
        with open_http(max_held=-1):
            pass
