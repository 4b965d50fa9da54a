"""What a plugin returned, or a built-in command found -> stdout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from btplug._calls import failure
from btplug._json import NoJSON, dumps
from btplug.errors import BtplugError, PluginExit, PluginFailed
from btplug.logs import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug._child.main import Inside
    from btplug.cli.host import Host
    from btplug.manifest import Manifest

_DRAWN = 20_000  # cells at most, of a table that is drawn; they take 3 s
_PIECES = (str, bytes, bytearray, memoryview)


def show(
    execute: Callable[[], object], host: Host | Inside, manifest: Manifest
) -> None:
    """Run *execute* and print its result, row by row as it arrives.

    Raises:
        PluginFailed: The result is no data, or fails when it is drawn.
    """
    draw = _json if host.json else _human
    try:
        draw(_readable(execute(), manifest), host.out)
        host.out.flush()
    except PluginFailed as exc:
        _reraise_click(exc.__cause__)
        exc.plugin = exc.plugin or manifest.name
        exc.where = exc.where or manifest.path
        raise
    except (BtplugError, PluginExit, OSError):
        raise
    except Exception as exc:
        if host.out.closed:
            raise PluginFailed(
                f"{manifest.name} closed sys.stdout",
                where=manifest.path,
                fix="leave it open: return what is to be shown, or print it",
                plugin=manifest.name,
            ) from exc
        # What a plugin returned may fail when it is iterated or asked for its text.
        raise failure(exc, manifest.name, manifest.root) from exc


def _reraise_click(cause: BaseException | None) -> None:
    """Let Click's own exceptions mean in a plugin what they mean in any command.

    Raises:
        ClickException: With its message and exit code; Abort is an interrupt.
        PluginExit: For `click.exceptions.Exit`, as ``ctx.exit(3)`` raises it.
    """
    if isinstance(cause, (click.ClickException, click.Abort)):
        raise cause
    if isinstance(cause, click.exceptions.Exit) and 0 <= cause.exit_code <= 63:
        raise PluginExit(cause.exit_code)


def _json(result: object, out: TextIO) -> None:
    if result is None:
        return
    if isinstance(result, (*_PIECES, Mapping)):
        _json_line(result, "result", out)
        return
    for index, row in enumerate(_iterable(result)):
        if not isinstance(row, (*_PIECES, Mapping)):
            raise _no_row(row)
        _json_line(row, f"result[{index}]", out)
        out.flush()


def _no_row(row: object) -> PluginFailed:
    return PluginFailed(
        f"found a row of type {type(row).__name__}, expected a mapping, text or bytes",
        fix="yield mappings such as {'name': value}",
    )


def _json_line(value: object, name: str, out: TextIO) -> None:
    if isinstance(value, Mapping) and not isinstance(value, dict):
        value = dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = _text(bytes(value))
    try:
        text = dumps(value, name=name)
    except NoJSON as exc:
        raise PluginFailed(
            f"{exc.at}: found {exc.found}, expected what JSON has "
            "(text, numbers, true, false, null, lists, mappings with text keys)",
            fix="convert it before returning it",
        ) from exc
    out.write(f"{text}\n")


def _text(value: bytes) -> object:
    """Return bytes as JSON has them: as text, or else in base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return {"base64": b64encode(value).decode()}


def _human(result: object, out: TextIO) -> None:
    if result is None:
        return
    if isinstance(result, _PIECES):
        _piece(result, out)
        if isinstance(result, str) and result and not result.endswith("\n"):
            out.write("\n")
    elif isinstance(result, Mapping):
        show_mapping(result, out)
    elif isinstance(result, (list, tuple)) and all(
        isinstance(row, Mapping) for row in result
    ):
        show_rows(result, out)
    else:
        _stream(_iterable(result), out)


def _piece(piece: str | bytes | bytearray | memoryview, out: TextIO) -> None:
    if isinstance(piece, str):
        out.write(piece)
        return
    binary = getattr(out, "buffer", None)
    if binary is None or out.isatty():
        # Bytes often come from a peer: on a terminal they must not steer it.
        text = bytes(piece).decode("utf-8", "backslashreplace")
        out.write(escape(text, keep="\n\t"))
    else:
        out.flush()
        binary.write(piece)


