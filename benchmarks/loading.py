"""What checking and loading a plugin costs over importing the same files."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.pairs import Pairs
from btplug._discovery import read_spot
from btplug._folders import Folders
from btplug._installed import Spot
from btplug._loader import load, unload
from btplug._trust.consent import manifest_in, pin_accountable, verdict
from btplug.trust import Accepted, TrustStore

if TYPE_CHECKING:
    from pathlib import Path

_MANIFEST = """plugin:
  name: {name}
  kind: cli
  entry: plugin:Plugin
  summary: Does nothing
  version: 1.0.0
  api: 1
  transports: []
"""
_HEAD = '''"""A plugin that does nothing, at length."""

from btplug import CLIPlugin
'''
_CLASS = '''

class Plugin(CLIPlugin):
    """Do nothing."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        pass

    def shutdown(self):
        pass
'''
_FUNCTION = '''

def function_{n}(first, second=None, *more):
    """Return what {n} makes of it."""
    found = [first, second, *more]
    for index, item in enumerate(found):
        if item is None or index > {n}:
            found[index] = str(item)
    return {{"n": {n}, "found": found}}
'''


def _write(shelf: Path, name: str, modules: dict[str, int]) -> Path:
    """Write a plugin; *modules* are its further files, and functions in each."""
    folder = shelf / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(_MANIFEST.format(name=name))
    (folder / "__init__.py").write_text("")
    for module, count in modules.items():
        imports = "".join(
            f"from .{other} import function_0 as {other}\n"
            for other in modules
            if module == "plugin" and other != "plugin"
        )
        code = imports + "".join(_FUNCTION.format(n=n) for n in range(count))
        whole = _HEAD + code + _CLASS if module == "plugin" else code
        (folder / f"{module}.py").write_text(whole)
    return folder


def loaded_against_imported(name: str, repeats: int, root: Path) -> Pairs:
    """Time trust check and pinned load against a normal import, all caches warm."""
    files = (
        {"plugin": 110} if name == "one" else dict.fromkeys(("plugin", "a", "b"), 12)
    )
    shelf = root.resolve() / f"loading-{name}"
    folder = _write(shelf, name, files)
    home = Folders(*(str(root / f"loading-home-{x}") for x in "cdxs"))
    spot = Spot(name, "cli", str(folder), "user")
    manifest = read_spot(spot)
    pinned = pin_accountable(spot)
    TrustStore(home).accept(
        Accepted(
            pinned.root, name, "cli", "1.0.0", pinned.digest, manifest.permissions
        ),
        files={},
    )

    def ours() -> float:
        begun = time.perf_counter()
        now = verdict(spot, "cli", TrustStore(home))
        code = now.code
        assert now.state == "trusted"
        assert code
        own = manifest_in(code, spot)
        load(own, code)
        took = time.perf_counter() - begun
        plain = (*own[:7], None, *own[8:])
        code.keep((*plain, tuple(own.permissions)))
        unload(own, code)
        return took

    def theirs() -> float:
        for module in [m for m in sys.modules if m.partition(".")[0] == name]:
            del sys.modules[module]
        # As in a process that begins: it has not looked into these folders yet.
        for path in (str(shelf), str(folder)):
            sys.path_importer_cache.pop(path, None)
        begun = time.perf_counter()
        import_module(f"{name}.plugin")
        return time.perf_counter() - begun

    sys.path.insert(0, os.fspath(shelf))
    # Or the import would compile every time, which nobody calls warm.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        for _ in range(3):
            ours(), theirs()
        pairs = [(ours(), theirs()) for _ in range(repeats)]
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(os.fspath(shelf))
    return Pairs([a for a, _ in pairs], [b for _, b in pairs])
