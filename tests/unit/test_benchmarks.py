"""The benchmark still runs: with tiny counts, which say nothing of speed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = ["version", "list", "table", "http", "many-run", "many-list", "call"]


def bench(*words):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.slow
def test_every_row_is_measured_printed_and_written(tmp_path):
    output = tmp_path / "results.json"

    done = bench("--pairs", "1", "--many", "11", "--output", str(output))

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:-1]] == ROWS
    found = json.loads(output.read_text())
    assert [row["name"] for row in found["rows"]] == ROWS
    assert {row["verdict"] for row in found["rows"]} <= {"ok", "over"}
    assert found["cpu"]


def test_a_row_over_its_budget_changes_the_exit_code_only_with_check(tmp_path):
    from benchmarks.pairs import spread
    from benchmarks.rows import ROWS as known
    from benchmarks.rows import Result

    good, bad = (Result(spread([x, x, x], x)) for x in (1.0, 1.01))

    assert known["version"].verdict(good) == "ok"
    assert known["version"].verdict(bad) == "over"


def test_an_unknown_row_is_refused():
    done = bench("versoin")

    assert done.returncode == 2
    assert "found versoin, expected one of version, list" in done.stderr
