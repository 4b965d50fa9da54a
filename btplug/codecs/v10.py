"""A tensor inside JSON, as neurons of v10 write it; for nobody else.

``{"buffer", "dtype", "shape"}``, where the buffer is base64 of a msgpack map as
msgpack-numpy 0.4 makes it. It takes a third more bytes than safetensors, and much
more time.

Source: what bittensor 10.5.0 and msgpack-numpy 0.4.8 write and read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from btplug.codecs._arrays import as_array, bytes_of, little, need_numpy, odd_bool
from btplug.errors import BadReply, UsageError

if TYPE_CHECKING:
    from btplug.codecs._arrays import Array

# v10 refuses every other type, in both directions.
_NUMPY = {
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "uint8": "|u1",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "bool": "|b1",
}
_NAMES = {code: name for name, code in _NUMPY.items()}


def encode_v10_tensor(array: object, *, torch: bool = False) -> dict[str, object]:
    """Return *array* as the value of a field of a v10 synapse, to be put into JSON.

    Args:
        array: A numpy array or scalar, or a tensor of torch.
        torch: The peer runs with USE_TORCH=1: it reads "torch.float32" only, all
            others read "float32" only.

    Raises:
        UsageError: It is neither, or of a type v10 has not, such as uint16 or
            bfloat16, or takes 4 GiB or more.
        Unsupported: numpy is not installed.
    """
    need_numpy()
    import binascii

    import msgspec
    import numpy as np

    plain, bits = as_array(array, "the tensor")
    code = little(plain)
    if bits or code not in _NAMES:
        raise UsageError(
            f"found a tensor of type {bits or plain.dtype}, which v10 has not",
            fix=f"convert it to one of {', '.join(_NUMPY)}",
        )
    if plain.nbytes >= 2**32:
        raise UsageError(
            f"found a tensor of {plain.nbytes:,} bytes, expected less than 4 GiB",
            fix="send it as safetensors, or in parts",
        )
    flat = np.asarray(plain, code, order="C").reshape(-1).view("|u1")
    packed = msgspec.msgpack.encode(
        {
            b"nd": True,
            b"type": code,
            b"kind": b"",
            b"shape": plain.shape,
            b"data": flat.data,
        }
    )
    return {
        "buffer": binascii.b2a_base64(packed, newline=False).decode("ascii"),
        "dtype": f"torch.{_NAMES[code]}" if torch else _NAMES[code],
        # v10 refuses []; for [0] it takes the shape from the buffer.
        "shape": list(plain.shape) or [0],
    }


def decode_v10_tensor(value: object) -> Array:
    """Return the array of a v10 tensor, as JSON gave it; read-only.

    Names of torch's types, such as "torch.float32", are read like numpy's. Objects
    are never unpickled.

    Raises:
        BadReply: It is no such tensor.
        Unsupported: numpy is not installed.
    """
    need_numpy()
    import binascii

    import msgspec
    import numpy as np

    if not isinstance(value, dict):
        raise _bad(f"a value of type {type(value).__name__}", "a mapping")
    buffer, named, outer = value.get("buffer"), value.get("dtype"), value.get("shape")
    if not isinstance(buffer, str) or not isinstance(named, str):
        raise _bad("buffer or dtype that is no text", "both as text")
    code = _NUMPY.get(named.removeprefix("torch."))
    if code is None:
        raise _bad(f"type {named[:40]!r}", f"one of {', '.join(_NUMPY)}")
    decode = msgspec.msgpack.decode
    try:
        packed = binascii.a2b_base64(buffer, strict_mode=True)
        # Raw: what is not asked for is never made.
        fields = decode(packed, type=dict[bytes, msgspec.Raw])
        kind = decode(fields.get(b"kind", b"\xc4\x00"), type=bytes)
        if kind:
            raise _bad(f"kind {kind[:8]!r}", "numbers (objects are never unpickled)")
        # False: a scalar of numpy, without a shape.
        nd = decode(fields[b"nd"], type=bool)
        shape = decode(fields[b"shape"], type=list[int]) if nd else []
        inner = decode(fields[b"type"], type=str)
        data = decode(fields[b"data"], type=memoryview)
    # ValueError: also of binascii, msgspec and text that is no UTF-8.
    except (ValueError, KeyError, RecursionError) as exc:
        raise _bad(f"a buffer that cannot be read ({exc})"[:300], "msgpack") from exc
    if inner != code:
        raise _bad(f"type {inner[:40]!r} in the buffer", f"{code!r}, for {named}")
    if bytes_of(outer, 1) is None:
        raise _bad("a shape that is none", "a list of integers from 0 on")
    if outer != shape and not (outer == [0] and shape == []):
        raise _bad(f"shape {str(outer)[:80]}", f"{str(shape)[:80]}, as in its buffer")
    if bytes_of(shape, int(code[2:])) != data.nbytes:
        raise _bad(
            f"shape {str(shape)[:80]} and type {named} in {data.nbytes:,} bytes",
            "a shape numpy can have, of that size",
        )
    array = np.ndarray(shape, code, data)
    if (wrong := odd_bool(array)) is not None:
        raise _bad(f"type bool and a byte {wrong}", "0 or 1")
    return array


def _bad(found: str, expected: str) -> BadReply:
    return BadReply(
        f"found a v10 tensor with {found}, expected {expected}",
        fix="report it to whoever sent it",
    )
