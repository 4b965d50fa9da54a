"""What both forms of tensors share: numpy when it is there, dtypes, shapes."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from btplug.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy.typing as npt

    # Any: the element type is data of the tensor, not of the program.
    Array: TypeAlias = npt.NDArray[Any]

# numpy before 2.0 has no more.
DIMENSIONS = 32

# Types of torch that numpy has not, and the integer of torch that holds their bits.
_BITS = {
    "torch.bfloat16": ("BF16", "int16"),
    "torch.float8_e4m3fn": ("F8_E4M3", "uint8"),
    "torch.float8_e5m2": ("F8_E5M2", "uint8"),
}


def need_numpy() -> None:
    """Import numpy.

    Raises:
        Unsupported: It is not installed.
    """
    try:
        import numpy  # noqa: F401  (only whether it is there)
    except ImportError as exc:
        raise Unsupported(
            f"tensors need numpy, which cannot be imported ({exc})",
            fix="pip install 'btplug[tensors]'",
        ) from exc


def little(array: Array) -> str:
    """Return the dtype of *array* as numpy writes it, little-endian: ``"<f4"``."""
    try:
        return array.dtype.newbyteorder("<").str
    # Types of numpy 2 without one, such as StringDType: no form of ours has them.
    except TypeError:
        return str(array.dtype)


def flat(data: object) -> memoryview:
    """Return the bytes of *data*, read-only and without a copy.

    Raises:
        UsageError: It is no buffer, or one with gaps.
    """
    try:
        view = memoryview(data).toreadonly()  # type: ignore[arg-type]  # we look
        # numpy shows arrays without elements, which cannot be cast.
        return view.cast("B") if view.nbytes else memoryview(b"")
    except (TypeError, ValueError) as exc:
        raise UsageError(
            f"found data of type {type(data).__name__}, expected bytes, or a buffer "
            f"of them without gaps ({exc})",
            fix="hand over bytes: bytes(data), or data.encode() of text",
        ) from exc


def odd_bool(array: Array) -> int | None:
    """Return a byte that is neither 0 nor 1 in an array of bools; None: there is none.

    numpy takes it for True here and for its number there, so that what was checked
    one way is another thing the other way.
    """
    if array.dtype.kind != "b" or not array.size:
        return None
    most = int(array.view("|u1").max())
    return most if most > 1 else None


def as_array(value: object, name: str) -> tuple[Array, str]:
    """Return a numpy array of *value*, without a copy where its memory can be seen.

    Args:
        value: A numpy array or scalar, or a tensor of torch.
        name: What it is called in an error.

    Returns:
        The array and "", or integers and the safetensors name of the type of which
        they are the bits, because numpy has not that type.

    Raises:
        UsageError: It is something else, or has masked values, over 32 dimensions, or
            bools that are neither.
    """
    import numpy as np

    # Who holds a tensor has imported torch; nobody else pays its second of import.
    torch = sys.modules.get("torch")
    bits = ""
    if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
        value, bits = _from_torch(torch, value, name)
    if isinstance(value, np.ma.MaskedArray):
        raise UsageError(
            f"found a masked array as {name}, expected one without a mask",
            fix="fill it: array.filled(0)",
        )
    if not isinstance(value, (np.ndarray, np.generic)):
        raise UsageError(
            f"found a value of type {type(value).__name__} as {name}, "
            "expected a numpy array or a tensor of torch",
            fix="convert it: numpy.asarray(value)",
        )
    array = np.asarray(value)
    if array.ndim > DIMENSIONS:
        raise UsageError(
            f"found {array.ndim} dimensions in {name}, expected at most {DIMENSIONS}",
            fix="reshape it",
        )
    if (wrong := odd_bool(array)) is not None:
        raise UsageError(
            f"found a byte {wrong} among the bools of {name}, expected 0 and 1",
            fix="make bools of its numbers: array.view('u1') != 0",
        )
    return array, bits


# Any: torch is not installed where types are checked.
def _from_torch(torch: Any, tensor: Any, name: str) -> tuple[object, str]:
    bits, integer = _BITS.get(str(tensor.dtype), ("", ""))
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        if bits:
            plain = plain.view(getattr(torch, integer))
        return plain.numpy(), bits
    # Sparse, quantised and meta tensors have no memory that numpy could see.
    except (TypeError, RuntimeError) as exc:
        reason = str(exc).partition("\n")[0][:200]
        raise UsageError(
            f"found a tensor of torch as {name}, "
            f"expected one numpy can hold ({reason})",
            fix="make it dense and of a plain type first",
        ) from exc


def bytes_of(shape: object, itemsize: int) -> int | None:
    """Return how many bytes an array takes; None if *shape* is none numpy can have."""
    if not isinstance(shape, list) or len(shape) > DIMENSIONS:
        return None
    # type(): True is an int too.
    if not all(type(side) is int and side >= 0 for side in shape):
        return None
    # An array without elements must not have huge sides either.
    if math.prod(side or 1 for side in shape) * itemsize >= 2**63:
        return None
    return math.prod(shape) * itemsize
