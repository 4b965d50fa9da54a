"""safetensors: what is written is read back, here and by the reference."""

import json
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from btplug.codecs import decode_json, decode_tensors, encode_tensors, encode_v10_tensor
from btplug.errors import BadReply, Unsupported, UsageError

DTYPES = ["?", "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "c8"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.tuples(
    st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)),
    st.sampled_from("<>"),
    st.sampled_from(["as it is", "transposed", "backwards", "every other"]),
).map(lambda drawn: laid_out(*drawn))
NAMED = st.dictionaries(
    st.text().filter(lambda name: name != "__metadata__"), ARRAYS, max_size=5
)


def laid_out(array, order, layout):
    """Return the same kind of array in another byte order and layout."""
    array = array.astype(array.dtype.newbyteorder(order))
    if layout == "transposed":
        return array.T
    if layout == "backwards":
        return array[::-1] if array.ndim else array
    return array[..., ::2] if layout == "every other" and array.ndim else array


def same(one, other):
    """Return whether two arrays are equal bit by bit, byte order aside."""
    little = one.dtype.newbyteorder("<")
    return (
        one.shape == other.shape
        and little == other.dtype
        and one.astype(little).tobytes() == other.tobytes()
    )


def body_of(dtype, shape, data):
    """Return a body of one tensor, whatever its type."""
    info = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}
    text = json.dumps({"x": info}).encode()
    return len(text).to_bytes(8, "little") + text + data


@given(NAMED)
def test_what_is_encoded_is_decoded_to_the_same(arrays):
    found = decode_tensors(encode_tensors(arrays))

    assert found.keys() == arrays.keys()
    assert all(same(arrays[name], found[name]) for name in arrays)


@given(NAMED)
def test_the_reference_reads_what_is_encoded(arrays):
    found = safetensors.numpy.load(encode_tensors(arrays))

    assert found.keys() == arrays.keys()
    assert all(same(arrays[name], found[name]) for name in arrays)


@given(NAMED)
def test_what_the_reference_writes_is_decoded(arrays):
    plain = {
        name: np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        for name, array in arrays.items()
    }
    found = decode_tensors(safetensors.numpy.save(plain, {"made": "by it"}))

    assert all(same(plain[name], found[name]) for name in plain)


def test_the_bytes_are_those_of_the_format():
    body = encode_tensors({"x": np.array([1, 2], "<i2")})

    text = b'{"x":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}}  '
    assert body == len(text).to_bytes(8, "little") + text + b"\x01\x00\x02\x00"
    assert type(body) is bytes


def test_every_tensor_begins_at_a_multiple_of_its_width():
    found = decode_tensors(
        encode_tensors(
            {"a": np.zeros(3, "u1"), "b": np.zeros(1), "c": np.zeros(1, "f2")}
        )
    )
    assert list(found) == ["b", "c", "a"]
    assert all(array.flags.aligned for array in found.values())


def test_a_scalar_of_numpy_is_a_tensor_without_dimensions():
    found = decode_tensors(encode_tensors({"loss": np.float32(0.5)}))

    assert (found["loss"].shape, found["loss"].item()) == ((), 0.5)


# -- Memory

BIG = np.arange(1024 * 1024, dtype="<f4").reshape(1024, 1024)


