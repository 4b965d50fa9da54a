"""Tensors of v10: byte for byte what its neurons write; objects never unpickled."""

import json
import pickle
import sys
from base64 import b64decode, b64encode

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from btplug.codecs import decode_v10_tensor, encode_v10_tensor
from btplug.errors import BadReply, Unsupported, UsageError

DTYPES = ["f2", "f4", "f8", "u1", "i1", "i2", "i4", "i8", "?"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))

# Made with msgpack-numpy 0.4.8 and msgpack 1.2.4.
WRITTEN = [
    (
        np.arange(6, dtype="<f4").reshape(2, 3),
        "85c4026e64c3c40474797065a33c6634c4046b696e64c400c4057368617065920203c40464617461c418000000000000803f0000004000004040000080400000a040",
    ),
    (
        np.arange(6, dtype="<f2").reshape(2, 3).T,
        "85c4026e64c3c40474797065a33c6632c4046b696e64c400c4057368617065920302c40464617461c40c00000042003c004400400045",
    ),
    (
        np.array(1.5),
        "85c4026e64c3c40474797065a33c6638c4046b696e64c400c405736861706590c40464617461c408000000000000f83f",
    ),
    (
        np.zeros((0, 3), "<i8"),
        "85c4026e64c3c40474797065a33c6938c4046b696e64c400c4057368617065920003c40464617461c400",
    ),
    (
        np.array([True, False]),
        "85c4026e64c3c40474797065a37c6231c4046b696e64c400c40573686170659102c40464617461c4020100",
    ),
]


def packed(**changes):
    """Return the buffer of two float32 with some fields changed, None for left out."""
    fields = {"nd": True, "type": "<f4", "kind": b"", "shape": [2], "data": bytes(8)}
    fields |= changes
    return b64encode(
        msgspec.msgpack.encode(
            {key.encode(): value for key, value in fields.items() if value is not None}
        )
    ).decode()


def tensor(buffer=None, dtype="float32", shape=(2,)):
    return {"buffer": buffer or packed(), "dtype": dtype, "shape": list(shape)}


@pytest.mark.parametrize(("array", "written"), WRITTEN, ids=lambda v: str(v)[:8])
def test_the_buffer_is_byte_for_byte_what_v10_writes(array, written):
    value = encode_v10_tensor(array)

    assert b64decode(value["buffer"]).hex() == written
    assert value["dtype"] == str(array.dtype)
    assert value["shape"] == (list(array.shape) or [0])


LAYOUTS = {
    "as it is": lambda array: array,
    "transposed": lambda array: array.T,
    "every other": lambda array: array[..., ::2] if array.ndim else array,
}


@given(ARRAYS, st.sampled_from("<>"), st.sampled_from([*LAYOUTS]), st.booleans())
def test_what_is_encoded_is_decoded_to_the_same(array, order, layout, torch):
    given = array.astype(array.dtype.newbyteorder(order))
    value = encode_v10_tensor(LAYOUTS[layout](given), torch=torch)
    found = decode_v10_tensor(json.loads(json.dumps(value)))

    expected = LAYOUTS[layout](array)
    assert (found.shape, found.dtype) == (expected.shape, array.dtype)
    assert found.tobytes() == expected.tobytes()
    assert not found.flags.writeable


def test_a_peer_with_torch_gets_and_sends_the_names_of_torch():
    value = encode_v10_tensor(np.float32([1, 2]), torch=True)

    assert value["dtype"] == "torch.float32"
    assert decode_v10_tensor(value).tolist() == [1.0, 2.0]


def test_a_scalar_of_numpy_and_a_buffer_without_kind_are_read():
    scalar = packed(nd=False, kind=None, shape=None, data=b"\0\0\x80\x3f")

    assert decode_v10_tensor(tensor(scalar, shape=[0])).item() == 1.0
    assert decode_v10_tensor(tensor(packed(kind=None))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros(1, "u2"), "a tensor of type uint16, which v10 has not"),
        (np.array([{}]), "a tensor of type object, which v10 has not"),
        ([1], "a value of type list as the tensor, expected a numpy array"),
        (np.broadcast_to(np.float64(0), (2**29,)), "a tensor of 4,294,967,296 bytes"),
    ],
)
def test_what_v10_has_not_is_refused(array, found):
    with pytest.raises(UsageError) as caught:
        encode_v10_tensor(array)

    assert found in caught.value.what
    assert caught.value.fix


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    for call in (encode_v10_tensor, decode_v10_tensor):
        with pytest.raises(Unsupported, match="tensors need numpy"):
            call(None)


SPRUNG = []


def spring():
    SPRUNG.append(1)


class Trap:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return spring, ()


def test_objects_are_refused_and_never_unpickled():
    trap = pickle.dumps(Trap())
    with pytest.raises(BadReply, match=r"kind b'O'.*never unpickled"):
        decode_v10_tensor(tensor(packed(kind=b"O", type=[["", "|O"]], data=trap)))
    assert not SPRUNG

    pickle.loads(trap)
    assert SPRUNG  # the trap is armed


