"""The corpus: what each hostile plugin has to end with; and how one is run."""

import ctypes
import glob
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PLUGINS = Path(__file__).with_name("plugins")
SCRIPT = str(Path(sys.executable).with_name("btplug"))
ESCAPES = (b"\x1b]0;EVIL", b"\x1b[31mEVIL", b"\xc2\x9b31mEVIL", "\u202eEVIL".encode())
LIMIT, RUN = "2", "6"  # seconds to start and to run, where a case has to meet them


# `make hostile` tries all there is; an ordinary run takes a sample.
THOROUGH = bool(os.environ.get("HOSTILE"))


class Case(NamedTuple):
    """What a plugin of the corpus has to end with.

    Attributes:
        name: Of its folder in ``plugins``; the first word is its line in the corpus.
        codes: Exit codes that are right.
        words: What its output has to say, as text.
        modes: S: confined; I: in btplug's own process.
        lasts: It is ended at a time limit, so it is not run more often than needed.
    """

    name: str
    codes: tuple[int, ...]
    words: tuple[str, ...] = ()
    modes: str = "SI"
    lasts: bool = False

    @property
    def line(self):
        """Where its code is."""
        return f"{self.name}/plugin.py"


# Lines that are tested elsewhere: P06 and P39 in e2e/test_broken_transports.py; P24,
# P26, P28, P30 in test_loading_folders.py, P31 in test_loading_bytes.py; P29 in
# e2e/test_broken_manifests.py; P32 in test_trust_consent.py; P35 in
# e2e/test_surroundings.py; P36 and P37 at length in test_escapes.py.
CASES = [
    Case("p01-missing-dependency", (4,), ("not_installed", "plugin.py:2", "pip install")),
    Case("p02-syntax-error", (4,), ("SyntaxError", "plugin.py:3")),
    Case("p03-exit-at-import", (4,), ("called exit during load", "plugin.py:4")),
    Case("p04-exit-with-text", (1,), ("so long", "was shut down")),
    Case("p04-exit-with-code", (1,), ("3", "was shut down")),
    Case("p05-loop-at-import", (7,), ("did not load", f"{LIMIT} s"), lasts=True),
    Case("p08-loop-in-c", (7,), ("did not finish within 6 s",), "S", lasts=True),
    Case("p09-leaves-at-import", (8,), ("ended without a result",), "S"),
    Case("p09-leaves-in-execute", (8,), ("ended without a result",), "S"),
    Case("p10-segfault", (8,), ("SIGSEGV",), "S"),
    Case("p10-abort", (8,), ("SIGABRT",), "S"),
    Case("p10-kills-itself", (8,), ("SIGKILL",), "S"),
    Case("p11-too-much-memory", (8,), ("limit of 4,096 MiB of memory",), "S"),
    Case("p11-memory-in-pieces", (7, 8), (), "S", lasts=True),
    Case("p12-fork-bomb", (1,), ("not permitted", "plugin.py:"), "S"),
    Case("p12-daemon", (1,), ("not permitted", "plugin.py:"), "S"),
    Case("p12-another-program", (1,), ("plugin.py:",), "S"),
    Case("p13-thread-left", (0,), ("fine", "'lingerer' was left running"), lasts=True),
    Case("p15-too-many-files", (8,), ("limit of 256 open files",), "S"),
    Case("p16-prints-everywhere", (0,), ("NOISE",)),
    Case("p18-escapes-in-output", (0,), ("EVIL",), "S"),
    Case("p18-escapes-in-errors", (1,), ("ValueError", "EVIL")),
    Case("p18-escapes-in-help", (2,), ("--word",)),
    Case("p20-patches-everything", (0,), ("fine",), "S"),
    Case("p21-spoils-its-process", (0,), ("a",)),
    Case("p33-gives-itself-trust", (4,), ("in_process", "config.yaml:9")),
    Case("p36-reads-keys", (0,), ("[]",), "S"),
    Case("p37-reaches-the-network", (0,), ("12",), "S"),
    Case("p40-returns-number", (1,), ("type int", "an iterable of mappings")),
    Case("p40-returns-a-gigabyte", (0, 7, 8), (), "S", lasts=True),
    Case("p40-returns-a-long-line", (0,), (), lasts=True),
    Case("p40-long-rows", (0,), ()),
    Case("q01-garbage-on-the-channel", (8,), ("broke the rules of its channel",), "S"),
    Case("q02-closes-the-channel", (8,), (), "S", lasts=True),
    Case("q03-renews-its-time", (8,), ("a second sign that it has started",), "S"),
    Case("q04-error-without-text", (1,), ("Odd", "plugin.py:")),
    Case("q05-error-of-100-megabytes", (1,), ("ValueError", "plugin.py:"), "S"),
    Case("q06-logs-megabytes", (0,), ("fine",), "S"),
    Case("q07-never-shuts-down", (1, 7), ("fine", "2 s"), lasts=True),
    Case("q08-hangs-at-exit", (0,), ("fine",), "S"),
    Case("q09-closes-its-streams", (0,), ("fine",), "S"),
    Case("q10-removes-its-folder", (0,), ("fine",), "S"),
    Case("q11-stops-itself", (7,), ("did not finish within 6 s",), "S", lasts=True),
    Case("q12-kills-its-host", (1,), ("not permitted",), "S"),
    Case("q13-floods-progress", (0,), ("fine",), lasts=True),
    Case("q14-asks-for-ever", (7,), ("did not finish within 6 s",), "S", lasts=True),
    Case("q15-raises-past-everything", (1,), ("BaseException: past", "plugin.py:")),
    Case("q16-generator-fails", (1,), ("ValueError: later", "plugin.py:")),
    Case("q17-fails-to-shut-down", (1,), ("fine", "in shutdown")),
    Case("q18-recursion", (1,), ("RecursionError", "plugin.py:")),
    Case("q19-fills-the-disk", (1,), ("Permission denied", "plugin.py:"), "S"),
    Case("q22-draws-odd-tables", (8,), ("EVIL", "found a table that is none"), "S"),
    Case("q23-lies-about-json", (0,), ("fine", "no JSON"), "S"),
    Case("q25-blames-btplug", (1,), ("its confined process failed", "plugin's author"), "S"),
    Case("q20-no-class", (4,), ("found no Plugin", "correct 'entry:'")),
]  # fmt: skip

