"""``btplug enable``."""

from __future__ import annotations

import os
from contextlib import suppress

import click

from btplug.cli.lazy import complete_name, host_of
from btplug.cli.report import say
from btplug.cli.unknown import unknown
from btplug.errors import BtplugError, PluginError
from btplug.manifest import is_name


@click.command("enable")
@click.argument("name", shell_complete=complete_name)
@click.pass_context
def command(ctx: click.Context, name: str) -> None:
    """Let the disabled plugin NAME be used again."""
    host = host_of(ctx)
    if not is_name(name):
        unknown(host, name)
    if not host.home.is_disabled(name):
        with suppress(PluginError):
            if host.finder.find(name) is None:
                unknown(host, name)
        say(f"{name} is not disabled")
        return
    mark(os.path.join(host.home.disabled, name), there=False)
    say(f"{name} is enabled")


def mark(path: str, *, there: bool) -> None:
    """Make or remove the empty file that says a plugin is disabled.

    Raises:
        BtplugError: The folder cannot be written.
    """
    from btplug._folders import write_atomic

    try:
        if there:
            write_atomic(path, b"")
        else:
            os.unlink(path)
    except OSError as exc:
        raise BtplugError(
            f"the choice could not be written ({exc.strerror})",
            where=path,
            fix="make the folder writable, or choose another with BTPLUG_HOME",
        ) from exc
