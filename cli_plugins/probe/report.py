"""What became of all peers: rows, a table, percentiles, and the quorum."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

from btplug import TransportError, UsageError
from btplug.logs import escape

if TYPE_CHECKING:
    from btplug import Outcome

Row = Mapping[str, object]

SORTS = ("index", "peer", "status", "ms", "signer", "failure")
# Key of a row -> title.
_COLUMNS = {
    "index": "#",
    "peer": "Peer",
    "status": "Status",
    "ms": "ms",
    "signer": "Proven hotkey",
    "failure": "Failure",
    "what": "Why",
}
_NUMBERS = ("index", "status", "ms")


class QuorumMissed(TransportError):
    """Fewer peers answered than were expected to."""


def needed(quorum: str | int, asked: int) -> int:
    """Return how many of *asked* have to answer.

    Raises:
        UsageError: *quorum* is no whole number or percentage, or can never be met.
    """
    text = str(quorum)
    found = re.fullmatch(r"(\d{1,9})(%?)", text, re.ASCII)
    number = int(found[1]) if found else -1
    if not found or (found[2] and number > 100):
        raise UsageError(
            f"--quorum: found {text!r}, expected a number of peers, or 0% to 100%",
            fix="write for example --quorum 8, or --quorum 50%",
        )
    least = ceil(asked * number / 100) if found[2] else number
    if least > asked:
        raise UsageError(
            f"--quorum: found {least} of {asked} peers, expected at most {asked}",
            fix="lower it, or give more peers",
        )
    return least


class Tally:
    """Who answered, and how fast.

    Args:
        quorum: How many of *asked* have to answer.
    """

    def __init__(self, asked: int, quorum: int) -> None:
        self._asked, self._quorum = asked, quorum
        self._ms = array("d")

    def row(self, outcome: Outcome) -> dict[str, object]:
        """Count *outcome* and return its row."""
        row = {"index": outcome.index, **outcome.record()}
        if row["ok"]:
            self._ms.append(outcome.seconds * 1000)
        return row

    def figures(self) -> dict[str, object]:
        """Return the summary for programs; a percentile of none is None."""
        ms = sorted(self._ms)
        # The nearest rank: a latency that somebody had.
        ranks = {
            f"p{p}_ms": round(ms[ceil(len(ms) * p / 100) - 1], 1) if ms else None
            for p in (50, 90, 99)
        }
        return {"asked": self._asked, "answered": len(ms), **ranks}

    def sentence(self) -> str:
        """Return the summary for people."""
        figures = self.figures()
        ranks = ", ".join(f"p{p} {figures[f'p{p}_ms']} ms" for p in (50, 90, 99))
        return self._answered() + (f"; {ranks}" if self._ms else "")

    def check(self) -> None:
        """Raise `QuorumMissed` where fewer answered than the quorum."""
        if len(self._ms) < self._quorum:
            raise QuorumMissed(
                f"{self._answered()}, expected at least {self._quorum}",
                fix="see in the rows why the others did not, or lower --quorum",
            )

    def _answered(self) -> str:
        peers = "peer" if self._asked == 1 else "peers"
        return f"{len(self._ms)} of {self._asked} {peers} answered"


def check_sort(sort: str) -> None:
    """Refuse what is no ``[-]KEY``.

    Raises:
        UsageError: It is none.
    """
    if sort.removeprefix("-") not in SORTS:
        raise UsageError(
            f"--sort: found {sort!r}, expected one of {', '.join(SORTS)}",
            fix="choose one of them; with - in front, downwards",
        )


def in_order(rows: Sequence[Row], sort: str) -> list[Row]:
    """Return *rows* in the order of ``[-]KEY``; where nothing is, comes last."""
    key, down = sort.removeprefix("-"), sort.startswith("-")
    given = sorted(rows, key=lambda row: row["index"])  # type: ignore[arg-type,return-value]  # an int
    there = [row for row in given if row[key] is not None]
    # A column has one type.
    there.sort(key=lambda row: row[key], reverse=down)  # type: ignore[arg-type,return-value]
    return [*there, *(row for row in given if row[key] is None)]


def table(rows: Sequence[Row]) -> str:
    """Return *rows* as a table: folded on a terminal, else one line each, uncut."""
    cells = [[_cell(row[key]) for key in _COLUMNS] for row in rows]
    stdout = sys.stdout
    if stdout is not None and stdout.isatty():
        return _folded(cells)
    lines = [[*_COLUMNS.values()], *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [key in _NUMBERS for key in _COLUMNS]
    return "".join(
        "  ".join(
            cell.rjust(wide) if number else cell.ljust(wide)
            for cell, wide, number in zip(line, widths, right, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _cell(value: object) -> str:
    # Most of it comes from peers: it must not steer the terminal.
    return "" if value is None else escape(str(value))


def _folded(cells: list[list[str]]) -> str:
    import os

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    style = "" if os.environ.get("NO_COLOR") else "bold"
    drawn = Table(box=None, pad_edge=False, header_style=style)
    for key, title in _COLUMNS.items():
        drawn.add_column(
            title, justify="right" if key in _NUMBERS else "left", overflow="fold"
        )
    for row in cells:
        drawn.add_row(*map(Text, row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get()
