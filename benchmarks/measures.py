"""How each row of the tables in the README is measured."""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.pairs import Command, Pairs, Spread, alternate, spread
from benchmarks.trees import SCRIPT, Home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.wire import Heavy

CLICK = "import click"
RICH = "import click, rich.console, rich.table"
HTTPX = "import click, httpx; httpx.Client()"

FEW = 10
LISTING = ("list*",)
NOOP = ("manifests/noop-*", "manifests/http-*", "installed*")


class Result(NamedTuple):
    """What came out of a row.

    Attributes:
        milliseconds: Medians of btplug and of its yardstick; None inside a process.
        warm: The cache was still good after the last run.
    """

    value: Spread
    milliseconds: tuple[float, float] | None = None
    warm: bool = True


class Bench:
    """The homes, made when a row needs one, and the number of pairs.

    Args:
        many: Number of plugins of the largest home; 10,000 unless it is a test.
            So many peers are asked, too.
        mib: MiB of what is streamed.
    """

    def __init__(self, root: Path, pairs: int, many: int, mib: int) -> None:
        self.root, self.pairs, self.many, self.mib = root, pairs, many, mib
        self._streams: dict[str, Heavy] = {}

    @cached_property
    def crowd(self) -> Heavy:
        from benchmarks.wire import crowd

        return crowd(self.many, self.pairs, self.root)

    def stream(self, mode: str) -> Heavy:
        """Return what streaming *mode* told, measured once."""
        from benchmarks.wire import bulk

        if mode not in self._streams:
            self._streams[mode] = bulk(mode, self.mib, self.pairs, self.root)
        return self._streams[mode]

    @cached_property
    def few_home(self) -> Home:
        return Home(self.root / "few", FEW)

    @cached_property
    def hundred_home(self) -> Home:
        return Home(self.root / "hundred", 100)

    @cached_property
    def many_home(self) -> Home:
        return Home(self.root / "many", self.many)

    def against(
        self,
        home: Home,
        words: Sequence[str],
        caches: Sequence[str],
        code: str,
        *,
        terminal: bool = False,
    ) -> Result:
        """Measure ``btplug`` with *words* against a Python that runs *code*."""
        yardstick = self._command(home, (sys.executable, "-c", code))
        home.warm(words, caches)
        ours = self._btplug(home, words)._replace(terminal=terminal)
        theirs = yardstick._replace(terminal=terminal)
        pairs = alternate(ours, theirs, self.pairs)
        return _result(pairs, _ratio, home.is_warm(words, caches))

    def many_against_few(
        self,
        words: Sequence[str],
        caches: Sequence[str],
        figure: Callable[[float, float], float],
    ) -> Result:
        """Measure ``btplug`` with *words* in the largest home against the smallest."""
        homes = self.many_home, self.few_home
        for home in homes:
            home.warm(words, caches)
        first, second = (self._btplug(home, words) for home in homes)
        pairs = alternate(first, second, self.pairs)
        warm = all(home.is_warm(words, caches) for home in homes)
        return _result(pairs, figure, warm)

    def _btplug(self, home: Home, words: Sequence[str]) -> Command:
        return self._command(home, (str(SCRIPT), *words))

    def _command(self, home: Home, words: Sequence[str]) -> Command:
        return Command(words, home.environment, home.root)


def confined(name: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks.confined import given, run

        home = bench.few_home
        folder = ("--plugin-dir", str(given(home)))
        confined = (*folder, "run", name)
        here = (*folder, "--in-process", "run", name)
        for words in (confined, here):
            run(SCRIPT, home, words)
        pairs = alternate(
            bench._btplug(home, confined), bench._btplug(home, here), bench.pairs
        )
        return _result(pairs, _ratio, warm=True)

    return measure


def brokered(bench: Bench) -> Result:
    from benchmarks.confined import request

    return Result(request(SCRIPT, bench.few_home, bench.pairs))


def _ratio(first: float, second: float) -> float:
    return first / second


def _result(
    pairs: Pairs, figure: Callable[[float, float], float], warm: bool
) -> Result:
    return Result(pairs.compare(figure), pairs.milliseconds, warm)


def version(bench: Bench) -> Result:
    return bench.against(bench.few_home, ("--version",), (), CLICK)


def listing(bench: Bench) -> Result:
    return bench.against(bench.hundred_home, ("list", "--json"), LISTING, CLICK)


def table(bench: Bench, *, terminal: bool = False) -> Result:
    home = bench.few_home
    words = ("run", "table-display", str(home.table))
    caches = ("manifests/table-display-*",)
    return bench.against(home, words, caches, RICH, terminal=terminal)


def terminal(bench: Bench) -> Result:
    return table(bench, terminal=True)


def http(bench: Bench) -> Result:
    return bench.against(bench.few_home, ("run", "noop"), NOOP, HTTPX)


def many_run(bench: Bench) -> Result:
    return bench.many_against_few(("run", "noop"), NOOP, _ratio)


def many_list(bench: Bench) -> Result:
    more = bench.many - FEW

    def each(many: float, few: float) -> float:
        return (many - few) * 1e6 / more

    return bench.many_against_few(("list", "--json"), LISTING, each)


def call(bench: Bench) -> Result:
    from benchmarks.calls import overhead

    return Result(overhead(bench.pairs))


def wire(ours: str, theirs: str, count: int) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks.wire import against

        pairs = against(ours, theirs, count, bench.pairs, bench.root)
        return _result(pairs, _ratio, warm=True)

    return measure


def loading(name: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks.loading import loaded_against_imported

        # In one process a pair takes a few milliseconds: many cost little.
        pairs = loaded_against_imported(name, bench.pairs * 10, bench.root)
        return _result(pairs, _ratio, warm=True)

    return measure


def hanging(bench: Bench) -> Result:
    from benchmarks.wire import alone

    found = alone("hanging", bench.pairs, bench.root)
    return Result(spread(found, min(found)))


def real(what: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks import real

        pairs: Pairs = getattr(real, what)(bench.pairs, bench.root)
        return _result(pairs, lambda ours, theirs: theirs / ours, warm=True)

    return measure


def crowd(name: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        return _most(bench.crowd.most(name))

    return measure


def crowd_lost(bench: Bench) -> Result:
    return _most([bench.many - found for found in bench.crowd.most("answered")])


def crowd_time(bench: Bench) -> Result:
    return _result(bench.crowd.pairs, _ratio, warm=True)


def stream(mode: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        return _result(bench.stream(mode).pairs, _ratio, warm=True)

    return measure


def stream_memory(bench: Bench) -> Result:
    modes = ("up", "down", "file")
    return _most([one for mode in modes for one in bench.stream(mode).most("memory")])


def _most(found: Sequence[float]) -> Result:
    """Judge by the worst run: `best` of these is no figure."""
    return Result(spread(found, max(found)))
