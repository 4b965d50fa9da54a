"""The rows of the benchmark that need real neurons still run, with one pair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = ["dendrite", "served", "served-v10", "tensor"]


def test_the_rows_against_real_neurons_are_measured(tmp_path):
    output = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *ROWS, "--pairs", "1", "--output", output],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=600,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [row["name"] for row in rows] == ROWS, done.stdout
    assert all(row["unit"] == "times" and row["median"] > 0 for row in rows)
