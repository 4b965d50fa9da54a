"""What the host draws for a plugin on a terminal; on stderr, so pipes stay clean."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from btplug.context import Screen, nobody
from btplug.logs import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


class Terminal(Screen):
    """Draws with rich, asks with Click."""

    @contextmanager
    def status(self, text: str) -> Iterator[object]:
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(escape(text))):
            yield None

    def progress(
        self, items: Iterable[T], label: str, total: int | None
    ) -> Iterator[T]:
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        text = escape(label).replace("[", r"\[")
        yield from track(items, text, total=total, console=console, transient=True)

    def ask(self, question: str, default: str | None, secret: bool) -> str:
        if not _can_ask():
            return super().ask(question, default, secret)
        with _answers(question):
            answer: str = click.prompt(
                escape(question), default=default, hide_input=secret, err=True
            )
        return answer

    def confirm(self, question: str, default: bool | None) -> bool:
        if not _can_ask():
            return super().confirm(question, default)
        with _answers(question):
            return click.confirm(escape(question), default=default, err=True)


def draw(
    table: list[list[str]], numeric: list[bool], header: bool, out: TextIO
) -> None:
    """Draw a table as wide as the terminal; cells are folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    style = "" if os.environ.get("NO_COLOR") else "bold"
    drawn = Table(box=None, show_header=header, pad_edge=False, header_style=style)
    for index, right in enumerate(numeric):
        head = Text(table[0][index]) if header else ""
        justify: Any = "right" if right else "left"
        drawn.add_column(head, justify=justify, overflow="fold")
    for cells in table[1:] if header else table:
        drawn.add_row(*map(Text, cells))
    Console(file=out, highlight=False).print(drawn)


@contextmanager
def _answers(question: str) -> Iterator[None]:
    """Tell the end of the input from Ctrl-C, which Click makes one."""
    try:
        yield
    except click.Abort as exc:
        if isinstance(exc.__context__, EOFError):
            raise nobody(question) from None
        raise KeyboardInterrupt from None


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
