"""Which records are shown, and in which order: --where and --sort."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from btplug import UsageError

from .cells import MISSING, Record, lookup, number, plain

# Any: both sides are numbers or both are texts, see `Condition`.
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": operator.contains,
}
_SPARE = 10_000  # records sorted at a time, where only the first few are wanted
OPERATORS = " ".join(_COMPARE)
_FORM = re.compile(
    r"""(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)'|(?P<key>[^!=<>~]+))\s*"""
    r"""(?P<op>[!=<>~]+)(?P<value>.*)""",
    re.DOTALL,
)


class Query:
    """Filters, orders and limits records, in this order.

    Args:
        where: Conditions, all of which must be true.

    Attributes:
        keys: What the conditions and the order look at.

    Raises:
        UsageError: A condition or *sort* is not well formed.
    """

    def __init__(
        self, where: Iterable[str], sort: str | None, limit: int | None
    ) -> None:
        self._conditions = [Condition(text) for text in where]
        self._sort = None if sort is None else _sort_key(sort)
        self._limit = limit
        self.keys = [condition.key for condition in self._conditions]
        if self._sort is not None:
            self.keys.append(self._sort[0])

    def __call__(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield what is left; nothing is read before the first is asked for."""
        for condition in self._conditions:
            records = filter(condition, records)
        if self._sort is not None:
            records = self._sorted(records, *self._sort)
        yield from islice(records, self._limit)

    def _sorted(self, records: Iterable[Record], key: str, down: bool) -> list[Record]:
        if self._limit is None:
            return ordered(records, key, down)
        # The few at the top of many: the others need not be kept.
        kept: list[Record] = []
        for record in records:
            kept.append(record)
            if len(kept) > self._limit + _SPARE:
                kept = ordered(kept, key, down)[: self._limit]
        return ordered(kept, key, down)


class Condition:
    """One ``KEY OP VALUE``; called with a record, it tells whether that is shown.

    Two numbers compare as numbers, all else as text. ``~`` asks whether VALUE is part
    of the text: no pattern, so no pattern can run away. A key that is missing or null
    meets only ``!=``; ``KEY = null`` finds null itself.

    Raises:
        UsageError: *text* has another form.
    """

    __slots__ = ("_compare", "key", "number", "op", "text")

    def __init__(self, text: str) -> None:
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise _wrong(text, f"KEY OP VALUE with one of {OPERATORS}")
        self.key = match["double"] or match["single"] or match["key"].strip()
        self.op = match["op"]
        if self.op not in _COMPARE:
            raise _wrong(text, f"one of the operators {OPERATORS}")
        if match["key"] and self.key[0] in "\"'":
            raise _wrong(text, "the quotes around KEY closed before the operator")
        self._compare = _COMPARE[self.op]
        self.text, self.number = _value(text, match["value"].strip())

    def __call__(self, record: Record) -> bool:
        found = lookup(record, self.key)
        if found is MISSING:
            return self.op == "!="
        if found is None and self.op not in ("=", "!="):
            return False
        if self.number is not None and self.op != "~":
            value = number(found)
            if value is not None:
                return self._compare(value, self.number)
        return self._compare(plain(found), self.text)


def _value(whole: str, text: str) -> tuple[str, int | float | None]:
    """Return the text of VALUE and the number it spells; quotes make it a text."""
    if text[:1] not in ("'", '"') or not text:
        return text, number(text)
    if len(text) < 2 or text[-1] != text[0]:
        raise _wrong(whole, f"VALUE to end with the quote it begins with, {text[0]}")
    return text[1:-1], None


def _wrong(text: str, expected: str) -> UsageError:
    return UsageError(
        f"--where: found {text[:80]!r}, expected {expected}",
        fix="write for example --where 'stake >= 100' or --where 'name = \"a = b\"'",
    )


def ordered(records: Iterable[Record], key: str, down: bool) -> list[Record]:
    """Return *records* sorted by *key*, downwards if *down*.

    Numbers come first, then texts, then null and NaN, then records without the key;
    downwards, the groups stay where they are. Equal ones keep their order.
    """
    numbers: list[tuple[int | float, Record]] = []
    texts: list[tuple[str, Record]] = []
    nulls: list[Record] = []
    without: list[Record] = []
    for record in records:
        value = lookup(record, key)
        found = number(value)
        if value is MISSING:
            without.append(record)
        elif value is None or (found is not None and found != found):
            nulls.append(record)
        elif found is not None:
            numbers.append((found, record))
        else:
            texts.append((plain(value), record))
    first = operator.itemgetter(0)
    numbers.sort(key=first, reverse=down)
    texts.sort(key=first, reverse=down)
    return [*(r for _, r in numbers), *(r for _, r in texts), *nulls, *without]


def _sort_key(sort: str) -> tuple[str, bool]:
    """Split the text of --sort into its key and whether it goes downwards."""
    key = sort.removeprefix("-").strip()
    if not key:
        raise UsageError(
            f"--sort: found {sort!r}, expected KEY or -KEY",
            fix="write for example --sort -stake",
        )
    return key, sort.startswith("-")
