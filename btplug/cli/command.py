"""A plugin's class -> the Click command that runs it."""

from __future__ import annotations

import sys
from inspect import Parameter, cleandoc, signature
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from btplug._options import (
    VARIADIC,
    click_parameters,
    configured,
    data_parameter,
    has_default,
)
from btplug.errors import BtplugError, ConfigError, PluginError, PluginLoadError
from btplug.logs import escape
from btplug.schema import fields_of, secret_fields

if TYPE_CHECKING:
    from btplug._child.main import Inside
    from btplug.cli.host import Host
    from btplug.manifest import Manifest
    from btplug.plugin import CLIPlugin


# The name of the parameter: a plugin may have one called json that is another thing.
_JSON = "btplug_json"


# Options of btplug that are often written behind the plugin's name.
_PLACES = {
    "--set": "btplug run --set KEY=VALUE",
    "--plugin-dir": "btplug --plugin-dir DIR run",
    "--in-process": "btplug --in-process run",
    "--log-file": "btplug --log-file FILE run",
    "--log-level": "btplug --log-level LEVEL run",
}


class PluginCommand(click.Command):
    """A command whose help page ends with the plugin's configuration."""

    configuration: list[tuple[str, str]]
    path: str

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        # Before parsing, which may fail: errors say whose command it was.
        click.get_current_context().meta["btplug.plugin"] = self.name
        return super().make_context(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as exc:
            raise self._wrong_default(ctx, exc) or exc from exc.__cause__
        except click.NoSuchOption as exc:
            if place := _PLACES.get(exc.option_name):
                what = f"{exc.option_name} stands before the plugin's name"
                raise click.UsageError(f"{what}: {place} {self.name}", ctx) from exc
            raise

    def _wrong_default(
        self, ctx: click.Context, exc: click.BadParameter
    ) -> PluginError | None:
        """Return what is wrong with a value that the operator did not write."""
        name = exc.param.name if exc.param else None
        source = ctx.get_parameter_source(name) if name else None
        if isinstance(exc, click.MissingParameter):
            return None
        own = str(self.name)
        if source is ParameterSource.DEFAULT:
            return PluginLoadError(
                f"the default of the option {name!r} is wrong: {exc.message}",
                where=self.path,
                fix="correct the default in the plugin",
                plugin=own,
            )
        if source is ParameterSource.DEFAULT_MAP:
            return ConfigError(
                f"the setting {name!r} of {own} is no value for its option: "
                f"{exc.message}",
                fix=f"see where it comes from with: btplug config show {own}",
                plugin=own,
            )
        return None

    def get_help(self, ctx: click.Context) -> str:
        return escape(super().get_help(ctx), keep="\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.configuration:
            with formatter.section("Configuration"):
                formatter.write_dl(self.configuration)


def plugin_command(
    manifest: Manifest, host: Host | Inside, parent: click.Context, args: list[str]
) -> click.Command:
    """Load a plugin and make its command; nothing of it is initialised yet.

    Raises:
        PluginError: It cannot be loaded, or its configuration is broken.
    """
    context = host.context
    assert context is not None
    admitted = host.admit(manifest)
    manifest = admitted.manifest
    name = host.commands.register_plugin(manifest)
    host.collect_garbage()
    cls = host.commands.load_plugin(name)
    try:
        config = host.commands.configure(name)
    except BtplugError:
        # Help is for whoever has to mend the configuration.
        if "--help" not in args:
            raise
        config = None
    else:
        host.remember(manifest, context.settings, lambda: secret_fields(cls.Config))
    own = click_parameters(cls)
    if not sys.stdin.isatty():
        own = [_unasked(parameter) for parameter in own]
    declared = {str(parameter.name) for parameter in own}
    data_name = data_parameter(
        signature(cls.execute).parameters.values(), dict.fromkeys([*declared, "self"])
    )
    _check(cls, own, manifest)
    _check_reached(cls, {*declared, "self", data_name}, manifest)
    parameters = list(own)
    has_json = any("--json" in parameter.opts for parameter in own)
    if not has_json:
        parameters.append(
            click.Option(
                ["--json", _JSON], is_flag=True, help="Print the result as JSON."
            )
        )
    elif not host.json:
        # What its own --json means is its own affair: it may print.
        host.stream.give_back()

    def callback(**values: Any) -> None:
        from btplug.cli.output import show

        if not has_json and values.pop(_JSON):
            host.json = context.wants_json = True
        ctx = click.get_current_context()
        for option in hidden:
            if ctx.get_parameter_source(option) is ParameterSource.DEFAULT:
                values[option] = getattr(config, option)
        data = values.pop(str(data_name), None)
        show(lambda: host.commands.execute_plugin(name, data, **values), host, manifest)

    # Click would make a text of a Secret: it gets past Click unseen.
    hidden = declared & secret_fields(cls.Config)
    command = PluginCommand(
        name,
        params=parameters,
        callback=callback,
        help=cleandoc(cls.__doc__ or manifest.summary),
        context_settings={
            "default_map": _defaults(config, declared - hidden),
            "obj": context.bound(name, source=manifest.source, root=manifest.root),
        },
    )
    command.configuration, command.path = [], manifest.path
    if "--help" in args:
        from btplug.cli.settings import rows

        command.configuration = rows(manifest, context.settings, cls.Config)
    return command


def _unasked(parameter: Any) -> Any:
    """Return an option that asks for nothing: without a terminal nobody answers."""
    if not getattr(parameter, "prompt", None):
        return parameter
    from copy import copy

    option = copy(parameter)
    option.prompt = None
    option.required = option.prompt_required and not has_default(option)
    return option


def _check(cls: type[CLIPlugin], own: list[Any], manifest: Manifest) -> None:
    """Refuse an option that `execute` has no parameter for."""
    parameters = signature(cls.execute).parameters
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for option in own:
        if option.expose_value and option.name not in parameters:
            raise PluginLoadError(
                f"found the option {option.name!r} that execute has no parameter for",
                where=manifest.path,
                fix=f"add a parameter: def execute(self, data=None, *, {option.name})",
                plugin=manifest.name,
            )


def _check_reached(
    cls: type[CLIPlugin], reached: set[str | None], manifest: Manifest
) -> None:
    """Refuse a parameter of `execute` that nothing on a command line can fill."""
    reached |= {field.name for field in fields_of(cls.Config)}
    for name, parameter in signature(cls.execute).parameters.items():
        needed = parameter.default is Parameter.empty
        if needed and name not in reached and parameter.kind not in VARIADIC:
            raise PluginLoadError(
                f"found the parameter {name!r} of execute without an option, "
                "expected one, or a default",
                where=manifest.path,
                fix=f"add above execute: @click.option('--{name.replace('_', '-')}')",
                plugin=manifest.name,
            )


def _defaults(config: Any, names: set[str]) -> dict[str, Any]:
    """Return the values of Config fields that are called like an option."""
    found = {name: configured(config, name) for name in names}
    return {name: value for name, (has, value) in found.items() if has}
