"""What confining costs: a plugin in a child, and in the process of btplug."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.pairs import Spread, spread
from benchmarks.trees import HarnessError
from benchmarks.wire import ECHO, server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.trees import Home

_MANIFEST = """plugin:
  name: {name}
  kind: cli
  entry: plugin:Plugin
  summary: Measured confined
  version: 1.0.0
  api: 1
  transports: [{transports}]
"""
_STILL = '''"""A plugin that does nothing."""

from btplug import CLIPlugin


class Plugin(CLIPlugin):
    """Do nothing."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        pass

    def shutdown(self):
        pass
'''
_ASKING = '''"""A plugin that times its own requests."""

import time

import click
from btplug import CLIPlugin, Message, Peer


class Plugin(CLIPlugin):
    """Ask a peer many times."""

    def initialize(self, config):
        pass

    @click.argument("url")
    def execute(self, data=None, *, url):
        peer, message = Peer(url), Message(body=b"x" * 1024)
        send = self.context.transport_for(peer).send
        for count in (50, 400):
            begun = time.perf_counter()
            for _ in range(count):
                send(peer, message)
            seconds = time.perf_counter() - begun
        return str(seconds / 400 * 1000)

    def shutdown(self):
        pass
'''
_PLUGINS = {
    "still": ("", _STILL),
    "wired": ("http", _STILL),
    "asking": ("http", _ASKING),
}


def given(home: Home) -> Path:
    """Return a folder for ``--plugin-dir`` with the plugins that are measured."""
    root = home.root / "given"
    if not root.exists():
        for name, (transports, code) in _PLUGINS.items():
            folder = root / name
            folder.mkdir(parents=True)
            text = _MANIFEST.format(name=name, transports=transports)
            (folder / "config.yaml").write_text(text)
            (folder / "plugin.py").write_text(code)
    return root


def run(script: Path, home: Home, words: Sequence[str]) -> str:
    """Run ``btplug`` with *words* once and return what it printed."""
    done = subprocess.run(
        [script, *words], capture_output=True, text=True, env=home.environment,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise HarnessError(f"btplug {' '.join(words)} failed: {done.stderr[-500:]}")
    return done.stdout


def request(script: Path, home: Home, pairs: int) -> Spread:
    """Return the milliseconds that a brokered request costs more than one here."""
    folder = ("--plugin-dir", str(given(home)))
    found: list[tuple[float, float]] = []
    with server([*ECHO, "1"], home.root) as ports:
        words = ("run", "asking", f"http://127.0.0.1:{ports[1]}/x")
        for _ in range(max(1, pairs // 8)):
            confined = float(run(script, home, (*folder, *words)))
            found.append(
                (confined, float(run(script, home, (*folder, "--in-process", *words))))
            )
    best = min(a for a, _ in found) - min(b for _, b in found)
    return spread([a - b for a, b in found], best)
