"""Plugins in a line or two, and ways to run the real ``btplug``."""

from __future__ import annotations

import os
import re
import subprocess
import time
from textwrap import dedent, indent

import pytest
from processes import Running, Terminal, settle

# What every plugin written here can do: leave a mark, and wait for one.
HEAD = '''
import os, time
import btplug

def mark(word):
    """Leave a word where the test finds it, whole lines even from many processes."""
    with open(os.environ["MARKS"], "a") as file:
        file.write(f"{word}\\n")

def idle():
    """Do nothing for long, in steps.

    A signal that comes a moment before a long sleep is noticed only after it.
    """
    for _ in range(6000):
        time.sleep(0.01)

def wait_for(word, seconds=20):
    """Wait until somebody has left a word; a test that fails ends all the same."""
    until = time.monotonic() + seconds
    while word not in open(os.environ["MARKS"]).read().split():
        if time.monotonic() > until:
            raise TimeoutError(word)
        time.sleep(0.005)
'''


def method(name, body, arguments=""):
    """Return a method: *body* is its lines, or all of it with its decorators."""
    body = dedent(body).strip()
    if not re.match(rf"@|(async )?def {name}\b", body):
        body = f"def {name}(self{arguments}):\n" + indent(body, "    ")
    return indent(body, "    ")


def source(base, members, top=""):
    """Return the code of a plugin's module."""
    text = dedent(top).strip()
    return f"{HEAD}\n{text}\n\nclass Plugin(btplug.{base}):\n" + "\n\n".join(members)


class Marks:
    """The words that plugins and test leave for one another, in their order."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def __call__(self):
        return self.path.read_text().splitlines()

    def add(self, word):
        with self.path.open("a") as file:
            file.write(f"{word}\n")

    def wait_for(self, word, seconds=20):
        """Return once a plugin has left *word*."""
        until = time.monotonic() + seconds
        while word not in self():
            assert time.monotonic() < until, f"nobody left {word!r}: {self()}"
            time.sleep(0.005)


@pytest.fixture(autouse=True)
def buffered(monkeypatch):
    """Take away what containers set: unbuffered, every row would arrive at once."""
    for name in (
        "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING",
        "PYTHONUTF8", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONSAFEPATH",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def marks(tmp_path, monkeypatch):
    """Where plugins leave marks; they find it in the environment."""
    path = tmp_path / "marks"
    monkeypatch.setenv("MARKS", str(path))
    return Marks(path)


@pytest.fixture
def command(make_plugin, home, consent):
    """Write a command of the user's: its methods as lines, or whole with ``def``."""

    def write(
        name="it", execute="return data", *, top="", initialize="pass",
        shutdown="pass", members="", doc="Do it.", config=None, files=None,
        where=None, **manifest,
    ):  # fmt: skip
        code = source(
            "CLIPlugin",
            [
                f"    {doc!r}",
                indent(dedent(members), "    "),
                method("initialize", initialize, ", config"),
                method("execute", execute, ", data=None"),
                method("shutdown", shutdown),
            ],
            top,
        )
        place = where or home / "cli_plugins"
        folder = make_plugin(
            name, code, where=place, config=config, files=files, **manifest
        )
        consent()
        return folder

    return write


@pytest.fixture
def transport(make_plugin, home, consent):
    """Write a transport of the user's, which serves the scheme of its name."""

    def write(
        name, initialize="pass", *, shutdown="pass", send=None, top="", members="",
        where=None, **manifest,
    ):  # fmt: skip
        code = source(
            "TransportPlugin",
            [
                f"    schemes = ({name!r},)",
                indent(dedent(members), "    "),
                method("initialize", initialize, ", config"),
                method(
                    "send",
                    send or "return btplug.Reply(status=200, body=message.body)",
                    ", peer, message, *, timeout=None",
                ),
                method("shutdown", shutdown),
            ],
            top,
        )
        place = where or home / "transport_plugins"
        folder = make_plugin(name, code, kind="transport", where=place, **manifest)
        consent()
        return folder

    return write


@pytest.fixture
def start(btplug, tmp_path, consent):
    """Start the real ``btplug`` and return at once."""
    started = []

    def run(*words, prefix=(), **env):
        consent(**env)
        running = Running(
            [*prefix, str(btplug.script), *map(str, words)],
            tmp_path,
            {**os.environ, **env},
            tmp_path / f"stderr-{len(started)}",
        )
        started.append(running.process)
        return running

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def terminal(btplug, tmp_path, consent):
    """Start the real ``btplug`` on a terminal."""
    opened = []

    def run(*words, streams=None, **env):
        consent(**env)
        words = [str(btplug.script), *map(str, words)]
        term = Terminal(words, tmp_path, {**os.environ, **env}, **(streams or {}))
        opened.append(term)
        return term

    yield run
    for term in opened:
        if term.process.poll() is None:
            term.process.kill()
        term.process.wait()
        os.close(term.fd)


@pytest.fixture
def shell(btplug, tmp_path, consent):
    """Run a line of ``sh``, in which ``$B`` is the real ``btplug``."""

    def run(line, *, timeout=30, binary=False, **env):
        consent(**env)
        return subprocess.run(
            ["sh", "-ec", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=not binary,
            timeout=timeout,
            cwd=tmp_path,
            env={**os.environ, "B": str(btplug.script), **env},
            check=False,
        )

    return run


@pytest.fixture
def settled(home):
    """Let all of the user's plugins and files be old enough for the cache."""
    return lambda: settle(home)


@pytest.fixture
def run(btplug, tmp_path, consent):
    """Run btplug behind other words, with variables changed (None: not set)."""

    def call(*words, prefix=(), cwd=None, timeout=60, **env):
        consent(**env)
        environment = {**os.environ, **env}
        return subprocess.run(
            [*prefix, str(btplug.script), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd or tmp_path,
            env={k: v for k, v in environment.items() if v is not None},
            check=False,
        )

    return call
