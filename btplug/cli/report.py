"""Errors and warnings on stderr, as text or as JSON lines."""

from __future__ import annotations

import os
import sys

from btplug.errors import BtplugError
from btplug.logs import escape


def warn(error: BtplugError, *, json: bool) -> None:
    """Say in one line what went wrong and does not stop the run."""
    if json:
        _say(_object(error, "warning"))
        return
    name = f"{error.plugin}: " if error.plugin else ""
    fix = f" ({error.fix})" if error.fix else ""
    text = f"{name}{error.what}{fix}".replace("\n", " ")
    _say(f"btplug: warning: {escape(text)}")


def fail(error: BtplugError, *, json: bool) -> None:
    """Say what ended the run: what, where, fix."""
    if os.environ.get("BTPLUG_DEBUG"):
        import traceback

        _say("".join(traceback.format_exception(error)).rstrip())
    if json:
        _say(_object(error, "error"))
    else:
        _say(f"btplug: error: {escape(str(error), keep=chr(10))}")


def defect(error: BaseException, *, json: bool) -> None:
    """Say that btplug itself is at fault, with all that helps to find it."""
    import traceback

    wrapped = BtplugError(
        f"a defect in btplug: {type(error).__name__}: {error}",
        fix="report it, with the command and what BTPLUG_DEBUG=1 shows",
    )
    wrapped.__dict__["exit_code"] = 70
    if os.environ.get("BTPLUG_DEBUG"):
        _say("".join(traceback.format_exception(error)).rstrip())
    if json:
        _say(_object(wrapped, "error"))
    else:
        _say(f"btplug: error: {escape(str(wrapped), keep=chr(10))}")


def say(text: str) -> None:
    """Write a line to stderr; a closed stderr is no reason to fail."""
    _say(text)


def _say(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return


def _object(error: BtplugError, level: str) -> str:
    import json

    return json.dumps(
        {
            "level": level,
            "what": error.what,
            "where": error.where,
            "fix": error.fix,
            "plugin": error.plugin,
            "exit_code": error.exit_code if level == "error" else 0,
        },
        ensure_ascii=False,
    )
