"""What a plugin returned -> stdout: text, rows, or JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from btplug._calls import failure
from btplug.errors import BtplugError, PluginExit, PluginFailed
from btplug.logs import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from btplug.cli.host import Host
    from btplug.manifest import Manifest


def show(execute: Callable[[], object], host: Host, manifest: Manifest) -> None:
    """Run *execute* and print its result, row by row as it arrives.

    While the result is JSON, what the plugin prints goes to stderr.
    """
    try:
        if host.json:
            with _stdout_kept() as out:
                _json(execute(), out)
        else:
            _human(execute(), sys.stdout)
    except (BtplugError, PluginExit, OSError, EOFError):
        raise
    # What a plugin returned may fail when it is iterated or asked for its text.
    except Exception as exc:
        raise failure(exc, manifest.name, manifest.root) from exc


@contextmanager
def _stdout_kept() -> Iterator[TextIO]:
    """Keep stdout for the result: prints, also from C, go to stderr meanwhile."""
    out, real = sys.stdout, None
    with suppress(OSError, ValueError, AttributeError):
        if out.fileno() == 1:
            out.flush()
            real = os.dup(1)
            os.dup2(2, 1)
    kept = out
    if real is not None:
        # Closed below; a `with` would close it before stdout is put back.
        kept = open(real, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
    sys.stdout = sys.stderr
    try:
        yield kept
        kept.flush()
    finally:
        sys.stdout = out
        if real is not None:
            os.dup2(kept.fileno(), 1)
            with suppress(OSError):
                kept.close()


def _human(result: object, out: TextIO) -> None:
    if result is None:
        return
    if isinstance(result, (str, bytes, bytearray, memoryview)):
        _piece(result, out)
        if isinstance(result, str) and not result.endswith("\n"):
            out.write("\n")
    elif isinstance(result, Mapping):
        _rows([{"key": k, "value": v} for k, v in result.items()], out, header=False)
    elif isinstance(result, (list, tuple)) and all(
        isinstance(row, Mapping) for row in result
    ):
        _rows(result, out)
    else:
        _stream(_iterable(result), out)
    out.flush()


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


def _iterable(result: object) -> Iterable[Any]:
    try:
        return iter(result)  # type: ignore[call-overload, no-any-return]  # told below
    except TypeError:
        raise PluginFailed(
            f"found a result of type {type(result).__name__}, expected None, text, "
            "bytes, a mapping, or an iterable of mappings or of text",
            fix="return data; what cannot be shown is better printed by the plugin",
        ) from None


def _stream(items: Iterable[object], out: TextIO) -> None:
    """Write pieces as they are, rows under the widths of the first one."""
    names: list[str] = []
    widths: list[int] = []
    for item in items:
        if isinstance(item, (str, bytes, bytearray, memoryview)):
            _piece(item, out)
        elif isinstance(item, Mapping):
            if not names:
                names = [str(name) for name in item]
                first = [cell(item.get(name)) for name in item]
                widths = [max(map(len, p)) for p in zip(names, first, strict=True)]
                _line(names, widths, out)
            _line([cell(item.get(name)) for name in names], widths, out)
        else:
            raise PluginFailed(
                f"found a row of type {type(item).__name__}, "
                "expected a mapping, text or bytes",
                fix="yield mappings such as {'name': value}",
            )
        out.flush()


def _line(cells: list[str], widths: list[int], out: TextIO) -> None:
    padded = [c.ljust(w) for c, w in zip(cells, widths, strict=True)]
    out.write("  ".join(padded).rstrip() + "\n")


def _rows(rows: Any, out: TextIO, *, header: bool = True) -> None:
    """Draw rows that are all there: aligned, nothing cut when piped."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=header, pad_edge=False, header_style="bold")
    for name in names:
        numbers = all(_is_number(row.get(name)) for row in rows)
        table.add_column(
            Text(escape(str(name))),
            justify="right" if numbers else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in names))
    console = Console(file=out, highlight=False)
    if not console.is_terminal:
        console.width = 10**6
    with console.capture() as drawn:
        console.print(table)
    out.writelines(f"{line.rstrip()}\n" for line in drawn.get().splitlines())


def show_rows(rows: Iterable[Mapping[str, object]]) -> None:
    """Draw rows of a built-in command."""
    _rows(list(rows), sys.stdout)


def show_mapping(facts: Mapping[str, object]) -> None:
    """Draw the facts of a built-in command, one a line."""
    rows = [{"key": key, "value": value} for key, value in facts.items()]
    _rows(rows, sys.stdout, header=False)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def cell(value: object) -> str:
    """Return a value as one line without control characters."""
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple)):
        import json

        with suppress(TypeError, ValueError, RecursionError):
            return escape(json.dumps(value, ensure_ascii=False))
    return escape(str(value))


def _json(result: object, out: TextIO) -> None:
    import json

    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

    def write(value: object, path: str) -> None:
        try:
            text = encoder.encode(value)
        except (TypeError, ValueError, RecursionError) as exc:
            at, kind = _culprit(value, path)
            raise PluginFailed(
                f"{at}: found {kind}, expected what JSON has "
                "(text, numbers, true, false, null, lists, mappings with text keys)",
                fix="convert it before returning it",
            ) from exc
        # Text from a broken UTF-8 source may hold lone surrogates.
        out.write(text.encode("utf-8", "backslashreplace").decode() + "\n")

    if result is None:
        return
    if isinstance(result, (str, Mapping)):
        write(_plain(result), "result")
    elif isinstance(result, (bytes, bytearray, memoryview)):
        write(result, "result")
    else:
        for index, row in enumerate(_iterable(result)):
            write(_plain(row), f"result[{index}]")
            out.flush()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _culprit(value: object, path: str, depth: int = 0) -> tuple[str, str]:
    """Return where in *value* the first thing is that JSON has not, and its kind."""
    if depth > 100:
        return path, "a value inside itself, or nested too deep"
    inside: Any = ()
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int, float, bool)) and key is not None:
                return path, f"a key of type {type(key).__name__}"
        inside = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        inside = [(f"{path}[{i}]", item) for i, item in enumerate(value)]
    elif isinstance(value, float) and value not in (0.0,) and value - value != 0:
        return path, f"the number {value}"
    elif not isinstance(value, (str, int, float, bool)) and value is not None:
        return path, f"a value of type {type(value).__name__}"
    for at, item in inside:
        found = _culprit(item, at, depth + 1)
        if found[1]:
            return found
    return path, ""
