"""A table line by line, in the look of rich's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .cells import Record
from .look import Look
from .source import DataError
from .table import Laid

# Of rich's box.ROUNDED and box.ASCII2: left corner, line, crossing, right corner.
_Edge = tuple[str, str, str, str]
_ROUNDED = (("╭", "─", "┬", "╮"), ("├", "─", "┼", "┤"), ("╰", "─", "┴", "╯"))
_ASCII = (("+", "-", "+", "+"),) * 3


def by_line(
    laid: list[Laid], first: list[Record], rest: Iterable[Record], look: Look
) -> Iterator[str]:
    """Yield the head with the first row, then every row, then the lower edge."""
    top, middle, bottom = _ASCII if look.ascii else _ROUNDED
    bar = "|" if look.ascii else "│"
    titles = [column.padded(column.title) for column in laid]
    if look.styled:
        bar = _dim(bar)
        titles = [f"\x1b[1m{title}\x1b[0m" for title in titles]
    head = _edge(laid, top, look) + f"{bar}{bar.join(titles)}{bar}\n"
    head += _edge(laid, middle, look)
    try:
        for records in (first, rest):
            for record in records:
                row = bar.join(column.padded(column.text(record)) for column in laid)
                yield f"{head}{bar}{row}{bar}\n"
                head = ""
    except DataError:
        yield head + _edge(laid, bottom, look)
        raise
    yield head + _edge(laid, bottom, look)


def _edge(laid: list[Laid], form: _Edge, look: Look) -> str:
    left, line, cross, right = form
    text = left + cross.join(line * (column.width + 2) for column in laid) + right
    return (_dim(text) if look.styled else text) + "\n"


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"
