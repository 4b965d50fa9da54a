"""A table line by line: the look of rich's, for streams and for many rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .cells import Look, Record, size
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
    if look.styled:
        bar = _dim(bar)
    head = _edge(laid, top, look) + _row([c.title for c in laid], laid, bar, look)
    head += _edge(laid, middle, look)
    try:
        for records in (first, rest):
            for record in records:
                yield head + _row([c.text(record) for c in laid], laid, bar)
                head = ""
    except DataError:
        yield head + _edge(laid, bottom, look)
        raise
    yield head + _edge(laid, bottom, look)


def _edge(laid: list[Laid], form: _Edge, look: Look) -> str:
    left, line, cross, right = form
    text = left + cross.join(line * (c.width + 2) for c in laid) + right
    return (_dim(text) if look.styled else text) + "\n"


def _row(
    texts: list[str], laid: list[Laid], bar: str, title: Look | None = None
) -> str:
    """Return one line of texts.

    Args:
        title: Given for the head, whose texts are bold if the look is styled.
    """
    cells = []
    for text, column in zip(texts, laid, strict=True):
        gap = max(column.width - size(text), 0)
        left = {"left": 0, "right": gap, "center": gap // 2}[column.align]
        if title is not None and title.styled:
            text = f"\x1b[1m{text}\x1b[0m"
        cells.append(f" {' ' * left}{text}{' ' * (gap - left)} ")
    return f"{bar}{bar.join(cells)}{bar}\n"


def _dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"
