"""``btplug untrust``."""

from __future__ import annotations

import click

from btplug.cli.lazy import complete_name, host_of
from btplug.cli.report import say
from btplug.logs import escape


@click.command("untrust")
@click.argument("name", metavar="NAME|PATH", shell_complete=complete_name)
@click.pass_context
def command(ctx: click.Context, name: str) -> None:
    """Take back what 'btplug trust' accepted; it stays listed, and runs no more."""
    from btplug.cli.trust import unaccept

    for accepted in unaccept(name, host_of(ctx)):
        say(escape(f"{accepted.name} is not trusted any more: {accepted.path}"))
