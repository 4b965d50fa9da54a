"""Records -> a table, drawn by rich, or line by line where they are many."""

from __future__ import annotations

from collections.abc import Iterator

from . import cells
from .cells import Look, Record
from .columns import WIDEST, Column
from .view import View

# Rich takes 50 microseconds for a cell, lines of our own take two.
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
    laid = [Laid(column, first, look) for column in columns]
    in_one = view.done and len(first) * len(columns) <= _RICH_CELLS
    if in_one and all(c.width < WIDEST for c in laid):
        yield _by_rich(laid, first, look)
        if view.error is not None:
            raise view.error
    else:
        from .lines import by_line

        yield from by_line(laid, first, view.rest(), look)
    if not first:
        yield cells.NO_ROWS


class Laid:
    """A column and how it is laid out, once records of it were seen.

    Attributes:
        width: As given, or of the widest text seen, up to WIDEST.
        fixed: The width was given: longer texts are cut.
    """

    __slots__ = ("align", "fixed", "form", "key", "look", "title", "width")

    def __init__(self, column: Column, seen: list[Record], look: Look) -> None:
        self.key, self.form, self.look = column.key, column.format, look
        self.title = cells.visible(column.title or column.key)
        self.align = cells.aligned(column.align, column.key, seen)
        self.fixed = column.width is not None
        self.width = column.width or 1
        if self.fixed:
            self.title = cells.fit(self.title, self.width, look)
        else:
            texts = (self.text(record) for record in seen)
            widest = max(map(cells.size, texts), default=1)
            self.width = min(max(cells.size(self.title), widest, 1), WIDEST)

    def text(self, record: Record) -> str:
        """Return what the column shows of *record*."""
        text = cells.cell(cells.lookup(record, self.key), self.form, self.look)
        return cells.fit(text, self.width, self.look) if self.fixed else text


def _by_rich(laid: list[Laid], records: list[Record], look: Look) -> str:
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.ASCII2 if look.ascii else box.ROUNDED,
        header_style="bold" if look.styled else "",
        border_style="dim" if look.styled else "",
    )
    least = 1
    for column in laid:
        whole = column.fixed or look.width is None
        floor = column.width if whole else min(column.width, _SQUEEZED)
        least += floor + 3
        table.add_column(
            column.title,
            justify=column.align,  # type: ignore[arg-type]  # one of ALIGNS
            no_wrap=whole,
            overflow="fold",
            width=column.width if whole else None,
            min_width=floor,
        )
    for record in records:
        table.add_row(*(column.text(record) for column in laid))
    # Everything is said here, because the console would ask the environment and the
    # text is not printed by it.
    drawn = io.StringIO()
    console = Console(
        file=drawn,
        width=max(look.width or 0, least),
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
