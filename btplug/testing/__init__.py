"""What authors test their plugins with; nothing here imports pytest.

**A transport that serves** needs one line, in a file that pytest collects::

    from btplug.testing import TransportContract
    from mine.plugin import MyTransportPlugin

    class TestMine(TransportContract):
        plugin = MyTransportPlugin       # or its folder; config = {...} for settings

**One that does not serve** says which peers to try it with::

    class TestMine(TransportContract):
        plugin = MyTransportPlugin

        @contextmanager
        def peers(self):
            with my_server() as url:
                yield Peers(echo=f"{url}/echo", hang=f"{url}/hang", dead="mine://gone")

The echo peer answers as `echo` does: body, media type and ``X-…`` headers of the
request, and the status that its header ``X-Status`` names, or 200. The hanging one
takes the message, never answers, and closes when the other side does. Nobody listens
at the dead one. Three more may be given, with ``replace(peers, cut=…)`` also by a
transport that serves: that a message follows no redirect, is sent once where its
connection is cut, and keeps its limit where the peer drips, is checked with these and
skipped without; see `Peers`. ``brief = {"timeout": 0.5}`` names settings that end a
message within a second, to check that one without a limit of its own ends.

The suite checks, in both forms: bodies from 0 bytes to 1 MiB, status, headers (also
such as repeat) and media type; `Late` within its limit and `Refused`, with what they
say of delivery; a hotkey nobody can prove, in every form there is; sync calls inside a
running loop, loops and threads at once; `send_many`: an outcome for each, the limit,
leaving it early; cancelling; `shutdown`, and sending after it; `serve` where it is
written; `receive`, and `stream` with its chunks, or `Unsupported`; that every error is
a `TransportError` that says a remedy, and nowhere the query of a URL; and that no
thread, task, socket or other descriptor is left. What is kept once for the process, or
for each peer until `shutdown`, may stay. What fails says what was found and what was
expected. It does not check `serve` as a sync call, dialects, nor what else a hostile
server sends.

**A command** runs with what it needs, its options passed by name::

    with running(MemoryTransportPlugin) as transport, serving(transport, echo) as url:
        with running("plugins/ping", context=transport.context) as ping:
            assert ping.execute(peer=url, timeout=1.0)["ok"]

`MemoryTransportPlugin` stays inside the process and has faults on demand: see
`btplug.testing.memory`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from btplug.testing.contract import Peers, TransportContract
    from btplug.testing.live import echo, hang, running, serving
    from btplug.testing.memory import MemoryTransportPlugin

__all__ = [
    "MemoryTransportPlugin",
    "Peers",
    "TransportContract",
    "echo",
    "hang",
    "running",
    "serving",
]

_HOMES = {
    "MemoryTransportPlugin": "memory",
    "Peers": "contract",
    "TransportContract": "contract",
    "echo": "live",
    "hang": "live",
    "running": "live",
    "serving": "live",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'btplug.testing' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"btplug.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
