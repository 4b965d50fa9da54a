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
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PORTS = 256
LONG = 8  # a pair of these lasts as long as that many of two commands
ECHO = (sys.executable, "-m", "benchmarks.echo", str(PORTS))
CLIENT = (sys.executable, "-m", "benchmarks.client")


def _environment(home: Path) -> dict[str, str]:
    kept = {k: os.environ[k] for k in ("PATH", "SYSTEMROOT") if k in os.environ}
    # READ_ONLY: bittensor makes folders in its HOME otherwise.
    return {**kept, "HOME": str(home), "BTPLUG_HOME": str(home), "READ_ONLY": "1"}


@contextmanager
def server(words: Sequence[str | Path], home: Path) -> Iterator[list[str]]:
    """Run a server; yield the words of the line by which it says READY.

    Raises:
        HarnessError: It ends before.
    """
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=_environment(home),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("READY "):
                break
        else:
            raise HarnessError(f"the server {words[1:]} did not start")
        yield line.split()[1:]
        process.communicate()  # ends its standard input, and so itself


def seconds(words: Sequence[str | Path], home: Path) -> float:
    """Run a client in a process of its own and return the seconds it measured."""
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=_environment(home),
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise HarnessError(f"the client {words[1:4]} failed: {done.stderr[-500:]}")
    return float(done.stdout.split()[-1])


def against(ours: str, theirs: str, count: int, pairs: int, home: Path) -> Pairs:
    """Measure two clients in turn."""
    found = Pairs([], [])
    with server(ECHO, home) as ports:
        for _ in range(max(1, pairs // LONG)):
            found.first.append(seconds([*CLIENT, ours, str(count), *ports], home))
            found.second.append(seconds([*CLIENT, theirs, str(count), *ports], home))
    return found


def alone(mode: str, pairs: int, home: Path) -> list[float]:
    """Measure one client several times."""
    with server(ECHO, home) as ports:
        words = [*CLIENT, mode, "0", *ports]
        return [seconds(words, home) for _ in range(max(1, pairs // LONG))]
