"""``btplug config``: show, path, set, unset."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from btplug.cli.lazy import complete_name, host_of
from btplug.cli.report import say, warn
from btplug.errors import BtplugError, PluginError, UsageError
from btplug.logs import escape


@click.group("config")
def command() -> None:
    """Show and change settings; a plugin's code is never run for it."""


@command.command("show")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.pass_context
def show_settings(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Show what is set for the plugin NAME, or for btplug itself, and by what."""
    from btplug.cli.output import show_json, show_rows
    from btplug.cli.settings import known_settings, own_settings

    host = host_of(ctx)
    settings = host.settings()
    if name is None:
        found = own_settings(settings)
    else:
        found = known_settings(host.find(name), settings)
    rows = [setting._asdict() for setting in found]
    if as_json:
        show_json(rows, host.out)
    else:
        show_rows(rows, host.out)


@command.command("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def show_paths(ctx: click.Context, as_json: bool) -> None:
    """Show where btplug looks for settings and plugins, and keeps its own files."""
    from btplug.cli.output import show_json, show_mapping

    host = host_of(ctx)
    home = host.home
    paths = {
        "config": home.user_config,
        "settings": home.written(""),
        "plugins": home.data,
        "cache": home.cache,
        "state": home.state_root,
    }
    if as_json:
        show_json(paths, host.out)
    else:
        show_mapping(paths, host.out)


@command.command("set")
@click.argument("key")
@click.argument("value")
@click.pass_context
def set_key(ctx: click.Context, key: str, value: str) -> None:
    """Set KEY (PLUGIN.KEY, or one of btplug's own) to VALUE; - reads stdin, or asks.

    Your config.yaml is never rewritten; what is set here comes before it.
    """
    if value == "-":
        value = _given(key)
    _write(ctx, key, value)
    owner = key.rpartition(".")[0]
    with suppress(PluginError):  # a broken plugin has a name all the same
        if owner and host_of(ctx).look_up(owner) is None:
            what = f"there is no plugin {owner!r}: nothing reads this yet"
            fix = "see the names with: btplug list"
            warn(BtplugError(what, fix=fix), json=False)


def _given(key: str) -> str:
    """Return what stdin holds; on a terminal it is asked for, and not shown.

    Raises:
        UsageError: It is empty.
    """
    from btplug._userfile import MOST_WRITTEN

    if sys.stdin.isatty():
        from btplug.cli.screen import Terminal

        return Terminal().ask(f"Value of {key}", None, secret=True)
    # What is longer is refused, and need not end; the last newline does not count.
    value = sys.stdin.read(MOST_WRITTEN + 2).removesuffix("\n")
    if not value:
        # Whatever should have written it failed: it must not replace a good secret.
        raise UsageError(
            f"{key}: found nothing on stdin, expected a value",
            fix=f"look at what writes it; an empty value is set with: "
            f"btplug config set {key} ''",
        )
    return value


@command.command("unset")
@click.argument("key")
@click.pass_context
def unset_key(ctx: click.Context, key: str) -> None:
    """Take back what 'config set KEY' did."""
    _write(ctx, key, None)


def _write(ctx: click.Context, key: str, value: str | None) -> None:
    from btplug.settings import write_setting

    try:
        path = write_setting(host_of(ctx).home, key, value)
    except OSError as exc:
        raise BtplugError(
            f"the setting could not be written ({exc.strerror})",
            where=exc.filename,
            fix="make the folder writable, or choose another with BTPLUG_HOME",
        ) from exc
    say(f"{'set' if value is not None else 'removed'}: {escape(path)}")
