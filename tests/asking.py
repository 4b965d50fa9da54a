"""Every way to ask a peer, called alike: what one survives the others must survive.

A test module takes the fixtures below by assigning them to names.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hostile_server import OK, Hostile, answering, held, open_http

from btplug import Message, Peer
from btplug.errors import TransportError

WAYS = ("send", "asend", "send_many", "stream", "astream")
STREAMS = ("stream", "astream")


def ask(transport, way, url, body=b"", *, timeout=None, **message):
    """Send and return the whole reply; what went wrong is raised."""
    peer = url if isinstance(url, Peer) else Peer(url)
    sent = Message(body=body, **message)
    home = transport.context.home
    if way == "send":
        return transport.send(peer, sent, timeout=timeout)
    if way == "asend":
        return home.run(transport.asend(peer, sent, timeout=timeout))
    if way == "send_many":
        (outcome,) = transport.send_many([peer], sent, timeout=timeout)
        return outcome.unwrap()
    if way == "stream":
        with transport.stream(peer, sent, timeout=timeout) as stream:
            return replace(stream.head, body=b"".join(stream))
    return home.run(_astreamed(transport, peer, sent, timeout))


async def _astreamed(transport, peer, sent, timeout):
    async with transport.astream(peer, sent, timeout=timeout) as stream:
        return replace(stream.head, body=b"".join([part async for part in stream]))


@contextmanager
def leaving_nothing(transport, way):
    """Check that the next call works, and that no more is open than before."""
    with Hostile(answering(OK)) as honest:
        ask(transport, way, honest.url)  # what is made once is there
        before = held()
        yield
        until = time.monotonic() + 10
        while True:
            # A connection that its server has closed is given up with the next call.
            assert ask(transport, way, honest.url).body == b"ok"
            if len(held()) <= len(before):
                return
            assert time.monotonic() < until, f"left behind: {held() - before}"
            time.sleep(0.01)


@contextmanager
def failing(transport, way):
    """Expect an error; afterwards nothing is left of it, and the next call works."""
    with leaving_nothing(transport, way):
        with pytest.raises(TransportError) as caught:
            yield caught
    assert caught.value.exit_code == 5


@pytest.fixture(params=WAYS)
def way(request):
    """One of the ways after the other."""
    return request.param


@pytest.fixture
def http():
    """The shipped transport, with its defaults."""
    with open_http() as transport:
        yield transport
