"""A child's private folder, and its end, whatever the child has made in it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

_PLACES = ("/tmp", "/var/tmp", "/dev/shm")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_YOUNG = 60.0  # seconds


def _base() -> str:
    return next((p for p in _PLACES if os.access(p, os.W_OK | os.X_OK)), _PLACES[0])


def make_folder() -> tuple[str, int]:
    """Make a folder that nobody else can enter.

    Returns:
        Its path, and a descriptor: as long as it is open, the folder has an owner.

    Raises:
        OSError: There is no place for one.
    """
    # tempfile costs 5 ms, and goes where the environment says.
    folder = os.path.join(_base(), f"btplug-{os.getpid()}-{os.urandom(8).hex()}")
    os.mkdir(folder, 0o700)
    # Whatever the umask has taken away.
    os.chmod(folder, 0o700)
    fd = os.open(folder, _FOLDER)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return folder, fd


def sweep() -> None:
    """Remove the folders of hosts that were killed: nobody else is left to do it."""
    base, us = _base(), os.geteuid()
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            words = entry.name.split("-")
            if len(words) != 3 or words[0] != "btplug" or len(words[2]) != 16:
                continue
            # Younger ones may have an owner who is about to say so.
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if found.st_uid == us and time.time() - found.st_ctime > _YOUNG:
                    _remove_ownerless(entry.path)


def _remove_ownerless(folder: str) -> None:
    fd = os.open(folder, _FOLDER)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    finally:
        os.close(fd)


def remove(folder: str) -> None:
    """Remove a folder whose owner is gone, follow no link, keep no depth in mind.

    A folder that is nested deeper than any path may be long is brought up first,
    level by level.
    """
    with suppress(FileNotFoundError):
        fd = os.open(folder, _FOLDER)
        try:
            _empty(fd)
        finally:
            os.close(fd)
        os.rmdir(folder)


def _empty(top: int) -> None:
    # Unforeseen: no folder can be brought up where another lies.
    count, mark = 0, os.urandom(8).hex()
    while names := os.listdir(top):
        for name in names:
            try:
                os.unlink(name, dir_fd=top)
                continue
            except (IsADirectoryError, PermissionError):
                pass
            # It may have taken its own rights away; it is no link, and its maker dead.
            os.chmod(name, 0o700, dir_fd=top)
            inner = os.open(name, _FOLDER, dir_fd=top)
            try:
                for child in os.listdir(inner):
                    count += 1
                    _lift(child, inner, top, f"{mark}-{count}")
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _lift(name: str, inner: int, top: int, free: str) -> None:
    try:
        os.unlink(name, dir_fd=inner)
    except (IsADirectoryError, PermissionError):
        # A folder that is moved has to be writable itself.
        os.chmod(name, 0o700, dir_fd=inner)
        os.rename(name, free, src_dir_fd=inner, dst_dir_fd=top)
