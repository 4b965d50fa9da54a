"""A head that came before is not parsed again; nothing else may come of that."""

from __future__ import annotations

import gc
import random

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, reply
from test_http_fuzz import BITS, broken

from btplug.errors import BadReply, TransportError

form, open_form = hostile_server.form, hostile_server.open_form


def outcome(form, url, method="GET"):
    """Return what came of it, without what differs from one try to the next."""
    try:
        got = form.send(url, method=method, timeout=20)
    except TransportError as exc:
        return exc.kind, exc.what.split(" within ")[0]
    return got.status, got.headers, got.media_type, got.body


@pytest.mark.parametrize("seed", range(3))
def test_what_came_before_reads_as_it_did_the_first_time(form, seed):
    """The same damaged bytes, after a sound head that they share, and after themselves."""
    chance = random.Random(seed)
    heads = [OK[: OK.index(b"ok")], reply(b"12345", b"Content-Type: text/x")[:-5]]
    cases = [broken(chance) for _ in range(30)]
    cases += [
        chance.choice(heads) + b"".join(chance.choices([*BITS, b"ok", OK], k=2))
        for _ in range(30)
    ]

    def script(line):
        number = int(line.request().split(b" ")[1][1:])
        line.send(cases[number])  # and ends, for many have no end of their own

    with Hostile(script) as server, Hostile(answering(OK)) as sound:
        for number in range(len(cases)):
            url = f"{server.url}/{number}"
            first = outcome(form, url)
            for _ in range(2):
                assert form.send(sound.url).body == b"ok"
                again = outcome(form, url)
                assert again == first, cases[number]


@pytest.mark.parametrize("cut", [1, 20, len(OK) - 3, len(OK) - 2, len(OK) - 1])
def test_it_comes_whole_or_in_parts(form, cut):
    def script(line):
        for _ in range(4):
            line.request()
            line.send(OK)
            line.request()
            line.send(OK[:cut])
            line.wait(0.01)
            line.send(OK[cut:])

    with Hostile(script) as server:
        for _ in range(8):
            assert form.send(server.url, b"x").body == b"ok"
        assert len(server.lines) == 1


def test_the_same_head_for_head_and_for_get(form):
    """HEAD is answered with the length that the body would have."""

    def script(line):
        while request := line.request():
            head = request.startswith(b"HEAD")
            line.send(OK[:-2] if head else OK)

    with Hostile(script) as server:
        for _ in range(3):
            assert form.receive(server.url).body == b"ok"
            assert form.send(server.url, method="HEAD").body == b""
        assert len(server.lines) == 1


@pytest.mark.parametrize("end", [b"Connection: close\r\n", b""])
def test_a_head_reply_ends_the_connection_where_it_says_so_or_brings_a_body(form, end):
    head, body = OK[:-2], OK[-2:]
    answer = head.replace(b"\r\n\r\n", b"\r\n" + end + b"\r\n")

    def script(line):
        while line.request():
            line.send(answer if end else answer + body)

    with Hostile(script) as server:
        for _ in range(3):
            assert form.send(server.url, method="HEAD").body == b""
        assert len(server.lines) == 3


def test_a_head_after_100_continue_is_its_own(form):
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"four")
    parts = iter([OK, whole, OK, whole])

    def script(line):
        while line.request():
            line.send(next(parts))

    with Hostile(script) as server:
        got = [form.send(server.url, b"x").body for _ in range(4)]
    assert got == [b"ok", b"four"] * 2


def test_a_connection_that_closes_is_not_kept_by_a_head_that_came_before(form):
    last = reply(b"ok", b"Connection: close")

    with Hostile(answering(last)) as server:
        for _ in range(4):
            assert form.send(server.url, b"x").body == b"ok"
        assert len(server.lines) == 4


@pytest.mark.parametrize("after", [b"!", OK, b"\r\n"])
def test_bytes_after_a_head_that_came_before_end_the_connection(form, after):
    def script(line):
        line.request()
        line.send(OK)
        line.request()
        line.send(OK + after)
        while line.request():
            line.send(reply(b"next"))

    with Hostile(script) as server:
        for _ in range(2):
            assert form.send(server.url, b"x").body == b"ok"
        assert form.send(server.url, b"x").body == b"ok"
        assert len(server.lines) == 2


def test_the_limit_for_a_body_holds_for_a_head_that_came_before(open_form):
    """Learned from HEAD, which has no body, or before: it is asked each time."""
    with open_form(max_body=1) as form, Hostile(answering(OK)) as server:
        for _ in range(3):
            with pytest.raises(TransportError, match="announces 2 bytes"):
                form.receive(server.url)


def test_heads_are_forgotten_before_they_fill_the_memory(form):
    def script(line):
        number = 0
        while line.request():
            number += 1
            line.send(reply(b"ok", b"x-number: %d" % number))
            line.request()
            line.send(reply(b"ok", b"x-long: %d%s" % (number, b"x" * 1024)))

    with Hostile(script) as server:
        known, most = {}, 0
        for number in range(1, 600):
            assert form.send(server.url).header("x-number") == str(number)
            assert form.send(server.url).header("x-long")
            known = known or _known()
            most = max(most, len(known))
        assert most == 512
        assert max(map(len, known)) < 1024


def test_two_lengths_in_a_head_are_refused_each_time(form):
    with Hostile(answering(reply(b"ok", b"content-length: 2"))) as server:
        for _ in range(3):
            with pytest.raises(BadReply):
                form.receive(server.url)


def _known():
    gc.collect()
    # Those of the form that sends; the other one knows none.
    every = [one for one in gc.get_objects() if type(one).__name__ == "Heads"]
    return max((heads._known for heads in every), key=len)
