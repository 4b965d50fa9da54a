"""Records on their way to a renderer, and the columns to show of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from btplug import UsageError

from .cells import MISSING, Record, lookup
from .columns import Column
from .source import DataError, Source

# Records from which columns, widths and alignment of a stream are taken.
SAMPLE = 50
_MOST_COLUMNS = 1_000


class Asked:
    """Keys that were asked for, to tell a mistyped one from an empty answer."""

    def __init__(self, *keys: Iterable[str]) -> None:
        self._unseen = dict.fromkeys(key for some in keys for key in some)
        self._first: Record | None = None

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield *records*, and notice which keys they have."""
        if not self._unseen:
            yield from records
            return
        for record in records:
            if self._unseen:
                self._first = self._first or record
                for key in [*self._unseen]:
                    if lookup(record, key) is not MISSING:
                        del self._unseen[key]
            yield record

    def missing(self) -> Iterator[str]:
        """Yield a warning for each key that no record read so far has."""
        if not self._first:
            return
        from btplug.config import nearest

        for key in self._unseen:
            hint = nearest(key, map(str, self._first))
            yield f"no record has the key {key!r}" + (f": {hint}" if hint else "")


class View:
    """Records, filtered and in order, and the columns that they are shown in.

    Args:
        columns: Empty: the keys of the records, as they first appear.
        source: Where they come from; None: from a caller's memory.
        warn: Called once, if later records of a stream have keys without a column.

    Attributes:
        error: What ended the records early; raised by `rest`, after what was good.
    """

    def __init__(
        self,
        records: Iterable[Record],
        columns: list[Column],
        source: Source | None,
        warn: Callable[[str], None],
    ) -> None:
        self.columns = columns
        self.streams = source is not None and source.streams
        self.done = False
        self.error: DataError | None = None
        self._records = iter(records)
        self._source = source
        self._warn = warn
        self._watch = False

    def start(self, *, widths: bool = False) -> list[Record]:
        """Return the first records, and settle the columns with them.

        All of them, if they are in memory; of a stream as few as there must be: the
        first if the columns are known, otherwise a sample.

        Args:
            widths: The widths of the columns must be known too.
        """
        known = bool(self.columns) or (
            self._source is not None and self._source.format in ("csv", "tsv")
        )
        if widths:
            known = bool(self.columns) and all(c.width for c in self.columns)
        size = (1 if known else SAMPLE) if self.streams else None
        taken = self._take(size)
        if not self.columns:
            self.columns = [Column(key) for key in self._keys(taken)]
            # The rows of CSV have the keys of the header and no others.
            self._watch = self.streams and not (self._source and self._source.keys)
        return taken

    def _take(self, size: int | None) -> list[Record]:
        taken: list[Record] = []
        try:
            while size is None or len(taken) < size:
                record = next(self._records, None)
                if record is None:
                    self.done = True
                    break
                taken.append(record)
        except DataError as exc:
            if not taken:
                raise
            self.error, self.done = exc, True
        return taken

    def _keys(self, taken: list[Record]) -> Iterable[str]:
        found: dict[str, None] = {}
        if self._source is not None and self._source.keys:
            found = dict.fromkeys(self._source.keys)
        for record in taken:
            if not found.keys() >= record.keys():
                found.update(dict.fromkeys(record))
            if len(found) > _MOST_COLUMNS:
                break
        where = f"{self._source.name}: " if self._source is not None else ""
        if len(found) > _MOST_COLUMNS:
            raise DataError(
                f"{where}found more than {_MOST_COLUMNS:,} different keys, "
                "expected fewer columns than that",
                fix="name the columns to show with --columns",
            )
        for key in found:
            if not isinstance(key, str):
                raise UsageError(
                    f"found a record with the key {key!r}, expected texts as keys",
                    fix="turn the keys of the records into texts",
                )
        return found

    def rest(self) -> Iterator[Record]:
        """Yield the records after those of `start`.

        Raises:
            DataError: They end early.
        """
        if self.error is not None:
            raise self.error
        if self.done:
            return
        known = {column.key for column in self.columns}
        for record in self._records:
            if self._watch and not record.keys() <= known:
                self._watch = False
                later = next(key for key in record if key not in known)
                self._warn(
                    f"the key {later!r} appears after the first {SAMPLE} records and "
                    "is not shown: name the columns with --columns"
                )
            yield record

    def mappings(self) -> Iterator[dict[str, object]]:
        """Yield every record with the chosen keys only; a missing key stays out."""
        for record in self._records:
            if not self.columns:
                yield dict(record)
                continue
            found = ((c.key, lookup(record, c.key)) for c in self.columns)
            yield {key: value for key, value in found if value is not MISSING}
