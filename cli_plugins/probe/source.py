"""A file of PEERS, or stdin: lines, their places, and how much of it is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import BinaryIO

from btplug import UsageError

EXPECTED = "a URL, host:port or hotkey@host:port"
_LINE = 65536  # characters; what is longer is no peer
_BOM = b"\xef\xbb\xbf"


def wrong(where: str, found: str, expected: str, fix: str) -> UsageError:
    """Make the error of something in PEERS."""
    return UsageError(f"{where}: found {found}, expected {expected}", fix=fix)


def shown(text: str) -> str:
    """Return how a message shows *text*, which may hold a password before an ``@``."""
    return "one with '@' in it" if "@" in text else repr(text[:80])


class Source:
    """A file, or stdin, of bounded size; it is read once.

    Attributes:
        name: What messages call it.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.name = "stdin" if path == "-" else path
        self._path, self._limit = path, limit
        self._seen: list[tuple[str, str]] = []
        self._rest = self._read()

    def first(self) -> str:
        """Return the first line that is not empty; it is read all the same."""
        for one in self._rest:
            self._seen.append(one)
            if one[1].strip():
                return one[1]
        return ""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each line with where it stands: ``file:number``."""
        for where, line in chain(self._seen, self._rest):
            if len(line) > _LINE:
                found = f"a line of more than {_LINE:,} characters"
                fix = "write one peer a line, or name the format with --format"
                raise wrong(where, found, "a shorter one", fix)
            yield where, line

    def text(self) -> str:
        """Return all of it; it may be one line."""
        return "".join(line for _, line in chain(self._seen, self._rest))

    def _read(self) -> Iterator[tuple[str, str]]:
        total = count = 0
        with self._opened() as file:
            while line := self._next(file, self._limit - total + 1):
                count += 1
                total += len(line)
                where = f"{self.name}:{count}"
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

    def _next(self, file: BinaryIO, most: int) -> bytes:
        try:
            return file.readline(most)
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
