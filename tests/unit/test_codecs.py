"""JSON as bytes: what is written is read back, what is doubtful is refused."""

import json
import subprocess
import sys
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug import Reply
from btplug.codecs import decode_json, encode_json
from btplug.errors import BadReply, UsageError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


LOOP: list = []
LOOP.append(LOOP)


@given(VALUES)
def test_what_is_encoded_is_decoded_to_the_same(value):
    assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"a": [1, 2.5, None, True]}, b'{"a":[1,2.5,null,true]}'),
        ("表\x1b", '"表\\u001b"'.encode()),
        ((1, 2), b"[1,2]"),
    ],
)
def test_json_is_compact_utf8(value, body):
    assert encode_json(value) == body


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (
            {"rows": [1, {"price": float("nan")}]},
            "the number nan at value.rows[1].price",
        ),
        ([float("inf")], "the number inf at value[0]"),
        ({"a": {1: 2}}, "a key of type int at value.a"),
        ([{True: 1}], "a key of type bool at value[0]"),
        ({None: 1}, "a key of type NoneType at value"),
        ({"a": b"x"}, "a value of type bytes at value.a"),
        ([{1, 2}], "a value of type set at value[0]"),
        ({"\x1b[31m": object()}, "a value of type object at value.\\x1b[31m"),
        (["\ud800"], "text with half a surrogate pair at value[0]"),
        ({"\udfff": 1}, "a key with half a surrogate pair at value"),
        ([10**5000], "a number of more than 4,300 digits at value[0]"),
        (LOOP, "a value inside itself, or nested too deep at value"),
        (nested(129), "a value inside itself, or nested too deep at value"),
        ({"a": nested(5000)}, "a value inside itself, or nested too deep at value"),
    ],
)
def test_what_json_has_not_is_refused_with_its_place(value, found):
    with pytest.raises(UsageError) as caught:
        encode_json(value)

    assert caught.value.what == f"found {found}, expected what JSON has"
    assert "convert it" in caught.value.fix


def test_the_deepest_json_that_is_written_is_read():
    value = nested(128)

    assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[-1e999]", "the number -1e999 is too large"),
        (b'{"a":1,"a":2}', "the key 'a' stands there twice"),
        (b'"\xff"', "invalid start byte"),
        (b"9" * 5000, "4300 digits"),
        (b"[" * 129 + b"]" * 129, "nested too deep, more than 128 levels"),
        (b'{"a":[' * 65 + b"]}" * 65, "nested too deep, more than 128 levels"),
        (b"[" * 100_000, "nested too deep"),
        (b"", "Expecting value"),
        (b"[1] x", "Extra data"),
        (b"\x1b[31m", "Expecting value"),
        (rb'"\ud800"', "half a surrogate pair"),
        (rb'"\uDFFF"', "half a surrogate pair"),
        (rb'[{"\udC00\uD800":1}]', "half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_is_no_good_json_is_one_error_that_shows_its_begin(body, reason, kind):
    with pytest.raises(BadReply) as caught:
        decode_json(kind(body))

    found = caught.value.what
    assert found.startswith(
        f"found {len(body):,} bytes that begin with {body[:80]!r}, expected JSON ("
    )
    assert reason in found
    assert found.isprintable()


@pytest.mark.parametrize(
    ("body", "value"),
    [(rb'"\ud83d\uDE00"', "\U0001f600"), (rb'"\\ud800"', r"\ud800")],
)
def test_a_whole_surrogate_pair_and_what_looks_like_one_are_read(body, value):
    assert decode_json(body) == value


def test_brackets_inside_text_are_no_levels():
    body = json.dumps(["[{" * 200]).encode()

    assert decode_json(body) == ["[{" * 200]


def test_the_depth_can_be_set():
    assert decode_json(b'[{"a":1}]', depth=2) == [{"a": 1}]
    assert decode_json(b"1", depth=0) == 1
    with pytest.raises(BadReply, match="more than 1 levels"):
        decode_json(b'[{"a":1}]', depth=1)


def test_a_body_over_the_limit_is_refused_before_it_costs_memory():
    body = b"[" + b"1," * 10_000_000 + b"1]"
    tracemalloc.start()
    try:
        with pytest.raises(BadReply, match="at most 8,388,608 bytes of it"):
            decode_json(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert decode_json(b"[1,2]", limit=5) == [1, 2]
    with pytest.raises(BadReply, match="at most 4 bytes of it"):
        decode_json(b"[1,2]", limit=4)


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"[]", b'{"":1}', b"[" * 126 + b"]" * 126])
@pytest.mark.parametrize("call", [decode_json, lambda body: reply_of(body).json()])
def test_lists_that_take_much_memory_are_refused_before_they_do(piece, call):
    """As objects they took 48 times their size, and three seconds."""
    body = b"[" + b",".join([piece] * (8_000_000 // (len(piece) + 1))) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(BadReply) as caught:
            call(body)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body)
    finally:
        tracemalloc.stop()

    expected = "(at most 262,144 lists and mappings in 8,388,608 bytes)"
    assert expected in caught.value.what


def reply_of(body):
    return Reply(status=200, body=body)


@pytest.mark.slow
def test_lists_are_allowed_by_the_limit():
    body = b"[" + b"[]," * 300_000 + b"1]"

    with pytest.raises(BadReply, match="at most 262,144 lists"):
        decode_json(body)
    assert len(decode_json(body, limit=10**7)) == 300_001


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["[{" * 200_000, '"[' * 300_000, '\\"{' * 300_000, "\\\\[" * 300_000]
)
def test_brackets_inside_text_are_no_lists(text):
    value = [text, {text: [[]]}]

    assert decode_json(encode_json(value)) == value


@pytest.mark.slow
def test_a_text_without_its_end_is_refused_at_once():
    body = b"[" * 263_000 + b'"' + b'\\"[' * 1_000_000
    began = time.perf_counter()

    assert "262,144 lists" in refusal(body)
    assert time.perf_counter() - began < 5


def refusal(body):
    """Return why *body* is refused, or "ok"; anything but our error fails the test."""
    try:
        decode_json(body)
    except BadReply as exc:
        return exc.what
    return "ok"


# Pieces of JSON, put together wrongly: plain bytes hardly ever come near it.
PIECES = st.lists(
    st.sampled_from(
        ["[", "]", "{", "}", ":", ",", '"', '"a"', "1", "-", "1e9", "1e999", "NaN",
         "Infinity", "null", "\\", "\\u", "\\ud800", " ", "\x00", "\ufeff", "é"]
    )
).map(lambda pieces: "".join(pieces).encode())  # fmt: skip


@given(PIECES | st.binary())
def test_any_bytes_are_json_or_one_error(body):
    assert refusal(body).isprintable()


@given(VALUES, st.data())
def test_json_cut_anywhere_is_json_or_one_error(value, data):
    body = encode_json(value)
    cut = data.draw(st.integers(0, len(body)))

    assert refusal(body[:cut]).isprintable()


def loaded(code):
    """Return what *code* makes a fresh interpreter import, by first name."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_codecs_import_nothing_heavy_before_a_tensor_is_used():
    code = "import btplug.codecs as c; c.decode_json(c.encode_json([1]))"

    assert not loaded(code) & {"numpy", "msgspec", "torch", "safetensors"}


def test_a_tensor_imports_numpy():
    """The trap is armed: the look-up above sees such imports."""
    assert "numpy" in loaded("import btplug.codecs as c; c.encode_tensors({})")
