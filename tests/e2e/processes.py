"""Processes that are watched while they run; real terminals; what all can ask."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path


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

    def wait_until_it_blocks(self, seconds=20):
        """Return once the pipe that nobody reads is full."""
        until, before = time.monotonic() + seconds, b""
        while True:
            waiting = fcntl.ioctl(self.process.stdout, termios.FIONREAD, b"\0" * 4)
            if waiting == before and int.from_bytes(waiting, "little") > 30_000:
                return
            assert time.monotonic() < until, self.errors
            before = waiting
            time.sleep(0.1)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, seconds=10):
        """Wait for the end; return the exit code, as a shell would show it."""
        code = self.process.wait(seconds)
        return 128 - code if code < 0 else code

    def rest(self):
        """Return what is left of stdout, up to its end."""
        return (self._read + self.process.stdout.read()).decode()


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, words, cwd, env, *, columns=80, **streams):
        self.fd, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

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

    def wait_for_keys(self, seconds=20):
        """Return once a single key is read: what is typed before is thrown away."""
        until = time.monotonic() + seconds
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            assert time.monotonic() < until, self.text
            time.sleep(0.005)

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


def tree(folder):
    """Return every file below *folder* with its content."""
    return {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def settle(*folders):
    """Make everything look an hour old: only what has settled is cached."""
    then = time.time() - 3600
    for folder in folders:
        for path in [*Path(folder).rglob("*"), Path(folder)]:
            os.utime(path, (then, then), follow_symlinks=False)


# root reads and writes everywhere; without these it is as bound as anybody.
BOUND = "--bounding-set=-dac_override,-dac_read_search,-fowner"

# Words that only read, with their exit codes where all is well.
READING = {
    "--help": 0, "list": 0, "list --json": 0, "run it": 0, "it": 0, "info it": 0,
    "config show it": 0, "config path": 0, "run it --help": 0, "run its": 3,
    "doctor": 0,
}  # fmt: skip
FEW = {"--help": 0, "list": 0, "run it": 0, "run its": 3, "doctor": 0}


def check_reading(run, commands=READING, told="", **more):
    """Run what only reads, for a plugin ``it`` that answers hello.

    *told* is what may stand on stderr where all is well.
    """
    for words, code in commands.items():
        done = run(*words.split(), **more)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert code != 0 or done.stderr in ("", told), words
        assert words != "run it" or done.stdout == "hello\n"


def check_writing_is_refused(run, reason, **more):
    """Run what writes, where nothing can be written."""
    for words in ("config set it.word new", "disable it"):
        done = run(*words.split(), **more)
        assert done.returncode == 1, words
        assert "could not be written" in done.stderr
        assert reason in done.stderr
        assert "  fix:   make the folder writable, or choose another" in done.stderr
