"""SOURCE: what is opened, how much of it is read, and the records in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from btplug import BtplugError, UsageError

from .cells import Record

# Format -> endings that tell it.
FORMATS = {
    "json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "yaml": (".yaml", ".yml"),
}
DEPTH = 24
_BOM = b"\xef\xbb\xbf"


class DataError(BtplugError):
    """A data file holds what no table can be made of."""


class Source:
    """One opened SOURCE.

    JSON Lines, CSV and TSV are read as they come and may be of any length; of the
    other formats the whole content is in memory, so the limit is on all of it.

    Args:
        path: A file or anything else that can be read; ``-`` is stdin.
        format: A key of FORMATS; None: told by the ending of *path*.
        limit: In bytes, for a whole JSON or YAML file and for one line of the others.
        whole: Put the limit on all of what would be streamed, too.

    Attributes:
        name: What messages call it.
        keys: Keys of the records, once the header of a CSV file was read.
        streams: Whether records come out before all of it was read.

    Raises:
        UsageError: It cannot be opened, or its format is not known.
    """

    __slots__ = ("_file", "_own", "_whole", "format", "keys", "limit", "name")

    def __init__(
        self, path: str, format: str | None, limit: int, *, whole: bool = False
    ) -> None:
        self.name = "stdin" if path == "-" else path
        self.format = format or _told(path)
        self.keys: list[str] = []
        self.limit, self._whole = limit, whole
        self._own = path != "-"
        self._file = _opened(path) if self._own else _stdin()

    @property
    def streams(self) -> bool:
        return self.format in ("jsonl", "csv", "tsv") and not self._whole

    def close(self) -> None:
        """Close the file; stdin is not ours to close."""
        if self._own:
            self._file.close()

    def records(self) -> Iterator[Record]:
        """Yield the records; nothing is read before the first is asked for.

        Raises:
            DataError: The content is broken; records before it were yielded, where
                the format streams.
        """
        if self.format == "json":
            from .documents import json_records

            yield from json_records(self._content(), self.name)
        elif self.format == "yaml":
            from .documents import yaml_records

            yield from yaml_records(self._content(), self.name)
        elif self.format == "jsonl":
            from .streams import json_lines

            yield from json_lines(self)
        else:
            from .streams import csv_records

            yield from csv_records(self, "\t" if self.format == "tsv" else ",")

    def _content(self) -> bytes:
        # Piece by piece: a pipe does not say how long it is, and one read() of the
        # limit would ask for that much memory.
        pieces: list[bytes] = []
        total = 0
        while piece := self._read(1 << 20):
            total += len(piece)
            self._check(total)
            pieces.append(piece)
        return b"".join(pieces).removeprefix(_BOM)

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends, each as soon as it is there.

        Raises:
            DataError: A line is too long or not UTF-8; the message has its number.
        """
        total = count = 0
        while line := self._read_line():
            count += 1
            total = total + len(line) if self._whole else len(line)
            if total > self.limit:
                self._check(total, f":{count}")
            if count == 1:
                line = line.removeprefix(_BOM)
            try:
                yield line.decode()
            except UnicodeDecodeError as exc:
                raise not_utf8(f"{self.name}:{count}", exc) from exc

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, ValueError) as exc:
            raise self._unreadable(exc) from exc

    def _read_line(self) -> bytes:
        try:
            return self._file.readline(self.limit + 1)
        except (OSError, ValueError) as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: Exception) -> DataError:
        # ValueError: closed by `shutdown` while another thread was reading.
        reason = exc.strerror if isinstance(exc, OSError) else "it was closed"
        return DataError(
            f"{self.name}: found that it cannot be read ({reason})",
            fix="give a file that can be read to its end",
        )

    def _check(self, size: int, line: str = "") -> None:
        if size > self.limit:
            what = " in one line" if line and not self._whole else ""
            raise DataError(
                f"{self.name}{line}: found more than {self.limit:,} bytes{what}, "
                "expected at most that",
                fix="raise the limit with --max-size BYTES",
            )


def not_utf8(where: str, exc: UnicodeDecodeError) -> DataError:
    """Make the error of bytes that are no UTF-8."""
    return DataError(
        f"{where}: found byte 0x{exc.object[exc.start]:02x}, expected UTF-8",
        fix="save the file as UTF-8",
    )


def _told(path: str) -> str:
    ending = os.path.splitext(path)[1].lower()
    for name, endings in FORMATS.items():
        if ending in endings:
            return name
    found = f"the ending {ending!r}" if ending and path != "-" else "no ending"
    known = ", ".join(e for endings in FORMATS.values() for e in endings)
    raise UsageError(
        f"found {found} in SOURCE {path!r}, expected one of {known}",
        fix=f"say what it is, with --format and one of {', '.join(FORMATS)}",
    )


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise UsageError(
            f"found that SOURCE {path!r} cannot be opened ({reason}), "
            "expected a file that you may read, or - for stdin",
            fix="correct the path, or its permissions",
        ) from exc


def _stdin() -> BinaryIO:
    # Closed with `<&-`, stdin is None; a library may have put a text-only one there.
    binary: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if binary is None:
        raise UsageError(
            "found no stdin to read SOURCE '-' from, expected a pipe or a file",
            fix="write for example: cat FILE | btplug run table-display - --format csv",
        )
    return binary
