"""What servers do to a client: each line of servers.md that one message can meet.

Every claim holds for the sync and for the async form.
"""

from __future__ import annotations

import gzip
import resource
import socket
import threading
import time
import zlib

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, recording, reply, then_close

from btplug.errors import BadReply, Cut, Late, NotAllowed, Refused, TooLarge

form, open_form = hostile_server.form, hostile_server.open_form

LIMIT = 0.4  # seconds
GUARD = 0.4  # seconds later the call must have ended, on a busy machine


@pytest.fixture
def late(form):
    """Send to a server and expect it to be late; return the error."""

    def call(script, *, timeout=LIMIT, body=b"", host=None):
        with Hostile(script) as server:
            began = time.monotonic()
            with pytest.raises(Late) as caught:
                form.send(host or server.url, body, timeout=timeout)
            assert timeout <= time.monotonic() - began < timeout + GUARD
        return caught.value

    return call


# -- time: S01 to S05


def test_dripping_headers_end_at_the_deadline(late):
    def script(line):
        line.request()
        line.drip(b"HTTP/1.1 200 OK\r\nX-Slow: a", 0.05)

    error = late(script)

    assert error.what.startswith("waited 0.4 s for the reply headers: ")
    assert error.what.endswith(" bytes had arrived")
    assert error.delivered is None


def test_a_dripping_body_ends_at_the_deadline_and_says_how_far_it_came(late):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        line.drip(b"x", 0.05)

    error = late(script)

    assert "waited 0.4 s for the reply body: got " in error.what
    assert error.what.endswith(" of 1,000 bytes")


def test_a_silent_server_ends_at_the_deadline(late):
    error = late(lambda line: line.request() and line.wait())

    assert error.what == "waited 0.4 s for the reply headers: no bytes had arrived"
    assert "timeout" in error.fix


def test_slowly_repeated_100_continue_ends_at_the_deadline(late):
    def script(line):
        line.request()
        while line.wait(0.05):
            line.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    assert "reply headers" in late(script).what


def test_endless_100_continue_ends_at_the_limit_for_headers(form):
    def script(line):
        line.request()
        while line.wait(0):
            line.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with Hostile(script) as server, pytest.raises(TooLarge, match="and no end"):
        form.send(server.url, timeout=5)


def test_one_100_continue_before_the_reply_is_passed_over(form):
    with Hostile(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)) as server:
        assert form.send(server.url).body == b"ok"


def test_slowly_dripping_chunks_end_at_the_deadline(late):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while line.wait(0.05):
            line.send(b"1\r\nx\r\n")

    assert late(script).what.endswith("bytes, and no end")


