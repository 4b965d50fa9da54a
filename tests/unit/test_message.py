"""Peer, Message, Reply: values, and what they make of bytes from outside."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
import time
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug import Health, Message, Peer, Reply
from btplug.errors import BadReply, UsageError
from btplug.message import read_body

VALUES = [
    Peer("http://h:1", "5F", "none"),
    Message(body=b"\x00", headers=(("a", "b"),), method="PUT", target="/x"),
    Reply(status=200, body=b"\xff", headers=(("a", "b"),), signer="5F", seconds=0.5),
    Health(ok=True, detail="fine"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_value_is_frozen_and_crosses_processes(value):
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        value.anything = 1
    assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
    packed = msgspec.msgpack.encode(value)
    assert msgspec.msgpack.decode(packed, type=type(value)) == value
    assert hash(value) == hash(copy.deepcopy(value))


# -- Peer


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("https://h/x", Peer("https://h/x")),
        ("h:8091", Peer("http://h:8091")),
        ("[::1]:8091", Peer("http://[::1]:8091")),
        ("5FHne@1.2.3.4:8091", Peer("http://1.2.3.4:8091", "5FHne")),
    ],
)
def test_a_peer_is_read_from_text(text, peer):
    assert Peer.parse(text) == peer


@pytest.mark.parametrize(
    "text", ["", "a:b@h:1", "5F é@h:1", "http://u:pa55@h/", "h:0", "h\n:1", "::1"]
)
def test_what_is_no_peer_is_refused(text):
    with pytest.raises(UsageError) as caught:
        Peer.parse(text)

    assert "pa55" not in str(caught.value)


# -- Message


@pytest.mark.parametrize(
    ("data", "body", "kind"),
    [
        (None, b"", "application/octet-stream"),
        ("ä", b"\xc3\xa4", "text/plain; charset=utf-8"),
        (b"x", b"x", "application/octet-stream"),
        (bytearray(b"x"), b"x", "application/octet-stream"),
        (memoryview(b"x"), b"x", "application/octet-stream"),
    ],
)
def test_a_message_is_made_of_what_people_have(data, body, kind):
    message = Message.of(data)

    assert (message.body, message.media_type) == (body, kind)
    assert type(message.body) is bytes


def test_a_message_stays_the_message_it_is():
    message = Message(body=b"x")
    assert Message.of(message) is message


@pytest.mark.parametrize("data", [1, {"a": 1}, ["x"], object()])
def test_other_data_is_refused_with_what_to_do(data):
    with pytest.raises(UsageError, match="expected text, bytes or a Message") as caught:
        Message.of(data)

    assert "JSON" in caught.value.fix


def test_text_that_utf8_has_not_is_refused_with_its_place():
    """As a shell hands over the byte 0xff: ``--data $'\\xff'``."""
    with pytest.raises(UsageError) as caught:
        Message.of("ab\udcff")

    assert str(caught.value) == (
        "found text with '\\udcff' at position 2, expected text that UTF-8 can write\n"
        "  fix:   hand bytes over as bytes, at a terminal as a file: @FILE"
    )
    assert caught.value.exit_code == 2


# -- Reply


@pytest.mark.parametrize(
    ("status", "ok"), [(199, False), (200, True), (299, True), (300, False)]
)
def test_ok_is_200_to_299(status, ok):
    assert Reply(status=status).ok is ok


def test_the_first_header_of_a_name_is_found_whatever_its_case():
    answer = Reply(status=200, headers=(("X-A", "1"), ("x-a", "2")))

    assert answer.header("x-A") == "1"
    assert answer.header("y") is None


def test_a_reply_that_is_ok_is_returned_as_expected():
    answer = Reply(status=204)
    assert answer.expect_ok("http://h") is answer


def test_a_redirect_is_an_error_that_says_where_it_points():
    moved = Reply(status=301, headers=(("Location", "http://h/b\x1b"),))

    with pytest.raises(BadReply) as caught:
        moved.expect_ok("http://h/a")

    assert caught.value.fix == (
        "redirects are not followed; if you trust it, send to 'http://h/b\\x1b'"
    )


def test_a_reply_that_is_not_ok_says_how_it_begins():
    answer = Reply(status=500, body=b"\x1b[31m" + b"x" * 100, media_type="a/\x1b[2J")
    with pytest.raises(BadReply) as caught:
        answer.expect_ok(Peer("http://h"))

    assert caught.value.what == (
        "the peer answered with status 500, expected 200 to 299: a body of 105 bytes "
        "(a/\\x1b[2J): '\\x1b[31m" + "x" * 75 + "'"
    )
    assert caught.value.where == "http://h"
    assert "\x1b" not in str(caught.value)


def test_a_record_has_text_as_text_and_other_bytes_in_base64():
    text = Reply(status=200, body="ä\x00".encode(), headers=(("a", "b"),)).record()
    other = Reply(status=404, body=b"\xff").record()

    assert text == {
        "status": 200,
        "ok": True,
        "media_type": "",
        "headers": [["a", "b"]],
        "signer": None,
        "seconds": 0.0,
        "body": "ä\x00",
    }
    assert (other["body_base64"], "body" in other) == ("/w==", False)
    assert json.loads(json.dumps(text)) == text


def test_text_is_utf8_or_an_error_that_shows_what_came():
    assert Reply(status=200, body="ä".encode()).text() == "ä"
    with pytest.raises(BadReply, match=r"1 bytes \(no content type\): '\\xff', expec"):
        Reply(status=200, body=b"\xff").text()


def test_json_is_read():
    answer = Reply(status=200, body=b'{"a": [1, 2.5, null, true, "x"]}')
    assert answer.json() == {"a": [1, 2.5, None, True, "x"]}


HTML = b"<!doctype html><title>\x1b[31m502 Bad Gateway</title>" + b"<p>" * 100


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b'{"amount": NaN}', "NaN is not JSON", id="NaN"),
        pytest.param(b"[Infinity]", "Infinity is not JSON", id="Infinity"),
        pytest.param(b"[-Infinity]", "-Infinity is not JSON", id="-Infinity"),
        pytest.param(b'{"amount": 1, "amount": 2}', "'amount' stands", id="twice"),
        pytest.param(b'[{"a": {"b": 1, "b": 1}}]', "'b' stands", id="twice inside"),
        pytest.param(b'"\xff"', "invalid start byte", id="no UTF-8"),
        pytest.param(b"[" * 100_000, "nested too deep", id="deep"),
        pytest.param(b'{"a":' * 100_000, "nested too deep", id="deep objects"),
        pytest.param(b"1" * 5000, "4300 digits", id="long integer"),
        pytest.param(HTML, "Expecting value", id="HTML"),
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"[" + b"1," * 10_000_000 + b"1]", "at most 8,388,608", id="big"),
    ],
)
def test_what_is_no_good_json_is_one_error_that_shows_what_came(body, reason):
    answer = Reply(status=200, body=body, media_type="text/html")
    with pytest.raises(BadReply) as caught:
        answer.json()

    found = caught.value.what
    assert reason in found
    assert found.startswith(f"found a body of {len(body):,} bytes (text/html): ")
    assert repr(body[:80])[1:] in found
    assert "\x1b" not in found
    assert len(found) < 700


def test_a_large_json_is_refused_before_it_costs_memory():
    answer = Reply(status=200, body=b"[" + b"1," * 10_000_000 + b"1]")
    tracemalloc.start()
    try:
        with pytest.raises(BadReply):
            answer.json()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_limit_of_json_can_be_set():
    answer = Reply(status=200, body=b"[1,2]")

    assert answer.json(limit=5) == [1, 2]
    with pytest.raises(BadReply, match="at most 4 bytes"):
        answer.json(limit=4)


def test_a_key_that_is_repeated_at_the_end_of_many_is_found_quickly():
    pairs = ",".join(f'"{n}":1' for n in range(50_000))
    began = time.monotonic()
    with pytest.raises(BadReply, match="'49999' stands there twice"):
        Reply(status=200, body=f'{{{pairs},"49999":1}}'.encode()).json()

    assert time.monotonic() - began < 2


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_one_error(body):
    said = ""
    try:
        Reply(status=200, body=body).json()
    except BadReply as exc:
        said = exc.what
    assert said.isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_all_good_json_is_read_as_json_reads_it(value):
    text = json.dumps(value)
    assert Reply(status=200, body=text.encode()).json() == json.loads(text)


# -- a body as the words of a command line name it


def test_a_body_is_the_word_itself_or_what_its_file_holds(tmp_path, monkeypatch):
    (tmp_path / "body").write_bytes(b"\xff12")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert read_body("a text") == "a text"
    assert read_body(f"@{tmp_path}/body", most=3) == b"\xff12"
    assert read_body("@~/body") == b"\xff12"


@pytest.mark.parametrize("stdin", [None, io.StringIO("text")])
def test_where_stdin_has_no_bytes_the_body_is_empty(stdin, monkeypatch):
    monkeypatch.setattr("sys.stdin", stdin)

    assert read_body("-") == b""


@pytest.mark.parametrize(
    ("word", "what", "fix"),
    [
        (
            "@body",
            "--to: body: found more than 2 bytes, expected at most that",
            "send less, or send it from Python with the transport's stream()",
        ),
        (
            "@none",
            "--to: none: No such file or directory, expected a file that can be read",
            "correct the path, or be allowed to read it",
        ),
    ],
)
def test_a_body_that_is_too_much_or_not_there_says_so(
    word, what, fix, tmp_path, monkeypatch
):
    (tmp_path / "body").write_bytes(b"123")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as caught:
        read_body(word, "--to", most=2)

    assert (caught.value.what, caught.value.fix) == (what, fix)
