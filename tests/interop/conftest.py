"""Real neurons that no one here wrote, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def python_of(package):
    """Return the Python that has *package*; `make interop` says where it is."""
    return Path(os.environ["INTEROP"]) / package / "bin" / "python"


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Start a program of this folder, in which nothing touches a real HOME."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    home = str(tmp_path_factory.mktemp("home"))

    @contextmanager
    def started(package, program):
        with subprocess.Popen(
            [python_of(package), HERE / program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**kept, "HOME": home, "READ_ONLY": "1"},
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return started


@contextmanager
def talking(started):
    """Yield a function that asks a program, one JSON object a line."""
    with started as process:
        turn = threading.Lock()

        def ask(**asked):
            with turn:
                process.stdin.write(json.dumps(asked) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            assert line, f"no answer to {asked}"
            return json.loads(line)

        yield ask


@pytest.fixture(scope="session")
def auth11(start):
    """Ask bittensor 11 to sign, or to verify."""
    with talking(start("bt11", "auth11.py")) as ask:
        yield ask


@pytest.fixture(scope="session")
def dendrite10(start):
    """Ask a real dendrite to query a peer."""
    with talking(start("bt10", "dendrite10.py")) as ask:
        yield ask


@pytest.fixture(scope="session")
def axon10(start):
    """A real axon: its port and hotkey."""
    with start("bt10", "axon10.py") as process:
        ready = ""
        while not ready.startswith("READY"):
            ready = process.stdout.readline()
            assert ready, "the axon did not start"
        _, port, hotkey = ready.split()
        yield int(port), hotkey
