"""``python -m benchmarks [ROW]…``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import facts, load
from benchmarks.measures import FEW, Bench
from benchmarks.report import print_head, print_row, write_json
from benchmarks.rows import ROWS
from benchmarks.trees import HarnessError, Skipped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # Checked below: argparse before 3.12 refuses choices for an empty list.
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument(
        "--pairs", type=int, default=41, help="of each row; below 31 is for tests"
    )
    parser.add_argument(
        "--many", type=int, default=10_000, help="plugins of the largest tree; peers"
    )
    parser.add_argument("--mib", type=int, default=1024, help="of each stream")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("results.json")
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a row misses its goal"
    )
    return parser


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = _parser()
    given = parser.parse_args()
    names = given.rows or list(ROWS)
    if unknown := set(names) - set(ROWS):
        parser.error(f"found {', '.join(unknown)}, expected one of {', '.join(ROWS)}")
    if given.pairs < 1 or given.many <= FEW or given.mib < 1:
        parser.error(f"expected at least 1 pair and MiB, and more than {FEW} plugins")
    machine, begun, results = facts(), time.perf_counter(), {}
    sizes = {"many": given.many, "mib": given.mib}
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print_head()
    with tempfile.TemporaryDirectory(prefix="btplug-bench-") as root:
        bench = Bench(Path(root).resolve(), given.pairs, **sizes)
        for name in names:
            try:
                results[name] = ROWS[name].measure(bench)
            except Skipped as exc:
                print(f"{name:<12}  skipped: {exc}", flush=True)
            except HarnessError as exc:
                print(f"benchmarks: {name}: {exc}", file=sys.stderr)
                return 2
            else:
                print_row(name, results[name], **sizes)
    machine |= {
        "pairs": given.pairs,
        **sizes,
        "seconds": time.perf_counter() - begun,
    }
    write_json(given.output, results, machine)
    print(f"{given.pairs} pairs, {machine['seconds']:.0f} s, written: {given.output}")
    if max(machine["load"], load()) > machine["cores"]:
        print("benchmarks: the machine was busy, measure again", file=sys.stderr)
    missed = any(ROWS[name].verdict(found) != "ok" for name, found in results.items())
    return int(given.check and missed)


if __name__ == "__main__":
    sys.exit(main())
