"""The sync form: many threads, messages that are refused halfway, and the end."""

from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, open_http, reply
from test_http_tls import authority, good

from btplug import Message, Peer
from btplug.errors import BadReply, Cut, Late, Refused, TransportError

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


def test_a_shutdown_ends_who_still_shakes_hands(authority):
    came = threading.Event()

    def script(line):
        while line.sock.recv(1000):  # until the client has gone
            came.set()

    with Hostile(script) as server, open_http(ca_file=authority.file) as http:
        peer, began = Peer(server.url.replace("http", "https")), time.monotonic()

        def work(number):
            if not number:
                return http.send(peer, Message(body=b"x"), timeout=50)
            came.wait(60)
            http.shutdown()

        error, _ = in_threads(2, work)

    assert time.monotonic() - began < 20
    assert isinstance(error, Refused)
    assert "the transport was shut down" in error.what
    assert error.delivered is False


def connecting(port):
    """Tell whether somebody here waits for an answer of *port*."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


def ended_by_a_shutdown(url, reached):
    """Send to *url*, shut down when *reached* says so; return the error."""
    with open_http() as http:
        began = time.monotonic()

        def work(number):
            if not number:
                return http.send(Peer(url), Message(body=b"x"), timeout=50)
            while not reached():
                time.sleep(0.005)
            http.shutdown()

        error, _ = in_threads(2, work)
        assert time.monotonic() - began < 20
        return error


def test_a_shutdown_ends_who_still_connects():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # more are not answered
            error = ended_by_a_shutdown(
                f"http://127.0.0.1:{port}", lambda: connecting(port)
            )

    assert isinstance(error, Refused)
    assert "the transport was shut down" in error.what
    assert error.delivered is False


def test_a_shutdown_ends_who_still_asks_for_an_address(monkeypatch):
    asked, over, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow(host, *args, **keywords):
        if host == "slow.test" and not keywords.get("flags"):
            asked.set()
            over.wait(60)
        return real(host, *args, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    error = ended_by_a_shutdown("http://slow.test/", asked.is_set)
    over.set()

    assert isinstance(error, Refused)
    assert "the transport was shut down" in error.what
    assert error.delivered is False


def test_a_place_that_is_given_as_the_limit_passes_is_not_lost():
    together = threading.Barrier(2)

    def script(line):
        while request := line.request():
            if request.startswith(b"GET /both"):
                together.wait(20)  # so both places there are must be in use
            line.wait(0.001)
            line.send(reply(b"ok", b"Connection: close"))

    with Hostile(script) as server, open_http(connections=2) as http:
        peer = Peer(server.url)

        def impatient(number):
            for turn in range(60):
                with suppress(TransportError):
                    http.receive(peer, timeout=0.0005 * (1 + (number + turn) % 12))
            return True

        assert in_threads(12, impatient) == [True] * 12
        both = Peer(f"{server.url}/both")
        assert in_threads(2, lambda _: http.receive(both, timeout=20).ok) == [True] * 2


def test_who_waits_first_is_served_first_and_nobody_beyond_his_limit():
    served, go = [], threading.Event()

    def script(line):
        while request := line.request():
            go.wait(20)
            served.append(int(request.partition(b"\r\n\r\n")[2]))
            line.send(OK)

    with Hostile(script) as server, open_http(connections=1) as http:
        peer, queue = Peer(server.url), http._engine._sync._queue

        def work(number):
            until = time.monotonic() + 20
            while number and len(queue) < number - 1:  # until it is its turn to wait
                assert time.monotonic() < until
                time.sleep(0.001)
            if number < 4:
                return http.send(peer, Message(body=b"%d" % number), timeout=20).ok
            try:
                http.send(peer, Message(body=b"%d" % number), timeout=0.2)
            except Late as exc:
                go.set()
                return exc

        *found, late = in_threads(5, work)

    assert found == [True] * 4
    assert served[-3:] == [*range(1, 4)] if served[0] == 0 else sorted(served)
    assert len(server.lines) == 1
    assert "waited 0.2 s for a free connection" in late.what
    assert late.delivered is False
    assert 4 not in served


def test_bytes_behind_a_long_body_in_one_record_are_nobodys_reply(
    open_form, authority, good
):
    evil = reply(b"EVIL")

    def script(line):
        for body in iter(lambda: line.request().partition(b"\r\n\r\n")[2], b""):
            head, whole = reply(body * 300_000).split(b"\r\n\r\n")
            line.send(head + b"\r\n\r\n")
            line.wait(0.02)
            line.send(whole[:-100])
            line.wait(0.02)
            line.send(whole[-100:] + evil)  # one record

    with (
        Hostile(script, tls=good) as server,
        open_form(ca_file=authority.file) as form,
    ):
        for one in b"a", b"b", b"c":
            assert form.send(server.url, one, timeout=20).body == one * 300_000
        assert len(server.lines) == 3


def test_a_reply_without_an_end_is_cut_by_a_shutdown():
    came = threading.Event()

    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\n\r\npart of")
        came.set()
        line.sock.recv(1000)  # until the client has gone

    with Hostile(script) as server, open_http() as http:

        def work(number):
            if not number:
                return http.receive(Peer(server.url), timeout=20)
            came.wait(20)
            while not http._engine._sync._busy:
                time.sleep(0.001)
            http.shutdown()

        error, _ = in_threads(2, work)

    assert isinstance(error, Cut)


@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
def test_a_broken_reply_while_the_message_is_sent_is_what_it_is(
    open_form, authority, good, secured
):
    gone = threading.Event()

    def script(line):
        line.sock.recv(1000)
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")
        gone.wait(60)

    with (
        Hostile(script, tls=good if secured else None) as server,
        open_form(ca_file=authority.file) as form,
    ):
        with pytest.raises(BadReply, match="Invalid character in Content-Length"):
            form.send(server.url, LARGE, timeout=60)
        gone.set()


def ran(script, *words):
    """Run *script* in a process of its own."""
    folder = hostile_server.__file__.rpartition("/")[0]
    return subprocess.run(
        [sys.executable, "-c", script, folder, *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


class Struck(BaseException):
    """As a signal's handler may raise, after any call."""


