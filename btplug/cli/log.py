"""``btplug log``."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

from btplug.cli.lazy import complete_name, host_of
from btplug.errors import BtplugError, UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.command("log")
@click.option(
    "--plugin", metavar="NAME", shell_complete=complete_name, help="Only this plugin."
)
@click.option(
    "--since",
    metavar="WHEN",
    help="A date such as 2026-01-31, or an age such as 2h, 7d.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def command(
    ctx: click.Context, plugin: str | None, since: str | None, as_json: bool
) -> None:
    """Show which plugins ran here, which version, and what they reached.

    The oldest come first. What was typed is not kept: it may hold a secret.
    """
    from btplug._trust.runs import read_runs, runs_file
    from btplug.cli.output import show_json, show_rows

    host = host_of(ctx)
    first = _since(since) if since else ""
    try:
        runs = [
            run
            for run in read_runs(host.home)
            if plugin in (None, run["plugin"]) and str(run["time"]) >= first
        ]
    except OSError as exc:
        raise BtplugError(
            f"the log of runs cannot be read: {exc.strerror}",
            where=runs_file(host.home),
            fix="be allowed to read it",
        ) from exc
    if as_json:
        for run in runs:
            show_json(run, host.out)
        return
    hidden = ("command", "btplug")
    show_rows(
        [{k: _short(v) for k, v in r.items() if k not in hidden} for r in runs],
        host.out,
    )


def _short(value: object) -> object:
    """Return a digest as people compare it, and lists as words."""
    if isinstance(value, str) and value.startswith("h1:"):
        return value[:15]
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _since(text: str) -> str:
    """Return the time from which on runs are wanted, as the log writes times.

    Raises:
        UsageError: *text* is neither a date nor an age.
    """
    if age := re.fullmatch(r"([0-9]{1,9})([smhdw])", text):
        moment = max(time.time() - int(age[1]) * _UNITS[age[2]], 0.0)
        found = datetime.fromtimestamp(moment, UTC)
    else:
        try:
            # Without a time zone, a date is meant as the operator's clock shows it.
            found = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError, OSError) as exc:
            raise UsageError(
                f"--since: found {text!r}, expected a date or an age",
                fix="write, for example, --since 2026-01-31 or --since 2h",
            ) from exc
    return found.strftime("%Y-%m-%dT%H:%M:%S")
