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
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
PORTS = 256
LONG = 8  # a pair of these lasts as long as that many of two commands
_CROWD = 2500  # peers of one server
ECHO = (sys.executable, "-m", "benchmarks.echo")
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


def told(words: Sequence[str | Path], home: Path) -> str:
    """Run a client in a process of its own and return what it printed."""
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=_environment(home),
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise HarnessError(f"the client {words[1:4]} failed: {done.stderr[-500:]}")
    return done.stdout


def seconds(words: Sequence[str | Path], home: Path) -> float:
    """Run a client and return the seconds it measured."""
    return float(told(words, home).split()[-1])


def against(ours: str, theirs: str, count: int, pairs: int, home: Path) -> Pairs:
    """Measure two clients in turn."""
    found = Pairs([], [])
    with server([*ECHO, str(PORTS)], home) as ports:
        for _ in range(max(1, pairs // LONG)):
            found.first.append(seconds([*CLIENT, ours, str(count), *ports], home))
            found.second.append(seconds([*CLIENT, theirs, str(count), *ports], home))
    return found


def alone(mode: str, pairs: int, home: Path) -> list[float]:
    """Measure one client several times."""
    with server([*ECHO, str(PORTS)], home) as ports:
        words = [*CLIENT, mode, "0", *ports]
        return [seconds(words, home) for _ in range(max(1, pairs // LONG))]


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
            ports += stack.enter_context(server([*ECHO, some], home))[1:]
        run = [sys.executable, "-m", "benchmarks.crowd"]
        words = [[*run, mode, *ports] for mode in ("ours", "raw")]
        return _in_turn(words, max(1, pairs // (2 * LONG)), home)


def bulk(mode: str, mib: int, pairs: int, home: Path) -> Heavy:
    """Move *mib* MiB, with our client and with aiohttp."""
    run = [sys.executable, "-m", "benchmarks.bulk"]
    with server([*run, "serve"], home) as ports:
        rest = [str(mib), str(home), *ports]
        words = [[*run, one, *rest] for one in (mode, f"raw_{mode}")]
        return _in_turn(words, max(1, pairs // (LONG // 2)), home)


def _in_turn(words: list[list[str]], count: int, home: Path) -> Heavy:
    found = Heavy(Pairs([], []), [])
    for _ in range(count):
        ours, theirs = (json.loads(told(one, home)) for one in words)
        found.ours.append(ours)
        found.pairs.first.append(ours["seconds"])
        found.pairs.second.append(theirs["seconds"])
    return found
