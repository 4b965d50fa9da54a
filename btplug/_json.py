"""JSON text that is valid everywhere and steers no terminal."""

from __future__ import annotations

from typing import Any

from btplug._yaml import shown


class NoJSON(ValueError):
    """A value that JSON has not.

    Attributes:
        at: Where it is, such as ``rows[2].price``.
        found: What it is.
    """

    def __init__(self, at: str, found: str) -> None:
        super().__init__(f"{at}: found {found}")
        self.at = at
        self.found = found


def dumps(value: object, *, name: str = "value", lenient: bool = False) -> str:
    """Return *value* as one line of JSON; every character in it can be seen.

    Args:
        name: What the outermost value is called in an error.
        lenient: Show what JSON has not as text.

    Raises:
        NoJSON: It holds what JSON has not: NaN, a set, bytes, itself, …
    """
    import json

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        if lenient:
            return dumps(_lenient(value), name=name)
        raise NoJSON(*_culprit(value, name)) from exc
    if text.isprintable():
        return text
    # JSON escapes control characters below 32 only; others steer terminals as well.
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = [units[i : i + 2] for i in range(0, len(units), 2)]
    return "".join(f"\\u{pair.hex()}" for pair in pairs)


def _lenient(value: Any, depth: int = 0) -> object:
    if isinstance(value, dict) and depth < 100:
        return {str(k): _lenient(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and depth < 100:
        return [_lenient(item, depth + 1) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)) and not _unfit_number(value):
        return value
    return shown(value)


def _unfit_number(value: float) -> str:
    if isinstance(value, int):
        # Python refuses to print more.
        big = value.bit_length() > 14_000
        return "a number of more than 4,300 digits" if big else ""
    # Only for infinities and NaN the difference is not 0.
    return "" if value - value == 0 else f"the number {value}"


def _culprit(value: Any, path: str) -> tuple[str, str]:
    """Return where in *value* the first thing is that JSON has not, and its kind."""
    open_now: list[tuple[Any, str, int]] = [(value, path, 0)]
    while open_now:
        item, at, depth = open_now.pop()
        if depth > 500:
            return path, "a value inside itself, or nested too deep"
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, (str, int, float)) and key is not None:
                    return at, f"a key of type {type(key).__name__}"
            pairs = [(v, f"{at}.{k}", depth + 1) for k, v in item.items()]
            open_now += reversed(pairs)
        elif isinstance(item, (list, tuple)):
            items = [(v, f"{at}[{i}]", depth + 1) for i, v in enumerate(item)]
            open_now += reversed(items)
        elif isinstance(item, (int, float)):
            if found := _unfit_number(item):
                return at, found
        elif not isinstance(item, str) and item is not None:
            return at, f"a value of type {type(item).__name__}"
    return path, "a value inside itself, or nested too deep"
