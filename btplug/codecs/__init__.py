"""How values become bodies and back, without I/O: JSON, and tensors in two forms.

Raw bytes need no codec: ``Message(body=data)`` carries them as they are, and
``reply.body`` is what came.

What is wrong in what came is one `BadReply`; what is wrong in what the caller hands
over is one `UsageError`. Tensors need numpy, which is imported when one is used;
torch is never imported, but its tensors are taken from a caller who has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from btplug import _json
from btplug.codecs._arrays import flat
from btplug.codecs.tensors import decode_tensors, encode_tensors
from btplug.codecs.v10 import decode_v10_tensor, encode_v10_tensor
from btplug.errors import BadReply, UsageError

if TYPE_CHECKING:
    from btplug.message import Buffer

__all__ = [
    "JSON_TYPE",
    "SAFETENSORS_TYPE",
    "decode_json",
    "decode_tensors",
    "decode_v10_tensor",
    "encode_json",
    "encode_tensors",
    "encode_v10_tensor",
]

# Media types, for Message(media_type=…).
JSON_TYPE = "application/json"
SAFETENSORS_TYPE = "application/safetensors"


def encode_json(value: object) -> bytes:
    """Return *value* as compact JSON in UTF-8; `decode_json` reads it in its limits.

    Lists and tuples become arrays; mappings are dicts whose keys are text.

    Raises:
        UsageError: It holds NaN, an infinity, a key that is no text, a value JSON has
            not, itself, or more than 128 levels; the message says where.
    """
    try:
        return _json.encode(value)
    except _json.NoJSON as exc:
        # A key may steer a terminal, or be long.
        at = repr(exc.at[:200])[1:-1]
        raise UsageError(
            f"found {exc.found} at {at}, expected what JSON has",
            fix="convert it to text, a finite number, a bool, None, a list or a dict "
            "with text keys",
        ) from exc


def decode_json(
    data: Buffer, *, limit: int = 8 * 1024 * 1024, depth: int = _json.DEPTH
) -> object:
    """Return what JSON in UTF-8 says; what two readers could take apart is refused.

    Args:
        limit: Bytes it may have: as objects it takes up to twenty times as much. It
            may have one list or mapping for each 32 of them, or 262,144.
        depth: Levels of lists and mappings it may have.

    Raises:
        BadReply: It has NaN, an infinity (1e999 is one), a repeated key, half a
            surrogate pair, an integer of more than 4,300 digits, too many levels,
            lists or bytes, or is none at all; the message shows how it begins.
        UsageError: *data* is no bytes, nor a buffer of such without gaps.
    """
    view = flat(data)
    try:
        return _json.loads(view, limit=limit, depth=depth, strict=True)
    except _json.BadJSON as exc:
        raise BadReply(
            f"found {view.nbytes:,} bytes that begin with "
            f"{bytes(view[:80])!r}, expected JSON ({exc})",
            fix="report it to whoever sent it",
        ) from exc
