"""What `execute_plugin` costs over calling `execute` itself, in this process."""

from __future__ import annotations

from timeit import Timer

from benchmarks.pairs import Spread, spread
from btplug import CLIPlugin, CLIPluginRegistry

ROWS = [{"uid": 0}]


class Noop(CLIPlugin):
    """Do nothing, in the hooks too."""

    name = "noop"

    def initialize(self, config: object) -> None:
        """Need nothing."""

    def before_execute(self, data: object) -> object:
        return data

    def execute(self, data: object = None) -> object:
        return data

    def after_execute(self, result: object) -> object:
        return result

    def shutdown(self) -> None:
        """Hold nothing."""


def overhead(repeats: int, calls: int = 20_000) -> Spread:
    """Return microseconds that a call costs more; *best* is between the minima."""
    registry = CLIPluginRegistry()
    name = registry.register_plugin(Noop)
    plain = registry.get_plugin(name).execute
    run = registry.execute_plugin
    timers = Timer(lambda: run(name, ROWS)), Timer(lambda: plain(ROWS))
    # Both in turn: the machine's speed drifts between one second and the next.
    pairs = [tuple(timer.timeit(calls) for timer in timers) for _ in range(repeats)]
    registry.deregister_plugin(name)
    scale = 1e6 / calls
    best = (min(a for a, _ in pairs) - min(b for _, b in pairs)) * scale
    return spread([(a - b) * scale for a, b in pairs], best)
