"""What a column is, and the columns of ``--columns`` and of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from btplug import UsageError

ALIGNS = ("left", "right", "center")
WIDEST = 1_000
FORM = "key[:title[:width[:align[:format]]]]"
# Python's number formats without fill and width: nothing here can grow a cell far.
_FORMAT = r"\+?[,_]?(?:\.\d{1,2})?[defg%]?"


@dataclass(eq=False)
class Column:
    """One column, as configuration writes it.

    Attributes:
        key: Key in the records; dots reach into nested values: ``axon.port``.
        title: Shown in the header; empty: the key.
        width: In cells of a terminal, longer texts are cut; None: what it takes.
        align: ``left``, ``right``, ``center``; empty: right where all are numbers.
        format: Of numbers: ``d``, ``,d``, ``.2f``, ``,.2f``, ``e``, ``g``, ``.1%``.

    Raises:
        ValueError: A value is not like that; the message says what was expected.
    """

    key: str
    title: str = ""
    width: int | None = None
    align: str = ""
    format: str = ""

    def __post_init__(self) -> None:
        if not all(
            isinstance(v, str) for v in (self.key, self.title, self.align, self.format)
        ):
            raise ValueError("texts as key, title, align and format")
        if self.width is not None and not (
            type(self.width) is int and 1 <= self.width <= WIDEST
        ):
            raise ValueError(f"a width of 1 to {WIDEST} cells")
        if self.align and self.align not in ALIGNS:
            raise ValueError(f"one of {', '.join(ALIGNS)} as align")
        if self.format and not _is_format(self.format):
            raise ValueError("a number format such as d  ,d  .2f  ,.2f  e  g  .1%")


def _is_format(text: str) -> bool:
    import re

    if not re.fullmatch(_FORMAT, text):
        return False
    try:
        format(1, text)
    except ValueError:  # '.2d' and '_e' have the form and no meaning
        return False
    return True


def parse_columns(given: object) -> list[Column]:
    """Return the columns that an option, a configuration or a caller asks for.

    Args:
        given: Text of ``--columns``, or an iterable of columns, mappings and such
            texts; nothing at all means: take the columns from the data.

    Raises:
        UsageError: It says which column is wrong, and what was expected.
    """
    if not given:
        return []
    if isinstance(given, str):
        return list(_from_text(given))
    if isinstance(given, (Column, Mapping)):
        given = [given]
    if not isinstance(given, Iterable):
        raise _wrong(given, f"{FORM} separated by commas, or a list of columns")
    found: list[Column] = []
    for item in given:
        if isinstance(item, Column):
            found.append(item)
        elif isinstance(item, str):
            found.extend(_from_text(item))
        elif isinstance(item, Mapping):
            found.append(_made(item, item))
        else:
            raise _wrong(item, f"{FORM} or a mapping with these keys")
    return found


def _from_text(text: str) -> Iterable[Column]:
    import re

    # Backslashes take ':' and ',' into a key or title. A format may hold a comma
    # (',d'): so the longest thing that reads as a format is one.
    part = r"(?:\\.|[^:,\\])*"
    item = re.compile(
        rf"({part})(?::({part})(?::({part})(?::({part})(?::({_FORMAT}|{part}))?)?)?)?"
        r"(?=,|$)"
    )
    at = 0
    while at <= len(text):
        match = item.match(text, at)
        if match is None:
            raise _wrong(text[at:], FORM)
        key, title, width, align, form = (
            re.sub(r"\\(.)", r"\1", group or "").strip() for group in match.groups()
        )
        if not key:
            raise _wrong(match[0], f"a key in front: {FORM}")
        if width and not (width.isascii() and width.isdecimal() and len(width) < 10):
            raise _wrong(match[0], f"a width of 1 to {WIDEST} cells")
        yield _made(
            {
                "key": key,
                "title": title,
                "width": int(width) if width else None,
                "align": align,
                "format": form,
            },
            match[0],
        )
        at = match.end() + 1


def _made(values: Mapping[str, object], shown: object) -> Column:
    try:
        return Column(**values)  # type: ignore[arg-type]  # __post_init__ checks types
    except ValueError as exc:
        raise _wrong(shown, str(exc)) from exc
    except TypeError as exc:
        expected = "a mapping with 'key' and perhaps title, width, align, format"
        raise _wrong(shown, expected) from exc


def _wrong(found: object, expected: str) -> UsageError:
    return UsageError(
        f"--columns: found {str(found)[:80]!r}, expected {expected}",
        fix="write for example --columns 'uid,stake:Stake:12:right:,.2f'",
    )
