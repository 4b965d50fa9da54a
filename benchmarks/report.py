"""Results -> a table on stdout, and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.measures import Result

_LINE = "{:<12}  {:<40}  {:<39}  {:>22}  {:>6}  {:>10}  {:>8}  {}"


def print_head() -> None:
    print(
        _LINE.format(
            "row", "what", "yardstick", "median [quartiles]", "best", "ms / ms",
            "allowed", "verdict",
        ),
        flush=True,
    )  # fmt: skip


def print_row(name: str, result: Result, **sizes: int) -> None:
    """Print a row as soon as it was measured."""
    row, value = ROWS[name], result.value
    what = row.what.format(**sizes)
    times = "/".join(f"{t:.0f}" for t in result.milliseconds or ()) or "-"
    found = f"{value.median:.2f} [{value.low:.2f}..{value.high:.2f}] {row.unit}"
    best, allowed = f"{value.best:.2f}", f"{row.allowed:.2f} {row.unit}"
    cold = "" if result.warm else ", but the cache went cold meanwhile"
    print(
        _LINE.format(
            name, what, row.yardstick, found, best, times, allowed,
            row.verdict(result) + cold,
        ),
        flush=True,
    )  # fmt: skip


def write_json(
    path: Path, results: Mapping[str, Result], facts: Mapping[str, object]
) -> None:
    """Write everything, for whoever compares runs."""
    rows = [
        {
            "name": name,
            "what": ROWS[name].what.format(**facts),
            "yardstick": ROWS[name].yardstick,
            "unit": ROWS[name].unit,
            "allowed": ROWS[name].allowed,
            **result.value._asdict(),
            "milliseconds": result.milliseconds,
            "warm": result.warm,
            "judged": ROWS[name].judged,
            "verdict": ROWS[name].verdict(result),
        }
        for name, result in results.items()
    ]
    text = json.dumps({**facts, "rows": rows}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
