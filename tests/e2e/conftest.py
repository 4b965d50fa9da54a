"""Plugins in a line or two, processes watched while they run, real terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from textwrap import dedent, indent

import pytest

# What every plugin written here can do: leave a mark, and wait for one.
HEAD = '''
import os, time
import btplug

def mark(word):
    """Leave a word where the test finds it, whole lines even from many processes."""
    with open(os.environ["MARKS"], "a") as file:
        file.write(f"{word}\\n")

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
def command(make_plugin, home):
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
        return make_plugin(
            name, code, where=place, config=config, files=files, **manifest
        )

    return write


@pytest.fixture
def transport(make_plugin, home):
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
        return make_plugin(name, code, kind="transport", where=place, **manifest)

    return write


def _own_group():
    # A job started in the background of a script inherits SIGINT as ignored.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A process that runs while the test watches it."""

    def __init__(self, words, cwd, env, errors):
        self._errors = errors
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=stderr, cwd=cwd, env=env, preexec_fn=_own_group,
            )  # fmt: skip
        self._read = b""

    @property
    def errors(self):
        return self._errors.read_text()

    def line(self, seconds=20):
        """Return the next line of stdout, as soon as it is there."""
        until = time.monotonic() + seconds
        while b"\n" not in self._read:
            left = until - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, left))
            assert ready, f"no further line; stderr: {self.errors}"
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, f"the output ended; stderr: {self.errors}"
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, seconds=20):
        """Wait for the end; return the exit code, as a shell would show it."""
        code = self.process.wait(seconds)
        return 128 - code if code < 0 else code

    def rest(self):
        """Return what is left of stdout, up to its end."""
        return (self._read + self.process.stdout.read()).decode()


@pytest.fixture
def start(btplug, tmp_path):
    """Start the real ``btplug`` and return at once."""
    started = []

    def run(*words, prefix=(), **env):
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


class Terminal:
    """A process on a terminal of its own, 80 columns wide."""

    def __init__(self, words, cwd, env, **streams):
        self.fd, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def take_over():
            _own_group()
            fcntl.ioctl(other, termios.TIOCSCTTY, 0)

        both = {"stdin": other, "stdout": other, "stderr": other, **streams}
        self.process = subprocess.Popen(
            words, cwd=cwd, env=env, pass_fds=(other,), preexec_fn=take_over, **both
        )
        os.close(other)
        self.seen = b""

    @property
    def text(self):
        return self.seen.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text, seconds=20):
        """Return once *text* can be seen."""
        until = time.monotonic() + seconds
        while text not in self.text:
            assert self._more(until - time.monotonic()), f"ended with: {self.text}"

    def wait_until_it_reads(self, seconds=20):
        """Return once the process sleeps in a read.

        A signal that comes a moment before is kept by Python until the read ends.
        """
        stat = Path(f"/proc/{self.process.pid}/stat")
        until = time.monotonic() + seconds
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < until, self.text
            time.sleep(0.005)
        if not stat.exists():
            time.sleep(0.3)  # not Linux: as good as it gets

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, seconds=20):
        """Wait for the end; return the exit code, as a shell would show it."""
        until = time.monotonic() + seconds
        while self._more(until - time.monotonic()):
            pass
        code = self.process.wait(max(0.1, until - time.monotonic()))
        return 128 - code if code < 0 else code

    def _more(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], max(0, seconds))
        assert ready, f"nothing new on the terminal: {self.text}"
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            piece = b""
        self.seen += piece
        return bool(piece)


@pytest.fixture
def terminal(btplug, tmp_path):
    """Start the real ``btplug`` on a terminal."""
    opened = []

    def run(*words, streams=None, **env):
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
def shell(btplug, tmp_path):
    """Run a line of ``sh``, in which ``$B`` is the real ``btplug``."""

    def run(line, *, timeout=30, binary=False, **env):
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


def tree(folder):
    """Return every file below *folder* with its content."""
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def settle(*folders):
    """Make everything look an hour old: only what has settled is cached."""
    then = time.time() - 3600
    for folder in folders:
        for path in [*Path(folder).rglob("*"), Path(folder)]:
            os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture
def settled(home):
    """Let all of the user's plugins and files be old enough for the cache."""
    return lambda: settle(home)
