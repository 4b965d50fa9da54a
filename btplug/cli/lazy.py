"""Groups whose commands are known by manifest and made when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from btplug.errors import BtplugError, PluginError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from btplug.cli.host import Host
    from btplug.manifest import Manifest


class Stub(click.Command):
    """Stands in for a plugin: knows its help row, not its code."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest.name, help=manifest.summary)
        self.manifest = manifest

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Load the plugin and let its own command make the context.

        Click calls this after the start-up callback, for ``run NAME`` and for the
        short form alike, and never for help or a listing.
        """
        assert parent is not None
        completing = parent.resilient_parsing
        if completing and self.manifest.source != "shipped":
            return super().make_context(info_name, [], parent, **extra)
        host = host_of(parent)
        command: click.Command
        if host.context is None:
            host.start(None)
        if (admitted := host.admit(self.manifest)).confined:
            from btplug.cli.confined import Confined

            command = Confined(admitted, host)
        else:
            from btplug.cli.command import plugin_command

            command = plugin_command(self.manifest, host, parent, args)
        return command.make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> None:
        # Click runs a command without a callback as a silent no-op.
        raise RuntimeError(f"stub {self.name!r} was run instead of its plugin")


class PluginGroup(click.Group):
    """A group that has every CLI plugin as a command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _ in self.plugin_rows(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        host = host_of(ctx)
        try:
            manifest = host.look_up(cmd_name)
            if manifest is None:
                return None
            host.runnable(manifest)
        except BtplugError:
            if ctx.resilient_parsing:
                return None
            raise
        return Stub(manifest)

    def plugin_rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the rows of a help page, without reading a plugin one by one."""
        return host_of(ctx).command_names()

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        rows = self.plugin_rows(ctx)
        found = [CompletionItem(n, help=h) for n, h in rows if n.startswith(incomplete)]
        if incomplete.startswith("-"):
            found += click.Command.shell_complete(self, ctx, incomplete)
        return found


class Run(PluginGroup):
    """``btplug run``: any plugin, also one whose name a built-in command has."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            from btplug.cli.unknown import unknown

            unknown(host_of(ctx), name, "cli")
        return name if command else None, command, rest

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        write_rows(formatter, "Plugins", self.plugin_rows(ctx))


def complete_name(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Complete an argument that is the name of any plugin."""
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(row.name, help=row.summary)
        for row in host_of(ctx).listing().rows()
        if row.name.startswith(incomplete) and row.state != "shadowed"
    ]


def write_rows(
    formatter: click.HelpFormatter, title: str, rows: list[tuple[str, str]]
) -> None:
    """Write a section of a help page, if there is anything in it."""
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def host_of(ctx: click.Context) -> Host:
    """Return the host of this run; made when first asked for.

    Completion never runs the start-up callback, so this does not wait for it.
    """
    root = ctx.find_root()
    host = root.meta.get("btplug.host")
    if host is None:
        # Imported here: `--version` and a wrong option do without.
        from btplug.cli.host import Host

        given = _given(root)
        verbosity = (given.get("verbose") or 0) - (given.get("quiet") or 0)
        level = {0: None, 1: "info"}.get(verbosity, "debug")
        if verbosity < 0:
            level = "error" if verbosity == -1 else "critical"
        host = root.meta["btplug.host"] = Host(
            plugin_dirs=given.get("plugin_dir") or (),
            in_process=bool(given.get("in_process")),
            lock=_lock(given),
            log_level=given.get("log_level") or level,
            log_file=given.get("log_file"),
            json_errors=bool(root.meta.get("btplug.json")),
            stream=root.meta.get("btplug.stream"),
            lasting=getattr(root.command, "lasting", False),
        )
    return cast("Host", host)


def _lock(given: dict[str, Any]) -> str | None:
    """Return the path of the lock that decides; None: none does.

    Raises:
        UsageError: It shall decide, and what it never accepts is asked for too.
    """
    named = given.get("lock")
    if not named and not given.get("locked"):
        return None
    if given.get("in_process"):
        raise UsageError(
            "found --locked and --in-process, expected one of them",
            fix="a lock accepts nothing that runs in btplug's own process",
        )
    return named or "btplug.lock"


def _given(root: click.Context) -> dict[str, Any]:
    """Return the options of the root, also while ``--help`` comes before them."""
    words = root.meta.get("btplug.words", ())
    if "plugin_dir" in root.params or not words:
        return root.params
    try:
        found, _, _ = root.command.make_parser(root).parse_args(list(words))
    except click.UsageError:
        return root.params
    return found


def overrides(name: str, settings: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort the words of ``--set`` by plugin; those without one are of *name*.

    Raises:
        UsageError: A word is not KEY=VALUE.
    """
    found: dict[str, dict[str, str]] = {}
    for word in settings:
        key, equals, text = word.partition("=")
        plugin, _, field = key.rpartition(".")
        if not equals or not field:
            raise UsageError(
                # Not shown: it may be the value, and that a secret.
                "--set: found a word without KEY= in front, expected KEY=VALUE",
                fix=f"see the keys with: btplug config show {name}",
            )
        found.setdefault(plugin or name, {})[field] = text
    return found


def check_overrides(host: Host, target: Manifest | None) -> None:
    """Refuse a ``--set`` for a plugin that there is none of.

    Raises:
        UsageError: It says which name is near.
    """
    from btplug.config import nearest

    for owner, keys in host.overrides.items():
        try:
            if target is None or host.look_up(owner) is not None:
                continue
        except PluginError:  # broken, but there
            continue
        key = f"{owner}.{next(iter(keys))}"
        names = [target.name, *(row.name for row in host.listing().rows())]
        hint = nearest(owner, names)
        inside = f"a nested value is set whole: --set '{owner}={{key: value}}'"
        raise UsageError(
            f"--set {key}: found no plugin named {owner!r}, expected KEY=VALUE "
            f"or PLUGIN.KEY=VALUE",
            fix=f"{hint} {inside}" if hint else inside,
        )


def target_of(ctx: click.Context, args: list[str]) -> Manifest | None:
    """Return the manifest of the plugin that *args* will run, or None.

    None also for help: nothing is started to print it. Errors are left to the place
    where they belong, which comes later.
    """
    head, *rest = args
    group = ctx.command
    assert isinstance(group, click.Group)
    if head == "run":
        run = group.get_command(ctx, "run")
        assert run is not None
        try:
            parser = run.make_parser(click.Context(run, parent=ctx))
            options, rest, _ = parser.parse_args(rest)
        except click.UsageError:
            return None
        if options.get("help") or not rest:
            return None
        head, *rest = rest
        host = host_of(ctx)
        host.overrides = overrides(head, options.get("settings") or ())
        host.json = bool(options.get("json"))
    if "--help" in (rest[: rest.index("--")] if "--" in rest else rest):
        return None
    try:
        manifest = host_of(ctx).look_up(head)
        if manifest is not None:
            host = host_of(ctx)
            host.called = manifest
            host.runnable(manifest)
            if (admitted := host.admit(manifest)).confined:
                from btplug.cli.confined import start

                # Now, while there is one thread and no setting or key was read.
                start(host, admitted, rest)
    except BtplugError:
        return None
    return manifest
