"""Show records as a table: from a file, a pipe, a configuration or a caller."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from btplug import CLIPlugin, UsageError

from .cells import Record
from .columns import Column, parse_columns
from .source import FORMATS, Source
from .view import Asked, View

if TYPE_CHECKING:
    from .query import Query

T = TypeVar("T")

OUTPUTS = ("table", "markdown", "csv", "json")


@dataclass(eq=False)
class TableConfig:
    """Settings of the table.

    Attributes:
        columns: What is shown of each record; empty: all keys.
        data: Records to show when none are given; null: there are none.
        max_size: In bytes, of a JSON or YAML file, or of one line of the others.
    """

    columns: list[Column] = field(default_factory=list)
    # Any: a record holds what JSON holds.
    data: list[dict[str, Any]] | None = None
    max_size: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise ValueError(f"max_size is {self.max_size}, expected 1 or more")


class TableDisplayPlugin(CLIPlugin):
    """Display records as a table.

    SOURCE is a file, or - for stdin: JSON, JSON Lines, CSV, TSV or YAML, told by its
    ending or by --format. JSON Lines, CSV and TSV are shown as they come.

    A text is cut only where its column has a width. A key that a record does not have
    is shown as a dash. Control characters are shown as escapes.
    """

    Config = TableConfig

    def initialize(self, config: TableConfig) -> None:
        self.config = config
        self._open: set[Source] = set()

    @click.argument("source", required=False, type=click.Path(allow_dash=True))
    @click.option(
        "--format",
        type=click.Choice(list(FORMATS)),
        help="What SOURCE is, where its ending does not tell.",
    )
    @click.option(
        "--columns",
        type=click.UNPROCESSED,
        metavar="SPEC,…",
        help="key[:title[:width[:align[:format]]]] of each column; dots reach into "
        "nested values (axon.port), align is left, right or center, format is for "
        "numbers, such as ,.2f",
    )
    @click.option(
        "--where",
        multiple=True,
        metavar="'KEY OP VALUE'",
        help="Only records for which this is true; OP is = != < <= > >= or ~ "
        "(contains). Given twice, both must be true. Quotes make VALUE a text.",
    )
    @click.option("--sort", metavar="[-]KEY", help="Order by KEY; with -, downwards.")
    @click.option(
        "--limit", type=click.IntRange(min=0), metavar="N", help="At most N records."
    )
    @click.option(
        "--output",
        type=click.Choice(OUTPUTS),
        default="table",
        show_default=True,
        help="csv and json (one object a line) have keys and plain values.",
    )
    @click.option(
        "--max-size",
        type=click.IntRange(min=1),
        metavar="BYTES",
        help="Limit on a JSON or YAML file, on one line of the others, and on all "
        "that --sort has to keep.",
    )
    def execute(
        self,
        data: Iterable[Record] | Record | None = None,
        *,
        source: str | None = None,
        format: str | None = None,
        columns: str | Iterable[object] | None = None,
        where: str | Iterable[str] = (),
        sort: str | None = None,
        limit: int | None = None,
        output: str = "table",
        max_size: int = 64 * 1024 * 1024,
    ) -> str | Iterator[str] | Iterator[dict[str, object]]:
        """Show *source*, else *data*, else the configuration's ``data``.

        Args:
            data: Mappings, or one mapping.
            columns: Text as in ``--columns``, or a list of mappings with its parts.

        Returns:
            Text, for a *source* that streams an iterator of pieces of text; an
            iterator of mappings where the host prints JSON.

        Raises:
            UsageError: An option is wrong, there is nothing to show, or *source*
                cannot be opened.
            DataError: *source* is broken.
        """
        _one_of("--format", format, FORMATS)
        _one_of("--output", output, OUTPUTS)
        _at_least("--limit", limit, 0)
        _at_least("--max-size", max_size, 1)
        chosen = parse_columns(columns)
        query = _query(where, sort, limit)
        opened = None
        if source is not None:
            opened = Source(source, format, max_size, whole=sort is not None)
            self._open.add(opened)
            records = opened.records()
        else:
            records = _checked(self.config.data if data is None else data)
        asked = Asked([column.key for column in chosen], query.keys if query else ())
        records = asked.watch(records)
        if query:
            records = query(records)
        view = View(records, chosen, opened, self._warn)
        if self.context.wants_json:
            return self._closing(view.mappings(), opened, asked)
        pieces = self._closing(_rendered(view, output), opened, asked)
        return pieces if view.streams else "".join(pieces).removesuffix("\n")

    def shutdown(self) -> None:
        while self._open:
            self._open.pop().close()

    def _closing(
        self, items: Iterator[T], source: Source | None, asked: Asked
    ) -> Iterator[T]:
        """Yield *items*, and close *source* however that ends: `| head` ends it too."""
        try:
            yield from items
            for warning in asked.missing():
                self._warn(warning)
        finally:
            if source is not None:
                source.close()
                self._open.discard(source)

    def _warn(self, text: str) -> None:
        self.context.logger.warning(text)


def _rendered(view: View, output: str) -> Iterator[str]:
    # Each output is imported when asked for: the start is paid by every run.
    if output == "table":
        from .look import of_stdout
        from .table import draw

        return draw(view, of_stdout())
    from . import exports

    if output == "markdown":
        return exports.markdown(view)
    if output == "csv":
        return exports.comma_separated(view)
    return exports.json_lines(view)


def _query(
    where: str | Iterable[str], sort: str | None, limit: int | None
) -> Query | None:
    if not where and sort is None and limit is None:
        return None
    from .query import Query

    return Query((where,) if isinstance(where, str) else where, sort, limit)


def _checked(data: object) -> Iterator[Record]:
    """Return the records a caller gave, or refuse what are none.

    Raises:
        UsageError: There are none, or, while iterating, one is no mapping.
    """
    if data is None:
        raise UsageError(
            "found nothing to show, expected SOURCE, data, or 'data' in the "
            "configuration",
            fix="write for example: btplug run table-display FILE",
        )
    if isinstance(data, Mapping):
        data = [data]
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise UsageError(
            f"found data of type {type(data).__name__}, expected mappings",
            fix="pass a list of mappings, or a file with source=PATH",
        )
    return _mappings(data)


def _mappings(data: Iterable[object]) -> Iterator[Record]:
    for index, record in enumerate(data, 1):
        if not isinstance(record, Mapping):
            raise UsageError(
                f"record {index}: found a {type(record).__name__}, expected a mapping",
                fix="pass each record as keys and values",
            )
        yield record


def _one_of(name: str, found: object, known: Collection[str]) -> None:
    # Click checks the command line; a library's caller gets here unchecked.
    if found is not None and found not in known:
        raise UsageError(
            f"{name}: found {found!r}, expected one of {', '.join(known)}",
            fix="choose one of them",
        )


def _at_least(name: str, found: object, least: int) -> None:
    if found is not None and (type(found) is not int or found < least):
        raise UsageError(
            f"{name}: found {found!r}, expected a whole number from {least}",
            fix=f"give a number from {least}",
        )