def _readable(result: object, manifest: Manifest) -> object:
    """Return *result*, but with errors of a plugin's own iterable told from ours."""
    plain = (*_PIECES, Mapping, list, tuple)
    if isinstance(result, plain) or not isinstance(result, Iterable):
        return result

    def read() -> Iterator[object]:
        try:
            yield from result
        except OSError as exc:  # of the plugin, not of our stdout
            raise failure(exc, manifest.name, manifest.root) from exc

    return read()


def _iterable(result: object) -> Iterable[Any]:
    if hasattr(result, "__iter__"):
        return result
    raise PluginFailed(
        f"found a result of type {type(result).__name__}, expected None, text, "
        "bytes, a mapping, or an iterable of mappings or of text",
        fix="return data; what cannot be shown is better printed by the plugin",
    )


def _stream(items: Iterable[object], out: TextIO) -> None:
    """Write pieces as they are, rows under the widths of the first one."""
    names: list[Any] = []
    widths: list[int] = []
    for item in items:
        if isinstance(item, _PIECES):
            _piece(item, out)
        elif isinstance(item, Mapping):
            if not names and item:
                names = list(item)
                rows = [[title(n) for n in names], [cell(item[n]) for n in names]]
                widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
                _line(rows[0], widths, out)
            cells = [cell(item.get(name)) for name in names]
            # Nothing is lost that the first row had no column for.
            more = [f"{title(n)}={cell(item[n])}" for n in item if n not in names]
            if names:
                _line([*cells, *more], widths, out)
        else:
            raise _no_row(item)
        out.flush()


def _line(cells: list[str], widths: list[int], out: TextIO) -> None:
    padded = [
        text + " " * (widths[i] - width(text)) if i < len(widths) else text
        for i, text in enumerate(cells)
    ]
    out.write("  ".join(padded).rstrip() + "\n")


def show_json(value: object, out: TextIO) -> None:
    """Print what a built-in command found as one line of JSON."""
    out.write(f"{dumps(value, lenient=True)}\n")
    out.flush()


def show_mapping(facts: Mapping[Any, object], out: TextIO) -> None:
    """Draw facts, one a line."""
    rows = [{"key": key, "value": value} for key, value in facts.items()]
    show_rows(rows, out, header=False)


def show_rows(
    rows: Iterable[Mapping[Any, object]], out: TextIO, *, header: bool = True
) -> None:
    """Draw rows that are all there, aligned; in a pipe nothing is cut or folded."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    numeric = [all(_is_number(row.get(name)) for row in rows) for name in names]
    table = [[title(name) for name in names]] if header else []
    table += [[cell(row.get(name)) for name in names] for row in rows]
    if not names:
        return
    # In a confined child, whose host has the terminal.
    far = getattr(out, "draw", None)
    if far is None or not far(table, numeric, header):
        show_table(table, numeric, header, out)


def show_table(
    table: list[list[str]], numeric: list[bool], header: bool, out: TextIO
) -> None:
    """Draw cells, of which none has a control character."""
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    drawn = len(table) * len(widths) <= _DRAWN
    if drawn and out.isatty() and _has_room(widths):
        from btplug.cli.screen import draw

        draw(table, numeric, header, out)
        out.flush()
        return
    for cells in table:
        _line(
            [
                " " * (wide - width(text)) + text if right else text
                for text, wide, right in zip(cells, widths, numeric, strict=True)
            ],
            widths,
            out,
        )
    out.flush()


def _has_room(widths: list[int]) -> bool:
    """Tell whether the terminal can fold cells; too narrow, it would lose some."""
    from shutil import get_terminal_size

    least = sum(min(wide, 8) + 2 for wide in widths)
    return least <= get_terminal_size().columns


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell(value: object) -> str:
    """Return a value as one line without control characters."""
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple)):
        return dumps(value, lenient=True)
    if isinstance(value, int) and value.bit_length() > 14_000:
        return hex(value)  # Python refuses to write so many decimal digits
    return escape(str(value))


def title(name: object) -> str:
    """Return the name of a column, whatever it is."""
    return escape(str(name))


def width(text: str) -> int:
    """Return how many columns of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text
    )
