"""``btplug disable``."""

from __future__ import annotations

import os
from contextlib import suppress

import click

from btplug.cli.enable import mark
from btplug.cli.lazy import complete_name, host_of
from btplug.cli.report import say
from btplug.cli.unknown import unknown
from btplug.errors import PluginError


@click.command("disable")
@click.argument("name", shell_complete=complete_name)
@click.pass_context
def command(ctx: click.Context, name: str) -> None:
    """Keep the plugin NAME from being used; it stays listed."""
    host = host_of(ctx)
    # A broken plugin can be disabled too.
    with suppress(PluginError):
        if host.finder.find(name) is None:
            unknown(host, name)
    mark(os.path.join(host.home.disabled, name), there=True)
    say(f"{name} is disabled")