@contextmanager
def struck(number):
    """Raise at the so-manieth call within the pool; yield where that is noted."""
    seen = []

    def profile(frame, event, _):
        name = frame.f_code.co_filename
        if event in ("call", "c_return") and name.endswith(("syncpool.py", "shelf.py")):
            seen.append(name)
            if len(seen) == number:
                raise Struck

    sys.setprofile(profile)
    try:
        with suppress(Struck):
            yield seen
    finally:
        sys.setprofile(None)


# What is lost halfway the garbage collection closes, and warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_from_outside_loses_no_place_and_mixes_up_no_reply():
    def script(line):
        while request := line.request():
            line.send(reply(request.partition(b"\r\n\r\n")[2]))

    with Hostile(script) as one, Hostile(script) as other:
        with open_http(connections=2) as http:

            def ask(number):
                peer = Peer((one, other)[number % 2].url)
                body = b"%d" % number
                return http.send(peer, Message(body=body), timeout=20).body == body

            for number in range(1, 300):
                with struck(number) as seen:
                    ask(number)
                assert in_threads(2, ask) == [True] * 2
                if len(seen) < number:
                    break
            assert number > 20
            gc.collect()  # a connection that was lost halfway holds itself


def test_who_repeats_on_a_new_connection_gets_his_turn_among_others():
    died = []

    def script(line):
        served = 0
        while request := line.request():
            served += 1
            if b"victim" in request and served > 1 and not died:
                died.append(line)
                return  # a kept connection ends, before a byte
            line.wait(0.002)
            line.send(OK)

    with Hostile(script) as server, open_http(connections=1) as http:
        peer, over = Peer(server.url), threading.Event()

        def work(number):
            if not number:
                until = time.monotonic() + 20
                while not http._engine._sync._queue:
                    assert time.monotonic() < until
                    time.sleep(0.001)
                try:
                    return http.receive(Peer(f"{server.url}/victim"), timeout=20).ok
                finally:
                    over.set()
            while not over.is_set():
                assert http.receive(peer, timeout=20).ok
            return True

        assert in_threads(4, work) == [True] * 4
    assert died


HANDLER = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from hostile_server import open_http
from btplug import Message, Peer

sent = 0

def handler(*_):
    global sent
    if sent < 200:
        sent += 1
        assert send().ok
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

with open_http() as http:
    send = lambda: http.send(Peer(sys.argv[2]), Message(body=b"x"), timeout=20)
    send()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    while sent < 200:
        assert send().ok
    print("done")