def test_endless_chunks_end_at_the_limit_for_bodies(open_form):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while line.wait(0):
            line.send(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")

    with (
        open_form(max_body=1_000_000) as form,
        Hostile(script) as server,
        pytest.raises(TooLarge) as caught,
    ):
        form.send(server.url, timeout=20)

    assert caught.value.what == (
        "found more than 1,000,000 bytes, expected at most 1,000,000 bytes"
    )
    assert "http.max_body" in caught.value.fix


def test_a_server_that_takes_a_message_slowly_ends_at_the_deadline(late):
    def script(line):
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while line.wait(0.05):
            line.sock.recv(1000)

    error = late(script, body=b"x" * 30_000_000)

    assert " to take the message: it took " in error.what
    assert error.what.endswith(" of 30,000,141 bytes") or "of 30,000," in error.what
    assert error.delivered is None


def test_a_full_backlog_ends_at_the_deadline_with_nothing_delivered(form):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        with pytest.raises(Late) as caught:
            form.send(f"http://127.0.0.1:{port}", timeout=LIMIT)
        for one in crowd:
            one.close()

    assert caught.value.what == (
        f"waited 0.4 s for a connection to 127.0.0.1:{port}: no bytes had arrived"
    )
    assert caught.value.delivered is False


@pytest.mark.parametrize("limit", [0, -1.0])
def test_no_time_left_is_late_with_nothing_delivered(form, limit):
    with Hostile(answering(OK)) as server:
        with pytest.raises(Late) as caught:
            form.send(server.url, timeout=limit)
        assert not server.lines

    assert caught.value.delivered is False


def test_waiting_for_a_free_connection_counts(open_form):
    entered, seen = threading.Event(), []

    def script(line):
        seen.append(line.request())
        entered.set()
        line.wait()

    with open_form(connections=1, timeout=3) as form, Hostile(script) as server:
        first = threading.Thread(target=_ignoring(form.send), args=(server.url,))
        first.start()
        assert entered.wait(5)
        with pytest.raises(Late) as caught:
            form.send(server.url, timeout=0.2)
        first.join(10)

    assert len(seen) == 1
    assert caught.value.what.startswith("waited 0.2 s for a free connection")
    assert caught.value.delivered is False


def _ignoring(function):
    def call(*args):
        with pytest.raises((Late, Cut)):
            function(*args)

    return call


# -- framing: S06, S08


def test_a_short_body_says_how_much_came(form):
    with (
        Hostile(
            then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        ) as server,
        pytest.raises(Cut) as caught,
    ):
        form.send(server.url)

    assert caught.value.what == (
        "the connection ended in waiting for the reply body: got 3 of 100 bytes"
    )
    assert caught.value.where == server.url
    assert "send it again only if" in caught.value.fix
    assert caught.value.delivered is None


def test_a_chunked_body_without_its_end_is_cut(form):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(Cut, match="got 3 bytes, and no end"),
    ):
        form.receive(server.url)


def test_a_body_that_ends_with_the_connection_is_whole(form):
    with Hostile(then_close(b"HTTP/1.1 200 OK\r\n\r\nabc")) as server:
        assert form.receive(server.url).body == b"abc"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"200 OK\r\nContent-Length: 2\r\nContent-Length: 3", id="two"),
        pytest.param(b"200 OK\r\nContent-Length: -2", id="negative"),
        pytest.param(b"200 OK\r\nContent-Length: 0x2", id="hex"),
        pytest.param(b"200 OK\r\nContent-Length: \xb2", id="superscript"),
        pytest.param(
            b"200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", id="both"
        ),
        pytest.param(b"200 OK\r\nTransfer-Encoding: gzip", id="other coding"),
        pytest.param(b"200 OK\r\nno colon", id="no colon"),
        pytest.param(b"200 OK\r\nA B: 1", id="space in name"),
        pytest.param(b"200 OK\r\nX: a\x00b", id="NUL"),
        pytest.param(b"000 Zero", id="status 000"),
        pytest.param(b"099 Low", id="status 099"),
        pytest.param(b"20 Short", id="status 20"),
        pytest.param(b"101 Switching Protocols\r\nUpgrade: x", id="switch"),
    ],
)
def test_a_reply_that_breaks_the_rules_is_refused(form, head):
    with (
        Hostile(then_close(b"HTTP/1.1 " + head + b"\r\n\r\nok")) as server,
        pytest.raises(BadReply) as caught,
    ):
        form.send(server.url)

    assert caught.value.exit_code == 5
    assert caught.value.where == server.url


@pytest.mark.parametrize("size", [b"zz", b"-1", b"ffffffffffffffffffffff"])
def test_a_chunk_size_that_is_none_is_refused(form, size):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nab"
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(BadReply, match="body that breaks the rules"),
    ):
        form.send(server.url)


def test_what_is_no_http_is_shown_escaped(form):
    with (
        Hostile(then_close(b"SSH-2.0-\x1b[31mOpen\r\n\r\n")) as server,
        pytest.raises(BadReply) as caught,
    ):
        form.send(server.url)

    assert "it begins with b'SSH-2.0-\\x1b[31mOpen\\r\\n\\r\\n'" in caught.value.what
    assert "\x1b" not in str(caught.value)


