"""Frames between a host and its child: whole, in order, bounded, whatever comes."""

import socket
import threading
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._confine.frames import (
    KINDS,
    LONGEST,
    BadFrame,
    Channel,
    Frame,
    Kind,
    Port,
    Reader,
)
from btplug.errors import UsageError

FRAMES = st.builds(
    Frame,
    kind=st.sampled_from(sorted(KINDS)),
    body=st.binary(max_size=300),
    id=st.integers(0, 2**32 - 1),
    more=st.booleans(),
)
# Bytes that look like a frame, nearly: random ones alone end at the first length.
HEADS = st.builds(
    lambda length, kind, more, number, body: (
        length.to_bytes(4, "big") + bytes([kind, more]) + number + body
    ),
    length=st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1)),
    kind=st.integers(0, 30),
    more=st.integers(0, 3),
    number=st.binary(min_size=4, max_size=4),
    body=st.binary(max_size=60),
)


def pieces(data, cuts):
    """Cut *data* at these places, wherever they fall."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def packed(frames):
    return [frame.packed() for frame in frames]


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_arrive_as_they_were_sent_however_they_are_cut(frames, cuts):
    data = b"".join(frame.packed() for frame in frames)
    reader = Reader(host=False)

    found = [frame for piece in pieces(data, cuts) for frame in reader.feed(piece)]

    assert packed(found) == packed(frames)
    assert not reader.partial


@given(st.lists(st.one_of(st.binary(max_size=200), HEADS), max_size=10))
def test_any_bytes_are_frames_or_an_error_of_ours(parts):
    reader = Reader(host=True)
    with suppress(BadFrame):
        for part in parts:
            for frame in reader.feed(part):
                assert len(frame.packed()) <= LONGEST
                assert frame.kind not in (Kind.GO, Kind.ANSWER, Kind.RETURN)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_a_reader_never_holds_more_than_one_frame(length, rest):
    """A length alone must not make it wait for gigabytes."""
    reader = Reader(host=True)
    data = length.to_bytes(4, "big") + bytes([Kind.CALL, 0]) + bytes(4)
    if length > LONGEST - len(data):
        with pytest.raises(BadFrame):
            list(reader.feed(data))
    else:
        with suppress(BadFrame):  # what follows a short frame may be none
            list(reader.feed(data + rest))
        assert len(reader._held) <= LONGEST + len(rest)


def test_a_body_that_is_too_long_is_not_sent():
    with pytest.raises(UsageError) as caught:
        Frame(Kind.RESULT, bytes(LONGEST)).packed()

    assert str(caught.value) == (
        "found 1,048,576 bytes for one frame, expected 1,048,566 at most\n"
        "  fix:   cut it, or write it into a file"
    )
    assert len(Frame(Kind.RESULT, bytes(LONGEST - 10)).packed()) == LONGEST


@pytest.fixture
def pair():
    """A port and a channel that speak to each other."""
    ends = socket.socketpair()
    ends[0].setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_a_port_and_a_channel_understand_each_other(pair):
    port, channel = Port(pair[0].fileno(), lambda: None), Channel(pair[1].fileno())

    port.post(Frame(Kind.GO, b"go", 7))
    assert packed([channel.receive()]) == packed([Frame(Kind.GO, b"go", 7)])
    channel.send(Frame(Kind.CALL, b"call", 8, more=True))
    assert packed(port.take()) == packed([Frame(Kind.CALL, b"call", 8, more=True)])
    assert list(port.take()) == []
    pair[1].close()
    assert port.take() is None


def test_a_channel_without_a_host_says_so(pair):
    channel = Channel(pair[1].fileno())
    pair[0].close()

    assert channel.receive() is None
    with pytest.raises(OSError, match="Broken pipe"):
        channel.send(Frame(Kind.CALL))


def test_threads_share_a_channel_without_mixing_their_frames(pair):
    port, channel = Port(pair[0].fileno(), lambda: None), Channel(pair[1].fileno())
    bodies = [bytes([i]) * 50_000 for i in range(8)]
    threads = [
        threading.Thread(target=lambda b=b: [channel.send(Frame(Kind.LOG, b))] * 5)
        for b in bodies
    ]
    for thread in threads:
        thread.start()
    found = []
    while len(found) < len(bodies):
        found += port.take()
    for thread in threads:
        thread.join()

    assert sorted(frame.body for frame in found) == bodies


def test_what_a_child_does_not_read_waits_in_order(pair):
    woken = []
    port = Port(pair[0].fileno(), lambda: woken.append(1))
    sent = [Frame(Kind.RETURN, bytes([i]) * 200_000, i) for i in range(20)]
    for frame in sent:
        port.post(frame)
    assert woken
    assert port.waiting
    channel, found = Channel(pair[1].fileno()), []
    thread = threading.Thread(
        target=lambda: found.extend(channel.receive() for _ in sent)
    )
    thread.start()
    while port.waiting:
        port.flush()
    thread.join()

    assert packed(found) == packed(sent)


def test_a_port_that_is_closed_holds_nothing(pair):
    port = Port(pair[0].fileno(), lambda: None)
    while not port.full:
        port.post(Frame(Kind.RETURN, bytes(LONGEST - 10)))
    port.close()
    port.post(Frame(Kind.RETURN))

    assert not port.full
    assert not port.waiting


def test_nobody_is_woken_after_a_port_was_closed(pair):
    """What wakes is closed then, and its number may be that of a file."""
    pair[0].setblocking(False)
    waking, go_on = threading.Event(), threading.Event()

    def wake():
        waking.set()
        go_on.wait(20)

    port = Port(pair[0].fileno(), wake)
    frame = Frame(Kind.ANSWER, bytes(LONGEST - 100))
    sender = threading.Thread(target=lambda: [port.post(frame) for _ in range(20)])
    sender.start()
    assert waking.wait(20)
    closer = threading.Thread(target=port.close)
    closer.start()
    closer.join(0.2)
    assert closer.is_alive()
    go_on.set()
    closer.join(20)
    sender.join(20)


def test_a_child_that_is_gone_takes_everything(pair):
    """Nobody has to know: whoever reads from it finds out."""
    port = Port(pair[0].fileno(), lambda: None)
    while not port.full:
        port.post(Frame(Kind.RETURN, bytes(LONGEST - 10)))
    pair[1].close()
    port.flush()

    assert not port.waiting
    port.post(Frame(Kind.RETURN))
    assert port.take() is None


@pytest.mark.parametrize("wrong", [{"id": 2**32}, {"id": -1}, {"kind": 256}])
def test_what_has_no_room_in_a_head_is_refused_and_not_cut(wrong):
    with pytest.raises((OverflowError, ValueError)):
        Frame(**{"kind": Kind.CALL, **wrong}).packed()
