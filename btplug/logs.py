"""Logging: a plugin's logger, and the set-up that only the command line does.

`logging` costs 5 ms to import, so it is imported when somebody logs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from btplug.errors import UsageError

if TYPE_CHECKING:
    import logging

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def get_logger(plugin: str = "") -> logging.Logger:
    """Return the logger of *plugin* (``btplug.plugin.NAME``), or btplug's own."""
    import logging

    return logging.getLogger(f"btplug.plugin.{plugin}" if plugin else "btplug")


def set_up(level: str = "warning", file: str | None = None) -> None:
    """Send log records to stderr or, instead, to the end of *file*.

    Called once, by a command line; a library that imports btplug sets up its own.
    Control characters are escaped: what a peer sent must not move the cursor.

    Args:
        level: One of LEVELS. Below ``debug``, other libraries' records start at
            ``warning``.

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

    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = logging.FileHandler(file, encoding="utf-8")
        except OSError as exc:
            raise UsageError(
                f"found that the log file cannot be written ({exc.strerror})",
                where=file,
                fix="give --log-file a path you may write to",
            ) from exc
    handler.setFormatter(Escaped(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper() if level == "debug" else "WARNING")
    logging.getLogger("btplug").setLevel(level.upper())


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
