"""Values of a record -> the text of a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Final

from btplug.logs import escape

if TYPE_CHECKING:
    from .look import Look

Record = Mapping[str, object]

MISSING: Final = object()
NO_ROWS = "(no rows)\n"

# Spaces of Japanese, French and typography: not printable to Python, no harm to a
# terminal. Everything else that is not printable is shown as its escape.
_SPACES = "\u00a0\u202f\u3000"


def lookup(record: Record, key: str) -> object:
    """Return the value of *key*, or MISSING.

    The record's own key goes first, then dots reach into nested values:
    ``axon.port``, ``axons.0.port``.
    """
    if key in record:
        return record[key]
    if "." not in key:
        return MISSING
    found: object = record
    for part in key.split("."):
        found = _inner(found, part)
    return found


def _inner(value: object, part: str) -> object:
    if isinstance(value, Mapping):
        return value.get(part, MISSING)
    if isinstance(value, (list, tuple)) and part.isascii() and part.isdecimal():
        # The length keeps int() from its limit on digits.
        index = int(part[:10])
        return value[index] if index < len(value) else MISSING
    return MISSING


def number(value: object) -> int | float | None:
    """Return the number that *value* is or spells, None where it is something else.

    Texts count too, because CSV has no types: one file must answer alike as CSV and
    as JSON. NaN stays a number; ``inf``, ``nan`` and ``1_000`` as texts are texts.
    """
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) else value
    if value is None or isinstance(value, (dict, list, tuple)):
        return None
    text = str(value).strip()
    digits = "0123456789"
    if not text.isascii() or "_" in text or text[-1:] not in digits or not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        found = float(text)
    except ValueError:
        return None
    return found if isfinite(found) else None


def plain(value: object) -> str:
    """Return *value* as text, as JSON spells it; nested values as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than Python turns into decimals
            return hex(value)
    if isinstance(value, (Mapping, list, tuple)):
        return _nested(value)
    return str(value)


def _nested(value: object) -> str:
    if isinstance(value, Mapping):
        value = dict(value)
    try:
        return _compact()(value)
    except (TypeError, ValueError, RecursionError):
        # A cycle, keys that are no texts, thousands of levels: only from a library.
        return f"<{type(value).__name__}>"


@cache
def _compact() -> Callable[[object], str]:
    import json

    form = (",", ":")
    return json.JSONEncoder(ensure_ascii=False, separators=form, default=str).encode


def visible(text: str) -> str:
    """Return *text* on one line, with nothing in it that steers a terminal."""
    return text if text.isprintable() else escape(text, keep=_SPACES)


def cell(value: object, form: str, look: Look) -> str:
    """Return what a table shows for *value*.

    Args:
        form: Number format such as ``,.2f``; empty for none. What is no number, or
            too large for the format, is shown as it is.
    """
    if value is MISSING:
        return look.missing
    if form:
        found = number(value)
        if found is not None:
            return _formatted(found, form)
    return visible(plain(value))


def _formatted(value: int | float, form: str) -> str:
    if form[-1] == "d" and isinstance(value, float):
        form = f"{form[:-1]}.0f"  # a float that is shown as a whole number is rounded
    try:
        return format(value, form)
    except (OverflowError, ValueError):
        return plain(value)


def aligned(align: str, key: str, seen: list[Record]) -> str:
    """Return *align*, or the one that fits what was seen: numbers stand right."""
    return align or ("right" if _numeric(key, seen) else "left")


def _numeric(key: str, seen: list[Record]) -> bool:
    """Tell whether a column holds numbers and nothing else, but for gaps."""
    found = False
    for record in seen:
        value = lookup(record, key)
        if value is not MISSING and value is not None:
            if number(value) is None:
                return False
            found = True
    return found


def size(text: str) -> int:
    """Return how many cells of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fit(text: str, width: int, look: Look) -> str:
    """Return *text*, cut to *width* cells and ending in ``…`` if it is longer."""
    if size(text) <= width:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1) + look.cut
