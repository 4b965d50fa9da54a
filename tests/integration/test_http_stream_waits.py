"""Replies that come before the end of a message, and callers who keep a stream waiting."""

from __future__ import annotations

import asyncio
import io
import os
import re
import socket
import threading
import time
import tracemalloc
from array import array
from concurrent.futures import CancelledError
from contextlib import suppress

import numpy as np
import pytest
from hostile_server import OK, Hostile, open_http, reply
from test_http_signed import BOB, KEYS

from btplug import Message, Peer
from btplug.errors import BadReply, Cut, Late, TooLarge, UsageError

MIB = 1024 * 1024
PIECE = b"~" * 100_000


async def endless():
    while True:
        yield PIECE
        await asyncio.sleep(0.001)


async def stuck():
    yield PIECE
    await asyncio.Event().wait()


def blocked():
    yield PIECE
    held.wait(20)


held = threading.Event()
# Each is far from its end when the reply is there.
BODIES = {
    "an async generator": endless,
    "a generator that waits": stuck,
    "a thread that waits": blocked,
    "a list": lambda: [PIECE] * 2000,
    "bytes": lambda: PIECE * 2000,
    "a message": None,
}


@pytest.fixture
def http():
    held.clear()
    with open_http() as transport:
        yield transport
        held.set()


async def sent(http, url, chunks, **more):
    """Return status and body of the reply."""
    peer = Peer(url)
    if chunks is None:
        done = await http.asend(peer, Message(body=PIECE * 2000), **more)
        return done.status, done.body
    async with http.astream(peer, Message(), chunks(), **more) as stream:
        return stream.head.status, b"".join([part async for part in stream])


@pytest.mark.parametrize("kind", BODIES)
def test_a_connection_whose_peer_waits_for_the_rest_is_not_used_again(http, kind):
    """It would take the next message for a part of this one."""
    begun = []

    def script(line):
        begun.append(line.sock.recv(4))
        if begun == [b"POST"]:
            line.send(reply(b"no", status="413 Too Large"))
            line.wait()
        line.send(OK)

    async def work(url):
        first = await sent(http, url, BODIES[kind])
        return first, await sent(http, url, lambda: None)

    with Hostile(script) as server:
        found = http.context.home.run(work(server.url))

    assert found == ((413, b"no"), (200, b"ok"))
    assert begun == [b"POST", b"POST"]


def test_a_message_that_was_taken_whole_leaves_its_connection_for_the_next(http):
    lines = []

    def script(line):
        lines.append(line)
        while line.request():
            line.send(OK)

    async def work(url):
        for _ in range(3):
            assert await sent(http, url, lambda: PIECE * 20) == (200, b"ok")

    with Hostile(script) as server:
        http.context.home.run(work(server.url))

    assert len(lines) == 1


WAITING = [kind for kind in BODIES if "waits" in kind]


@pytest.mark.parametrize("kind", WAITING)
def test_a_peer_that_ends_while_the_caller_is_waited_for_is_noticed(http, kind):
    def script(line):
        left = len(PIECE)
        while left:
            left -= line.sock.recv(65536).count(b"~")
        line.reset()

    with Hostile(script) as server, pytest.raises(Cut) as caught:
        http.context.home.run(sent(http, server.url, BODIES[kind]))

    assert "(Connection reset by peer) in waiting for" in caught.value.what
    assert caught.value.delivered is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", WAITING)
@pytest.mark.parametrize("whole", [True, False])
def test_a_caller_who_is_waited_for_too_long_is_told_so(kind, whole):
    held.clear()
    more = {"timeout": 0.3} if whole else {}
    with (
        open_http(timeout=12 if whole else 0.3) as http,
        Hostile(lambda line: line.wait()) as server,
    ):
        try:
            with pytest.raises(Late) as caught:
                http.context.home.run(sent(http, server.url, BODIES[kind], **more))
        finally:
            held.set()

    assert caught.value.what.startswith(
        "waited 0.3 s for the caller's next chunk: 100,"
    )
    assert caught.value.what.endswith(" bytes were sent")


def refusing(line):
    """Answer before the message has ended, and wait for its rest."""
    line.sock.recv(1000)
    line.send(reply(b"no", status="413 Too Large"))
    line.wait()


