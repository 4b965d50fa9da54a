"""What stdout can show: styles, lines of a width, box characters."""

from __future__ import annotations

import os
import sys


class Look:
    """What the output can show.

    Attributes:
        styled: Bold and dim are understood and wanted.
        width: Cells in a line of the terminal; None: no terminal, nothing is folded.
        ascii: The output's encoding has no box characters.
        missing: What stands for a key that a record does not have.
        cut: What ends a text that was cut.
    """

    # Not a dataclass: one is defined at every start, which takes 0.3 ms and more.
    __slots__ = ("ascii", "cut", "missing", "styled", "width")

    def __init__(
        self, *, styled: bool = False, width: int | None = None, ascii: bool = False
    ) -> None:
        self.styled, self.width, self.ascii = styled, width, ascii
        self.missing = "-" if ascii else "–"  # noqa: RUF001 - a dash is meant
        self.cut = "~" if ascii else "…"


def of_stdout() -> Look:
    """Find out what stdout can show: a pipe is neither styled nor folded."""
    out = sys.stdout
    encoding = (getattr(out, "encoding", None) or "utf-8").lower()
    ascii_only = not encoding.startswith("utf")
    try:
        width = os.get_terminal_size(out.fileno()).columns if out.isatty() else None
    # No stdout at all, a closed one, one of a test: the same as a pipe.
    except (AttributeError, OSError, ValueError):
        width = None
    if width is None:
        return Look(ascii=ascii_only)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Look(styled=not plain, width=width or 80, ascii=ascii_only)
