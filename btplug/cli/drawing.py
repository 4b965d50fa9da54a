"""What a confined plugin has its host draw on the terminal, and ask the operator."""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, TextIO

import click

from btplug._confine.frames import BadFrame
from btplug.errors import UsageError
from btplug.logs import escape

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from btplug.context import Context

_MOST = 1_000_000  # steps of progress that one word of the child may mean


class Drawing:
    """One status and one progress at a time; what is asked for may be a lie."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._drawn = ExitStack()
        self._progress: Generator[int, None, None] | None = None
        self._done = 0

    def close(self) -> None:
        """Draw no more."""
        self._end_progress()
        self._drawn.close()

    def _end_progress(self) -> None:
        drawn, self._progress = self._progress, None
        if drawn is not None:
            drawn.close()

    def status(self, told: dict[str, Any]) -> None:
        """Show a status, or none any more."""
        self._drawn.close()
        if "text" in told:
            self._drawn.enter_context(self._context.status(text_of(told, "text")))

    def progress(self, told: dict[str, Any]) -> None:
        """Begin to show progress, move it on, or end it."""
        if "label" in told:
            self.close()
            total = told.get("total")
            total = total if isinstance(total, int) and total >= 0 else None
            self._done = 0
            label = text_of(told, "label")
            drawn = self._context.progress(count(), label=label, total=total)
            self._progress = _through(drawn)
            next(self._progress)  # as it is while the first item is worked on
        elif self._progress is not None and isinstance(told.get("done"), int):
            for _ in range(min(told["done"] - self._done, _MOST)):
                next(self._progress, None)
            self._done = told["done"]
        else:
            self._end_progress()

    def table(self, told: dict[str, Any], out: TextIO | None) -> None:
        """Draw a part of the result.

        Args:
            out: None: where no table may be.

        Raises:
            BadFrame: It is no table, or none may be there.
        """
        from btplug.cli.output import show_table

        match told.get("table"):
            case [list(cells), list(numeric), bool(header)] if (
                out is not None
                and cells
                and numeric
                and all(type(right) is bool for right in numeric)
                and all(_is_row(row, len(numeric)) for row in cells)
            ):
                shown = [[escape(cell) for cell in row] for row in cells]
                show_table(shown, numeric, header, out)
            case _:
                raise BadFrame("a table that is none")

    def answer(self, told: dict[str, Any]) -> dict[str, object]:
        """Ask, and return the answer; nothing where nobody gave one."""
        question, default = text_of(told, "question"), told.get("default")
        if "read" in told:
            return _typed(told["read"], question, echo=bool(told.get("echo")))
        with suppress(UsageError):
            if told.get("confirm"):
                known = default if isinstance(default, bool) else None
                return {"answer": self._context.confirm(question, default=known)}
            text = default if isinstance(default, str) else None
            secret = bool(told.get("secret"))
            return {"answer": self._context.ask(question, default=text, secret=secret)}
        return {}


def _through(items: Iterator[int]) -> Generator[int, None, None]:
    """Yield from *items*, which need not be a generator that can be closed."""
    yield from items


def _typed(what: object, question: str, *, echo: bool) -> dict[str, object]:
    """Read what is typed on the terminal: a line, a hidden one or a key."""
    if sys.stdin is None or not sys.stdin.isatty():
        return {}
    if what == "line":
        data = sys.stdin.buffer.readline()
        return {"answer": data.decode(errors="surrogateescape")} if data else {}
    with suppress(EOFError):
        if what == "key":
            return {"answer": click.getchar(echo=echo)}
        return {"answer": click.termui.hidden_prompt_func(escape(question))}
    return {}


def _is_row(row: Any, length: int) -> bool:
    wide = isinstance(row, list) and len(row) == length
    return wide and all(isinstance(cell, str) for cell in row)


def text_of(told: dict[str, Any], key: str) -> str:
    """Return a text that the child sent, empty where it is none."""
    value = told.get(key)
    return value if isinstance(value, str) else ""
