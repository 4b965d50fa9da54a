"""Real plugin folders, real processes, and a fence around the environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent, indent

import pytest

from btplug._discovery import Finder
from btplug._folders import folders
from btplug._load.codecache import CodeCache
from btplug._trust.consent import manifest_in, pin_accountable, place_of
from btplug.errors import BtplugError
from btplug.trust import Accepted, TrustStore

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "cli_plugins", ROOT / "transport_plugins"

COMMAND = """
from btplug import CLIPlugin

class Plugin(CLIPlugin):
    \"\"\"Do it.\"\"\"

    def initialize(self, config):
        self.config = config

    def execute(self, data=None):
        return data

    def shutdown(self):
        pass
"""

TRANSPORT = """
from btplug import Reply, TransportPlugin

class Plugin(TransportPlugin):
    schemes = ("SCHEME",)

    def initialize(self, config):
        self.config = config

    def send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=message.body)

    def shutdown(self):
        pass
"""


@pytest.fixture(autouse=True)
def fence(tmp_path, monkeypatch):
    """Keep tests away from the real HOME, and from what is set around them."""
    for name in list(os.environ):
        if name.startswith(("BTPLUG", "_BTPLUG", "XDG_")) or name in (
            "NO_COLOR", "FORCE_COLOR", "COLUMNS",
        ):  # fmt: skip
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BTPLUG_HOME", str(home / "btplug"))
    monkeypatch.setenv("TERM", "xterm")
    return home


@pytest.fixture
def home(fence):
    """The folder that holds all of btplug's own files in this test."""
    return fence / "btplug"


@pytest.fixture
def make_plugin(tmp_path):
    """Write a real plugin folder and return it.

    *where* is the folder above; *manifest* replaces lines of the plugin: block,
    None leaves a line out; *files* are further files of the plugin.
    """

    def make(
        name, code=None, *, kind="cli", where=None, config=None, files=None, **manifest
    ):
        place = Path(where) if where else tmp_path / "plugins"
        folder = place / name.replace("-", "_")
        folder.mkdir(parents=True)
        block = {
            "name": name,
            "kind": kind,
            "entry": "plugin:Plugin",
            "summary": f"Do {name}",
            "version": "'1.0.0'",
            "api": 1,
            **({"transports": "[]"} if kind == "cli" else {}),
            **manifest,
        }
        lines = [f"  {k}: {v}" for k, v in block.items() if v is not None]
        text = "\n".join(["plugin:", *lines, ""])
        if config:
            text += "config:\n" + indent(dedent(config).strip(), "  ") + "\n"
        (folder / "config.yaml").write_text(text)
        if code is None:
            code = COMMAND if kind == "cli" else TRANSPORT.replace("SCHEME", name)
        (folder / "plugin.py").write_text(dedent(code))
        for path, content in (files or {}).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(dedent(content))
        return folder

    return make


@pytest.fixture
def consent(tmp_path):
    """Accept all plugins there are, as an operator does who wrote them.

    For use in btplug's own process too, transports and commands alike. Tests of trust
    replace it by one that accepts nothing.
    """

    def accept(**env):
        before, here = dict(os.environ), os.getcwd()
        os.environ.update({k: v for k, v in env.items() if v is not None})
        for name in (k for k, v in env.items() if v is None):
            os.environ.pop(name, None)
        try:
            os.chdir(tmp_path)
            accept_all()
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)

    return accept


def accept_all():
    """Accept what lies in all places of this environment."""
    home = folders()
    # Nothing is left but the consent itself: no cache of what was looked at.
    finder = Finder(home._replace(cache=os.devnull))
    store = TrustStore(home)
    found = []
    for place in finder.places:
        for spot in finder.spots(place) if place.source != "shipped" else ():
            # What is broken, or may not be read, nobody can accept.
            with suppress(BtplugError, OSError):
                pinned = pin_accountable(spot)
                own = manifest_in(CodeCache(None, pinned), spot)
                accepted = Accepted(
                    place_of(own), own.name, own.kind, own.version, pinned.digest,
                    own.permissions, in_process=True,
                )  # fmt: skip
                if store.find(accepted.path) != accepted:
                    found.append(accepted)
    if found:
        with suppress(BtplugError, OSError):
            store.accept(*found, files={})
            # Long ago, or nothing that saw it would be cached.
            os.utime(store.path, (time.time() - 3600,) * 2)


@pytest.fixture
def landmine(make_plugin, home):
    """A command of the user's that fails the test if anything imports it."""
    code = "raise AssertionError('imported too early')"
    return make_plugin("mine", code, where=home / "cli_plugins")


class Result(subprocess.CompletedProcess):
    """What a process left; `lines` are those of its stdout."""

    @property
    def lines(self):
        return self.stdout.splitlines()


@pytest.fixture
def btplug(tmp_path, consent):
    """Run the real ``btplug`` in a process of its own and return what it left."""
    script = Path(sys.executable).with_name("btplug")

    def run(*words, input="", timeout=30, **env):
        consent(**env)
        done = subprocess.run(
            [str(script), *map(str, words)],
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**os.environ, **env},
            check=False,
        )
        return Result(done.args, done.returncode, done.stdout, done.stderr)

    run.script = script
    return run
