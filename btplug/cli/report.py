"""Errors and warnings on stderr, as text or as JSON lines."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from btplug.cli.stream import ReaderGone
from btplug.errors import (
    BtplugError,
    PluginExit,
    PluginFailed,
    Terminated,
    UsageError,
)
from btplug.logs import escape


def warn(error: BtplugError, *, json: bool) -> None:
    """Say in one line what went wrong and does not stop the run."""
    if json:
        say(_object(error))
        return
    name = _name(error)
    fix = f" ({error.fix})" if error.fix else ""
    text = f"{name}{error.what}{fix}".replace("\n", " ")
    say(f"btplug: warning: {escape(text)}")


def fail(error: BtplugError, *, json: bool) -> None:
    """Say what ended the run: what, where, fix."""
    if os.environ.get("BTPLUG_DEBUG"):
        import traceback

        trace = "".join(traceback.format_exception(error)).rstrip()
        say(escape(trace, keep="\n\t"))
    if json:
        say(_object(error, error.exit_code))
    else:
        # What a plugin returned is not named by where it was found.
        name = _name(error) if isinstance(error, PluginFailed) else ""
        say(f"btplug: error: {name}{escape(str(error), keep=chr(10))}")


def _name(error: BtplugError) -> str:
    """Return the plugin's name to put in front, where the words do not begin so."""
    named = not error.plugin or error.what.startswith(f"{error.plugin} ")
    return "" if named else f"{error.plugin}: "


def outcome(exc: BaseException, *, json: bool) -> int:
    """Report what ended the run and return its exit code."""
    if isinstance(exc, BtplugError):
        fail(exc, json=json)
        return exc.exit_code
    if isinstance(exc, PluginExit):
        if exc.message and json:
            say(_object(BtplugError(exc.message, plugin=exc.plugin), exc.code))
        elif exc.message:
            say(escape(exc.message, keep="\n\t"))
        return exc.code
    if isinstance(exc, click.ClickException):
        if json:
            say(_object(from_click(exc), exc.exit_code))
        else:
            _show_click(exc)
        return exc.exit_code
    if isinstance(exc, (click.Abort, KeyboardInterrupt)):
        return 130
    if isinstance(exc, Terminated):
        return exc.exit_code
    if isinstance(exc, ReaderGone):
        return 141
    if _is_nowhere(exc):
        what = "the working directory is gone"
        fail(BtplugError(what, fix="change into one that is there"), json=json)
        return 1
    fail(_defect(exc), json=json)
    return 70


def _is_nowhere(exc: BaseException) -> bool:
    """Tell whether a path could not be made absolute: what is missing has no name."""
    if isinstance(exc, FileNotFoundError) and exc.filename is None:
        try:
            os.getcwd()
        except FileNotFoundError:
            return True
    return False


class _Defect(BtplugError):
    exit_code = 70


def _defect(exc: BaseException) -> _Defect:
    found = _Defect(
        f"a defect in btplug: {type(exc).__name__}: {exc}",
        fix="report it, with the command and what BTPLUG_DEBUG=1 shows",
    )
    found.__cause__ = exc
    return found


def _show_click(exc: click.ClickException) -> None:
    """Show Click's own message; words of plugins and operators steer no terminal."""
    from io import StringIO

    shown = StringIO()
    if isinstance(exc, click.UsageError) and exc.ctx is not None:
        exc.ctx.color = True  # otherwise Click drops escapes, where we show them
    exc.show(file=shown)
    say(escape(shown.getvalue().rstrip("\n"), keep="\n"))


class Shown(click.ClickException):
    """What the plugin's parser said, usage and all."""

    def __init__(self, text: str, code: object) -> None:
        super().__init__(text)
        self._code = 2 if code == 2 else 1

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # Click has it on the class
        return self._code

    def show(self, file: Any = None) -> None:
        print(self.message, file=file)


def from_click(exc: click.ClickException) -> UsageError:
    """Return the parts of Click's own message."""
    ctx = exc.ctx if isinstance(exc, click.UsageError) else None
    where = ctx.command_path if ctx else None
    fix = f"see: {where} --help" if where else None
    plugin = ctx.meta.get("btplug.plugin") if ctx else None
    return UsageError(exc.format_message(), where=where, fix=fix, plugin=plugin)


def say(text: str) -> None:
    """Write a line to stderr; a closed stderr is no reason to fail."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return


def _object(error: BtplugError, code: int | None = None) -> str:
    from btplug._json import dumps

    return dumps(
        {
            "level": "warning" if code is None else "error",
            "what": error.what,
            "where": error.where,
            "fix": error.fix,
            "plugin": error.plugin,
            "exit_code": code or 0,
        },
        lenient=True,
    )
