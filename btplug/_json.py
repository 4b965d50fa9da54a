"""JSON that is valid everywhere: read strictly, written strictly or for people."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from btplug._yaml import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from json import JSONDecoder, JSONEncoder

    from btplug.message import Buffer

# Levels of lists and mappings; what others nest deeper is rarely data.
DEPTH = 128
# An empty list of three bytes takes a hundred as an object, a mapping two hundred.
_ROOM = 32  # bytes of the limit for each of them
_FEW = 256 * 1024  # of them, whatever the limit is
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_STEP = 1024 * 1024  # bytes that are counted between two looks at the sum


class BadJSON(ValueError):
    """Bytes that are no JSON, or more of it than is wanted; the text is the reason."""


def loads(
    data: Buffer,
    *,
    limit: int = 8 * 1024 * 1024,
    depth: int = DEPTH,
    strict: bool = False,
    digits: int | None = None,
) -> object:
    """Return what JSON in UTF-8 says; what two readers could take apart is refused.

    Args:
        limit: Bytes it may have: as objects it takes up to twenty times as much, or
            fifty where it is not *strict*.
        depth: Levels of lists and mappings it may have.
        strict: It is from anybody: refuse half a surrogate pair, and more than one
            list or mapping for each 32 bytes of *limit*, if over 262,144.
        digits: An integer may have; None: as many as Python reads, 4,300.

    Raises:
        BadJSON: It has NaN, an infinity (1e999 is one), a repeated key, an integer
            of more *digits*, too many levels or bytes, or is none at all.

    Source: RFC 8259; RFC 7493, section 2, for repeated keys and surrogates.
    """
    if memoryview(data).nbytes > limit:
        raise BadJSON(f"at most {limit:,} bytes of it")
    try:
        text = str(data, "utf-8")
        most = max(_FEW, limit // _ROOM)
        if strict and _opens_more(text, most):
            raise BadJSON(f"at most {most:,} lists and mappings in {limit:,} bytes")
        # The decoder that counts them is slower, and so many in a row are rare.
        counted = digits and b"0" * (digits + 1) in bytes(data).translate(_DIGITS)
        value = _decoder(digits if counted else None).decode(text)
    except RecursionError as exc:
        raise BadJSON("nested too deep") from exc
    # ValueError: also bad UTF-8, and integers of too many digits.
    except ValueError as exc:
        raise BadJSON(str(exc)) from exc
    # Counting is much cheaper than walking, and mostly enough.
    if text.count("[") + text.count("{") > depth and not _fits(value, depth):
        raise BadJSON(f"nested too deep, more than {depth} levels")
    # Only an escape makes one; what is written again is a body of the same size.
    has_surrogates = strict and ("\\ud" in text or "\\uD" in text)
    if has_surrogates and not _encodable(_encoder().encode(value)):
        raise BadJSON("text with half a surrogate pair")
    return value


def _opens_more(text: str, most: int) -> bool:
    """Return whether *text* has more than *most* lists and mappings."""
    if text.count("[") + text.count("{") <= most:
        return False
    import re

    # Brackets inside text cost nothing. Without escapes it ends at the next quote.
    plain = text.replace("\\\\", "").replace('\\"', "")
    found = 0
    # In steps, so that other threads have their turn, and no further than needed.
    for part in re.finditer('([^"]+)(?:"[^"]*"?)?|"[^"]*"?', plain):
        outside = part[1] or ""
        found += outside.count("[") + outside.count("{")
        if found > most:
            return True
    return False


def crowded(data: bytes, most: int) -> bool:
    """Return whether *data* has more than *most* commas and opening brackets.

    JSON has at most one value more than these, and an empty list of three bytes takes
    twenty times that as an object. Those inside text count too: told before decoding.
    """
    found = 0
    for start in range(0, len(data), _STEP):
        end = start + _STEP
        found += sum(data.count(sign, start, end) for sign in (b",", b"[", b"{"))
        if found > most:
            return True
    return False


# Made once: `json.loads` and `json.dumps` make one for every call.
@cache
def _decoder(digits: int | None = None) -> JSONDecoder:
    from json import JSONDecoder

    def read(text: str) -> int:
        if digits and (found := len(text.lstrip("-"))) > digits:
            raise ValueError(
                f"an integer of {found:,} digits, expected at most {digits}"
            )
        return int(text)

    return JSONDecoder(
        parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique,
        parse_int=read if digits else None,
    )  # fmt: skip


@cache
def _encoder(comma: str = ",", colon: str = ":") -> JSONEncoder:
    from json import JSONEncoder

    return JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(comma, colon))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value - value:
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:80]!r} stands there twice")
            seen.add(key)
    return found


def _fits(value: Any, depth: int, *, text_keys: bool = False) -> bool:
    """Return whether *value* has *depth* levels at most, and perhaps text keys only."""
    # Iterators, one for each open level: a list of millions is not copied.
    levels: list[Iterator[Any]] = [iter((value,))]
    while levels:
        for item in levels[-1]:
            if not isinstance(item, (dict, list, tuple)):
                continue
            if len(levels) > depth:
                return False
            if isinstance(item, dict):
                if text_keys and not all(isinstance(key, str) for key in item):
                    return False
                item = item.values()
            if item:
                levels.append(iter(item))
                break
        else:
            levels.pop()
    return True


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
    try:
        text = _encoder(", ", ": ").encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        if lenient:
            return dumps(_lenient(value), name=name)
        raise NoJSON(*_culprit(value, name)) from exc
    if text.isprintable():
        return text
    # JSON escapes control characters below 32 only; others steer terminals as well.
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def encode(value: object, *, name: str = "value") -> bytes:
    """Return *value* as compact JSON in UTF-8, such that `loads` reads it back.

    Stricter than `dumps`: a key that is no text, text with half a surrogate pair and
    more than 128 levels are refused as well.

    Raises:
        NoJSON: It holds what JSON has not.
    """
    try:
        text = _encoder().encode(value)
        if _fits(value, DEPTH, text_keys=True):
            return text.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise NoJSON(*_culprit(value, name, strict=True)) from exc
    raise NoJSON(*_culprit(value, name, strict=True))


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


def _culprit(value: Any, path: str, *, strict: bool = False) -> tuple[str, str]:
    """Return where in *value* the first thing is that JSON has not, and its kind."""
    keys = str if strict else (str, int, float, type(None))
    levels = DEPTH if strict else 501
    open_now: list[tuple[Any, str, int]] = [(value, path, 0)]
    while open_now:
        item, at, depth = open_now.pop()
        if depth >= levels and isinstance(item, (dict, list, tuple)):
            return path, "a value inside itself, or nested too deep"
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, keys):
                    return at, f"a key of type {type(key).__name__}"
                if strict and isinstance(key, str) and not _encodable(key):
                    return at, "a key with half a surrogate pair"
            pairs = [(v, f"{at}.{k}", depth + 1) for k, v in item.items()]
            open_now += reversed(pairs)
        elif isinstance(item, (list, tuple)):
            items = [(v, f"{at}[{i}]", depth + 1) for i, v in enumerate(item)]
            open_now += reversed(items)
        elif isinstance(item, (int, float)):
            if found := _unfit_number(item):
                return at, found
        elif isinstance(item, str):
            if strict and not _encodable(item):
                return at, "text with half a surrogate pair"
        elif item is not None:
            return at, f"a value of type {type(item).__name__}"
    return path, "a value inside itself, or nested too deep"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