def test_a_generator_is_asked_no_more_once_its_exchange_is_over(http):
    ended = threading.Event()

    def chunks():
        try:
            while True:
                yield PIECE
        finally:
            ended.set()

    def threads():
        return [one for one in threading.enumerate() if one.name == "chunks"]

    with Hostile(refusing) as server:
        home = http.context.home
        found = home.run(sent(http, server.url, chunks))
        for thread in threads():
            thread.join(10)

        assert found == (413, b"no")
        assert not threads()
        assert ended.wait(10)


def test_what_a_source_raises_when_it_is_left_does_not_hide_the_reply(http):
    async def chunks():
        try:
            yield PIECE
            await asyncio.Event().wait()
        finally:
            raise ValueError("in its ending")

    with Hostile(refusing) as server:
        found = http.context.home.run(sent(http, server.url, chunks))

    assert found == (413, b"no")


def test_a_source_that_waits_for_what_was_cancelled_is_cancelled(http):
    async def chunks():
        yield PIECE
        other = asyncio.create_task(asyncio.Event().wait())
        other.cancel()
        await other

    async def work(url):
        with pytest.raises(asyncio.CancelledError):
            await sent(http, url, chunks)

    with Hostile(lambda line: line.wait()) as server:
        http.context.home.run(work(server.url))


def test_a_peer_that_takes_nothing_more_is_told_of_with_what_it_took(http):
    body = bytes(48 * MIB)
    with Hostile(lambda line: line.wait()) as server, pytest.raises(Late) as caught:
        http.context.home.run(sent(http, server.url, lambda: body, timeout=0.3))

    found = re.fullmatch(
        r"waited 0.3 s for 127.0.0.1:\d+ to take the message: "
        r"it took ([\d,]+) of ([\d,]+) bytes",
        caught.value.what,
    )
    took, total = (int(text.replace(",", "")) for text in found.groups())
    assert len(body) < total < len(body) + 1000
    assert 0 < took < total / 2


VIEWS = {
    "of numbers": memoryview(array("I", range(500_000))),
    "of signed bytes": memoryview(array("b", bytes(500_000))),
    "of a bytearray": bytearray(range(256)) * 2000,
}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("listed", [True, False])
def test_any_buffer_is_sent_as_its_bytes(http, kind, listed):
    seen = []

    def script(line):
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.sock.recv(65536)
        body = data.partition(b"\r\n\r\n")[2]
        ended = (lambda: body.endswith(b"\r\n0\r\n\r\n")) if listed else (
            lambda: len(body) == len(bytes(VIEWS[kind]))
        )  # fmt: skip
        while not ended():
            body += line.sock.recv(65536)
        seen.append(body)
        line.send(OK)

    view = VIEWS[kind]
    chunks = [view, b"", b"end"] if listed else view
    with Hostile(script) as server:
        assert http.context.home.run(sent(http, server.url, lambda: chunks))[0] == 200

    body = bytes(view)
    size = b"%x\r\n" % len(body)
    whole = size + body + b"\r\n3\r\nend\r\n0\r\n\r\n"
    assert seen == [whole if listed else body]


class Boastful(bytes):
    """Bytes that say of themselves what they are not."""

    def __bytes__(self):
        return b"others, and more of them"

    def __len__(self):
        return 2


async def each(chunks):
    for chunk in chunks:
        yield chunk


KINDS = {"a list": list, "a tuple": tuple, "an iterator": iter, "an async one": each}


