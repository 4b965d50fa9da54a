"""Two commands in turn, A B A B, and what the pairs say."""

from __future__ import annotations

import os
import subprocess
import termios
import threading
import time
from contextlib import contextmanager, suppress
from statistics import median, quantiles
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.trees import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


class Command(NamedTuple):
    """A process to be measured: its words, its environment, its directory.

    Attributes:
        terminal: It talks to a terminal of 80 columns, not to /dev/null.
    """

    words: Sequence[str | Path]
    environment: Mapping[str, str]
    directory: Path
    terminal: bool = False

    def seconds(self) -> float:
        """Run it to its end and return the seconds that took.

        Raises:
            HarnessError: It failed.
        """
        if self.terminal:
            with _terminal() as file:
                return self._seconds(file)
        # Nowhere: a reader would compete for the processor.
        return self._seconds(subprocess.DEVNULL)

    def _seconds(self, file: int) -> float:
        begun = time.perf_counter()
        process = subprocess.Popen(
            self.words,
            stdin=file,
            stdout=file,
            stderr=file,
            cwd=self.directory,
            env=self.environment,
            # Lets Python start it without copying our own memory.
            close_fds=False,
        )
        code = process.wait()
        took = time.perf_counter() - begun
        if code:
            raise HarnessError(f"{os.fspath(self.words[0])} exits with {code}")
        return took


@contextmanager
def _terminal() -> Iterator[int]:
    """Open a terminal; what is written to it is read by a thread and forgotten."""
    ours, theirs = os.openpty()

    def read() -> None:
        # Linux ends a terminal that nobody has open any more with an error.
        with suppress(OSError):
            while os.read(ours, 65536):
                pass

    reader = threading.Thread(target=read)
    try:
        termios.tcsetwinsize(theirs, (25, 80))
        reader.start()
        yield theirs
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


class Spread(NamedTuple):
    """What many measurements say.

    Attributes:
        low: The first quartile; *high* is the third.
        best: The same figure, of the fastest run of each side: free of most noise.
    """

    median: float
    low: float
    high: float
    best: float


class Pairs(NamedTuple):
    """Seconds of the two sides, in the order in which they were measured."""

    first: list[float]
    second: list[float]

    def compare(self, figure: Callable[[float, float], float]) -> Spread:
        """Return what *figure* makes of each pair, and of the two minima."""
        found = [figure(a, b) for a, b in zip(self.first, self.second, strict=True)]
        return spread(found, figure(min(self.first), min(self.second)))

    @property
    def milliseconds(self) -> tuple[float, float]:
        """The median of each side, in milliseconds."""
        return median(self.first) * 1e3, median(self.second) * 1e3


def alternate(first: Command, second: Command, count: int) -> Pairs:
    """Measure *count* pairs, after up to three that do not count."""
    pairs = Pairs([], [])
    for turn in range(-min(3, count), count):
        a, b = first.seconds(), second.seconds()
        if turn >= 0:
            pairs.first.append(a)
            pairs.second.append(b)
    return pairs


def spread(found: Sequence[float], best: float) -> Spread:
    """Return median and quartiles of *found*."""
    if len(found) == 1:
        return Spread(found[0], found[0], found[0], best)
    low, middle, high = quantiles(found, n=4, method="inclusive")
    return Spread(middle, low, high, best)
