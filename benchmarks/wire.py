"""What moving messages costs: our client and a yardstick in turn, on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pairs import Pairs
from benchmarks.trees import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[1]
_PORTS = 256
_LONG = 8  # a pair of these lasts as long as that many of two commands


@contextmanager
def _server(home: Path) -> Iterator[list[str]]:
    words = [sys.executable, "-m", "benchmarks.echo", str(_PORTS)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()
        process.communicate()  # ends its standard input, and so itself


def _seconds(mode: str, count: int, ports: list[str], home: Path) -> float:
    """Run a client in a process of its own and return the seconds it measured."""
    words = [sys.executable, "-m", "benchmarks.client", mode, str(count), *ports]
    kept = {k: os.environ[k] for k in ("PATH", "SYSTEMROOT") if k in os.environ}
    env = {**kept, "HOME": str(home), "BTPLUG_HOME": str(home)}
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=_ROOT, env=env, check=False
    )
    if done.returncode:
        raise HarnessError(f"the client {mode} failed: {done.stderr[-500:]}")
    return float(done.stdout)


def against(ours: str, theirs: str, count: int, pairs: int, home: Path) -> Pairs:
    """Measure two clients in turn."""
    found = Pairs([], [])
    with _server(home) as ports:
        for _ in range(max(1, pairs // _LONG)):
            found.first.append(_seconds(ours, count, ports, home))
            found.second.append(_seconds(theirs, count, ports, home))
    return found


def alone(mode: str, pairs: int, home: Path) -> list[float]:
    """Measure one client several times."""
    with _server(home) as ports:
        return [_seconds(mode, 0, ports, home) for _ in range(max(1, pairs // _LONG))]
