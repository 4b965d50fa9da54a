"""Logging: a plugin's logger, and the set-up that only the command line does.

`logging` costs 5 ms to import, so it is imported when somebody logs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from btplug.errors import UsageError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import ModuleType

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def get_logger(plugin: str = "") -> logging.Logger:
    """Return the logger of *plugin* (``btplug.plugin.NAME``), or btplug's own."""
    import logging

    return logging.getLogger(f"btplug.plugin.{plugin}" if plugin else "btplug")


def set_up(
    level: str = "warning", file: str | None = None, *, json: bool = False
) -> Callable[[], object]:
    """Send log records to stderr or, instead, to the end of *file*.

    Called once, by a command line; a library that imports btplug sets up its own.
    Control characters are escaped: what a peer sent must not move the cursor.

    Args:
        level: One of LEVELS. Below ``debug``, other libraries' records start at
            ``warning``.
        json: On stderr, write a record as the errors of a run with ``--json`` are.

    Returns:
        What takes the set-up back.

    Raises:
        UsageError: *level* is unknown, or *file* cannot be opened.
    """
    import logging

    if level not in LEVELS:
        raise UsageError(
            f"found the log level {level!r}, expected one of {', '.join(LEVELS)}",
            fix="choose one of them",
        )

    class Escaped(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return escape(super().format(record), keep="\n\t")

    formatter: logging.Formatter = Escaped(FORMAT)
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
        if json:
            formatter = _lines_of_json()
    else:
        try:
            handler = logging.FileHandler(file, encoding="utf-8")
        except OSError as exc:
            raise UsageError(
                f"found that the log file cannot be written ({exc.strerror})",
                where=file,
                fix="give --log-file a path you may write to",
            ) from exc
    handler.setFormatter(formatter)
    root, own = logging.getLogger(), logging.getLogger("btplug")
    before = root.level, own.level, logging.raiseExceptions

    def take_back() -> None:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(before[0])
        own.setLevel(before[1])
        logging.raiseExceptions = before[2]

    root.addHandler(handler)
    # What other libraries say matters from warning on, or as much as ours does.
    floor = level if level in ("debug", "error", "critical") else "warning"
    root.setLevel(floor.upper())
    own.setLevel(level.upper())
    # A disk that is full, or a reader that went away, is not the plugin's failure.
    logging.raiseExceptions = False
    return take_back


def _lines_of_json() -> logging.Formatter:
    import json
    import logging

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            owner = record.name.removeprefix("btplug.plugin.")
            line = {
                "level": record.levelname.lower(),
                "what": super().format(record),
                "where": None,
                "fix": None,
                "plugin": owner if owner != record.name else None,
                "exit_code": 0,
            }
            return json.dumps(line)

    return Lines("%(message)s")


def on_import(set_up: Callable[[], object]) -> Callable[[], object]:
    """Call *set_up* once `logging` is imported; at once if it is already.

    A plugin may import it as late as it likes, and most runs never do.

    Returns:
        What stops the waiting.
    """
    watch = _Watch(set_up)
    if "logging" in sys.modules:
        set_up()
    else:
        sys.meta_path = [watch, *sys.meta_path]
    return watch.stop


class _Watch:
    """A finder that finds nothing by itself: it waits for one name."""

    def __init__(self, set_up: Callable[[], object]) -> None:
        self._set_up = set_up

    def stop(self) -> None:
        # Another list, not the same one changed: an import in another thread may be
        # going through it, and would pass over a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != "logging":
            return None
        from importlib.machinery import PathFinder

        self.stop()
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def then(module: ModuleType) -> None:
                run(module)
                self._set_up()

            spec.loader.exec_module = then  # type: ignore[method-assign]  # once
        return spec


def escape(text: str, *, keep: str = "") -> str:
    """Return *text* with every character that could steer a terminal made visible.

    Args:
        keep: Control characters that stay, such as ``"\\n\\t"``.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode()
        for c in text
    )
