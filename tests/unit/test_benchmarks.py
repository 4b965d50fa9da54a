"""The benchmark still runs: with tiny counts, which say nothing of speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measures import Result
from benchmarks.pairs import Spread
from benchmarks.rows import ROWS
from benchmarks.trees import HarnessError, Home

ROOT = Path(__file__).parents[2]
# Against neurons that need an environment of their own: see tests/interop.
REAL = ["dendrite", "served", "served-v10", "tensor"]


def bench(*words):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "INTEROP": "/nowhere"},
        check=False,
    )


@pytest.mark.slow
def test_every_row_is_measured_printed_and_written(tmp_path):
    output = tmp_path / "results.json"

    done = bench("--pairs", 1, "--many", 11, "--mib", 1, "--output", output)

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:-1]] == list(ROWS)
    found = json.loads(output.read_text())
    assert [row["name"] for row in found["rows"]] == [n for n in ROWS if n not in REAL]
    assert {row["verdict"] for row in found["rows"]} <= {"ok", "over"}
    assert found["cpu"]


def test_rows_against_neurons_that_are_not_here_are_skipped_in_one_line(tmp_path):
    done = bench(*REAL, "--check", "--output", tmp_path / "results.json")

    assert done.returncode == 0, done.stderr
    assert [" ".join(line.split()) for line in done.stdout.splitlines()[2:-1]] == [
        f"{name} skipped: no bittensor 10 in /nowhere/bt10, "
        "which comes with: make interop"
        for name in REAL
    ]


@pytest.mark.parametrize(
    ("found", "verdict"), [(69.9, "under"), (70.0, "ok"), (700.0, "ok")]
)
def test_a_row_that_says_how_many_times_as_fast_has_a_floor(found, verdict):
    assert ROWS["dendrite"].verdict(Result(Spread(found, 0.0, 0.0, 0.0))) == verdict


@pytest.mark.parametrize(
    ("words", "allowed", "code", "verdict"),
    [
        ([], 0.0, 0, "over"),
        (["--check"], 0.0, 1, "over"),
        (["--check"], 1e6, 0, "ok"),
    ],
)
def test_only_check_turns_a_row_over_its_budget_into_a_failure(
    words, allowed, code, verdict, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(ROWS, "call", ROWS["call"]._replace(allowed=allowed))
    output = tmp_path / "results.json"
    line = ["benchmarks", "call", "--pairs", "2", "--output", str(output), *words]
    monkeypatch.setattr(sys, "argv", line)

    assert main() == code
    assert json.loads(output.read_text())["rows"][0]["verdict"] == verdict
    assert verdict in capsys.readouterr().out.splitlines()[2].split()


def test_an_unknown_row_is_refused():
    done = bench("versoin")

    assert done.returncode == 2
    assert "found versoin, expected one of version, list" in done.stderr


def test_a_command_that_fails_is_never_measured(tmp_path):
    home = Home(tmp_path / "trees", 1)

    with pytest.raises(HarnessError, match="btplug run typo exits with 3"):
        home.warm(("run", "typo"), ())


def test_a_start_that_reads_yaml_is_not_warm(tmp_path):
    home = Home(tmp_path / "trees", 1)

    assert not home.is_warm(("list",), ("list*",))
    home.warm(("list",), ("list*",))
    assert home.is_warm(("list",), ("list*",))


def test_a_cache_written_again_meanwhile_was_not_warm(tmp_path):
    home = Home(tmp_path / "trees", 1)
    home.warm(("list",), ("list*",))
    shelf = home.root / "cli_plugins"

    os.utime(shelf, (1e9, 1e9))
    home.warm(("list",), ())

    assert not home.is_warm(("list",), ("list*",))
