"""Homes full of plugins, and the proof that btplug reads them from its cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = Path(sys.executable).with_name("btplug")
# Younger than two seconds, a file is not cached: see btplug/_folders.py.
AGE = 3600
# Modules that are imported only where something was not in the cache.
COLD = ("yaml", "importlib.metadata")

_MANIFEST = """plugin:
  name: {name}
  kind: cli
  entry: plugin:Plugin
  summary: Does nothing, number {number}
  version: 1.0.0
  api: 1
  transports: [http]
"""
_CODE = '''"""A plugin that does nothing."""

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


class HarnessError(Exception):
    """What was to be measured does not run, or not from the cache."""


class Skipped(Exception):
    """What a row is measured against is not here."""


class Home:
    """A BTPLUG_HOME with *count* plugins of the user's: ``noop`` and further ones.

    Attributes:
        table: A JSON file of 20 rows, for ``table-display``.
    """

    def __init__(self, root: Path, count: int) -> None:
        self.root, self.count = root, count
        self._written: dict[Path, int] = {}
        shelf = root / "cli_plugins"
        shelf.mkdir(parents=True)
        for number in range(count):
            name = f"plugin-{number}" if number else "noop"
            _write_plugin(shelf / name, name, number)
        _accept(root, shelf / "noop")
        self.table = root / "rows.json"
        self.table.write_text(json.dumps(_rows(20)))
        _backdate(root)

    @property
    def environment(self) -> dict[str, str]:
        """All that a measured process gets: no PYTHON… variable slows it down."""
        kept = {k: os.environ[k] for k in ("PATH", "SYSTEMROOT") if k in os.environ}
        home = str(self.root)
        return {**kept, "LANG": "C.UTF-8", "HOME": home, "BTPLUG_HOME": home}

    def warm(self, words: Sequence[str], caches: Sequence[str]) -> None:
        """Run ``btplug`` with *words* until all it needs is in the cache.

        Args:
            caches: Patterns of files below ``cache`` that have to be there then.

        Raises:
            HarnessError: It fails, or does not get warm.
        """
        for _ in range(4):
            self._run(words)
            self._run(words)
            if not (missing := self._missing(words, caches)):
                self._written |= self._times(caches)
                return
            # Somebody may have changed a shipped plugin a moment ago.
            time.sleep(2.1)
        raise HarnessError(f"btplug {' '.join(words)} stays cold: {missing}")

    def is_warm(self, words: Sequence[str], caches: Sequence[str]) -> bool:
        """Tell whether ``btplug`` with *words* reads everything from the cache.

        And whether it did ever since `warm`: then nothing was written again.
        """
        times = self._times(caches)
        rewritten = any(self._written.get(p, t) != t for p, t in times.items())
        return not rewritten and not self._missing(words, caches)

    def _times(self, caches: Sequence[str]) -> dict[Path, int]:
        cache = self.root / "cache"
        return {p: p.stat().st_mtime_ns for name in caches for p in cache.glob(name)}

    def _missing(self, words: Sequence[str], caches: Sequence[str]) -> list[str]:
        cache = self.root / "cache"
        missing = [f"no cache/{name}" for name in caches if not [*cache.glob(name)]]
        listed = self._run(words, PYTHONPROFILEIMPORTTIME="1")
        imported = {line.rpartition("|")[2].strip() for line in listed.splitlines()}
        if "click" not in imported:
            missing.append("no list of imported modules")
        return missing + [f"{name} imported" for name in COLD if name in imported]

    def _run(self, words: Sequence[str], **extra: str) -> str:
        """Run ``btplug`` once and return what it wrote to stderr."""
        done = subprocess.run(
            [SCRIPT, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.root,
            env={**self.environment, **extra},
            check=False,
        )
        if done.returncode or (done.stderr and not extra):
            raise HarnessError(
                f"btplug {' '.join(words)} exits with {done.returncode}: {done.stderr}"
            )
        return done.stderr


def _accept(home: Path, folder: Path) -> None:
    """Accept the plugin that is run, as its operator would; the others stay listed."""
    from btplug._discovery import read_spot
    from btplug._folders import Folders
    from btplug._installed import Spot
    from btplug._trust.consent import pin_accountable, place_of
    from btplug.trust import Accepted, TrustStore

    found = read_spot(Spot(folder.name, "cli", str(folder), "user"))
    consent = Accepted(
        place_of(found), found.name, found.kind, found.version,
        pin_accountable(found).digest, found.permissions, in_process=True,
    )  # fmt: skip
    TrustStore(Folders(str(home), str(home), "", "")).accept(consent, files={})


def _write_plugin(folder: Path, name: str, number: int) -> None:
    folder.mkdir()
    manifest = _MANIFEST.format(name=name, number=number)
    for file, text in (("config.yaml", manifest), ("plugin.py", _CODE)):
        path = folder / file
        path.write_text(text)


def _rows(count: int) -> list[dict[str, object]]:
    return [
        {"uid": uid, "hotkey": f"5F{uid:046d}", "stake": uid * 1250.5, "active": True}
        for uid in range(count)
    ]


def _backdate(root: Path) -> None:
    """Make every file and folder old enough to be cached."""
    then = time.time() - AGE
    # From the leaves up: nothing is written any more, so no folder gets a new time.
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (then, then))
        os.utime(folder, (then, then))
