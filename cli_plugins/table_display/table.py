"""Records -> a table, line by line, or by rich where cells must be folded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import cells
from .cells import Record
from .columns import WIDEST, Column
from .look import Look
from .view import View

if TYPE_CHECKING:
    from rich.table import Table

# Rich takes 15 to 50 microseconds for a cell, lines of our own take two.
_RICH_CELLS = 5_000
# A column without a width is not squeezed below this, even if the table then runs
# over the edge of the terminal: 200 columns of one letter tell nobody anything.
_SQUEEZED = 8


def draw(view: View, look: Look) -> Iterator[str]:
    """Yield the table in pieces.

    Cells are cut only where a column has a width. Without one it is as wide as its
    widest text; in a stream, of the first records, and later texts stand out.
    """
    first = view.start(widths=True)
    columns = view.columns
    if not columns:
        yield f"({len(first)} records without keys)\n" if first else cells.NO_ROWS
        return
    small = view.done and len(first) * len(columns) <= _RICH_CELLS
    laid = [Laid(column, first, look, keep=small) for column in columns]
    # Rich is imported only where cells have to be folded: that costs it 30 ms.
    folds = look.width is not None and look.width < _needed(laid)
    if folds and small and all(column.width < WIDEST for column in laid):
        yield _by_rich(laid, look)
        if view.error is not None:
            raise view.error
    else:
        from .lines import by_line

        yield from by_line(laid, first, view.rest(), look)
    if not first:
        yield cells.NO_ROWS


class Laid:
    """A column and how it is laid out, once records of it were seen.

    Args:
        keep: Keep the texts of the records seen.

    Attributes:
        width: As given, or of the widest text seen, up to WIDEST.
        fixed: The width was given: longer texts are cut.
    """

    __slots__ = ("_form", "_key", "_look", "align", "fixed", "texts", "title", "width")

    def __init__(
        self, column: Column, seen: list[Record], look: Look, *, keep: bool
    ) -> None:
        self._key, self._form, self._look = column.key, column.format, look
        self.align = cells.aligned(column.align, column.key, seen)
        self.fixed = column.width is not None
        self.width = column.width or 1
        self.title = cells.visible(column.title or column.key)
        if self.fixed:
            self.title = cells.fit(self.title, self.width, look)
        self.texts = [self.text(record) for record in seen] if keep else []
        if not self.fixed:
            texts = self.texts or map(self.text, seen)
            widest = max(map(cells.size, texts), default=1)
            self.width = min(max(cells.size(self.title), widest, 1), WIDEST)

    def text(self, record: Record) -> str:
        """Return what the column shows of *record*."""
        text = cells.cell(cells.lookup(record, self._key), self._form, self._look)
        return cells.fit(text, self.width, self._look) if self.fixed else text

    def padded(self, text: str) -> str:
        """Return *text* with what stands between it and the bars."""
        gap = max(self.width - cells.size(text), 0)
        left = {"left": 0, "right": gap, "center": gap // 2}[self.align]
        return f" {' ' * left}{text}{' ' * (gap - left)} "


def _needed(laid: list[Laid]) -> int:
    return 1 + sum(column.width + 3 for column in laid)


def _by_rich(laid: list[Laid], look: Look) -> str:
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.ASCII2 if look.ascii else box.ROUNDED,
        header_style="bold" if look.styled else "",
        border_style="dim" if look.styled else "",
    )
    least = _fill(table, laid)
    # Everything is said here, because the console would ask the environment and the
    # text is not printed by it.
    drawn = io.StringIO()
    console = Console(
        file=drawn,
        width=max(least, look.width or 0),
        height=25,
        force_terminal=look.styled,
        force_interactive=False,
        force_jupyter=False,
        color_system="standard" if look.styled else None,
        no_color=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(table)
    return drawn.getvalue()


def _fill(table: Table, laid: list[Laid]) -> int:
    """Fill *table* with texts that rich may fold; return its least width."""
    least = 1
    for column in laid:
        floor = column.width if column.fixed else min(column.width, _SQUEEZED)
        least += floor + 3
        table.add_column(
            column.title,
            justify=column.align,  # type: ignore[arg-type]  # one of ALIGNS
            no_wrap=column.fixed,
            overflow="fold",
            width=column.width if column.fixed else None,
            min_width=floor,
        )
    for row in zip(*(column.texts for column in laid), strict=True):
        table.add_row(*row)
    return least
