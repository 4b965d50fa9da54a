"""Streams that are entered as nobody waits for them any more."""

import asyncio
import subprocess
import sys
import threading

import pytest

from btplug import Context, Message, Peer, Reply, TransportPlugin

PEER, MESSAGE = Peer("x://a"), Message()


class Body:
    head = Reply(status=200)


class Base(TransportPlugin):
    schemes = ("x",)

    def __init__(self):
        self.context = Context()
        self.begun, self.entered = threading.Event(), threading.Event()
        self.left = threading.Event()
        self.times = []  # entered and left

    def initialize(self, config):
        pass

    def shutdown(self):
        pass

    def enter(self):
        self.times.append("entered")
        self.entered.set()
        return Body()

    def leave(self):
        self.times.append("left")
        self.left.set()


class Async(Base):
    """Its stream is entered though it is cancelled, where *stubborn*."""

    stubborn = False

    async def asend(self, peer, message, *, timeout=None):
        return Reply(status=200)

    def astream(self, peer, message, chunks=None, *, timeout=None):
        transport = self

        class Made:
            async def __aenter__(self):
                transport.begun.set()
                try:
                    await asyncio.sleep(0.02)
                except asyncio.CancelledError:
                    if not transport.stubborn:
                        raise
                return transport.enter()

            async def __aexit__(self, kind, exc, trace):
                await asyncio.sleep(0)
                transport.leave()

        return Made()


class Sync(Base):
    gate = None

    def send(self, peer, message, *, timeout=None):
        return Reply(status=200)

    def stream(self, peer, message, chunks=None, *, timeout=None):
        transport = self

        class Made:
            def __enter__(self):
                transport.begun.set()
                transport.gate.wait(10)
                return transport.enter()

            def __exit__(self, kind, exc, trace):
                transport.leave()

        return Made()


async def use(transport):
    async with transport.astream(PEER, MESSAGE):
        raise AssertionError


async def cancelled(transport, until):
    """Cancel who enters, whose loop is busy up to *until*."""
    using = asyncio.ensure_future(use(transport))
    while not transport.begun.is_set():
        await asyncio.sleep(0)
    assert until.wait(10)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using


def test_a_stream_that_is_entered_as_its_caller_is_cancelled_is_left():
    transport = Async()
    try:
        asyncio.run(cancelled(transport, transport.entered))
        assert transport.left.wait(10)
    finally:
        transport.context.close()

    assert transport.times == ["entered", "left"]


def test_a_stream_that_is_entered_though_it_is_cancelled_is_left():
    transport = Async()
    transport.stubborn = True
    try:
        asyncio.run(cancelled(transport, transport.begun))
        assert transport.left.wait(10)
    finally:
        transport.context.close()

    assert transport.times == ["entered", "left"]


@pytest.mark.parametrize("first", ["cancelled", "entered"])
def test_a_stream_written_for_threads_is_left_though_its_caller_was_cancelled(first):
    transport = Sync()
    transport.gate = threading.Event()

    async def main():
        if first == "entered":
            transport.gate.set()
            await cancelled(transport, transport.entered)
        else:
            await cancelled(transport, transport.begun)
            assert transport.times == []
            transport.gate.set()

    try:
        asyncio.run(main())
        assert transport.left.wait(10)
    finally:
        transport.context.close()

    assert transport.times == ["entered", "left"]


INTERRUPTED = """
import signal
from test_streams import MESSAGE, PEER, Async

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
transport = Async()
transport.stubborn = True
transport.begun.set = lambda: signal.setitimer(signal.ITIMER_REAL, 0.005)
try:
    with transport.stream(PEER, MESSAGE):
        pass
except KeyboardInterrupt:
    print(transport.left.wait(5), transport.times)
transport.context.close()
"""


def test_a_stream_whose_caller_is_interrupted_by_ctrl_c_is_left(request):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=request.path.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.stdout == "True ['entered', 'left']\n", done.stderr
