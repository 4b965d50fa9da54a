"""A child's private folder, and its end, whatever the child has made in it."""

from __future__ import annotations

import os
from contextlib import suppress

_PLACES = ("/tmp", "/var/tmp", "/dev/shm")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def make_folder() -> str:
    """Make a folder that nobody else can enter.

    Raises:
        OSError: There is no place for one.
    """
    # tempfile costs 5 ms, and goes where the environment says.
    base = next((p for p in _PLACES if os.access(p, os.W_OK | os.X_OK)), _PLACES[0])
    folder = os.path.join(base, f"btplug-{os.getpid()}-{os.urandom(8).hex()}")
    os.mkdir(folder, 0o700)
    return folder


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
    count = 0
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
                    _lift(child, inner, top, f"{os.getpid()}-{count}")
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