# -- compression: S11, S13


def _gzipped(size):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1_000_000)
    parts = [packer.compress(block) for _ in range(size // len(block))]
    return b"".join([*parts, packer.flush()])


def test_a_gzip_bomb_is_refused_before_it_is_held(form):
    bomb = _gzipped(300_000_000)
    assert len(bomb) < 300_000
    with Hostile(answering(reply(bomb, b"Content-Encoding: gzip"))) as server:
        with pytest.raises(TooLarge):  # once, so that the second one is measured alone
            form.receive(server.url)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TooLarge) as caught:
            form.receive(server.url)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert grown < 20_000  # KiB
    assert f"found {len(bomb):,} bytes of gzip that decode to more" in caught.value.what


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"hello" * 1000)),
        ("GZip", gzip.compress(b"hello" * 500) + gzip.compress(b"hello" * 500)),
        ("deflate", zlib.compress(b"hello" * 1000)),
        ("deflate", zlib.compress(b"hello" * 1000)[2:-4]),
        ("identity", b"hello" * 1000),
    ],
)
def test_what_was_offered_is_decoded(form, coding, packed):
    data = reply(packed, b"Content-Encoding: " + coding.encode())
    with Hostile(answering(data)) as server:
        answer = form.receive(server.url)

    assert answer.body == b"hello" * 1000
    assert answer.header("content-length") == str(len(packed))


@pytest.mark.parametrize(
    ("coding", "body", "match"),
    [
        ("gzip", b"plain text", "is not the gzip it claims to be .*b'plain text'"),
        ("gzip", gzip.compress(b"hello")[:-3], "ends early"),
        ("gzip", gzip.compress(b"hello") + b"more", "more follows"),
        ("deflate", b"\xff\xff", "not the deflate"),
        ("br", b"x", "content encoding 'br', expected gzip or deflate"),
        ("gzip, gzip", b"x", "content encoding 'gzip, gzip'"),
    ],
)
def test_a_body_that_is_not_what_it_claims_is_refused(form, coding, body, match):
    data = reply(body, b"Content-Encoding: " + coding.encode())
    with Hostile(answering(data)) as server, pytest.raises(BadReply, match=match):
        form.receive(server.url)


def test_an_empty_body_is_empty_in_any_coding(form):
    data = reply(b"", b"Content-Encoding: gzip", status="204 No Content")
    with Hostile(answering(data)) as server:
        assert form.receive(server.url).body == b""


# -- sizes: S15


def test_a_header_of_two_megabytes_is_refused(form):
    data = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n"
    with (
        Hostile(then_close(data)) as server,
        pytest.raises(TooLarge, match=r"headers and no end, expected .* 65,536"),
    ):
        form.receive(server.url)


def test_headers_just_over_the_limit_are_refused(form):
    data = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 66_000 + b"\r\n\r\n"
    with Hostile(then_close(data)) as server, pytest.raises(TooLarge):
        form.receive(server.url)