@pytest.mark.parametrize("here", [True, False], ids=["at home", "in another loop"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_is_its_bytes_whatever_it_says_of_itself(http, kind, here):
    seen = []
    numbers = np.arange(6, dtype="u1").reshape(2, 3)
    chunks = [Boastful(b"one"), numbers, numbers.T, bytearray(b"two")]

    async def work(url):
        return await sent(http, url, lambda: KINDS[kind](chunks))

    with Hostile(whole(seen)) as server:
        run = http.context.home.run if here else asyncio.run
        assert run(work(server.url)) == (200, b"ok")

    assert chunked_body(seen[0]) == b"one\0\1\2\3\4\5\0\3\1\4\2\5two"


@pytest.mark.parametrize("here", [True, False], ids=["at home", "in another loop"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [7, 0.5, "text", None, *np.arange(3)[2:]])
def test_a_chunk_that_is_no_bytes_is_refused_and_not_sent(http, kind, here, wrong):
    seen = []

    def script(line):
        while data := line.sock.recv(65536):
            seen.append(data)

    async def work(url):
        with pytest.raises(UsageError) as caught:
            await sent(http, url, lambda: KINDS[kind]([b"right", wrong, b"right"]))
        return caught.value

    with Hostile(script) as server:
        error = (http.context.home.run if here else asyncio.run)(work(server.url))
        if kind in ("a list", "a tuple"):
            assert not server.lines

    assert error.what == f"found a chunk of type {type(wrong).__name__}, expected bytes"
    assert b"".join(seen).partition(b"\r\n\r\n")[2] in (b"", b"5\r\nright\r\n")


@pytest.mark.parametrize("size", [1, 1024, MIB])
def test_a_list_of_chunks_is_not_held_twice(http, size):
    count = 64 * MIB // max(size, 512)
    chunks = [bytearray(size)] * count

    def script(line):
        tail = b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            tail = (tail + line.sock.recv(262_144))[-7:]
        line.send(OK)

    with Hostile(script) as server:
        tracemalloc.start()
        try:
            found = http.context.home.run(sent(http, server.url, lambda: chunks))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert found == (200, b"ok")
    assert peak < 24 * MIB


def whole(seen, answer=OK):
    """Return a script that keeps the body of one request, and answers it."""

    def script(line):
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        size = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        while len(body) < int(size) if size else not body.endswith(b"\r\n0\r\n\r\n"):
            body += line.sock.recv(65536)
        seen.append(body)
        line.send(answer)

    return script


def chunked_body(rest):
    """Return what the chunks of a body make."""
    found = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(found)


def test_a_source_may_read_each_chunk_to_the_same_place(http):
    data, seen = bytes(range(256)) * 20_000, []

    def chunks():
        space, file = bytearray(20_000), io.BytesIO(data)
        while size := file.readinto(space):
            yield memoryview(space)[:size]

    with Hostile(whole(seen)) as server:
        http.context.home.run(sent(http, server.url, chunks))

    assert chunked_body(seen[0]) == data


class Slow(io.BytesIO):
    """A file on a slow disk: between two reads everything else has its turn."""

    def read(self, size=-1):
        time.sleep(0.005)
        return super().read(size)


@pytest.mark.slow
def test_the_digest_of_what_is_signed_is_within_the_limit_of_the_whole():
    async def work(http):
        file = Slow(bytes(100 * MIB))
        peer = Peer("http://127.0.0.1:1/", hotkey=BOB.hotkey)
        async with http.astream(peer, Message(), file, timeout=0.3):
            pass

    with open_http(dialects=KEYS) as http, pytest.raises(Late) as caught:
        http.context.home.run(work(http))

    assert caught.value.what == "waited 0.3 s for the digest of what is to be sent"
    assert caught.value.delivered is False


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["reset", "refused", "left"])
def test_a_file_that_was_not_sent_whole_can_be_sent_again(http, answer):
    data, seen, tries = bytes(range(256)) * 40_000, [], []

    def script(line):
        tries.append(line)
        if len(tries) > 1:
            whole(seen)(line)
            return
        line.sock.recv(1000)
        if answer == "refused":
            line.send(reply(b"", status="503 No"))
        if answer != "reset":
            line.wait()
        line.reset()

    async def first(url, file):
        with suppress(Cut):
            task = asyncio.ensure_future(sent(http, url, lambda: file))
            while not tries:
                await asyncio.sleep(0.001)
            if answer == "left":
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def work(url):
        file = Slow(data)
        await first(url, file)
        file.seek(0)
        return await sent(http, url, lambda: file)

    with Hostile(script) as server:
        assert http.context.home.run(work(server.url)) == (200, b"ok")

    assert seen == [data]


def test_a_file_that_has_become_shorter_is_the_callers_error_and_ends_the_line(
    http, tmp_path
):
    path, begun = tmp_path / "weights", []
    path.write_bytes(bytes(1_000_000))

    def script(line):
        begun.append(line.sock.recv(4))
        if len(begun) == 1:
            line.wait()
        line.send(OK)

    class Cutting(io.FileIO):
        def read(self, size=-1):
            os.truncate(path, 500_000)
            return super().read(size)

    async def work(url):
        with Cutting(path) as file, pytest.raises(UsageError) as caught:
            await sent(http, url, lambda: file)
        return caught.value, await sent(http, url, lambda: None)

    with Hostile(script) as server:
        error, found = http.context.home.run(work(server.url))

    assert error.what == (
        "found 500,000 bytes in the file, expected 1,000,000 as when it was looked at"
    )
    assert error.fix == "leave it as it is while it is sent"
    assert begun == [b"POST", b"POST"]
    assert found == (200, b"ok")


def test_a_path_that_is_no_file_is_refused_and_waited_for_by_nobody(http, tmp_path):
    os.mkfifo(path := tmp_path / "pipe")

    with pytest.raises(UsageError) as caught:
        http.context.home.run(sent(http, "http://127.0.0.1:1/", lambda: path))

    assert caught.value.what == f"found no file at {str(path)!r}, expected one"
    assert caught.value.fix == "open it, and pass what is read"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such"), TimeoutError()])
@pytest.mark.parametrize("later", [True, False])
def test_what_a_source_raises_is_the_callers_own_and_not_the_peers(http, error, later):
    def chunks():
        yield PIECE
        raise error

    async def achunks():
        for piece in chunks():
            yield piece

    with (
        Hostile(lambda line: line.wait()) as server,
        pytest.raises(type(error)) as caught,
    ):
        http.context.home.run(sent(http, server.url, achunks if later else chunks))

    assert caught.value is error


WRONG = {
    "a wrong chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", BadReply),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", BadReply),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", BadReply),
    "headers without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, TooLarge),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", ["a generator that waits", "bytes"])
