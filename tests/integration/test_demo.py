"""The neurons of `make demo`, as a process: what it shows, and that nothing stays."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "neurons.py"
pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path):
    """Start the demo; whatever it starts carries a mark, and writes to one folder."""
    written, mark = tmp_path / "written", f"DEMO_OF={tmp_path}"
    written.mkdir()
    env = {**os.environ, "DEMO_OF": str(tmp_path), "TMPDIR": str(written)}
    started = []

    def start(**more):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**env, **more}, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    until = time.monotonic() + 10
    while left := marked(mark):
        assert time.monotonic() < until, left
        time.sleep(0.02)
    assert not [*written.iterdir()]


def marked(mark):
    """Return the command lines of all processes with *mark* in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes():
                words = (place / "cmdline").read_bytes()
                found.append(words.replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has just ended, or is somebody else's
    return found


def wait_for(process, text, seconds=30):
    """Read its output up to *text*, and no further than what has come."""
    until, seen = time.monotonic() + seconds, ""
    while text not in seen:
        left = until - time.monotonic()
        assert select.select([process.stdout], [], [], max(0, left))[0], seen
        piece = os.read(process.stdout.fileno(), 65536).decode()
        assert piece, process.stderr.read()
        seen += piece


def rows_of(text):
    """Return the table as (status or failure) of each row, and the peers' ports."""
    found = re.findall(
        r"^ ?(\d+)  http://127\.0\.0\.1:(\d+) +(?:(\d{3}) +)?[\d.]+ *([a-z-]*)",
        text,
        re.M,
    )
    assert [int(row[0]) for row in found] == list(range(len(found)))
    return [row[2] or row[3] for row in found], [int(row[1]) for row in found]


def test_sixteen_neurons_are_probed_and_none_of_them_stays(demo):
    process = demo()
    shown, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    outcomes, ports = rows_of(shown)
    assert outcomes == ["200"] * 13 + ["late", "401", "refused"]
    assert errors.startswith("13 of 16 peers answered; p50 ")
    assert len(errors.splitlines()) == 1
    assert "$ btplug run probe peers.csv --timeout 3 --quorum 75%\n" in shown
    assert "btauth/1 signs requests, not replies" in shown
    assert "The exit code is 0: at least 75% were to answer." in shown
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_the_probe_ends_all(demo, number):
    process = demo()
    wait_for(process, "$ btplug run probe")
    process.send_signal(number)

    shown, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert (rows_of(shown)[0], errors) == ([], "")


def test_ctrl_c_of_a_terminal_reaches_all_and_ends_all(demo, tmp_path):
    """A terminal sends it to every process of the group."""
    process = demo()
    wait_for(process, "$ btplug run probe")
    until = time.monotonic() + 30
    while not any("run probe" in words for words in marked(f"DEMO_OF={tmp_path}")):
        assert time.monotonic() < until
    os.killpg(process.pid, signal.SIGINT)

    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rows_of(shown)[0] == []


def test_a_signal_while_neurons_start_ends_those_that_did(demo, tmp_path):
    process = demo()
    until = time.monotonic() + 30
    # As soon as there is a second process: the first may know of it in a moment only.
    while len(marked(f"DEMO_OF={tmp_path}")) < 2:
        assert time.monotonic() < until
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130


def test_a_neuron_that_cannot_start_ends_the_demo_with_its_reason(demo, tmp_path):
    place = tmp_path / "broken"
    place.mkdir()
    (place / "uvicorn.py").write_text("raise ImportError('broken here')\n")
    process = demo(PYTHONPATH=str(place))
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "broken here" in errors
    assert "demo: found no neuron within 10 s, expected its URL" in errors