@pytest.mark.parametrize("count", [201, 5000])
def test_too_many_headers_are_refused(form, count):
    lines = b"".join(b"X-%d: 1\r\n" % n for n in range(count))
    with (
        Hostile(then_close(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")) as server,
        pytest.raises(TooLarge),
    ):
        form.receive(server.url)


def test_an_announced_body_over_the_limit_is_refused_unread(form):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    with Hostile(then_close(data)) as server, pytest.raises(TooLarge) as caught:
        form.receive(server.url)

    assert caught.value.what == (
        "the reply announces 99,999,999,999 bytes, expected at most 67,108,864 bytes"
    )


# -- redirects: S16, S18 to S20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_reply_and_nothing_is_sent_anywhere(form, status):
    elsewhere = []
    with Hostile(recording(elsewhere), host="127.0.0.2") as other:
        target = f"Location: {other.url}/steal".encode()
        with Hostile(answering(reply(b"gone", target, status=f"{status} X"))) as server:
            answer = form.send(
                server.url,
                b"secret",
                headers=(("authorization", "Bearer t"), ("x-api-key", "k")),
            )

    assert (answer.status, answer.body, answer.ok) == (status, b"gone", False)
    assert answer.header("location") == f"{other.url}/steal"
    assert elsewhere == []


@pytest.mark.parametrize("target", [b"http://[bad", b"ftp://x/", b"\xff\xfe", b""])
def test_a_redirect_to_nowhere_is_a_reply_too(form, target):
    data = reply(b"", b"Location: " + target, status="302 Found")
    with Hostile(answering(data)) as server:
        assert form.receive(server.url).status == 302


# -- endings: S21, S22


def test_a_refused_connection_says_so_and_delivered_nothing(form, free_port):
    with pytest.raises(Refused) as caught:
        form.send(f"http://127.0.0.1:{free_port}/x")

    assert str(caught.value) == (
        f"127.0.0.1:{free_port} refused the connection\n"
        f"  where: http://127.0.0.1:{free_port}/x\n"
        "  fix:   check the address, and that the peer runs"
    )
    assert caught.value.delivered is False
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.fixture
def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def test_a_connection_closed_without_a_byte_is_cut(form):
    with Hostile(lambda line: line.request()) as server:
        with pytest.raises(Cut) as caught:
            form.send(server.url)
        assert len(server.lines) == 1  # a new connection: nothing is sent again

    assert "waiting for the reply headers: no bytes had arrived" in caught.value.what
    assert caught.value.delivered is None


def test_a_reset_in_the_body_is_cut(form):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        line.sock.recv(1)  # the client has read what came, and closes or waits
        line.reset()

    def reset(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        line.wait(0.1)
        line.reset()

    with Hostile(reset) as server, pytest.raises(Cut) as caught:
        form.send(server.url)

    assert "got 3 of 100 bytes" in caught.value.what


def test_a_name_without_an_address_is_refused_with_its_reason(form):
    with pytest.raises(Refused) as caught:
        form.send("http://no-such-host.invalid:81/", timeout=10)

    assert caught.value.what.startswith(
        "the name of no-such-host.invalid:81 has no address ("
    )
    assert caught.value.delivered is False


def test_a_name_too_long_to_be_one_is_refused(form):
    with pytest.raises(Refused, match="not a possible name"):
        form.send(f"http://{'a' * 64}.invalid/")


def test_a_slow_look_up_ends_at_the_deadline(form, monkeypatch):
    release, real = threading.Event(), socket.getaddrinfo

    def slow(host, *args, **keywords):
        if host == "slow.test" and not keywords.get("flags"):
            release.wait(10)
        return real(host, *args, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(Late) as caught:
        form.send("http://slow.test/", timeout=LIMIT)
    assert time.monotonic() - began < LIMIT + GUARD
    release.set()

    assert caught.value.what == (
        "waited 0.4 s for the address of slow.test:80: no bytes had arrived"
    )
    assert caught.value.delivered is False


def test_the_next_address_of_a_name_is_tried(form, monkeypatch, free_port):
    real = socket.getaddrinfo

    def two(host, port, *args, **keywords):
        if keywords.get("flags") or host != "two.test":
            return real(host, port, *args, **keywords)
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.3", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with Hostile(answering(OK)) as server:
        assert form.send(f"http://two.test:{server.port}").body == b"ok"


# -- kept connections: S23


def test_a_server_that_closes_after_each_reply_fails_nobody(form):
    """0 of 20, for GET and POST alike: the server announces nothing and closes."""
    with Hostile(then_close(OK)) as server:
        for _ in range(20):
            assert form.receive(server.url).body == b"ok"
            assert form.send(server.url, b"x").body == b"ok"

    assert len(server.lines) == 40


@pytest.mark.parametrize("pause", [0.0, 0.0002, 0.001, 0.003])
def test_a_get_meets_a_connection_that_is_being_closed_without_failing(form, pause):
    def script(line):
        line.request()
        line.send(OK)
        time.sleep(pause)

    with Hostile(script) as server:
        for _ in range(20):
            assert form.receive(server.url).body == b"ok"
            time.sleep(pause)


def test_a_get_on_a_kept_connection_is_asked_again_once(form):
    """The server reads the second request and only then closes."""

    def script(line):
        line.request()
        line.send(OK)
        if line.number == 0:
            line.request()
        else:
            line.wait()

    with Hostile(script) as server:
        assert form.receive(server.url).body == b"ok"
        assert form.receive(server.url).body == b"ok"
        assert len(server.lines) == 2


def test_a_post_on_a_kept_connection_is_not_sent_again(form):
    seen = []

    def script(line):
        seen.append(line.request())
        line.send(OK)
        seen.append(line.request())

    with Hostile(script) as server:
        form.send(server.url, b"one")
        with pytest.raises(Cut) as caught:
            form.send(server.url, b"two")
        assert len(server.lines) == 1

    assert [request[-3:] for request in seen] == [b"one", b"two"]
    assert caught.value.delivered is None


def test_a_get_that_is_cut_on_new_connections_is_not_repeated_for_ever(form):
    def script(line):
        line.request()
        if line.number == 0:
            line.send(OK)
            line.request()

    with Hostile(script) as server:
        form.receive(server.url)
        with pytest.raises(Cut):
            form.receive(server.url)
        assert len(server.lines) == 2


def test_connections_are_kept_and_used_again(form):
    with Hostile(answering(OK)) as server:
        for _ in range(5):
            form.send(server.url, b"x")
            form.receive(server.url)
        assert len(server.lines) == 1


def test_keep_alive_0_keeps_no_connection(open_form):
    with open_form(keep_alive=0) as form, Hostile(answering(OK)) as server:
        form.receive(server.url)
        form.receive(server.url)
        assert len(server.lines) == 2


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(OK + reply(b"not yours"), id="a second reply in one packet"),
        pytest.param(OK + b"junk", id="junk after the body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\n\r\n" + reply(b"not yours"),
            id="a second reply after chunks",
        ),
    ],
)
def test_bytes_that_nobody_asked_for_never_become_the_next_reply(form, first):
    def script(line):
        while line.request():
            line.send(first if line.number == 0 else reply(b"yours"))

    with Hostile(script) as server:
        assert form.receive(server.url).body == b"ok"
        assert form.receive(server.url).body == b"yours"
        assert form.send(server.url, b"x").body == b"yours"


def test_chunked_replies_keep_their_connection(form):
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with Hostile(answering(data)) as server:
        for _ in range(3):
            assert form.receive(server.url).body == b"ok"
        assert len(server.lines) == 1


def test_a_body_after_head_is_not_taken_for_the_next_reply(form):
    def script(line):
        while request := line.request():
            whole = reply(b"ok")
            line.send(whole if request.startswith(b"HEAD") else reply(b"get"))

    with Hostile(script) as server:
        assert form.send(server.url, method="HEAD").body == b""
        assert form.receive(server.url).body == b"get"


def test_a_server_that_answers_before_it_has_read_all_is_heard(form):
    def script(line):
        line.sock.recv(1000)
        line.send(reply(b"too big", b"Connection: close", status="413 Too Large"))
        line.sock.shutdown(socket.SHUT_WR)
        while line.sock.recv(65536):
            pass

    with Hostile(script) as server:
        assert form.send(server.url, b"x" * 5_000_000).status == 413


# -- what is sent and shown: S29, S30


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": (("x", "a\r\nInjected: 1"),)},
        {"headers": (("x", "a\nb"),)},
        {"headers": (("x", "a\x00b"),)},
        {"headers": (("x", "ä"),)},
        {"headers": (("x\r\nInjected", "1"),)},
        {"headers": (("x y", "1"),)},
        {"headers": (("", "1"),)},
        {"headers": (("Host", "other"),)},
        {"headers": (("Content-Length", "1"),)},
        {"headers": (("Transfer-Encoding", "chunked"),)},
        {"headers": (("Connection", "close"),)},
        {"media_type": "text/plain\r\nX: 1"},
        {"method": "get"},
        {"method": "GET / HTTP/1.1\r\nX:"},
        {"method": "CONNECT"},
        {"target": "/a\r\nX: 1"},
        {"target": "/a b"},
        {"target": "/a#b"},
    ],
    ids=repr,
)
def test_what_may_not_be_sent_is_refused_before_connecting(form, wrong):
    with Hostile(answering(OK)) as server:
        with pytest.raises(NotAllowed) as caught:
            form.send(server.url, b"x", **wrong)
        assert not server.lines

    assert caught.value.delivered is False
    assert caught.value.fix
    assert "\r" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pa55@127.0.0.1/",
        "http://127.0.0.1/\r\nX: 1",
        "http://127.0.0.1:99999/",
        "http://",
        "ftp://127.0.0.1/",
        "http://[::1/",
        "http://a b/",
        "no-url",
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_a_password(form, url):
    with pytest.raises(NotAllowed) as caught:
        form.receive(url)

    assert "pa55" not in str(caught.value)
    assert caught.value.delivered is False


