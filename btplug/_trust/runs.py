"""The log of runs: one line for each, written whole, bounded, never with a secret."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug._folders import Folders

# Bytes after which a new file is begun; the one before is kept.
MOST = 4 * 1024 * 1024
_MOST_HOSTS = 32 * 1024  # characters of those of one run


class Run(NamedTuple):
    """What is kept of one run. Words of the command line are not: they hold secrets.

    Attributes:
        time: Of its beginning, in UTC: ``2026-01-31T12:00:00.123Z``.
        command: ``run NAME``, as btplug understood it.
        digest: Of the plugin's files; None: it is shipped with btplug.
        fingerprint: Of the lock that decided; None: none did.
        exit_code: As documented; 0 is done.
        seconds: From the start of the process's own work to its end.
        hosts: That the plugin reached; where they are too many for a line, the last
            entry says how many more there were.
    """

    time: str
    command: str
    plugin: str
    version: str
    source: str
    btplug: str
    digest: str | None
    fingerprint: str | None
    result: str
    exit_code: int
    seconds: float
    hosts: tuple[str, ...] = ()


def runs_file(home: Folders) -> str:
    """Return the path of the log; no plugin's state folder can be called so."""
    return os.path.join(home.state_root, "_runs", "runs.jsonl")


def append(home: Folders, run: Run, *, more: int = 0) -> None:
    """Write one line to the end of the log.

    One call of `write` in append mode: lines of runs side by side stay whole.

    Args:
        more: Hosts that the plugin reached besides those of *run*.

    Raises:
        OSError: It cannot be written.
    """
    path = runs_file(home)
    run = run._replace(hosts=_fitting(run.hosts, more))
    line = (_line(run) + "\n").encode()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    flags |= os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_private(os.path.dirname(path))
        fd = os.open(path, flags, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size + len(line) > MOST:
            fd = _turned(path, fd, flags)
        elif size and os.pread(fd, 1, size - 1) != b"\n":
            # The disk was full: this line shall not be lost with that one.
            line = b"\n" + line
        os.write(fd, line)
    finally:
        os.close(fd)


def _fitting(hosts: tuple[str, ...], more: int) -> tuple[str, ...]:
    # They are a plugin's words: it could have the runs of others make room.
    room = _MOST_HOSTS
    for count, host in enumerate(hosts):
        room -= len(ascii(host))  # about as it is written
        if room < 0:
            more += len(hosts) - count
            hosts = hosts[:count]
            break
    return (*hosts, f"{more} more") if more else hosts


def _turned(path: str, fd: int, flags: int) -> int:
    """Begin a new file, unless another process has done so by now."""
    import fcntl

    try:
        # Whoever waits here would wait for a process that may be stopped.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here, there = os.fstat(fd), os.stat(path)
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            os.replace(path, f"{path}.1")
        new = os.open(path, flags, 0o600)
    except OSError:
        return fd
    os.close(fd)
    return new


def _line(run: Run) -> str:
    """Return a run as JSON; `json` itself would cost each run 3 ms."""
    from _json import encode_basestring_ascii as quoted

    def value(item: object) -> str:
        if item is None:
            return "null"
        if isinstance(item, (int, float)):
            return repr(item)
        if isinstance(item, tuple):
            return f"[{', '.join(map(value, item))}]"
        return str(quoted(str(item)))

    pairs = zip(Run._fields, run, strict=True)
    return "{" + ", ".join(f'"{key}": {value(item)}' for key, item in pairs) + "}"


def read_runs(home: Folders) -> Iterator[dict[str, object]]:
    """Yield what was logged, the oldest first; damaged lines are left out.

    Raises:
        OSError: It cannot be read.
    """
    import json

    path = runs_file(home)
    for name in (f"{path}.1", path):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        with os.fdopen(fd, "rb") as file:
            for line in file:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict) and found.keys() >= {"time", "plugin"}:
                    yield found
