"""Files that a confined plugin is to write, made for it: only what is there is lent."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Made(NamedTuple):
    """A file that was made, empty and dated to the beginning of 1970.

    Attributes:
        known: Its number and that of its device.
    """

    path: str
    known: tuple[int, int]

    def remove_unopened(self) -> None:
        """Remove it if nobody opened it to write it anew, or wrote anything."""
        with suppress(OSError):
            found = os.lstat(self.path)
            same = (found.st_ino, found.st_dev) == self.known
            if same and not found.st_size and not found.st_mtime_ns:
                os.unlink(self.path)


def made(texts: Iterable[str], forbidden: Callable[[str], bool]) -> Iterator[Made]:
    """Make the files that *texts* name with their folder, and that are not there.

    A text without a slash may be anything: none becomes a file.
    """
    for text in texts:
        folder, name = os.path.split(os.path.expanduser(text))
        if not folder or name in ("", ".", "..") or "\0" in text:
            continue
        path = os.path.join(os.path.realpath(folder), name)
        # A link that leads nowhere is there, too.
        if os.path.lexists(path) or forbidden(path):
            continue
        with suppress(OSError):  # no such folder; or the plugin is told
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                os.utime(fd, (0, 0))
                found = os.fstat(fd)
            finally:
                os.close(fd)
            yield Made(path, (found.st_ino, found.st_dev))