# As text each of these is drawn; as JSON it is refused, with its place and type.
NO_JSON = [
    Case("p40-returns-nan", (1,), ("result.a[1]", "nan")),
    Case("p40-returns-set", (1,), ("result.a", "type set")),
    Case("p40-returns-bytes", (1,), ("result.a", "type bytes")),
    Case("p40-returns-object", (1,), ("result.a", "type object")),
    Case("p40-returns-cycle", (1,), ("result", "inside itself")),
    Case("p40-returns-one-bad-row", (1,), ("result[1].a", "type set")),
]


class Done(NamedTuple):
    """What a run left; *left* are processes and folders that should be gone."""

    code: int
    out: bytes
    errors: str
    left: list[str]


class Corpus:
    """The plugins in a folder of their own, and ways to run them."""

    def __init__(self, folder):
        self.folder = folder
        self.place = folder / "corpus"
        shutil.copytree(
            PLUGINS, self.place, ignore=shutil.ignore_patterns("__pycache__")
        )
        for path in [self.place, *self.place.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.cwd = folder / "cwd"
        self.cwd.mkdir()
        home = folder / "hostile-home"
        for key in (".ssh/id_ed25519", ".bittensor/wallets/mine/coldkey"):
            (home / key).parent.mkdir(parents=True)
            (home / key).write_text("a key")
        self.home = home / "btplug"
        self.env = {
            **os.environ,
            "HOME": str(home),
            "BTPLUG_HOME": str(self.home),
            "BTPLUG_START_LIMIT": LIMIT,
            "BTPLUG_RUN_LIMIT": RUN,
        }

    def words(self, *words, mode="S"):
        """Return the command line."""
        here = ["--in-process"] if mode == "I" else []
        return [SCRIPT, *here, "--plugin-dir", str(self.place), *words]

    def start(self, *words, mode="S", prefix=(), **more):
        """Start it, and return the process."""
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        line = [*prefix, *self.words(*words, mode=mode)]
        return subprocess.Popen(
            line, **{"cwd": self.cwd, "env": self.env, **streams, **more},
            start_new_session=True,
        )  # fmt: skip

    def run(self, *words, timeout=90, **more):
        """Run it to its end."""
        process = self.start(*words, **more)
        try:
            out, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return Done(process.returncode, out, errors.decode(), remains(process.pid))

    def on_terminal(self, *words, timeout=90, mode="S"):
        """Run it on a terminal of its own; return its exit code and what it showed."""
        fd, other = pty.openpty()
        streams = {"stdin": other, "stdout": other, "stderr": other}
        process = self.start(*words, mode=mode, **streams)
        os.close(other)
        seen, until = b"", time.monotonic() + timeout
        while time.monotonic() < until:
            if not select.select([fd], [], [], until - time.monotonic())[0]:
                break
            try:
                seen += os.read(fd, 65536)
            except OSError:
                break
        os.close(fd)
        try:
            return Done(process.wait(10), seen, "", remains(process.pid))
        finally:
            process.kill()


def adopt(on):
    """Have what outlives its parent become a child of this process, or not."""
    ctypes.CDLL(None).prctl(36, int(on), 0, 0, 0)


def remains(pid):
    """Return what is left of a run; what was adopted is ended."""
    found = glob.glob(f"/tmp/btplug-{pid}-*") + glob.glob("/dev/shm/btplug-evil*")
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        for child in file.read().split():
            name = Path(f"/proc/{child}/comm").read_text().strip()
            if name.startswith(("btplug", "python")):
                found.append(f"process {child}")
                os.kill(int(child), signal.SIGKILL)
                os.waitpid(int(child), 0)
    return found


def check(case, done, *, silent=False):
    """Hold what a run left against what the corpus wants."""
    assert done.code in case.codes, (done.code, done.errors[-2000:])
    shown = done.errors + done.out[:100_000].decode(errors="replace")
    assert silent or all(word in shown for word in case.words), shown[-2000:]
    assert "Traceback" not in done.errors, done.errors[-2000:]
    assert "defect in btplug" not in done.errors
    assert done.left == []
    if done.code and not silent:
        first = done.errors.splitlines() or [""]
        told = [line for line in first if "btplug: error: " in line or "Usage:" in line]
        assert told, done.errors[-2000:]


def lines_of_json(out):
    """Return what each line holds; one that is no JSON fails the test."""
    return [json.loads(line) for line in out.split(b"\n") if line]
