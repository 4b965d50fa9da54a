"""The root command: start-up, endings, and errors turned into exit codes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

import btplug
from btplug.cli.ending import end, open_missing, output_watched, signals_watched
from btplug.cli.lazy import PluginGroup, Run, host_of, target_of, write_rows
from btplug.cli.record import code_of, record
from btplug.cli.stream import is_stuck, result_stream
from btplug.errors import PluginExit, Terminated, UsageError
from btplug.logs import LEVELS

if TYPE_CHECKING:
    from btplug.cli.ending import Signals
    from btplug.cli.host import Host

# Name to help row; each lives in a module of its own, imported when called.
BUILT_IN = {
    "config": "Show and change settings",
    "disable": "Keep a plugin from being used",
    "doctor": "Check btplug and every plugin",
    "enable": "Let a disabled plugin be used again",
    "info": "Show all that is known of a plugin",
    "list": "List the plugins there are",
    "lock": "Pin the plugins in use in a file",
    "log": "Show which plugins ran here",
    "run": "Run a plugin",
    "trust": "Accept a plugin's code after a look at it",
    "untrust": "Take back what 'trust' accepted",
}


class Root(PluginGroup):
    """``btplug``: built-in commands by name, every other name is a plugin.

    Attributes:
        lasting: The process ends with the run: what was changed in it may stay.
    """

    lasting = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "run":
            return run
        if cmd_name in BUILT_IN:
            from importlib import import_module

            module = import_module(f"btplug.cli.{cmd_name}")
            command: click.Command = module.command
            return command
        return super().get_command(ctx, cmd_name)

    def plugin_rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        rows = super().plugin_rows(ctx)
        return [*BUILT_IN.items(), *(row for row in rows if row[0] not in BUILT_IN)]

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        rows = self.plugin_rows(ctx)
        write_rows(formatter, "Commands", rows[: len(BUILT_IN)])
        write_rows(formatter, "Plugins", rows[len(BUILT_IN) :])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:
            if args[0] not in BUILT_IN or args[0] == "run":
                ctx.meta["btplug.target"] = target_of(ctx, args)
            if args[0] not in BUILT_IN and self.get_command(ctx, args[0]) is None:
                # Only now: did-you-mean reads this dictionary.
                self.commands = dict.fromkeys(self.list_commands(ctx), run)
        return super().resolve_command(ctx, args)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        json = _wants_json(args)
        with output_watched():
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta["btplug.json"] = json
        return ctx

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["btplug.words"] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        json = ctx.meta["btplug.json"]
        try:
            return self._watched(ctx, json=json)
        except KeyboardInterrupt as exc:
            if not json and not is_stuck(sys.stderr):
                from btplug.cli.report import say

                say("")  # behind the ^C of the terminal
            # Click would write that line itself, and wait for who has stopped reading.
            raise click.Abort from exc

    def _watched(self, ctx: click.Context, *, json: bool) -> int:
        with (
            output_watched(),
            result_stream(json=json, lasting=self.lasting) as stream,
            signals_watched() as signals,
        ):
            ctx.meta["btplug.stream"] = stream
            host = host_of(ctx)
            signals.leaving = host.end_child
            try:
                return self._recorded(ctx, host, signals)
            finally:
                # Last: killed before, it takes its time to be gone.
                host.end_child()

    def _recorded(self, ctx: click.Context, host: Host, signals: Signals) -> int:
        try:
            code = super().invoke(ctx) or 0
        except BaseException as exc:
            signals.raises = False
            host.stop(failed=True)
            record(host, signals.code or code_of(exc))
            told = isinstance(exc, (KeyboardInterrupt, Terminated, PluginExit))
            if signals.number and not told:
                signals.throw()
            raise
        signals.raises = False
        stopped = host.stop(failed=bool(code))
        code = signals.code or code or stopped
        record(host, code)
        return int(code)

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run and exit; errors become text on stderr and the documented exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        words = list(sys.argv[1:] if args is None else args)
        sys.exit(self._run(words, prog_name, complete_var, **extra))

    def _run(
        self,
        words: list[str],
        prog_name: str | None,
        complete_var: str | None,
        **extra: Any,
    ) -> int:
        json = _wants_json(words)
        try:
            _check_completion()
            with output_watched():  # Click writes what it completes by itself
                code = super().main(
                    words, prog_name or "btplug", complete_var, False, **extra
                )
            return code if isinstance(code, int) else 0
        except SystemExit:
            raise
        except BaseException as exc:
            from btplug.cli.report import outcome

            return outcome(exc, json=json)


def _check_completion() -> None:
    """Look at what a shell's script hands over for completion, before Click does.

    Raises:
        UsageError: It is not what such a script says.
    """
    shell, _, asked = os.environ.get("_BTPLUG_COMPLETE", "").partition("_")
    if asked != "complete":
        return
    for name in ("COMP_WORDS", "COMP_CWORD"):
        text, number = os.environ.get(name), name == "COMP_CWORD" and shell != "fish"
        if text is None or (number and not (text.isascii() and text.isdecimal())):
            found = "none" if text is None else repr(text[:80])
            raise UsageError(
                f"{name}: found {found}, expected what a shell's script sets it to",
                fix=f"let the script ask, as made by: _BTPLUG_COMPLETE={shell}_source "
                "btplug",
            )


def _wants_json(words: list[str]) -> bool:
    """Tell whether errors are JSON: known before any option could be parsed."""
    return "--json" in words[: words.index("--") if "--" in words else None]


@click.group(
    cls=Root,
    context_settings={"max_content_width": 100},
    options_metavar="[OPTIONS]",
    subcommand_metavar="COMMAND [ARGS]...",
)
@click.version_option(btplug.__version__, message="btplug %(version)s")
@click.option(
    "--plugin-dir",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Also look for plugins in DIR, for this one call.",
)
@click.option(
    "--in-process", is_flag=True, help="Let transports from --plugin-dir start here."
)
@click.option(
    "--locked", is_flag=True, help="Run what btplug.lock pins, and nothing else."
)
@click.option("--lock", metavar="FILE", help="The same with another lock.")
@click.option("-v", "--verbose", count=True, help="Log more; -vv for all.")
@click.option("-q", "--quiet", count=True, help="Log less.")
@click.option(
    "--log-level", metavar="LEVEL", type=click.Choice(LEVELS), help=", ".join(LEVELS)
)
@click.option(
    "--log-file", metavar="FILE", help="Log to the end of FILE, not to stderr."
)
@click.pass_context
def root(ctx: click.Context, /, **_: object) -> None:
    """Host for plugins: commands loaded when called, transports started with them."""
    host = host_of(ctx)
    target = ctx.meta.get("btplug.target")
    if target is not None:
        ctx.obj = host.start(target)


@click.group("run", cls=Run, subcommand_metavar="NAME [ARGS]...")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="Set a key of the plugin's configuration, or PLUGIN.KEY of another's.",
)  # fmt: skip
@click.option("--json", is_flag=True, help="Print the result as JSON.")
def run(settings: tuple[str, ...], json: bool) -> None:
    """Run the plugin NAME.

    Options of btplug stand before NAME; what follows is the plugin's own.
    """


def console() -> NoReturn:
    """Be the ``btplug`` command: run, flush, and end without the interpreter's rest.

    Tearing the interpreter down costs 10 ms and can do nothing for us any more.
    """
    open_missing()
    root.lasting = True
    try:
        root.main()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    end(code, json=_wants_json(sys.argv[1:]))
