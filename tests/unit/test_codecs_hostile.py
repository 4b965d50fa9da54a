"""safetensors from others: whatever is wrong with them is one error."""

import json
import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug.codecs import decode_tensors, encode_tensors
from btplug.errors import BadReply


def body_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


HUGE = 2**62
WIDE = 10**4000
BAD = {
    "empty": (b"", "with 0 bytes, expected at least 8"),
    "seven bytes": (b"\0" * 7, "with 7 bytes, expected at least 8"),
    "no header": (bytes(8), "begins with b''"),
    "header over its end": (b"\x03" + bytes(7) + b"{}", "3 bytes in a body of 10"),
    "header over the bound": (body_of(b"{}" + b" " * 2**20), "header of 1,048,578 b"),
    "huge header": (b"\xff" * 8, "a header of 18,446,744,073,709,551,615 bytes"),
    "no JSON": (body_of(b"{x}"), "expected JSON"),
    "no object": (body_of([]), "expected an object"),
    "blank before": (body_of(b" {}"), "begins with b' {}', expected an object"),
    "NaN": (body_of(b'{"x":NaN}'), "NaN is not JSON"),
    "deep": (body_of(b'{"x":' * 9 + b"1" + b"}" * 9), "nested too deep"),
    "name twice": (
        body_of(b'{"x":%b,"x":%b}' % ((json.dumps(tensor()).encode(),) * 2), bytes(8)),
        "'x' stands there twice",
    ),
    "key twice": (body_of(b'{"x":{"dtype":"F32","dtype":"F64"}}'), "'dtype' stands"),
    "metadata": (body_of({"__metadata__": {"a": 1}}), "not text to text"),
    "metadata list": (body_of({"__metadata__": []}), "not text to text"),
    "no mapping": (body_of({"x": []}), "'x' without its three keys"),
    "a key missing": (body_of({"x": {"dtype": "F32"}}), "without its three keys"),
    "a key more": (body_of({"x": tensor(more=1)}, bytes(8)), "without its three"),
    "over the end": (body_of({"x": tensor()}, bytes(7)), "7 bytes of data, expected 8"),
    "bytes left": (body_of({"x": tensor()}, bytes(9)), "9 bytes of data, expected 8"),
    "no tensors, data": (body_of({}, b"x"), "1 bytes of data, expected 0"),
    "hole": (
        body_of({"a": tensor(), "b": tensor(offsets=(9, 17))}, bytes(17)),
        "'b' at byte 9 of the data, expected it at 8",
    ),
    "hole before": (body_of({"a": tensor(offsets=(1, 9))}, bytes(9)), "at byte 1"),
    "overlap": (
        body_of({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)),
        "'b' at byte 4 of the data, expected it at 8",
    ),
    "the same twice": (body_of({"a": tensor(), "b": tensor()}, bytes(8)), "at byte 0"),
    "offsets back": (body_of({"x": tensor(offsets=(8, 0))}, bytes(8)), "in -8 bytes"),
    "negative offset": (body_of({"x": tensor(offsets=(-8, 0))}, bytes(8)), "other off"),
    "three offsets": (body_of({"x": tensor(offsets=(0, 4, 8))}, bytes(8)), "other off"),
    "one offset": (body_of({"x": tensor(offsets=(8,))}, bytes(8)), "other offsets"),
    "no offsets": (body_of({"x": tensor(offsets="08")}, bytes(8)), "other offsets"),
    "offset True": (body_of({"x": tensor(offsets=(False, 8))}, bytes(8)), "other off"),
    "offset float": (body_of({"x": tensor(offsets=(0.0, 8))}, bytes(8)), "other off"),
    "wide offsets": (body_of({"x": tensor(offsets=(0, WIDE))}, bytes(8)), "other off"),
    "small": (body_of({"x": tensor(shape=(1,))}, bytes(8)), "in 8 bytes"),
    "large": (body_of({"x": tensor(shape=(3,))}, bytes(8)), "[3] and type F32 in 8"),
    "negative side": (body_of({"x": tensor(shape=(-2, -1))}, bytes(8)), "[-2, -1]"),
    "huge side": (body_of({"x": tensor(shape=(HUGE,))}, bytes(8)), "a shape numpy can"),
    "wide side": (body_of({"x": tensor(shape=(WIDE,))}, bytes(8)), "a shape numpy can"),
    "empty and huge": (
        body_of({"x": tensor(shape=(0, HUGE, HUGE), offsets=(0, 0))}),
        "a shape numpy can have",
    ),
    "side True": (body_of({"x": tensor("U8", [True], [0, 1])}, b"x"), "[True]"),
    "side float": (body_of({"x": tensor(shape=(2.0,))}, bytes(8)), "[2.0]"),
    "no list": (body_of({"x": tensor(shape="2")}, bytes(8)), "shape 2"),
    "33 sides": (body_of({"x": tensor("U8", [1] * 33, [0, 1])}, b"x"), "a shape numpy"),
    "many": (
        body_of({f"{n:x}": tensor("U8", [0], [0, 0]) for n in range(10_001)}),
        "10,001 tensors, expected at most 10,000",
    ),
    "half a pair": (
        body_of(b'{"\\ud800":%b}' % json.dumps(tensor()).encode(), bytes(8)),
        "half a surrogate pair",
    ),
    "bool of 2": (
        body_of({"x": tensor("BOOL", [3], [0, 3])}, b"\0\2\1"),
        "tensor 'x' of type BOOL with a byte 2, expected 0 or 1",
    ),
    "terminal": (body_of({"\x9b": tensor("\x9b")}, bytes(8)), "'\\x9b'"),
}


