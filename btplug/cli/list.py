"""``btplug list``."""

from __future__ import annotations

import click

from btplug.cli.lazy import host_of


@click.command("list")
@click.option("--kind", type=click.Choice(["cli", "transport"]), help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.pass_context
def command(ctx: click.Context, kind: str | None, as_json: bool) -> None:
    """List the plugins there are, from their manifests alone."""
    host = host_of(ctx)
    listing = host.listing()
    if as_json:
        host.out.write(listing.json(kind))
        host.out.flush()
        return
    from btplug.cli.output import show_rows

    rows = [
        {
            "name": row.name,
            "kind": row.kind,
            "version": row.version,
            "state": row.state,
            "trust": row.trust,
            "source": row.source,
            "summary": row.error or row.summary,
        }
        for row in listing.rows(kind)
    ]
    show_rows(rows, host.out)
