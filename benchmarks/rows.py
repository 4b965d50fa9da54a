"""The rows of the tables in the README."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks import measures as by

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measures import Bench, Result


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


# Name, as on the command line, to row.
ROWS = {
    "version": Row("btplug --version", by.CLICK, "x", 1.00, by.version),
    "list": Row("btplug list --json, 100 plugins", by.CLICK, "x", 1.10, by.listing),
    "table": Row("btplug run table-display, 20 rows", by.RICH, "x", 1.15, by.table),
    "terminal": Row(
        "the same on a terminal", by.RICH, "x", 1.15, by.terminal
    ),
    "http": Row("btplug run noop, HTTP started", by.HTTPX, "x", 0.70, by.http),
    "many-run": Row(
        "btplug run noop, {many:,} plugins", "with 10", "x", 1.05, by.many_run
    ),
    "many-list": Row(
        "btplug list --json, {many:,} plugins", "each beyond 10", "µs", 8.0,
        by.many_list,
    ),
    "load-one": Row(
        "trust check and load, one file of 1,000 lines", "a warm import", "x", 1.4,
        by.loading("one"),
    ),
    "load-three": Row(
        "the same, a package of three modules", "a warm import", "x", 1.0,
        by.loading("three"),
    ),
    # Minima, as timeit advises where everything happens in one process.
    "call": Row(
        "registry.execute_plugin", "execute itself, more", "µs", 1.5, by.call, "best"
    ),
    # Of the time that the yardstick takes for the same messages.
    "confined": Row(
        "run of a plugin that does nothing, confined", "the same in process", "x", 1.20,
        by.confined("still"),
    ),
    "confined-http": Row(
        "the same, HTTP started", "the same in process", "x", 1.10, by.confined("wired")
    ),
    "brokered": Row(
        "one request through the broker", "over the same in process", "ms", 0.5,
        by.brokered,
    ),
    "signed": Row(
        "send_many, 256 peers, signed", "raw aiohttp, unsigned", "x", 0.67,
        by.wire("signed", "raw_many", 4000),
    ),
    "one-host": Row(
        "send_many, one host, 64 in flight", "raw aiohttp", "x", 0.50,
        by.wire("one_host", "raw_one", 4000),
    ),
    "sync": Row(
        "send, kept connection", "httpx.Client.post", "x", 0.83,
        by.wire("sync", "raw_httpx", 1000),
    ),
    "hanging": Row(
        "send_many, 200 hang, 56 answer", "until the last answer", "s", 0.5, by.hanging
    ),
    # Milliseconds: of a thousand messages; of one exchange of tensors.
    "dendrite": Row(
        "send_many, 256 peers, signed", "the dendrite of bittensor 10", "times", 70,
        by.real("dendrite"),
    ),
    "served": Row(
        "verified echo, served", "the axon of bittensor 10", "times", 20,
        by.real("served"),
    ),
    "served-v10": Row(
        "the same, asked in v10", "the axon of bittensor 10", "times", 20,
        by.real("served_v10"),
    ),
    "tensor": Row(
        "1 MiB tensor there and back", "dendrite and axon of bittensor 10", "times",
        20, by.real("tensor"),
    ),
    # The worst run stands in the column 'best'.
    "crowd-lost": Row(
        "send_many, {many:,} peers, 512 in flight", "who did not answer", "peers", 0,
        by.crowd_lost, "best",
    ),
    "crowd-memory": Row(
        "the same", "more memory, worst run", "MiB", 40, by.crowd("memory"), "best"
    ),
    "crowd-files": Row(
        "the same", "descriptors, worst run", "fds", 1600,
        by.crowd("descriptors"), "best",
    ),
    "crowd-time": Row("the same", "raw aiohttp", "x", 1.00, by.crowd_time),
    "up": Row("stream {mib:,} MiB up", "raw aiohttp", "x", 1.25, by.stream("up")),
    "down": Row("stream {mib:,} MiB down", "raw aiohttp", "x", 1.25, by.stream("down")),
    "file": Row(
        "stream a file of {mib:,} MiB, signed", "raw aiohttp, unsigned, hashed", "x",
        1.25, by.stream("file"),
    ),
    "memory": Row(
        "these three streams", "more memory, worst run", "MiB", 32, by.stream_memory,
        "best",
    ),
}  # fmt: skip
