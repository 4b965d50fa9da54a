"""JSON and YAML: formats of which a whole document is in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isinf
from typing import NoReturn

from .cells import Record
from .source import DEPTH, DataError, not_utf8


class _Refused(ValueError):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found, self.expected = found, expected


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"the key {key!r} twice", "each key once in an object")
            seen.add(key)
    return made


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise _Refused(f"the number {text[:40]}", "one of at most 1.8e308")
    return value


def _constant(text: str) -> NoReturn:
    raise _Refused(text, "a number that JSON has, or null")


# One for all lines of a file: making it costs more than a short line does.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_float=_finite, parse_constant=_constant
)


def decode(text: str, where: str, *, line: int = 0) -> object:
    """Parse JSON as its standard has it: no NaN, no key twice, 24 levels at most.

    Args:
        where: Name of the file, for messages.
        line: Number of the line that *text* is; 0: it is all of the file.

    Raises:
        DataError: ``file:line: found X, expected Y``.
    """
    at = f"{where}:{line}" if line else where
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        raise _broken(exc, where, line) from exc
    except _Refused as exc:
        raise DataError(
            f"{at}: found {exc.found}, expected {exc.expected}", fix="change the value"
        ) from exc
    except ValueError as exc:  # of int(): Python's own limit on digits
        raise DataError(
            f"{at}: found a number of more than 4,300 digits, expected a shorter one",
            fix="put it in quotes, as text",
        ) from exc
    except RecursionError as exc:
        raise _deep(at) from exc
    if text.count("[") + text.count("{") > DEPTH and _is_deep(value):
        raise _deep(at)
    return value


def _deep(where: str) -> DataError:
    return DataError(
        f"{where}: found deeper nesting, expected at most {DEPTH} levels",
        fix="flatten the data",
    )


def _broken(exc: json.JSONDecodeError, where: str, line: int) -> DataError:
    fix = "mend the line, or the quotes, commas and brackets before it"
    if exc.msg == "Extra data" and not line:
        fix = "if every line is a record, pass --format jsonl"
    return DataError(
        f"{where}:{line or exc.lineno}: found broken JSON "
        f"({exc.msg} at column {exc.colno})",
        fix=fix,
    )


def _is_deep(value: object) -> bool:
    # Level by level instead of by recursion, which deep data is made to exhaust.
    level = [value]
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            for inner in _inside(outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def json_records(content: bytes, where: str) -> list[Record]:
    """Return the records of a JSON file: an array of objects, or one object."""
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise not_utf8(f"{where}:{line}", exc) from exc
    if not text or text.isspace():
        raise _no_records("nothing", where)
    return _records(decode(text, where), where)


def yaml_records(content: bytes, where: str) -> list[Record]:
    """Return the records of a YAML file: a list of mappings, or one mapping.

    btplug's own rules hold: no alias, anchor, tag, second document or double key.
    """
    from btplug.config import Limits, parse_yaml

    # The size was checked when the content was read; a value takes a byte at least.
    size = len(content) + 1
    limits = Limits(size=size, depth=DEPTH, nodes=size)
    document = parse_yaml(content, where=where, limits=limits, error=DataError)
    return _records(document.data, where)


def _records(data: object, where: str) -> list[Record]:
    if isinstance(data, dict):
        return [data]
    if not isinstance(data, list):
        raise _no_records(_kind(data), where)
    for index, record in enumerate(data, 1):
        if not isinstance(record, dict):
            raise not_a_record(record, f"{where}: record {index}")
    return data


def _no_records(found: str, where: str) -> DataError:
    return DataError(
        f"{where}: found {found}, expected a list of objects, or one object",
        fix="put the records into a list",
    )


def not_a_record(found: object, where: str) -> DataError:
    """Make the error of a record that has no keys."""
    return DataError(
        f"{where}: found {_kind(found)}, expected an object",
        fix="write each record as keys and values",
    )


def _kind(value: object) -> str:
    """Return what JSON calls a value of that type."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
