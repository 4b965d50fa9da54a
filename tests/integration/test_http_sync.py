"""The sync form: many threads, messages that are refused halfway, and the end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, open_http, reply
from test_http_tls import authority, good

from btplug import Message, Peer
from btplug.errors import Late, Refused, TransportError

form, open_form = hostile_server.form, hostile_server.open_form
__all__ = ["authority", "good"]  # fixtures

REFUSAL = reply(b"too much", status="413 Too Large")
LARGE = b"x" * 32 * 1024 * 1024  # more than all buffers on the way hold


def in_threads(count, work):
    """Run *work* so many times at once; return what each returned or raised."""
    found = [None] * count

    def run(number):
        try:
            found[number] = work(number)
        except Exception as exc:
            found[number] = exc

    threads = [threading.Thread(target=run, args=(one,)) for one in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_many_threads_send_over_connections_that_are_kept():
    def script(line):
        while request := line.request():
            line.send(reply(request.partition(b"\r\n\r\n")[2]))

    with Hostile(script) as server, open_http() as http:
        peer = Peer(server.url)

        def work(number):
            bodies = [b"%d-%d" % (number, turn) for turn in range(60)]
            return all(http.send(peer, Message(body=b)).body == b for b in bodies)

        assert in_threads(40, work) == [True] * 40
        assert len(server.lines) <= 40


def test_threads_share_the_connections_there_may_be():
    most, now, lock = [0], [0], threading.Lock()

    def script(line):
        while line.request():
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.001)  # as long as a reply takes
            with lock:
                now[0] -= 1
            line.send(OK)

    with Hostile(script) as server, open_http(connections=3) as http:
        peer = Peer(server.url)
        found = in_threads(24, lambda _: [http.receive(peer).ok for _ in range(10)])

    assert found == [[True] * 10] * 24
    assert 1 < most[0] <= 3


@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
def test_a_refusal_is_heard_while_the_message_is_sent(
    open_form, authority, good, secured
):
    """A server that answers, and then neither reads on nor closes."""
    gone = threading.Event()

    def script(line):
        line.sock.recv(1000)
        line.send(REFUSAL)
        gone.wait(60)

    with (
        Hostile(script, tls=good if secured else None) as server,
        open_form(ca_file=authority.file) as form,
    ):
        got = form.send(server.url, LARGE, timeout=60)
        assert (got.status, got.body) == (413, b"too much")
        # What was sent only by half is in the way of the next message.
        form.send(server.url, LARGE, timeout=60)
        assert len(server.lines) == 2
        gone.set()


def test_a_message_that_is_taken_slowly_has_its_limit(form):
    def script(line):
        while line.sock.recv(4096) and line.wait(0.01):
            pass

    with Hostile(script) as server, pytest.raises(Late) as caught:
        form.send(server.url, LARGE, timeout=0.4)

    assert "to take the message: it took " in caught.value.what
    assert caught.value.delivered is None


def test_a_shutdown_ends_who_sends_and_who_waits_for_a_connection():
    came = threading.Event()

    def script(line):
        line.request()
        came.set()
        line.sock.recv(1000)  # until the client has gone

    with Hostile(script) as server, open_http(connections=1) as http:
        peer, began = Peer(server.url), time.monotonic()

        def work(number):
            if number == 3:
                came.wait(20)
                http.shutdown()
                return None
            return http.send(peer, Message(body=b"x"), timeout=50)

        *ended, _ = in_threads(4, work)
        assert time.monotonic() - began < 20
        assert all(isinstance(one, TransportError) for one in ended), ended
        # One was sent; of the others the text says that nothing was.
        assert sorted(str(one.delivered) for one in ended) == ["False", "False", "None"]
        assert len(server.lines) == 1


def test_what_is_connected_after_a_shutdown_sends_nothing(authority, good):
    came, over, got = threading.Event(), threading.Event(), []

    def script(line):
        came.set()
        over.wait(60)
        line.sock = good.wrap_socket(line.sock, server_side=True)
        got.append(line.request())

    with Hostile(script) as server, open_http(ca_file=authority.file) as http:
        peer = Peer(server.url.replace("http", "https"))

        def work(number):
            if number:
                came.wait(60)
                http.shutdown()
                over.set()
                return None
            return http.send(peer, Message(body=b"x"), timeout=50)

        error, _ = in_threads(2, work)

    assert isinstance(error, Refused)
    assert "the transport was shut down" in error.what
    assert error.delivered is False
    assert got == [b""]


SIGPIPE = """
import signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sys.path.insert(0, sys.argv[1])
from hostile_server import open_http
from btplug import Message, Peer
from btplug.errors import TransportError

with open_http() as http:
    try:
        http.send(Peer(sys.argv[2]), Message(body=bytes(1 << 25)), timeout=30)
    except TransportError as exc:
        print(exc.kind)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
def test_a_program_that_sigpipe_would_end_gets_an_error():
    def script(line):
        line.sock.recv(1000)
        line.reset()

    with Hostile(script) as server:
        done = subprocess.run(
            [sys.executable, "-c", SIGPIPE, hostile_server.__file__.rpartition("/")[0],
             server.url],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "cut\n"), done.stderr


def test_connections_that_are_not_kept_go_without_a_garbage_collection():
    """A program may have switched that off."""
    script = """
import gc, sys, weakref
sys.path.insert(0, sys.argv[1])
from hostile_server import open_http
from btplug import Message, Peer

gc.disable()
with open_http() as http:
    kinds = lambda: sum(type(o).__name__ == "SyncConnection" for o in gc.get_objects())
    for _ in range(5):
        http.send(Peer(sys.argv[2]), Message(body=b"x"))
    print(kinds())
"""
    with Hostile(answering(reply(b"ok", b"Connection: close"))) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, hostile_server.__file__.rpartition("/")[0],
             server.url],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.stdout == "0\n", done.stderr
