"""Tensors by name as one body: the safetensors format.

Eight bytes (little-endian) say how long the header is; the header is JSON,
``{name: {"dtype", "shape", "data_offsets"}}``; then the data, without holes.

Written and read here rather than by the package of that name: it copies twice where
this copies once or not at all, and its errors are no promise.

Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from btplug import _json
from btplug.codecs._arrays import as_array, bytes_of, flat, little, need_numpy, odd_bool
from btplug.errors import BadReply, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from btplug.codecs._arrays import Array
    from btplug.message import Buffer

HEADER_LIMIT = 1024 * 1024  # bytes
TENSOR_LIMIT = 10_000

_METADATA = "__metadata__"  # may stand among the tensors; text to text

_NUMPY = {
    "BOOL": "|b1",
    "I8": "|i1",
    "U8": "|u1",
    "I16": "<i2",
    "U16": "<u2",
    "F16": "<f2",
    "I32": "<i4",
    "U32": "<u4",
    "F32": "<f4",
    "I64": "<i8",
    "U64": "<u8",
    "F64": "<f8",
    "C64": "<c8",
    # Its bits: numpy has no such type.
    "BF16": "<u2",
}
_NAMES = {code: name for name, code in _NUMPY.items() if name != "BF16"}


class _Part(NamedTuple):
    """One tensor: where it lies in the data, in bytes, and what it is."""

    begin: int
    end: int
    name: str
    dtype: str
    shape: list[int]


def encode_tensors(arrays: Mapping[str, object]) -> bytes:
    """Return arrays by name as one safetensors body; each is copied once.

    Arrays of any layout and byte order are taken, torch's bfloat16 and float8 too.

    Args:
        arrays: numpy arrays or scalars, or tensors of torch.

    Raises:
        UsageError: A value is neither, or of a type safetensors has not (objects,
            text, dates, complex128), or a name is no text, or they are too many.
        Unsupported: numpy is not installed.
    """
    need_numpy()
    import io

    import numpy as np

    listed = sorted(
        (_named(name, value) for name, value in arrays.items()),
        # Wide types first, so that each begins at a multiple of its width.
        key=lambda item: (-item[2].itemsize, item[0]),
    )
    header: dict[str, object] = {}
    end = 0
    for name, dtype, array in listed:
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = _header_text(header)
    start = 8 + len(text)
    # CPython hands out this buffer as bytes without a copy: b"".join would have to
    # be given a second copy of what is not contiguous or big-endian.
    body = io.BytesIO(bytes(start + end))
    with body.getbuffer() as view:
        view[:start] = len(text).to_bytes(8, "little") + text
        for _, _, array in listed:
            np.copyto(np.ndarray(array.shape, little(array), view, start), array)
            start += array.nbytes
    return body.getvalue()


def _named(name: object, value: object) -> tuple[str, str, Array]:
    if not isinstance(name, str) or name == _METADATA:
        raise UsageError(
            f"found a tensor named {name!r}, expected text other than {_METADATA!r}",
            fix="rename it",
        )
    shown = f"tensor {name[:80]!r}"
    array, bits = as_array(value, shown)
    dtype = bits or _NAMES.get(little(array))
    if dtype is None:
        raise UsageError(
            f"found {shown} of type {array.dtype}, which safetensors has not",
            fix="convert it, for example: array.astype('float32')",
        )
    return name, dtype, array


def _header_text(header: dict[str, object]) -> bytes:
    """Return the header, padded so that the data begins at a multiple of eight."""
    try:
        text = _json.encode(header, name="header")
    except _json.NoJSON as exc:
        raise UsageError(
            f"found {exc.found} among the names of tensors", fix="rename it"
        ) from exc
    if len(header) > TENSOR_LIMIT or len(text) > HEADER_LIMIT - 8:
        raise UsageError(
            f"found {len(header):,} tensors with a header of {len(text):,} bytes, "
            f"expected at most {TENSOR_LIMIT:,} and {HEADER_LIMIT - 8:,}",
            fix="send them in several messages",
        )
    return text + b" " * (-len(text) % 8)


def decode_tensors(data: Buffer) -> dict[str, Array]:
    """Return the arrays of a safetensors body, in the order in which they lie in it.

    They are read-only views into *data*, which lives as long as one of them does:
    copy what is kept for long. BF16, which numpy has not, becomes float32: exact,
    and a copy. The metadata of the header are left out.

    Raises:
        BadReply: It is no safetensors body, or has a tensor that numpy has not, such
            as float8, or over 10,000 of them, or a header over 1 MiB.
        UsageError: *data* is no bytes, nor a buffer of such without gaps.
        Unsupported: numpy is not installed.
    """
    need_numpy()
    import numpy as np

    header, body = _split(data)
    found: dict[str, Array] = {}
    for part in _parts(header, len(body)):
        array = np.ndarray(part.shape, _NUMPY[part.dtype], body, part.begin)
        if (wrong := odd_bool(array)) is not None:
            shown = f"tensor {part.name[:80]!r} of type BOOL with a byte {wrong}"
            raise _bad(shown, "0 or 1")
        found[part.name] = _widened(array) if part.dtype == "BF16" else array
    return found


def _split(data: Buffer) -> tuple[dict[str, object], memoryview]:
    """Return the header and the data; whether they agree is not looked at."""
    view = flat(data)
    if view.nbytes < 8:
        raise _bad(f"{view.nbytes} bytes", "at least 8")
    size = int.from_bytes(view[:8], "little")
    if size > HEADER_LIMIT:
        raise _bad(f"a header of {size:,} bytes", f"at most {HEADER_LIMIT:,}")
    if size > len(view) - 8:
        raise _bad(
            f"a header of {size:,} bytes in a body of {len(view):,}", "one inside it"
        )
    text = view[8 : 8 + size]
    try:
        header = _json.loads(text, limit=HEADER_LIMIT, depth=4, strict=True)
    except _json.BadJSON as exc:
        begins = bytes(text[:80])
        raise _bad(f"a header that begins with {begins!r}", f"JSON ({exc})") from exc
    # The format wants "{" as the very first byte; JSON would allow blanks.
    if not isinstance(header, dict) or text[0] != 0x7B:
        raise _bad(f"a header that begins with {bytes(text[:8])!r}", "an object")
    return header, view[8 + size :]


def _parts(header: dict[str, object], size: int) -> list[_Part]:
    """Return the parts of *size* bytes of data, checked: they lie side by side."""
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in metadata.values()
    ):
        raise _bad("metadata that are not text to text", "such, or none")
    if len(header) > TENSOR_LIMIT:
        raise _bad(f"{len(header):,} tensors", f"at most {TENSOR_LIMIT:,}")
    parts = sorted(_part(name, info) for name, info in header.items())
    at = 0
    for part in parts:
        if part.begin != at:
            raise _bad(
                f"tensor {part.name[:80]!r} at byte {part.begin} of the data",
                f"it at {at}: no overlaps and no holes",
            )
        at = part.end
    if at != size:
        raise _bad(f"{size:,} bytes of data", f"{at:,}, as the header says")
    return parts


def _part(name: str, info: object) -> _Part:
    shown = f"tensor {name[:80]!r}"
    if not isinstance(info, dict) or info.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad(f"{shown} without its three keys", "dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _NUMPY:
        known = ", ".join(_NUMPY)
        raise _bad(f"{shown} of type {str(dtype)[:40]!r}", f"one of {known}")
    if not _is_span(offsets):
        raise _bad(f"{shown} with other offsets", "two integers from 0 on")
    begin, end = offsets
    width = int(_NUMPY[dtype][2:])
    if bytes_of(shape, width) != end - begin:
        raise _bad(
            f"{shown} of shape {str(shape)[:80]} and type {dtype} "
            f"in {str(end - begin)[:40]} bytes",
            "a shape numpy can have, of that size",
        )
    return _Part(begin, end, name, dtype, shape)


def _is_span(offsets: object) -> TypeGuard[list[int]]:
    """Return whether these are two integers from 0 on; True is an int too."""
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(at) is int and 0 <= at < 2**63 for at in offsets)
    )


def _widened(bits: Array) -> Array:
    # A bfloat16 is the upper half of a float32.
    wide = bits.astype("<u4")
    wide <<= 16
    wide = wide.view("<f4")
    wide.flags.writeable = False
    return wide


def _bad(found: str, expected: str) -> BadReply:
    return BadReply(
        f"found safetensors with {found}, expected {expected}",
        fix="report it to whoever sent it",
    )
