"""A file of PEERS, or stdin: lines, their places, and how much of it is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

from btplug import UsageError

EXPECTED = "a URL, host:port or hotkey@host:port"
_LINE = 65536  # bytes; what is longer is not a list of peers
_BOM = b"\xef\xbb\xbf"


def wrong(where: str, found: str, expected: str, fix: str) -> UsageError:
    """Make the error of something in PEERS."""
    return UsageError(f"{where}: found {found}, expected {expected}", fix=fix)


def shown(text: str) -> str:
    """Return how a message shows *text*, which may hold a password before an ``@``."""
    return "one with '@' in it" if "@" in text else repr(text[:80])


class Source:
    """A file, or stdin, of bounded size.

    Attributes:
        name: What messages call it.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.name = "stdin" if path == "-" else path
        self._path, self._limit = path, limit

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each line with where it stands: ``file:number``."""
        total = count = 0
        with self._opened() as file:
            while line := self._next(file):
                count += 1
                total += len(line)
                where = f"{self.name}:{count}"
                if len(line) > _LINE:
                    found = f"a line of more than {_LINE:,} bytes"
                    fix = "write one peer a line, or name the format with --format"
                    raise wrong(where, found, "a shorter one", fix)
                if total > self._limit:
                    raise wrong(
                        where,
                        f"more than {self._limit:,} bytes",
                        "at most 1,024 for each of --max-peers",
                        "raise --max-peers, or leave out what is no peer",
                    )
                if count == 1:
                    line = line.removeprefix(_BOM)
                try:
                    yield where, line.decode()
                except UnicodeDecodeError as exc:
                    found = f"byte 0x{line[exc.start]:02x}"
                    raise wrong(
                        where, found, "UTF-8", "save the file as UTF-8"
                    ) from exc

    def text(self) -> str:
        """Return all of it."""
        # A line at a time has the limits and the place of what is not UTF-8.
        return "".join(line for _, line in self.lines())

    def _next(self, file: BinaryIO) -> bytes:
        try:
            return file.readline(_LINE + 1)
        except OSError as exc:
            raise wrong(
                self.name,
                f"that it cannot be read ({exc.strerror})",
                "a file that can be read to its end",
                "give another file",
            ) from exc

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        if self._path != "-":
            try:
                return open(self._path, "rb")
            except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
                reason = exc.strerror if isinstance(exc, OSError) else str(exc)
                raise UsageError(
                    f"PEERS: found {shown(self._path)}, which cannot be opened "
                    f"({reason}), expected {EXPECTED}, a file, or - for stdin",
                    fix="correct the path; a peer needs its port, IPv6 its brackets",
                ) from exc
        # Closed with `<&-`, stdin is None; a library may have put a text there.
        binary: BinaryIO | None = getattr(sys.stdin, "buffer", None)
        if binary is None:
            raise UsageError(
                "PEERS: found no stdin to read '-' from, expected a pipe or a file",
                fix="write for example: cat FILE | btplug run probe -",
            )
        return nullcontext(binary)
