"""``btplug info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

import click

from btplug.cli.lazy import complete_name, host_of
from btplug.cli.output import show_json, show_mapping, show_rows
from btplug.cli.report import warn
from btplug.errors import BtplugError

if TYPE_CHECKING:
    from btplug.cli.host import Host
    from btplug.manifest import Manifest


@click.command("info")
@click.argument("name", shell_complete=complete_name)
@click.option("--options", is_flag=True, help="Show options and arguments; loads NAME.")
@click.option(
    "--schema", is_flag=True, help="Print the JSON Schema of its settings; loads NAME."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context, name: str, options: bool, schema: bool, as_json: bool
) -> None:
    """Show the manifest of the plugin NAME and where its settings come from."""
    host = host_of(ctx)
    manifest = host.find(name)
    if schema:
        host.stream.keep()  # only the schema: the plugin's code may print
        from btplug.schema import json_schema

        show_json(json_schema(_load(host, manifest).Config), host.out)
    elif options:
        _show_options(_load(host, manifest), as_json, host.out)
    else:
        _show(host, manifest, as_json)


def _show(host: Host, manifest: Manifest, as_json: bool) -> None:
    from btplug.cli.settings import known_settings

    rows = host.listing().rows()
    row = next((r for r in rows if r.path == manifest.path), None)
    facts: dict[str, object] = {
        "name": manifest.name,
        "kind": manifest.kind,
        "summary": manifest.summary,
        "version": manifest.version,
        "api": manifest.api,
        "entry": manifest.entry,
        "transports": manifest.transports,
        "permissions": manifest.permissions._asdict(),
        "source": manifest.source,
        "state": row.state if row else "ready",
        "trust": row.trust if row else None,
        "error": row.error if row else None,
        "path": manifest.path,
    }
    try:
        known = known_settings(manifest, host.settings())
    except BtplugError as exc:
        # A broken file of the user's is no reason to show nothing.
        warn(exc, json=as_json)
        known = []
    if as_json:
        config = {s.key: {"value": s.value, "origin": s.origin} for s in known}
        show_json({**facts, "config": config}, host.out)
        return
    known_facts: dict[str, object] = {}
    for key, value in facts.items():
        if value is not None:
            known_facts[key] = value
        if key == "permissions" and manifest.kind == "cli":
            from btplug.cli.lent import ALWAYS

            known_facts["lent"] = f"{ALWAYS}, when confined"
    show_mapping(known_facts, host.out)
    if known:
        host.out.write("\n")
        show_rows([setting._asdict() for setting in known], host.out)


def _load(host: Host, manifest: Manifest) -> Any:
    """Load the plugin, initialise nothing."""
    from btplug._life import Life

    context = host.start(None)
    admitted = host.admit(manifest)
    life = Life[Any](admitted.manifest, context, context.work, code=admitted.code)
    return life.load()


def _show_options(cls: Any, as_json: bool, out: TextIO) -> None:
    from btplug._options import click_parameters

    rows = [
        {
            "name": parameter.name,
            "kind": parameter.param_type_name,
            "words": list(parameter.opts),
            "type": parameter.type.name,
            "required": parameter.required,
            "help": getattr(parameter, "help", None),
        }
        for parameter in click_parameters(cls)
    ]
    if as_json:
        show_json(rows, out)
        return
    show_rows([{**row, "words": " ".join(row["words"])} for row in rows], out)
