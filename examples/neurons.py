"""Sixteen neurons on loopback, some not what they should be, and a probe of them.

``python neurons.py`` starts them, probes them as an operator would, and ends them.
``python neurons.py serve`` is one of the two processes that are started for that;
the other is the liar, ``btplug run serve echo --key //Liar``.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("btplug")

WELL, SLOW = 10, (0.2, 0.4, 0.6)  # how many; seconds each takes
STARTING, STOPPING = 10.0, 3.0  # seconds, on a slow machine
TIMEOUT, QUORUM = 3, "75%"
ASKS = "{btauth/1: {key: //Alice}}"  # the key of whoever probes

BEFORE = """
Sixteen neurons are up on loopback, each with a key of its own. Every request is
signed for the hotkey that the list names, in btauth/1. In the list are also 3 slow
neurons, one that never answers, one whose key is not the listed one, and a dead one.
"""
AFTER = """
 0-12  answered: ten at once, three (10-12) after 0.2, 0.4 and 0.6 s
   13  took the request and was silent for {timeout} s: late
   14  lies about its key. It has another one than is listed, so a request signed for
       the listed one is none that it may accept: it refused it with 401.
       That is all it proves. btauth/1 signs requests, not replies: a liar that
       answers whatever comes is not found out, and no hotkey is shown as proven.
   15  nobody listens there: refused
The exit code is {code}: at least {quorum} were to answer.
"""


# -- the neurons


def serve() -> None:
    """Serve the neurons that follow the rules until standard input ends."""
    from btplug import Message, Request, testing
    from btplug.dialects import create, load_signer
    from btplug.serving import application
    from btplug.testing import echo, hang, running

    def slow(seconds: float) -> Any:
        async def answer(request: Request) -> Message:
            await asyncio.sleep(seconds)
            return request.message

        return answer

    handlers = [*[echo] * WELL, *map(slow, SLOW), hang]
    with running(HERE.parent / "transport_plugins" / "http") as http, ExitStack() as up:
        told = []
        for number, handler in enumerate(handlers):
            key = load_signer(f"//Neuron{number}")
            app = application(handler, dialects=[create("btauth/1", key=key)])
            url = up.enter_context(testing.serving(http, app))
            told.append({"url": url, "hotkey": key.hotkey})
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
        sys.stdin.read()


# -- who starts, asks and ends them


class Signals:
    """The first signal ends the demo; while a process is made or ended, it waits.

    Otherwise a process that has just begun could be known to nobody, and stay.
    """

    def __init__(self) -> None:
        self._held = self._came = 0

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._come)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let signals wait for the end of the block."""
        self._held += 1
        yield
        self._held -= 1
        self._check()

    def _come(self, number: int, _: object) -> None:
        self._came = self._came or number
        self._check()

    def _check(self) -> None:
        if self._came and not self._held:
            self._held = 1  # a second one must not stop the ending
            raise SystemExit(128 + self._came)


SIGNALS = Signals()


@contextmanager
def started(*words: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process, and end it with the block."""
    process = None
    try:
        with SIGNALS.held():
            process = subprocess.Popen(words, text=True, **options)
        yield process
    finally:
        with SIGNALS.held():
            if process is not None:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()


@contextmanager
def serving(*words: str | Path, env: dict[str, str]) -> Iterator[Callable[[], Any]]:
    """Run a process that serves; what is yielded waits for its first line, JSON."""
    pipe = subprocess.PIPE
    # Ctrl-C is for this process, which then ends that one.
    alone = {"stdin": pipe, "stdout": pipe, "start_new_session": True}
    with started(*words, env=env, **alone) as process:
        yield lambda: _told(process)


def _told(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], STARTING)
    line = process.stdout.readline() if ready else ""
    if not line:
        sys.exit(f"demo: found no neuron within {STARTING:g} s, expected its URL")
    return json.loads(line)


@contextmanager
def dead() -> Iterator[str]:
    """Yield a URL that nobody listens at, nor will while this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def write_list(path: Path, well: list[dict[str, str]], liar: str, gone: str) -> None:
    """Write the list of peers, in which two entries are wrong."""
    from btplug.dialects import load_signer

    hotkeys = [load_signer(f"//{name}").hotkey for name in ("Honest", "Gone")]
    wrong = [
        {"url": url, "hotkey": hotkey}
        for url, hotkey in zip((liar, gone), hotkeys, strict=True)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, ("url", "hotkey"))
        rows.writeheader()
        rows.writerows([*well, *wrong])


def probe(folder: Path, env: dict[str, str]) -> int:
    """Ask all neurons of the list; return the exit code."""
    words = ["run", "probe", "peers.csv", "--timeout", str(TIMEOUT), "--quorum", QUORUM]
    sys.stdout.write(
        f"\n$ export BTPLUG_HTTP__DIALECTS={shlex.quote(ASKS)}\n"
        f"$ btplug {shlex.join(words)}\n"
    )
    sys.stdout.flush()
    env = {**env, "BTPLUG_HTTP__DIALECTS": ASKS}
    with started(COMMAND, *words, cwd=folder, env=env) as process:
        return process.wait()


def main() -> None:
    """Start all, probe them, say what the rows mean, and end all.

    Raises:
        SystemExit: A neuron did not start, too few answered, or a signal came.
    """
    SIGNALS.install()
    with tempfile.TemporaryDirectory(prefix="btplug-demo-") as name:
        folder = Path(name)
        # Nothing that the reader has configured changes the rows.
        env = {k: v for k, v in os.environ.items() if not k.startswith("BTPLUG_")}
        env["BTPLUG_HOME"] = str(folder / "home")
        liar = (COMMAND, "run", "--json", "serve", "echo", "--key", "//Liar")
        with (
            serving(sys.executable, Path(__file__), "serve", env=env) as neurons,
            serving(*liar, env=env) as lying,
            dead() as gone,
        ):
            write_list(folder / "peers.csv", neurons(), lying()["url"], gone)
            sys.stdout.write(BEFORE)
            code = probe(folder, env)
        sys.stdout.write(AFTER.format(timeout=TIMEOUT, code=code, quorum=QUORUM))
        if code:
            sys.exit(f"demo: found the exit code {code} of the probe, expected 0")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
