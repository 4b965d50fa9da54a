"""What a hostile reply costs in memory: each way of asking in a process of its own.

The server is here, so that what it holds counts for nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from asking import STREAMS, WAYS
from hostile_server import OK, Hostile, answering, reply
from servers import CASES, CHUNKED, HEAD, bomb, repeating

TESTS = Path(__file__).resolve().parent.parent
STATUS = Path("/proc/self/status")
MOST = 20 * 1024  # KiB

pytestmark = pytest.mark.skipif(
    not STATUS.exists(), reason="the peak of a process is read from /proc"
)

# One message before, so that what is imported and made once is not counted.
CHILD = """
import sys
sys.path.insert(0, {tests!r})
from asking import ask
from btplug.errors import TransportError
from hostile_server import open_http

def peak():
    with open("/proc/self/status") as file:
        return int(file.read().partition("VmHWM:")[2].split()[0])

with open_http(**{config!r}) as http:
    ask(http, {way!r}, {honest!r})
    before = peak()
    try:
        answer = ask(http, {way!r}, {url!r}, timeout={timeout!r})
    except TransportError as exc:
        print(exc.kind, peak() - before)
    else:
        print(answer.status, peak() - before)
    assert ask(http, {way!r}, {honest!r}).ok
"""


def cost(script, way, timeout=20, **config):
    """Return how it ended, and by how many KiB the process grew."""
    with Hostile(answering(OK)) as honest, Hostile(script) as server:
        code = CHILD.format(
            tests=str(TESTS), config=config, way=way, honest=honest.url,
            url=server.url, timeout=timeout,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, timeout=120, env=dict(os.environ),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kind, grown = done.stdout.split()
    return kind, int(grown)


def _endless(data, first=HEAD):
    return repeating(data * (60_000 // len(data) + 1), first=first)


FLOODS = {
    "S04 endless 100 Continue": (_endless(b"HTTP/1.1 100 Continue\r\n\r\n", b""), "too-large"),
    "S15 endless headers": (_endless(b"X: 1\r\n"), "too-large"),
    "a header without end": (_endless(b"x", HEAD + b"X: "), "too-large"),
    "a status line without end": (_endless(b"x", b"HTTP/1.1 200 "), "too-large"),
    "a chunk extension without end": (_endless(b"x", CHUNKED + b"1;"), "too-large"),
    "trailers without end": (_endless(b"T: v\r\n", CHUNKED + b"0\r\n"), "too-large"),
    "a chunk size without end": (_endless(b"0", CHUNKED), None),
    "line breaks without end": (_endless(b"\r\n", b""), None),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FLOODS)
def test_what_has_no_end_is_not_held(way, name):
    script, wanted = FLOODS[name]

    kind, grown = cost(script, way, timeout=5)

    assert kind == wanted or (wanted is None and kind in ("bad-reply", "too-large"))
    assert grown < MOST


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bits", [31, 15, -15], ids=["gzip", "deflate", "bare deflate"])
def test_s11_a_bomb_is_refused_before_it_is_held(way, bits):
    packed = bomb(300_000_000, bits)
    coding = b"gzip" if bits == 31 else b"deflate"
    assert len(packed) < 300_000

    kind, grown = cost(answering(reply(packed, b"Content-Encoding: " + coding)), way)

    assert kind == ("bad-reply" if way in STREAMS else "too-large")
    assert grown < MOST


@pytest.mark.parametrize("way", [way for way in WAYS if way not in STREAMS])
def test_s05_endless_chunks_are_held_up_to_the_limit_only(way):
    case = CASES["S05 endless chunks, fast"]

    kind, grown = cost(case.script, way, **case.config)

    assert kind == "too-large"
    assert grown < MOST


@pytest.mark.parametrize("way", [way for way in WAYS if way not in STREAMS])
def test_a_body_of_tiny_chunks_costs_no_more_than_its_bytes(way):
    """A million of them would be 60 MB as objects."""
    data = CHUNKED + b"1\r\nx\r\n" * 300_000 + b"0\r\n\r\n"

    kind, grown = cost(answering(data), way, timeout=60)

    assert kind == "200"
    assert grown < MOST


MANY = """
import sys
sys.path.insert(0, {tests!r})
from btplug import Message, Peer
from hostile_server import open_http

def peak():
    with open("/proc/self/status") as file:
        return int(file.read().partition("VmHWM:")[2].split()[0])

with open_http() as http:
    def ask(count):
        sizes = set()
        for one in http.send_many([Peer({url!r})] * count, Message(), timeout=60):
            sizes.add(len(one.unwrap().body))
        return sizes
    ask(1)
    before = peak()
    assert ask(60) == {{20_000_000}}
    print(peak() - before)
"""


def test_what_many_peers_have_packed_is_not_unpacked_all_at_once():
    """Decoded together they would take 1,200 MB."""
    data = reply(bomb(20_000_000, 31), b"Content-Encoding: gzip")
    with Hostile(answering(data)) as server:
        done = subprocess.run(
            [sys.executable, "-c", MANY.format(tests=str(TESTS), url=server.url)],
            capture_output=True, text=True, timeout=120, env=dict(os.environ),
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300 * 1024
