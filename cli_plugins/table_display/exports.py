"""Records -> Markdown, CSV or JSON Lines, each in pieces as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .cells import MISSING, NO_ROWS, aligned, cell, lookup, plain, visible
from .source import DataError
from .view import View

_RULES = {"left": "---", "right": "---:", "center": ":---:"}
# What Markdown or HTML inside it would take for markup.
_MARKUP = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|~&"})


def markdown(view: View) -> Iterator[str]:
    """Yield a Markdown table: titles and formats as in a table, nothing is cut."""
    from .look import of_stdout

    look = of_stdout()
    first = view.start()
    columns = view.columns
    if not columns:
        yield NO_ROWS
        return
    titles = (visible(c.title or c.key).translate(_MARKUP) for c in columns)
    rules = (_RULES[aligned(c.align, c.key, first)] for c in columns)
    head = _marked(titles) + _marked(rules)
    for records in (first, view.rest()):
        for record in records:
            shown = (cell(lookup(record, c.key), c.format, look) for c in columns)
            yield head + _marked(text.translate(_MARKUP) for text in shown)
            head = ""
    if head:
        yield f"{head}\n{NO_ROWS}"


def _marked(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |\n"


class _Line:
    """A file for `csv.writer`, which hands back what its file makes of a line."""

    def write(self, text: str) -> str:
        return text


def comma_separated(view: View) -> Iterator[str]:
    """Yield CSV: keys as header, values without formats; null and missing are empty.

    Line breaks and control characters are escaped, so each record is one line.
    """
    import csv

    row = csv.writer(_Line(), lineterminator="\n").writerow
    first = view.start()
    keys = [column.key for column in view.columns]
    if not keys:
        return
    yield _text(row(visible(key) for key in keys))
    for records in (first, view.rest()):
        for record in records:
            values = (lookup(record, key) for key in keys)
            yield _text(row(_bare(value) for value in values))


def _text(line: object) -> str:
    # typeshed does not know that writerow returns what the file's write returned.
    assert isinstance(line, str)
    return line


def _bare(value: object) -> str:
    return "" if value is None or value is MISSING else visible(plain(value))


def json_lines(view: View) -> Iterator[str]:
    """Yield one JSON object a line, in ASCII where a text is not printable.

    Raises:
        DataError: A value is none that JSON has, NaN for one; its key is named.
    """
    import json

    readable = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    ascii_only = json.JSONEncoder(allow_nan=False).encode
    for count, record in enumerate(view.mappings(), 1):
        try:
            text = readable(record)
            if not text.isprintable():
                text = ascii_only(record)
        except (TypeError, ValueError, RecursionError) as exc:
            raise _no_json(record, count, exc) from exc
        yield text + "\n"


def _no_json(record: dict[str, object], count: int, exc: Exception) -> DataError:
    import json

    place, found = f"record {count}", type(exc).__name__
    for key, value in record.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            place = f"{place}: {key}"
            found = f"{plain(value)[:40]!r} ({type(value).__name__})"
            break
    return DataError(
        f"{place}: found {found}, expected a value that JSON has",
        fix="leave the key out with --columns, or turn the value into text",
    )