def test_a_wrong_reply_is_told_as_such_while_the_message_is_sent(
    http, caplog, name, kind
):
    data, wanted = WRONG[name]

    def script(line):
        line.sock.recv(1000)
        line.send(data)
        line.wait()

    async def work(url):
        with pytest.raises(wanted):
            await sent(http, url, BODIES[kind])

    with Hostile(script) as server:
        http.context.home.run(work(server.url))

    assert not caplog.records


def test_chunks_that_are_bound_to_another_loop_are_asked_for_there(http):
    data, seen = bytes(range(256)) * 40_000, []

    async def work(url):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            found = await sent(http, url, lambda: reader)
            writer.close()
            return found

    async def serve(_, writer):
        writer.write(data)
        await writer.drain()
        writer.close()

    with Hostile(whole(seen)) as server:
        assert asyncio.run(work(server.url)) == (200, b"ok")

    assert chunked_body(seen[0]) == data


def test_a_source_of_another_loop_is_waited_for_there_and_fetched_no_further(http):
    asked = []

    async def chunks():
        while True:
            asked.append(asyncio.get_running_loop())
            yield bytes(MIB)

    async def work(url):
        with pytest.raises(Late):
            await sent(http, url, chunks, timeout=0.5)
        return asyncio.get_running_loop()

    with Hostile(lambda line: line.wait()) as server:
        loop = asyncio.run(work(server.url))

    assert {*asked} == {loop}
    assert len(asked) < 24  # the system itself holds some of it


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError()])
def test_a_source_of_another_loop_that_fails_ends_no_body(http, error):
    seen = []

    async def chunks():
        yield PIECE
        raise error

    def script(line):
        while data := line.sock.recv(65536):
            seen.append(data)

    async def work(url):
        # Of another loop's work that was cancelled, a Future's own error tells.
        with pytest.raises((type(error), CancelledError)):
            await sent(http, url, chunks)

    with Hostile(script) as server:
        asyncio.run(work(server.url))

    assert not b"".join(seen).endswith(b"0\r\n\r\n")


def test_callers_who_are_waited_for_keep_nobody_else_from_sending(http):
    together = threading.Barrier(40)

    def chunks():
        yield PIECE
        together.wait(20)

    def script(line):
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n"):
            body += line.sock.recv(65536)
        line.send(OK)

    async def work(url):
        return await asyncio.gather(*(sent(http, url, chunks) for _ in range(40)))

    with Hostile(script) as server:
        found = http.context.home.run(work(server.url))

    assert found == [(200, b"ok")] * 40


@pytest.mark.slow
def test_what_moves_slowly_is_within_its_limit_however_long_it_takes():
    """Without a limit for the whole, each step has one; bytes move step by step too."""
    size = 48 * MIB  # of which the system itself holds some 6 at the end

    def script(line):
        left = size
        while b"\r\n\r\n" not in (head := line.sock.recv(65536)):
            continue
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left and line.wait(0.05):
            left -= len(line.sock.recv(min(left, MIB), socket.MSG_WAITALL))
        line.send(OK)

    with open_http(timeout=1.2) as http, Hostile(script) as server:
        found = http.context.home.run(sent(http, server.url, lambda: bytes(size)))

    assert found == (200, b"ok")