"""


def test_a_signals_handler_may_send_in_the_midst_of_sending():
    with Hostile(answering(OK)) as server:
        done = ran(HANDLER, server.url)

    assert done.stdout == "done\n", done.stderr


CHILD = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from hostile_server import Hostile, OK, open_http
from btplug import Message, Peer

came, go, found = threading.Event(), threading.Event(), []

def script(line):
    line.request()
    came.set()
    go.wait(20)
    line.send(OK)

with Hostile(script) as server, open_http() as http:
    peer = Peer(server.url)
    send = lambda: found.append(http.send(peer, Message(body=b"x"), timeout=20).status)
    thread = threading.Thread(target=send)
    thread.start()
    came.wait(20)
    if not (child := os.fork()):
        http.shutdown()
        os._exit(0)
    os.waitpid(child, 0)
    go.set()
    thread.join()
    print(*found)
"""


def test_a_child_that_ends_its_context_ends_no_message_of_its_parent():
    done = ran(CHILD)

    assert done.stdout == "200\n", done.stderr


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from hostile_server import open_http
from btplug import Message, Peer

with open_http(keep_alive=20) as http:
    ask = lambda body: http.send(Peer(sys.argv[2]), Message(body=body), timeout=20).body
    ask(b"1"), ask(b"2")
    child = os.fork()
    who = b"parent" if child else b"child"
    wrong = sum(ask(b"%s %d" % (who, n)) != b"%s %d" % (who, n) for n in range(20))
    if not child:
        os._exit(wrong)
    print(wrong, os.waitpid(child, 0)[1])
"""


def test_a_child_process_leaves_its_parents_connections_alone():
    def script(line):
        while request := line.request():
            line.wait(0.002)
            line.send(reply(request.partition(b"\r\n\r\n")[2]))

    with Hostile(script) as server:
        done = ran(FORK, server.url)
        assert len(server.lines) == 2

    assert done.stdout == "0 0\n", done.stderr


INTERRUPTED = """
import os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
from hostile_server import Hostile, open_http
from btplug import Peer

signal.signal(signal.SIGINT, signal.default_int_handler)

def script(line):
    line.request()
    line.send(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGINT)).start()
    while True:
        line.send(b"1\\r\\nx\\r\\n" * 10_000)

with Hostile(script) as server, open_http() as http:
    for _ in range(20):
        try:
            print(http.receive(Peer(server.url), timeout=20).status)
        except KeyboardInterrupt:
            print("interrupted")
"""


def test_an_interrupt_in_the_midst_of_parsing_is_one():
    done = ran(INTERRUPTED)

    assert done.stdout == "interrupted\n" * 20, done.stderr


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
with open_http(proxy=sys.argv[3]) as http:
    for _ in range(100):
        try:
            http.send(Peer("https://neuron.test/"), Message(), timeout=30)
        except TransportError:
            pass
    print("alive")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
def test_a_program_that_sigpipe_would_end_gets_an_error():
    def script(line):
        line.sock.recv(1000)
        # Only after an end in order a reset is what SIGPIPE is sent for.
        line.sock.shutdown(socket.SHUT_WR)
        line.reset()

    def broken(line):
        line.sock.shutdown(socket.SHUT_WR)
        line.reset()

    with Hostile(script) as server, Hostile(broken) as proxy:
        done = ran(SIGPIPE, server.url, proxy.url)

    assert (done.returncode, done.stdout) == (0, "cut\nalive\n"), done.stderr


COLLECTED = """
import gc, sys
sys.path.insert(0, sys.argv[1])
from hostile_server import open_http
from btplug import Message, Peer
from btplug.errors import TransportError

gc.disable()
names = ("SyncConnection", "Exchange")
with open_http() as http:
    for url in sys.argv[2:]:
        for _ in range(5):
            try:
                http.send(Peer(url), Message(body=b"x"), timeout=20)
            except TransportError:
                pass
        print(sum(type(one).__name__ in names for one in gc.get_objects()))
"""


def test_messages_and_connections_go_without_a_garbage_collection():
    """A program may have switched that off."""
    closing = answering(reply(b"ok", b"Connection: close"))
    with Hostile(closing) as server, Hostile(lambda line: None) as silent:
        done = ran(COLLECTED, server.url, silent.url, "http://127.0.0.1:1/")

    assert done.stdout == "0\n" * 3, done.stderr
