"""Real neurons that no one here wrote, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def python_of(package):
    """Return the Python that has *package*; `make interop` says where it is."""
    return Path(os.environ["INTEROP"]) / package / "bin" / "python"


@pytest.fixture
def peer_env(tmp_path):
    """An environment in which nothing touches a real HOME."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(tmp_path), "READ_ONLY": "1"}


@pytest.fixture
def auth11(peer_env):
    """Ask bittensor 11 to sign, or to verify."""

    def ask(**asked):
        done = subprocess.run(
            [python_of("bt11"), HERE / "auth11.py"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=peer_env,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask


@pytest.fixture
def axon10(peer_env):
    """Start a real axon; yields its port and hotkey."""

    @contextmanager
    def start():
        from btplug.network import free_port

        with subprocess.Popen(
            [python_of("bt10"), HERE / "axon10.py", str(free_port())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=peer_env,
        ) as process:
            try:
                ready = ""
                while not ready.startswith("READY"):
                    ready = process.stdout.readline()
                    assert ready, "the axon did not start"
                _, port, hotkey = ready.split()
                yield int(port), hotkey
            finally:
                process.kill()

    return start
