"""Our neurons against those of bittensor 10, which lives in an environment of its own.

The milliseconds are those of a thousand messages, or of one exchange of tensors.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.pairs import Pairs
from benchmarks.trees import Skipped
from benchmarks.wire import CLIENT, ECHO, LONG, PORTS, ROOT, seconds, server

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEURON = (sys.executable, "-m", "benchmarks.neuron")
_AXON = ROOT / "tests/interop/axon10.py"
_DENDRITE = ROOT / "benchmarks/dendrite10.py"


class _Side(NamedTuple):
    """One of two that are measured: a client, and how many exchanges it makes."""

    client: Sequence[str | Path]
    count: int
    to: Sequence[str]  # ports, and hotkeys where the client asks for one

    def each(self, home: Path) -> float:
        """Return the seconds of one exchange."""
        words = [*self.client, str(self.count), *self.to]
        return seconds(words, home) / self.count


def dendrite(pairs: int, home: Path) -> Pairs:
    """Measure two clients: signed messages of 1 KiB to 256 ports of an echo."""
    theirs = [_python(), _DENDRITE, "many"]
    with server([*ECHO, str(PORTS)], home) as ports:
        ours = _Side([*CLIENT, "signed"], 4000, ports)
        return _pairs(ours, _Side(theirs, 512, ports[1:]), pairs, home, 1000)


def served(pairs: int, home: Path, dialect: str = "btauth/1") -> Pairs:
    """Measure two servers: an echo of 1 KiB, with all checks on, for one client.

    The client signs before the clock runs, each request with a nonce of its own, and
    then only sends: it takes a fraction of the time of either server.

    Args:
        dialect: In which ours is asked; the axon knows only v10.
    """
    load = [sys.executable, "-m", "benchmarks.load"]
    axon = [_python(), _AXON]
    with server([*_NEURON, "echo"], home) as our, server(axon, home) as their:
        ours = _Side([*load, dialect], 4000, our)
        theirs = _Side([*load, "v10"], 320, their)
        return _pairs(ours, theirs, pairs, home, 1000)


def served_v10(pairs: int, home: Path) -> Pairs:
    """Measure `served` with the same bytes for both."""
    return served(pairs, home, "v10")


def tensor(pairs: int, home: Path) -> Pairs:
    """Measure two clients with two servers: 1 MiB of float32 there and back.

    Ours as safetensors over btauth/1, theirs as v10's tensors; both sides decode and
    encode, and the clients check what comes back.
    """
    python = _python()
    axon = [python, _AXON]
    with server([*_NEURON, "tensor"], home) as our, server(axon, home) as their:
        ours = _Side([*CLIENT, "tensor"], 100, our)
        return _pairs(
            ours, _Side([python, _DENDRITE, "tensor"], 10, their), pairs, home, 1
        )


def _pairs(ours: _Side, theirs: _Side, pairs: int, home: Path, scale: int) -> Pairs:
    found = Pairs([], [])
    for _ in range(max(1, pairs // LONG)):
        found.first.append(ours.each(home) * scale)
        found.second.append(theirs.each(home) * scale)
    return found


def _python() -> Path:
    """Return the Python that has bittensor 10.

    Raises:
        Skipped: There is none.
    """
    place = Path(os.environ.get("INTEROP") or ROOT / ".interop") / "bt10"
    if not (place / "ready").exists():
        raise Skipped(f"no bittensor 10 in {place}, which comes with: make interop")
    return place / "bin" / "python"
