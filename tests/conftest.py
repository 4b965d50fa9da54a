"""Real plugin folders, real processes, and a fence around the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

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
def btplug(tmp_path):
    """Run the real ``btplug`` in a process of its own and return what it left."""
    script = Path(sys.executable).with_name("btplug")

    def run(*words, input="", timeout=30, **env):
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
