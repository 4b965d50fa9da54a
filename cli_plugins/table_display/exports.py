"""Records -> Markdown, CSV or JSON Lines, each in pieces as they come."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .cells import MISSING, Look, Record, cell, lookup, plain, visible
from .columns import Column
from .source import DataError
from .table import NO_ROWS, numeric
from .view import View


def markdown(view: View, look: Look) -> Iterator[str]:
    """Yield a Markdown table: titles and formats as in a table, nothing is cut."""
    first = view.start()
    columns = view.columns
    if not columns:
        yield NO_ROWS
        return
    titles = (c.title or c.key for c in columns)
    rule = (_RULES[_align(c, first)] for c in columns)
    head = _marked(visible(title) for title in titles) + _marked(rule, raw=True)
    for records in (first, view.rest()):
        for record in records:
            shown = (cell(lookup(record, c.key), c.format, look) for c in columns)
            yield head + _marked(shown)
            head = ""
    if head:
        yield f"{head}\n{NO_ROWS}"