@pytest.mark.parametrize(("body", "found"), BAD.values(), ids=BAD)
def test_a_body_that_is_wrong_is_refused_with_what_was_found(body, found):
    with pytest.raises(BadReply) as caught:
        decode_tensors(body)

    assert found in caught.value.what
    assert caught.value.what.startswith("found safetensors with ")
    assert caught.value.what.isprintable()
    assert len(caught.value.what) < 400


@pytest.mark.parametrize("shape", [(), (0,), (2, 2)])
def test_good_bools_are_read(shape):
    size = int(np.prod(shape))
    body = body_of({"x": tensor("BOOL", list(shape), [0, size])}, b"\1" * size)

    assert decode_tensors(body)["x"].tolist() == np.ones(shape, bool).tolist()


def test_tensors_may_lie_beyond_three_gigabytes(tmp_path):
    """Two of 3.1 GB in a file with holes, which takes neither disk nor memory."""
    size = 3_100_000_000
    header = {
        "a": tensor("U8", [size], [0, size]),
        "b": tensor("U8", [size], [size, 2 * size]),
    }
    start = body_of(header)
    with open(tmp_path / "large", "w+b") as file:
        file.write(start)
        file.truncate(len(start) + 2 * size)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = decode_tensors(data)
            assert {k: v.shape for k, v in found.items()} == {
                "a": (size,),
                "b": (size,),
            }
            del found


def test_tensors_that_are_empty_lie_anywhere_between_others():
    parts = {"a": tensor(), "b": tensor(shape=[0, 3], offsets=(8, 8))}

    assert decode_tensors(body_of(parts, bytes(8)))["b"].shape == (0, 3)
    assert decode_tensors(body_of({})) == {}


def accepted(body):
    """Return whether *body* is read; anything but our error fails the test."""
    said, found = "ok", {}
    try:
        found = decode_tensors(body)
    except BadReply as exc:
        said = exc.what
    assert said.isprintable()
    for array in found.values():
        array.tobytes()
    return said == "ok"


ARRAYS = st.tuples(
    st.sampled_from(["?", "i1", "u2", "f4", "c8"]),
    st.lists(st.integers(0, 3), max_size=4),
).map(lambda drawn: np.ones(drawn[1], drawn[0]))
NAMED = st.dictionaries(st.text(max_size=4), ARRAYS, min_size=1, max_size=4)


@given(NAMED, st.data())
def test_a_body_cut_anywhere_is_refused(arrays, data):
    body = encode_tensors(arrays)
    cut = data.draw(st.integers(0, len(body) - 1))
    # Empty tensors have no byte that could be missing, but the header is never cut.
    assert not accepted(body[:cut])


@given(NAMED, st.data())
def test_a_body_with_changed_bytes_is_read_or_one_error(arrays, data):
    body = bytearray(encode_tensors(arrays))
    size = 8 + int.from_bytes(body[:8], "little")
    for at in data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4)):
        body[at] = data.draw(st.integers(0, 255) | st.sampled_from(b'{}[],:"0-9eE'))
    accepted(body)


ODD = st.integers(-2, 20) | st.sampled_from([HUGE, 2**63, WIDE, 2.0, True, None, "F32"])
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BF16", "F8_E4M3"]) | ODD,
        "shape": st.lists(ODD, max_size=4) | ODD,
        "data_offsets": st.lists(ODD, max_size=3) | ODD,
    }
)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRY | ODD),
    st.binary(max_size=20),
)
def test_any_header_is_read_or_one_error(header, data):
    accepted(body_of(header, data))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_one_error(body):
    accepted(body)