def test_a_secret_header_is_in_no_error(form):
    with pytest.raises(NotAllowed) as caught:
        form.send("http://127.0.0.1/", headers=(("authorization", "Bearer s3cret\n"),))

    assert "s3cret" not in str(caught.value)


def test_a_query_is_in_no_error(form, free_port):
    with pytest.raises(Refused) as caught:
        form.receive(f"http://127.0.0.1:{free_port}/a?key=s3cret")

    assert caught.value.where == f"http://127.0.0.1:{free_port}/a?…"
    assert "s3cret" not in str(caught.value)


def test_escapes_in_a_reply_stay_data_and_never_reach_a_message(form):
    data = (
        b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Type: \x1b[2Jx\r\nX: \x1b[1m\r\n"
        b"Content-Encoding: \x1b[5m\r\nContent-Length: 5\r\n\r\n\x1b[0m!"
    )
    with Hostile(answering(data)) as server, pytest.raises(BadReply) as caught:
        form.receive(server.url)
    assert "\x1b" not in str(caught.value)

    plain = data.replace(b"Content-Encoding: \x1b[5m\r\n", b"")
    with Hostile(answering(plain)) as server:
        answer = form.receive(server.url)
    assert (answer.header("x"), answer.media_type) == ("\x1b[1m", "\x1b[2Jx")
    with pytest.raises(BadReply) as caught:
        answer.json()
    assert "\x1b" not in str(caught.value)


def test_the_environment_has_no_say(form, monkeypatch, tmp_path):
    """Proxies, .netrc, and certificates of the environment are not looked at."""
    proxied, seen = [], []
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    with Hostile(recording(proxied)) as proxy, Hostile(recording(seen)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        form.send(server.url, b"x")

    assert proxied == []
    assert len(seen) == 1
    assert b"authorization" not in seen[0].lower()


def test_no_cookie_is_kept_nor_sent(form):
    seen = []
    data = reply(b"ok", b"Set-Cookie: id=1; Path=/", b"Set-Cookie: b=2")
    with Hostile(recording(seen, data)) as server:
        answer = form.receive(server.url)
        form.receive(server.url)

    assert [v for k, v in answer.headers if k == "Set-Cookie"] == [
        "id=1; Path=/",
        "b=2",
    ]
    assert all(b"cookie" not in request.lower() for request in seen)
