"""JSON Lines, CSV and TSV: formats whose records come out one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .source import DataError

if TYPE_CHECKING:
    from .cells import Record
    from .source import Source


def json_lines(source: Source) -> Iterator[Record]:
    """Yield one record for each line; empty lines are passed over."""
    from .documents import decode, not_a_record

    for count, line in enumerate(source.lines(), 1):
        text = line.rstrip()
        if not text:
            continue
        record = decode(text, source.name, line=count)
        if not isinstance(record, dict):
            raise not_a_record(record, f"{source.name}:{count}")
        yield record


def csv_records(source: Source, delimiter: str) -> Iterator[Record]:
    """Yield one record for each row below the header; empty lines are passed over."""
    import csv

    # The module's own limit is 128 KiB; a quoted field may go over many lines.
    csv.field_size_limit(source.limit)
    rows = csv.reader(source.lines(), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in rows:
            if row and not source.keys:
                source.keys = _header(row, f"{source.name}:{line}")
            elif row:
                if len(row) != len(source.keys):
                    raise _ragged(len(row), len(source.keys), f"{source.name}:{line}")
                yield dict(zip(source.keys, row, strict=True))
            line = rows.line_num + 1
    except csv.Error as exc:
        raise _broken(exc, f"{source.name}:{line}") from exc


def _header(names: list[str], where: str) -> list[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{where}: found the column {name!r} twice in the header, "
                "expected each name once",
                fix="rename one of the two",
            )
        seen.add(name)
    return names


def _ragged(found: int, expected: int, where: str) -> DataError:
    return DataError(
        f"{where}: found a row of {found} {'field' if found == 1 else 'fields'}, "
        f"expected {expected} as in the header",
        fix="mend the row; a field that holds the separator goes in double quotes",
    )


def _broken(exc: Exception, where: str) -> DataError:
    fix = 'close the quotes; a quote inside quotes is written twice: ""'
    if "field limit" in str(exc):
        fix = "raise --max-size, or shorten the field"
    return DataError(f"{where}: found a broken row ({exc})", fix=fix)
