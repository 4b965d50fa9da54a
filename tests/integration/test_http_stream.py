"""Bodies of any size, in both directions, in bounded memory."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import threading
import time
import tracemalloc

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, open_http, recording, reply
from test_http_signed import ALICE, BOB, KEYS, request_of

from btplug import Context, Message, Peer, Reply, TransportPlugin
from btplug.dialects import BtAuth1
from btplug.errors import BadReply, Cut, Late, NotAllowed, Refused, UsageError

MESSAGE = Message(media_type="text/plain")
MIB = 1024 * 1024


@pytest.fixture
def http():
    with open_http() as transport:
        yield transport


def streamed(transport, url, chunks=None, message=MESSAGE, **rest):
    """Return head and body of a stream, by the sync form."""
    peer = url if isinstance(url, Peer) else Peer(url)
    with transport.stream(peer, message, chunks, **rest) as stream:
        return stream.head, b"".join(stream)


def body_of(line):
    """Read one request of either framing; return its head and body.

    Raises:
        ConnectionError: The client has closed the connection.
    """
    data = b""

    def more():
        if not (found := line.sock.recv(65536)):
            raise ConnectionError
        return found

    while b"\r\n\r\n" not in data:
        data += more()
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(rest) < size:
            rest += more()
        return head, rest
    body = b""
    while True:
        while b"\r\n" not in rest:
            rest += more()
        size, _, rest = rest.partition(b"\r\n")
        while len(rest) < int(size, 16) + 2:
            rest += more()
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
        if not int(size, 16):
            return head, body


def echoing(line):
    """Answer every request of a connection with its body."""
    try:
        while True:
            _, body = body_of(line)
            line.send(reply(body))
    except ConnectionError:
        return


async def pieces():
    for piece in (b"one", b"", b"two"):
        await asyncio.sleep(0)
        yield piece


def sources(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"onetwo")
    file = io.BytesIO(b"skipped" + b"onetwo")
    file.seek(7)
    return {
        "nothing": None,
        "bytes": b"onetwo",
        "a view": memoryview(bytearray(b"onetwo")),
        "a path": path,
        "a file": file,
        "a list": [b"one", bytearray(b"two")],
        "a generator": (piece for piece in (b"one", b"two")),
        "an async generator": pieces(),
    }


@pytest.mark.parametrize("kind", [
    "nothing", "bytes", "a view", "a path", "a file", "a list", "a generator",
    "an async generator",
])  # fmt: skip
def test_chunks_of_every_kind_arrive_as_they_are(http, tmp_path, kind):
    message = Message(body=b"onetwo") if kind == "nothing" else MESSAGE
    with Hostile(echoing) as server:
        head, body = streamed(http, server.url, sources(tmp_path)[kind], message)

    assert (head.status, head.body, body) == (200, b"", b"onetwo")


def test_the_async_form_is_used_from_any_loop(http):
    async def work(url):
        async with http.astream(Peer(url), MESSAGE, pieces()) as stream:
            return stream.head.status, [part async for part in stream]

    with Hostile(echoing) as server:
        assert asyncio.run(work(server.url)) == (200, [b"onetwo"])
        assert asyncio.run(work(server.url)) == (200, [b"onetwo"])
        assert http.context.home.run(work(server.url)) == (200, [b"onetwo"])


def test_a_connection_is_used_again_after_a_stream_that_was_read(http):
    numbers = []

    def script(line):
        numbers.append(line.number)
        echoing(line)

    with Hostile(script) as server:
        for _ in range(3):
            assert streamed(http, server.url, [b"x"])[1] == b"x"

    assert len(numbers) == 1


def test_leaving_early_ends_the_connection_and_nothing_else(http):
    def script(line):
        body_of(line)
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while line.wait(0.001):
            line.send(b"5\r\nhello\r\n")

    with Hostile(script) as server:
        with http.stream(Peer(server.url), MESSAGE, b"") as stream:
            assert next(iter(stream)).startswith(b"hello")
        assert http.health().detail == "connections: 0, idle: 0"


def test_the_head_is_there_before_the_body(http):
    seen = []

    def script(line):
        body_of(line)
        line.send(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX: y\r\n\r\n")
        while "head" not in seen:
            line.wait(0.005)
        line.send(b"ok")

    with Hostile(script) as server, http.stream(Peer(server.url), MESSAGE) as stream:
        assert (stream.head.status, stream.head.header("x")) == (201, "y")
        seen.append("head")
        assert b"".join(stream) == b"ok"


def test_a_reply_may_begin_before_all_was_sent(http):
    """Each piece is sent only when the one before it has come back."""
    back = asyncio.Queue()

    async def work(url):
        async def source():
            for piece in (b"a", b"b", b"c"):
                yield piece
                assert await back.get() == piece

        async with http.astream(Peer(url), MESSAGE, source()) as stream:
            async for part in stream:
                back.put_nowait(part)

    def script(line):
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.sock.recv(1000)
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        rest = data.partition(b"\r\n\r\n")[2]
        for piece in (b"a", b"b", b"c"):
            while piece not in rest:
                rest += line.sock.recv(1000)
            line.send(b"1\r\n" + piece + b"\r\n")
        line.send(b"0\r\n\r\n")
        line.wait()

    with Hostile(script) as server:
        http.context.home.run(work(server.url))


def test_a_server_that_refuses_halfway_is_heard(http):
    def script(line):
        line.sock.recv(1000)
        line.send(reply(b"too much", status="413 Too Large"))
        line.wait()

    def endless():
        while True:
            yield b"x" * 65536

    with Hostile(script) as server:
        head, body = streamed(http, server.url, endless())

    assert (head.status, body) == (413, b"too much")


def test_a_large_body_goes_up_and_comes_down_in_little_memory(http):
    size = 64 * MIB

    def script(line):
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.sock.recv(65536)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        left = size - len(data.partition(b"\r\n\r\n")[2])
        line.send(data.partition(b"\r\n\r\n")[2])
        while left:
            data = line.sock.recv(min(left, 256 * 1024))
            left -= len(data)
            line.send(data)
        line.wait()

    class File(io.RawIOBase):
        """As many zeros as are asked for."""

        at = 0

        def seekable(self):
            return True

        def seek(self, offset, whence=0):
            self.at = size if whence else offset
            return self.at

        def tell(self):
            return self.at

        def read(self, count=-1):
            count = min(count, size - self.at)
            self.at += count
            return bytes(count)

    with Hostile(script) as server:
        tracemalloc.start()
        total = 0
        with http.stream(Peer(server.url), MESSAGE, File()) as stream:
            for part in stream:
                total += len(part)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert total == size
    assert peak < 16 * MIB


def test_a_reader_that_takes_his_time_holds_the_server_back_and_is_not_late():
    sent = []

    def script(line):
        body_of(line)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        for _ in range(64):
            line.send(bytes(MIB))
            sent.append(1)
        line.wait()

    with open_http(timeout=0.5) as http, Hostile(script) as server:
        with http.stream(Peer(server.url), MESSAGE) as stream:
            parts = iter(stream)
            total = len(next(parts))
            until = time.monotonic() + 1.2
            while time.monotonic() < until:
                time.sleep(0.05)
            assert len(sent) < 40
            total += sum(len(part) for part in parts)

    assert total == 64 * MIB


def test_a_generator_is_sent_piece_by_piece_as_they_come(http):
    """The second piece is there only when the server has the first."""
    got = threading.Event()

    def pieces():
        yield b"first"
        assert got.wait(10)
        yield b"second"

    def script(line):
        data = b""
        while b"first" not in data:
            data += line.sock.recv(1000)
        got.set()
        while not data.endswith(b"0\r\n\r\n"):
            data += line.sock.recv(1000)
        line.send(OK)

    with Hostile(script) as server:
        assert streamed(http, server.url, pieces())[0].ok


def test_a_generator_is_read_little_further_than_the_server_takes(http):
    made, asked = [], threading.Event()

    def pieces():
        for _ in range(64):
            made.append(1)
            yield bytes(MIB)

    def script(line):
        line.sock.recv(1000)
        asked.set()
        line.wait()

    with Hostile(script) as server:
        with pytest.raises(Late):
            streamed(http, server.url, pieces(), timeout=0.5)
    assert asked.is_set()
    count = len(made)
    assert count < 32
    time.sleep(0.1)
    assert len(made) <= count + 1, "left, it is read no further than the piece begun"


def test_large_parts_of_a_reply_are_passed_on_before_more_come(http):
    seen = threading.Event()

    def script(line):
        body_of(line)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 80001\r\n\r\n" + bytes(80000))
        assert seen.wait(10)
        line.send(b"x")

    with Hostile(script) as server, http.stream(Peer(server.url), MESSAGE) as stream:
        total = 0
        for part in stream:
            total += len(part)
            if total == 80000:
                seen.set()
    assert total == 80001


def test_no_upload_waits_for_an_acknowledgement(http):
    """It would be 40 ms for each."""
    with Hostile(echoing) as server:
        begun = time.monotonic()
        for _ in range(100):
            assert streamed(http, server.url, b"x")[1] == b"x"

    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("size", [1, 20_000, 300_000])
def test_chunks_of_every_size_are_framed(http, size):
    given = [bytes([n]) * size for n in range(5)]
    with Hostile(echoing) as server:
        for chunks in (given, iter(given), map(bytearray, given)):
            assert streamed(http, server.url, chunks)[1] == b"".join(given)


# -- what is refused, and how it ends


@pytest.mark.parametrize("limit", [{"timeout": 0.4}, {}])
def test_a_stream_that_stands_still_is_late(limit):
    def script(line):
        body_of(line)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        line.wait()

    with open_http(timeout=0.4) as http, Hostile(script) as server:
        with http.stream(Peer(server.url), MESSAGE, **limit) as stream:
            parts = iter(stream)
            assert next(parts) == b"abc"
            with pytest.raises(Late, match="got 3 of 9 bytes"):
                next(parts)


def test_a_limit_that_was_given_is_for_the_whole(http):
    def script(line):
        body_of(line)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
        line.drip(b"x", 0.05)

    began = time.monotonic()
    with Hostile(script) as server:
        with http.stream(Peer(server.url), MESSAGE, timeout=0.5) as stream:
            with pytest.raises(Late):
                list(stream)
    assert time.monotonic() - began < 3


def test_a_server_that_says_nothing_is_late_before_the_head(http):
    with Hostile(lambda line: line.wait()) as server:
        with pytest.raises(Late, match=r"waited 0.3 s for the reply headers"):
            streamed(http, server.url, b"x", timeout=0.3)


def test_a_body_that_ends_early_is_cut_after_what_came(http):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
    with Hostile(hostile_server.then_close(data)) as server:
        with http.stream(Peer(server.url), MESSAGE) as stream:
            parts = iter(stream)
            assert next(parts) == b"abc"
            with pytest.raises(Cut, match="got 3 of 9 bytes"):
                next(parts)


def test_nobody_there_is_refused(http):
    with pytest.raises(Refused):
        streamed(http, "http://127.0.0.1:1/", b"x")


def test_a_coding_that_was_not_asked_for_is_refused(http):
    seen = []
    data = reply(b"x", b"Content-Encoding: gzip")
    with Hostile(recording(seen, data)) as server, pytest.raises(BadReply) as caught:
        streamed(http, server.url, b"x")

    assert "found the content encoding 'gzip', which was not asked for" in str(
        caught.value
    )
    assert b"accept-encoding: identity\r\n" in seen[0]


def test_what_the_source_raises_reaches_the_caller(http):
    def broken():
        yield b"one"
        raise KeyError("source")

    with Hostile(lambda line: line.wait()) as server:
        with pytest.raises(KeyError, match="source"):
            streamed(http, server.url, broken())


@pytest.mark.parametrize("chunks", ["text", 5, object()])
def test_what_are_no_chunks_is_wrong_usage(http, chunks):
    with pytest.raises(UsageError, match="found chunks of type"):
        streamed(http, "http://127.0.0.1:1/", chunks)


@pytest.mark.parametrize("kind", ["a file", "a text in memory", "a pipe"])
def test_a_file_of_text_is_wrong_usage_before_anything_is_sent(http, tmp_path, kind):
    path = tmp_path / "text"
    path.write_text("text\n")
    read, write = os.pipe()
    with (
        open(path) as file,
        open(read) as pipe,
        open(write, "wb"),
        Hostile(answering(OK)) as server,
    ):
        kinds = {"a file": file, "a text in memory": io.StringIO("é"), "a pipe": pipe}
        with pytest.raises(UsageError) as caught:
            streamed(http, server.url, kinds[kind])
        assert not server.lines

    name = type(kinds[kind]).__name__
    assert caught.value.what == f"found a {name} of text, expected a file of bytes"
    assert caught.value.fix == "open it in binary mode: open(path, 'rb')"


def test_nothing_is_left_open_after_many_streams(http):
    with Hostile(echoing) as server:
        for _ in range(200):
            assert streamed(http, server.url, [b"x"])[1] == b"x"
        assert http.health().detail == "connections: 1, idle: 1"
    gc.collect()


# -- signed


@pytest.mark.parametrize("kind", ["bytes", "a path", "a file", "a view"])
def test_a_signed_upload_is_verified_over_its_whole_body(tmp_path, kind):
    seen = []
    with open_http(dialects=KEYS) as http, Hostile(recording(seen)) as server:
        peer = Peer(f"{server.url}/up", hotkey=BOB.hotkey)
        streamed(http, peer, sources(tmp_path)[kind])

    request = request_of(seen[0])
    assert request.message.body == b"onetwo"
    assert BtAuth1(BOB).incoming(request, time.time_ns()).hotkey == ALICE.hotkey


@pytest.mark.parametrize("length", [10, 300_000])
def test_a_signed_file_that_grows_is_sent_as_long_as_it_was(tmp_path, length):
    seen, path = [], tmp_path / "log"
    path.write_bytes(b"x" * length)

    class Growing(io.FileIO):
        def read(self, size=-1):
            if path.stat().st_size == length:
                with path.open("ab") as log:
                    log.write(b"one more line")
            return super().read(size)

    with open_http(dialects=KEYS) as http, Hostile(recording(seen)) as server:
        with Growing(path) as file:
            streamed(http, Peer(server.url, hotkey=BOB.hotkey), file)

    request = request_of(seen[0])
    assert request.message.body == b"x" * length
    assert BtAuth1(BOB).incoming(request, time.time_ns()).hotkey == ALICE.hotkey


def test_a_signed_file_that_has_become_shorter_is_refused_unsent(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 300_000)

    class Shrinking(io.FileIO):
        def read(self, size=-1):
            os.truncate(path, 100_000)
            return super().read(size)

    with open_http(dialects=KEYS) as http, Hostile(answering(OK)) as server:
        with Shrinking(path) as file, pytest.raises(UsageError) as caught:
            streamed(http, Peer(server.url, hotkey=BOB.hotkey), file)
        assert not server.lines

    assert caught.value.what == (
        "found 100,000 bytes in the file, expected 300,000 as when it was looked at"
    )


@pytest.mark.parametrize("kind", ["a list", "a generator", "an async generator"])
def test_chunks_that_are_read_only_once_cannot_be_signed(tmp_path, kind):
    chunks = sources(tmp_path)[kind]
    with open_http(dialects=KEYS) as http, Hostile(answering(OK)) as server:
        peer = Peer(server.url, hotkey=BOB.hotkey)
        with pytest.raises(NotAllowed, match="can be read only once") as caught:
            streamed(http, peer, chunks)

    assert caught.value.delivered is False
    assert caught.value.fix == "pass bytes, a path, or a seekable file"


# -- the derived forms


def test_a_stream_written_for_threads_has_an_async_form():
    class Given:
        head = Reply(status=200)

        def __iter__(self):
            yield from (b"a", b"b")

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            left.append(exc[0])

    class Wire(TransportPlugin):
        schemes = ("wire",)
        context = Context()

        def initialize(self, config): ...
        def shutdown(self): ...
        def send(self, peer, message, *, timeout=None): ...

        def stream(self, peer, message, chunks=None, *, timeout=None):
            return Given()

    async def work():
        async with Wire().astream(Peer("wire://x"), MESSAGE) as stream:
            return stream.head.status, [part async for part in stream]

    left = []
    assert asyncio.run(work()) == (200, [b"a", b"b"])
    assert left == [None]
