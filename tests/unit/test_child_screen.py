"""What a confined plugin prints reaches its host once."""

import socket

import pytest

from btplug._child.link import Link
from btplug._child.screen import printed
from btplug._confine.frames import CHUNK, Channel, Kind, Reader


class Interrupted(Channel):
    """A signal breaks in just after the first frame has left."""

    sent = 0

    def send(self, frame):
        super().send(frame)
        self.sent += 1
        if self.sent == 1:
            raise KeyboardInterrupt


def heard(end):
    end.shutdown(socket.SHUT_WR)
    return list(Reader(host=True).feed(end.makefile("rb").read()))


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_a_signal_broke_into_is_not_printed_again(ends):
    ours, theirs = ends
    out = printed(Link(Interrupted(theirs.fileno())), 1, lines=True)

    with pytest.raises(KeyboardInterrupt):
        out.write("Who: \n")
    out.write("bye\n")
    out.flush()
    theirs.shutdown(socket.SHUT_WR)

    assert [frame.body for frame in heard(ours)] == [b"Who: \n", b"bye\n"]


@pytest.mark.parametrize("lines", [True, False])
def test_all_that_is_printed_arrives_in_order(lines, ends):
    ours, theirs = ends
    out = printed(Link(Channel(theirs.fileno())), 2, lines=lines)
    text = "".join(f"line {n} ä\n" for n in range(2000)) + "no end"

    out.write("a")
    out.flush()
    out.buffer.write(memoryview(text.encode()))
    out.write("z")
    out.flush()
    theirs.shutdown(socket.SHUT_WR)

    frames = heard(ours)
    assert b"".join(frame.body for frame in frames).decode() == f"a{text}z"
    assert {(frame.kind, frame.id) for frame in frames} == {(Kind.OUTPUT, 2)}
    assert max(len(frame.body) for frame in frames) <= CHUNK


def test_nothing_is_printed_to_a_closed_stream(ends):
    _, theirs = ends
    out = printed(Link(Channel(theirs.fileno())), 1, lines=False)
    inner = out.buffer
    out.close()

    with pytest.raises(ValueError, match="closed"):
        inner.write(b"x")