SEVEN = packed(data=bytes(7))
BAD = [
    (None, "a value of type NoneType, expected a mapping"),
    ([], "a value of type list, expected a mapping"),
    ({}, "buffer or dtype that is no text"),
    (tensor() | {"buffer": None}, "buffer or dtype that is no text"),
    (tensor() | {"dtype": 1}, "buffer or dtype that is no text"),
    (tensor(dtype="uint16"), "type 'uint16', expected one of float16,"),
    (tensor(dtype="torch.bfloat16"), "type 'torch.bfloat16', expected one of"),
    (tensor(dtype="float64"), "type '<f4' in the buffer, expected '<f8', for float64"),
    (tensor(packed(type=">f4")), "type '>f4' in the buffer, expected '<f4'"),
    (tensor(packed(type=[["a", "<f4"]])), "cannot be read"),
    (tensor("é"), "cannot be read"),
    (tensor("AAA"), "cannot be read"),
    (tensor("AA\n=="), "cannot be read"),
    (tensor("wA=="), "cannot be read"),
    (tensor(packed()[:8] + "\n" + packed()[8:]), "Only base64 data is allowed"),
    (tensor(b64encode(b"\x91" * 200_000).decode()), "cannot be read"),
    (
        tensor(b64encode(b"\x81\xc4\x02nd" + b"\x91" * 200_000).decode()),
        "cannot be read",
    ),
    (tensor(packed(kind=b"V")), "kind b'V', expected numbers"),
    (tensor(packed(kind="")), "cannot be read"),
    (tensor(packed(nd=None)), "cannot be read (b'nd')"),
    (tensor(packed(nd=1)), "cannot be read"),
    (tensor(packed(nd=False)), "shape [2], expected []"),
    (tensor(packed(type=None)), "cannot be read (b'type')"),
    (tensor(packed(shape=None)), "cannot be read (b'shape')"),
    (tensor(packed(data=None)), "cannot be read (b'data')"),
    (tensor(packed(data="12345678")), "cannot be read"),
    (tensor(packed(shape=[2.0])), "cannot be read"),
    (tensor(packed(shape=[3])), "shape [2], expected [3], as in its buffer"),
    (tensor(packed(shape=[3]), shape=[3]), "shape [3] and type float32 in 8 bytes"),
    (tensor(SEVEN), "shape [2] and type float32 in 7 bytes"),
    (tensor(packed(shape=[1, 1]), shape=[0]), "shape [0], expected [1, 1]"),
    (tensor(packed(shape=[-2]), shape=[-2]), "a shape that is none"),
    (tensor(shape=[-2]), "a shape that is none"),
    (tensor(shape=[10**5000]), "a shape that is none"),
    (tensor(shape=["\x9b"]), "a shape that is none"),
    (tensor() | {"shape": None}, "a shape that is none"),
    (tensor(packed(shape=[0, 2**62], data=b""), shape=[0, 2**62]), "numpy can have"),
    (
        tensor(packed(type="|b1", data=b"\1\xff"), dtype="bool"),
        "type bool and a byte 255, expected 0 or 1",
    ),
    (tensor(dtype="\x9b"), "type '\\x9b'"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "found"), BAD, ids=[found for _, found in BAD])
def test_a_tensor_that_is_wrong_is_refused_with_what_was_found(value, found):
    with pytest.raises(BadReply) as caught:
        decode_v10_tensor(value)

    assert caught.value.what.startswith("found a v10 tensor with ")
    assert found in caught.value.what
    assert caught.value.what.isprintable()
    assert len(caught.value.what) < 400


def refusal(value):
    """Return why *value* is refused, or "ok"; anything but our error fails the test."""
    try:
        decode_v10_tensor(value).tobytes()
    except BadReply as exc:
        return exc.what
    return "ok"


@given(ARRAYS, st.data())
def test_a_buffer_cut_anywhere_is_refused(array, data):
    value = encode_v10_tensor(array)
    raw = b64decode(value["buffer"])
    value["buffer"] = b64encode(raw[: data.draw(st.integers(0, len(raw) - 1))]).decode()

    assert refusal(value) != "ok"
    assert refusal(value).isprintable()


@given(ARRAYS, st.data())
def test_a_buffer_with_changed_bytes_is_read_or_one_error(array, data):
    value = encode_v10_tensor(array)
    raw = bytearray(b64decode(value["buffer"]))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    value["buffer"] = b64encode(raw).decode()

    assert refusal(value).isprintable()


ODD = st.none() | st.integers() | st.text() | st.lists(st.integers(-2, 2**64))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "buffer": ODD | st.binary().map(lambda raw: b64encode(raw).decode()),
            "dtype": ODD | st.sampled_from(["float32", "torch.int8"]),
            "shape": ODD,
        },
    )
    | ODD
)
def test_any_value_is_a_tensor_or_one_error(value):
    assert refusal(value).isprintable()
