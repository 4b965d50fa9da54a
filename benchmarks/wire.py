"""What moving messages costs: our client and a yardstick in turn, on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.pairs import Pairs
from benchmarks.trees import HarnessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

_ROOT = Path(__file__).resolve().parents[1]
_PORTS = 256
_CROWD = 2500  # peers of one server
_LONG = 8  # a pair of these lasts as long as that many of two commands


@contextmanager
def _server(*words: str) -> Iterator[list[str]]:
    """Run a server of the benchmarks and yield the ports it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    ) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        if not ports:
            raise HarnessError(f"the server {' '.join(words)} did not start")
        yield ports
        process.communicate()  # ends its standard input, and so itself


def _echoes() -> AbstractContextManager[list[str]]:
    return _server("benchmarks.echo", str(_PORTS))


def _told(home: Path, *words: str) -> str:
    """Run a client in a process of its own and return what it printed."""
    kept = {k: os.environ[k] for k in ("PATH", "SYSTEMROOT") if k in os.environ}
    env = {**kept, "HOME": str(home), "BTPLUG_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env=env,
        check=False,
    )
    if done.returncode:
        shown = " ".join(words[:2])
        raise HarnessError(f"the client {shown} failed: {done.stderr[-500:]}")
    return done.stdout


def _seconds(mode: str, count: int, ports: list[str], home: Path) -> float:
    return float(_told(home, "benchmarks.client", mode, str(count), *ports))


def against(ours: str, theirs: str, count: int, pairs: int, home: Path) -> Pairs:
    """Measure two clients in turn."""
    found = Pairs([], [])
    with _echoes() as ports:
        for _ in range(max(1, pairs // _LONG)):
            found.first.append(_seconds(ours, count, ports, home))
            found.second.append(_seconds(theirs, count, ports, home))
    return found


def alone(mode: str, pairs: int, home: Path) -> list[float]:
    """Measure one client several times."""
    with _echoes() as ports:
        return [_seconds(mode, 0, ports, home) for _ in range(max(1, pairs // _LONG))]


class Heavy(NamedTuple):
    """What our client and a yardstick told of themselves, in turn.

    Attributes:
        pairs: Their seconds.
        ours: All figures of each run of our client.
    """

    pairs: Pairs
    ours: list[Mapping[str, float]]

    def most(self, name: str) -> list[float]:
        """Return one figure of all runs."""
        return [one[name] for one in self.ours]


def crowd(count: int, pairs: int, home: Path) -> Heavy:
    """Ask *count* peers once each, with our client and with aiohttp."""
    with ExitStack() as stack:
        ports: list[str] = []
        while len(ports) < count:
            # Several servers: each peer takes a descriptor, and each connection.
            some = str(min(_CROWD, count - len(ports)))
            ports += stack.enter_context(_server("benchmarks.echo", some))[1:]
        words = [["benchmarks.crowd", mode, *ports] for mode in ("ours", "raw")]
        return _in_turn(words, max(1, pairs // (2 * _LONG)), home)


def bulk(mode: str, mib: int, pairs: int, home: Path) -> Heavy:
    """Move *mib* MiB, with our client and with aiohttp."""
    with _server("benchmarks.bulk", "serve") as ports:
        rest = [str(mib), str(home), *ports]
        words = [["benchmarks.bulk", one, *rest] for one in (mode, f"raw_{mode}")]
        return _in_turn(words, max(1, pairs // (_LONG // 2)), home)


def _in_turn(words: list[list[str]], count: int, home: Path) -> Heavy:
    found = Heavy(Pairs([], []), [])
    for _ in range(count):
        ours, theirs = (json.loads(_told(home, *one)) for one in words)
        found.ours.append(ours)
        found.pairs.first.append(ours["seconds"])
        found.pairs.second.append(theirs["seconds"])
    return found
