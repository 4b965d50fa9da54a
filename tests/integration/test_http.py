"""HTTPTransportPlugin with servers that behave: both forms, loops, threads, ends."""

from __future__ import annotations

import socket
import sys
import tracemalloc
from importlib.util import find_spec

import hostile_server
import pytest
from hostile_server import (
    OK,
    Hostile,
    answering,
    recording,
    reply,
)

from btplug import (
    Reply,
    __version__,
)
from btplug.errors import Cut, NotAllowed, Refused, UsageError

form, open_form = hostile_server.form, hostile_server.open_form


def lines_of(request):
    """Return the request line, the headers as a dict, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in rest), body


def test_send_posts_and_says_all_that_a_server_needs(form):
    seen = []
    with Hostile(recording(seen)) as server:
        answer = form.send(
            f"{server.url}/base",
            b"body",
            media_type="text/plain",
            headers=(("X-One", "1"), ("x-two", " 2\t")),
            target="/deep?q=1",
        )

    first, headers, body = lines_of(seen[0])
    assert first == "POST /base/deep?q=1 HTTP/1.1"
    assert body == b"body"
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "user-agent": f"btplug/{__version__}",
        "content-type": "text/plain",
        "content-length": "4",
        "X-One": "1",
        "x-two": "2",
    }
    assert (answer.status, answer.body, answer.ok) == (200, b"ok", True)
    assert 0 < answer.seconds < 5
    assert answer.signer is None


def test_receive_gets_without_a_body(form):
    seen = []
    with Hostile(recording(seen)) as server:
        assert form.receive(f"{server.url}/a?b=c").body == b"ok"

    first, headers, body = lines_of(seen[0])
    assert first == "GET /a?b=c HTTP/1.1"
    assert body == b""
    assert not {"content-type", "content-length"} & set(headers)


def test_the_callers_own_headers_replace_ours(form):
    seen = []
    with Hostile(recording(seen)) as server:
        mine = (
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "me"),
        )
        form.send(server.url, b"{}", headers=mine, media_type="text/plain")

    names = [line.split(b":")[0].lower() for line in seen[0].split(b"\r\n")[1:-2]]
    assert sorted(names) == sorted(set(names))
    assert b"Content-Type: application/json" in seen[0]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "X-Y"])
def test_any_method_can_be_sent(form, method):
    seen = []
    with Hostile(recording(seen)) as server:
        form.send(server.url, b"x", method=method)

    assert seen[0].startswith(f"{method} / HTTP/1.1".encode())
    assert seen[0].endswith(b"\r\n\r\nx")


def test_an_empty_post_says_that_it_is_empty(form):
    seen = []
    with Hostile(recording(seen)) as server:
        form.send(server.url)

    assert b"content-length: 0\r\n" in seen[0].lower()


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500, 599, 999])
def test_an_answer_of_any_status_is_a_reply(form, status):
    body = b"" if status in (204, 304) else b"why"
    with Hostile(answering(reply(body, status=f"{status} X"))) as server:
        answer = form.send(server.url)

    assert (answer.status, answer.body) == (status, body)
    assert answer.ok is (status < 300)


def test_headers_keep_their_order_repeats_and_bytes(form):
    extra = (
        b"B: 1",
        b"A: 2",
        b"b: 3",
        b"C: \xc3\xa4",
        b"D: \xe4",
        b"Content-Type: x/y",
    )
    with Hostile(answering(reply(b"", *extra))) as server:
        answer = form.receive(server.url)

    assert answer.headers == (
        ("Content-Length", "0"),
        ("B", "1"),
        ("A", "2"),
        ("b", "3"),
        ("C", "ä"),
        ("D", "ä"),
        ("Content-Type", "x/y"),
    )
    assert answer.media_type == "x/y"


# Around what is read at once, and what a long body gets room for.
@pytest.mark.parametrize(
    "size", [65_536, 131_071, 131_072, 200_000, 3_000_001, 8_388_608, 8_388_609, 10**7]
)
def test_megabytes_go_there_and_back(form, size):
    body = (bytes(range(256)) * 40_000)[:size]

    def script(line):
        while request := line.request():
            line.send(reply(request.partition(b"\r\n\r\n")[2]))

    with Hostile(script) as server:
        assert form.send(server.url, body, timeout=20).body == body


@pytest.mark.parametrize(
    "more", [b"", b"!", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
)
def test_a_long_body_ends_where_it_says(form, more):
    """And what comes behind it is nobody's reply."""
    body = bytes(range(256)) * 4000
    asked = []

    def script(line):
        while line.request():
            asked.append(line)
            whole = reply(body) + more
            for start in range(0, len(whole), 150_001):
                line.send(whole[start : start + 150_001])

    with Hostile(script) as server:
        for _ in range(3):
            assert form.receive(server.url).body == body
    assert len(set(map(id, asked))) == (1 if not more else 3)


def test_a_long_body_that_is_cut_is_no_reply(form):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 3_999_999

    def script(line):
        line.request()
        line.send(data)

    with Hostile(script) as server, pytest.raises(Cut) as caught:
        form.receive(server.url)

    assert "3,999,999 of 4,000,000 bytes" in str(caught.value)


def test_many_tiny_chunks_cost_little_memory(form):
    count = 20_000
    chunks = b"2\r\nab\r\n" * count
    data = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    with Hostile(answering(data)) as server:
        form.receive(server.url)
        tracemalloc.start()
        try:
            assert len(form.receive(server.url).body) == 2 * count
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 1_000_000


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_works_in_brackets(form):
    seen = []
    with Hostile(recording(seen), host="::1") as server:
        assert form.receive(server.url).ok
        assert f"host: [::1]:{server.port}".encode() in seen[0]
    with pytest.raises(Refused, match=rf"\[::1\]:{server.port} refused"):
        form.receive(server.url)


def test_a_name_is_resolved_and_sent_as_the_host(form):
    seen = []
    with Hostile(recording(seen), name="localhost") as server:
        assert form.receive(server.url).ok

    assert f"host: localhost:{server.port}".encode() in seen[0]


def test_the_seeds_execute_sends_text(form):
    if form.kind == "async":
        pytest.skip("execute is the sync form")
    seen = []
    with Hostile(recording(seen)) as server:
        answer = form.transport.execute("hello", peer=server.url, timeout=5)

    assert isinstance(answer, Reply)
    assert seen[0].endswith(b"\r\n\r\nhello")


def test_a_time_limit_that_is_no_number_is_a_mistake_of_the_caller(form):
    with pytest.raises(UsageError, match="nan"):
        form.receive("http://127.0.0.1/", timeout=float("nan"))


def test_an_endless_time_limit_is_taken(form):
    with Hostile(answering(OK)) as server:
        assert form.receive(server.url, timeout=float("inf")).ok


def test_a_caller_who_chose_the_encodings_gets_what_is_unknown_here(form):
    data = reply(b"\x28\xb5\x2f\xfd", b"Content-Encoding: zstd")
    with Hostile(answering(data)) as server:
        answer = form.send(server.url, headers=(("Accept-Encoding", "zstd"),))

    assert answer.body == b"\x28\xb5\x2f\xfd"


def test_a_body_that_is_text_is_refused(form):
    with pytest.raises(NotAllowed, match="body of type str, expected bytes"):
        form.send("http://127.0.0.1/", "text")


def test_httpx2_is_used_where_it_is_installed(form):
    package = type(form.transport).__module__.rpartition(".")[0]
    used = sys.modules[f"{package}.library"].httpx

    assert used.__name__ == ("httpx2" if find_spec("httpx2") else "httpx")
