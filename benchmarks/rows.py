"""The rows of the tables in the README, and how each is measured."""

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


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: What is measured; ``{many}`` stands for the size of the largest home, and
            ``{mib}`` for that of a stream.
        unit: ``x`` for a ratio, ``µs``, ``times`` as fast, or what is counted.
        allowed: At most, or at least where the unit is ``times``.
        judged: The figure of the spread that is held against *allowed*.
    """

    what: str
    yardstick: str
    unit: str
    allowed: float
    measure: Callable[[Bench], Result]
    judged: str = "median"

    def verdict(self, result: Result) -> str:
        """Return ``ok`` or ``over``."""
        found = getattr(result.value, self.judged)
        if self.unit == "times":
            return "ok" if found >= self.allowed else "under"
        return "ok" if found <= self.allowed else "over"


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


def _confined(name: str) -> Callable[[Bench], Result]:
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


def _brokered(bench: Bench) -> Result:
    from benchmarks.confined import request

    return Result(request(SCRIPT, bench.few_home, bench.pairs))


def _ratio(first: float, second: float) -> float:
    return first / second


def _result(
    pairs: Pairs, figure: Callable[[float, float], float], warm: bool
) -> Result:
    return Result(pairs.compare(figure), pairs.milliseconds, warm)


def _version(bench: Bench) -> Result:
    return bench.against(bench.few_home, ("--version",), (), CLICK)


def _list(bench: Bench) -> Result:
    return bench.against(bench.hundred_home, ("list", "--json"), LISTING, CLICK)


def _table(bench: Bench, *, terminal: bool = False) -> Result:
    home = bench.few_home
    words = ("run", "table-display", str(home.table))
    caches = ("manifests/table-display-*",)
    return bench.against(home, words, caches, RICH, terminal=terminal)


def _terminal(bench: Bench) -> Result:
    return _table(bench, terminal=True)


def _http(bench: Bench) -> Result:
    return bench.against(bench.few_home, ("run", "noop"), NOOP, HTTPX)


def _many_run(bench: Bench) -> Result:
    return bench.many_against_few(("run", "noop"), NOOP, _ratio)


def _many_list(bench: Bench) -> Result:
    more = bench.many - FEW

    def each(many: float, few: float) -> float:
        return (many - few) * 1e6 / more

    return bench.many_against_few(("list", "--json"), LISTING, each)


def _call(bench: Bench) -> Result:
    from benchmarks.calls import overhead

    return Result(overhead(bench.pairs))


def _wire(ours: str, theirs: str, count: int) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks.wire import against

        pairs = against(ours, theirs, count, bench.pairs, bench.root)
        return _result(pairs, _ratio, warm=True)

    return measure


def _loading(name: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks.loading import loaded_against_imported

        # In one process a pair takes a few milliseconds: many cost little.
        pairs = loaded_against_imported(name, bench.pairs * 10, bench.root)
        return _result(pairs, _ratio, warm=True)

    return measure


def _hanging(bench: Bench) -> Result:
    from benchmarks.wire import alone

    found = alone("hanging", bench.pairs, bench.root)
    return Result(spread(found, min(found)))


def _real(what: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        from benchmarks import real

        pairs: Pairs = getattr(real, what)(bench.pairs, bench.root)
        return _result(pairs, lambda ours, theirs: theirs / ours, warm=True)

    return measure


def _crowd(name: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        return _most(bench.crowd.most(name))

    return measure


def _crowd_lost(bench: Bench) -> Result:
    return _most([bench.many - found for found in bench.crowd.most("answered")])


def _crowd_time(bench: Bench) -> Result:
    return _result(bench.crowd.pairs, _ratio, warm=True)


def _stream(mode: str) -> Callable[[Bench], Result]:
    def measure(bench: Bench) -> Result:
        return _result(bench.stream(mode).pairs, _ratio, warm=True)

    return measure


def _stream_memory(bench: Bench) -> Result:
    modes = ("up", "down", "file")
    return _most([one for mode in modes for one in bench.stream(mode).most("memory")])


def _most(found: Sequence[float]) -> Result:
    """Judge by the worst run: `best` of these is no figure."""
    return Result(spread(found, max(found)))


# Name, as on the command line, to row.
ROWS = {
    "version": Row("btplug --version", CLICK, "x", 1.00, _version),
    "list": Row("btplug list --json, 100 plugins", CLICK, "x", 1.10, _list),
    "table": Row("btplug run table-display, 20 rows", RICH, "x", 1.15, _table),
    "terminal": Row(
        "the same on a terminal", RICH, "x", 1.15, _terminal
    ),
    "http": Row("btplug run noop, HTTP started", HTTPX, "x", 0.70, _http),
    "many-run": Row(
        "btplug run noop, {many:,} plugins", "with 10", "x", 1.05, _many_run
    ),
    "many-list": Row(
        "btplug list --json, {many:,} plugins", "each beyond 10", "µs", 8.0, _many_list
    ),
    "load-one": Row(
        "trust check and load, one file of 1,000 lines", "a warm import", "x", 1.4,
        _loading("one"),
    ),
    "load-three": Row(
        "the same, a package of three modules", "a warm import", "x", 1.0,
        _loading("three"),
    ),
    # Minima, as timeit advises where everything happens in one process.
    "call": Row(
        "registry.execute_plugin", "execute itself, more", "µs", 1.5, _call, "best"
    ),
    # Of the time that the yardstick takes for the same messages.
    "confined": Row(
        "run of a plugin that does nothing, confined", "the same in process", "x", 1.20,
        _confined("still"),
    ),
    "confined-http": Row(
        "the same, HTTP started", "the same in process", "x", 1.10, _confined("wired")
    ),
    "brokered": Row(
        "one request through the broker", "over the same in process", "ms", 0.5,
        _brokered,
    ),
    "signed": Row(
        "send_many, 256 peers, signed", "raw aiohttp, unsigned", "x", 0.67,
        _wire("signed", "raw_many", 4000),
    ),
    "one-host": Row(
        "send_many, one host, 64 in flight", "raw aiohttp", "x", 0.50,
        _wire("one_host", "raw_one", 4000),
    ),
    "sync": Row(
        "send, kept connection", "httpx.Client.post", "x", 0.83,
        _wire("sync", "raw_httpx", 1000),
    ),
    "hanging": Row(
        "send_many, 200 hang, 56 answer", "until the last answer", "s", 0.5, _hanging
    ),
    # Milliseconds: of a thousand messages; of one exchange of tensors.
    "dendrite": Row(
        "send_many, 256 peers, signed", "the dendrite of bittensor 10", "times", 70,
        _real("dendrite"),
    ),
    "served": Row(
        "verified echo, served", "the axon of bittensor 10", "times", 20,
        _real("served"),
    ),
    "served-v10": Row(
        "the same, asked in v10", "the axon of bittensor 10", "times", 20,
        _real("served_v10"),
    ),
    "tensor": Row(
        "1 MiB tensor there and back", "dendrite and axon of bittensor 10", "times",
        20, _real("tensor"),
    ),
    # The worst run stands in the column 'best'.
    "crowd-lost": Row(
        "send_many, {many:,} peers, 512 in flight", "who did not answer", "peers", 0,
        _crowd_lost, "best",
    ),
    "crowd-memory": Row(
        "the same", "more memory, worst run", "MiB", 40, _crowd("memory"), "best"
    ),
    "crowd-files": Row(
        "the same", "descriptors, worst run", "fds", 1600, _crowd("descriptors"), "best"
    ),
    "crowd-time": Row("the same", "raw aiohttp", "x", 1.00, _crowd_time),
    "up": Row("stream {mib:,} MiB up", "raw aiohttp", "x", 1.25, _stream("up")),
    "down": Row("stream {mib:,} MiB down", "raw aiohttp", "x", 1.25, _stream("down")),
    "file": Row(
        "stream a file of {mib:,} MiB, signed", "raw aiohttp, unsigned, hashed", "x",
        1.25, _stream("file"),
    ),
    "memory": Row(
        "these three streams", "more memory, worst run", "MiB", 32, _stream_memory,
        "best",
    ),
}  # fmt: skip