def peak(call):
    """Return the most memory *call* held at once, in bytes, with its result."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "array",
    [BIG, BIG.T, BIG.astype(">f4")],
    ids=["plain", "transposed", "big-endian"],
)
def test_encoding_copies_an_array_once_whatever_its_layout(array):
    most, body = peak(lambda: encode_tensors({"x": array}))

    assert len(body) > array.nbytes
    assert most < array.nbytes * 1.02


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decoding_copies_nothing_and_gives_views_that_cannot_be_written(kind):
    body = kind(encode_tensors({"x": BIG}))
    most, found = peak(lambda: decode_tensors(body))

    assert most < 50_000
    assert np.shares_memory(found["x"], np.frombuffer(body, "u1"))
    with pytest.raises(ValueError, match="read-only"):
        found["x"][0] = 1


# -- What numpy has not


def test_bfloat16_becomes_float32_exactly():
    halves = np.array([0x3FC0, 0xC000, 0x7F80, 0x0001], "<u2").tobytes()
    body = body_of("BF16", [2, 2], halves)
    found = decode_tensors(body)["x"]

    assert (found.dtype, found.shape) == (np.dtype("<f4"), (2, 2))
    assert found.ravel().tolist() == [1.5, -2.0, float("inf"), 2.0**-133]
    assert not found.flags.writeable


def test_bfloat16_without_dimensions_stays_an_array():
    found = decode_tensors(body_of("BF16", [], b"\xc0\x3f"))

    assert isinstance(found["x"], np.ndarray)
    assert (found["x"].shape, found["x"].item()) == ((), 1.5)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "X", "", None, 1, []])
def test_a_type_numpy_has_not_is_refused_with_those_it_has(dtype):
    with pytest.raises(BadReply, match=r"expected one of BOOL, I8, U8.*BF16"):
        decode_tensors(body_of(dtype, [2], bytes(8)))


class Tensor:
    """What of torch.Tensor is used, over a numpy array."""

    def __init__(self, array, dtype="torch.float32", reason=""):
        self.array, self.dtype, self.reason = array, dtype, reason

    def detach(self):
        return self

    cpu = resolve_conj = resolve_neg = detach

    def view(self, dtype):
        assert dtype == "int16 of torch"
        return self

    def numpy(self):
        if self.reason:
            raise TypeError(self.reason)
        return self.array


@pytest.fixture
def torch(monkeypatch):
    found = SimpleNamespace(Tensor=Tensor, int16="int16 of torch")
    monkeypatch.setitem(sys.modules, "torch", found)


@pytest.mark.usefixtures("torch")
def test_tensors_of_torch_are_taken():
    bits = np.array([0x3FC0, 0xC000], "<u2").view("<i2")
    found = decode_tensors(
        encode_tensors({"a": Tensor(BIG), "b": Tensor(bits, "torch.bfloat16")})
    )
    assert same(BIG, found["a"])
    assert found["b"].tolist() == [1.5, -2.0]


@pytest.mark.usefixtures("torch")
def test_a_tensor_of_torch_that_numpy_cannot_hold_is_refused_with_the_reason():
    with pytest.raises(
        UsageError, match=r"'s', expected one numpy can hold \(sparse\)"
    ):
        encode_tensors({"s": Tensor(BIG, reason="sparse\nmore")})


def test_half_imported_torch_does_no_harm(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())

    assert encode_tensors({"x": np.zeros(1)})


# -- What cannot be encoded


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("x", np.array([{}]), "tensor 'x' of type object, which"),
        ("x", np.array(["a"]), "tensor 'x' of type <U1, which"),
        ("x", np.zeros(1, "M8[s]"), "of type datetime64[s], which"),
        ("x", np.zeros(1, "c16"), "of type complex128, which"),
        ("x", np.zeros(1, [("a", "f4")]), "of type [('a', '<f4')], which"),
        ("x", [1, 2], "a value of type list as tensor 'x', expected a numpy array"),
        ("x", None, "a value of type NoneType as tensor 'x'"),
        ("x", np.ma.array([1, 2], mask=[0, 1]), "a masked array as tensor 'x'"),
        (
            "x",
            np.frombuffer(b"\0\1\2\0", bool)[::2],
            "a byte 2 among the bools of tensor 'x', expected 0 and 1",
        ),
        (1, np.zeros(1), "a tensor named 1, expected text"),
        ("__metadata__", np.zeros(1), "a tensor named '__metadata__'"),
        ("\ud800", np.zeros(1), "a key with half a surrogate pair among the names"),
        ("x" * 2**20, np.zeros(1), "1 tensors with a header of 1,048,"),
    ],
)
def test_what_is_no_tensor_is_refused_with_its_name(name, value, found):
    with pytest.raises(UsageError) as caught:
        encode_tensors({name: value})

    assert found in caught.value.what
    assert caught.value.fix


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="has it not")
@pytest.mark.parametrize(
    "encode", [lambda x: encode_tensors({"x": x}), encode_v10_tensor]
)
def test_a_type_of_numpy_without_byte_order_is_refused_too(encode):
    with pytest.raises(UsageError, match=r"of type StringDType\(\), which"):
        encode(np.array(["a"], np.dtypes.StringDType()))


GAPS = memoryview(bytes(64))[::2]
TURNED = memoryview(np.zeros((4, 4), order="F"))


@pytest.mark.parametrize("decode", [decode_tensors, decode_json])
@pytest.mark.parametrize("data", [GAPS, TURNED, "{}", 5, None])
def test_what_is_no_run_of_bytes_is_refused_with_what_to_do(decode, data):
    with pytest.raises(UsageError) as caught:
        decode(data)

    assert caught.value.what.startswith(
        f"found data of type {type(data).__name__}, "
        "expected bytes, or a buffer of them without gaps ("
    )
    assert caught.value.fix == (
        "hand over bytes: bytes(data), or data.encode() of text"
    )


@pytest.mark.parametrize("decode", [decode_tensors, decode_json])
@pytest.mark.parametrize("array", [np.array(3.0), np.zeros((0, 4)), np.zeros((4, 4))])
def test_the_bytes_of_an_array_of_any_shape_are_read_and_no_body(decode, array):
    with pytest.raises(BadReply):
        decode(memoryview(array))


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="has no more")
def test_more_dimensions_than_every_numpy_has_are_refused():
    assert encode_tensors({"x": np.zeros([1] * 32)})
    with pytest.raises(UsageError, match="found 33 dimensions in tensor 'x'"):
        encode_tensors({"x": np.zeros([1] * 33)})


def test_what_is_encoded_is_never_too_much_to_decode():
    few = {str(n): np.zeros(0) for n in range(10_000)}

    assert len(decode_tensors(encode_tensors(few))) == 10_000
    with pytest.raises(UsageError, match="found 10,001 tensors"):
        encode_tensors({**few, "x": np.zeros(0)})


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    for call in (lambda: encode_tensors({}), lambda: decode_tensors(b"")):
        with pytest.raises(Unsupported, match="tensors need numpy") as caught:
            call()
        assert caught.value.fix == "pip install 'btplug[tensors]'"
