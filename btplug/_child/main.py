"""The confined child's main: runs one plugin, and has its host do what it may not.

What a plugin sees here is what it sees in the host's own process; only that all of it
goes through frames.
"""

from __future__ import annotations

import builtins
import errno
import gc
import io
import os
import signal
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from btplug._child.link import Link
from btplug._child.order import Order
from btplug._child.refusal import chain, refusal
from btplug._child.screen import Far, flush_prints, printed, results, shortened
from btplug._confine.frames import Channel, Frame, Kind
from btplug._folders import Folders
from btplug._json import dumps
from btplug._load.codecache import CodeCache
from btplug._load.pinned import Pinned
from btplug.cli import output  # noqa: F401 - a plugin may hinder it when it is needed
from btplug.cli.command import plugin_command
from btplug.cli.ending import wait_for_threads
from btplug.context import Context
from btplug.errors import BtplugError, PluginExit, Terminated
from btplug.manifest import Manifest, Permissions
from btplug.registry import CLIPluginRegistry
from btplug.schema import secret_fields
from btplug.settings import Setting, Settings

if TYPE_CHECKING:
    from btplug.settings import Values

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(fd: int) -> None:
    """Do what the host says, and say what became of it."""
    link = Link(Channel(fd))
    order = Order.received(link.receive)
    if order is None:
        return
    for number in _ENDING:
        signal.signal(number, _interrupted)
    # What goes to a terminal, or to stderr, goes line by line.
    sys.stdout = printed(link, 1, lines=order.columns > 0 or order.kept)
    sys.stderr = printed(link, 2, lines=True)
    if order.columns:
        os.environ["COLUMNS"] = str(order.columns)
    if order.asks:
        from btplug._child.keyboard import take_keyboard

        take_keyboard(link)
    inside = Inside(order, link)
    if order.kept:
        dumps(None)  # it is to be JSON, which a plugin may patch
    # A copy for the plugin: what it changes there, it changes for itself.
    own = sys.modules["builtins"] = ModuleType("builtins")
    vars(own).update(vars(builtins))
    error: BaseException | None = None
    try:
        try:
            inside.run(order)
        finally:
            # As in the host's own process: what begins to end is left to.
            for number in _ENDING:
                signal.signal(number, signal.SIG_IGN)
    except BaseException as exc:
        _past_limits(exc)
        error = exc
    error = inside.stop(error)
    flush_prints()
    link.send(inside.ending(error))


def _interrupted(number: int, _: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


def _past_limits(exc: BaseException) -> None:
    """Raise what a limit of this process caused, whatever was made of it."""
    for one in chain(exc):
        if isinstance(one, MemoryError):
            raise one
        if isinstance(one, OSError) and one.errno == errno.EMFILE:
            raise one


class Inside:
    """What `plugin_command` needs of a host.

    Attributes:
        out: Where results go.
        stream: Stands for the host's stdout.
    """

    def __init__(self, order: Order, link: Link) -> None:
        self._link, self._debug = link, order.debug
        settings = _Given(order, link)
        settings.own_logs()
        lent = link.lent(order)
        self.context = Context(settings, Far(link, asks=order.asks), lent)
        lent.context = self.context
        self.json = self.context.wants_json = order.json
        self.commands = CLIPluginRegistry(self.context)
        self.out = results(link, terminal=order.columns > 0)
        self.stream = self
        values = Manifest._make(order.manifest)
        self.manifest = values._replace(
            permissions=Permissions._make(values.permissions)
        )
        root, files, hashes, digest = order.pinned
        pinned = Pinned(root, files, hashes=hashes)
        pinned.recall(digest)
        code = CodeCache(None, pinned, codes=order.codes)
        self.commands.checked[self.manifest.root] = code

    def run(self, order: Order) -> None:
        parent = click.Context(click.Group("run"), info_name=order.program)
        with parent:
            command = plugin_command(self.manifest, self, parent, order.words)
            cls = self.commands.load_plugin(self.manifest.name)
            # No JSON: its import costs as much as confining.
            secret = "\n".join(sorted(secret_fields(cls.Config)))
            self._link.send(Frame(Kind.STARTED, secret.encode()))
            name = self.manifest.name
            with command.make_context(name, [*order.words], parent) as ctx:
                command.invoke(ctx)

    def admit(self, manifest: Manifest) -> Any:
        """Say that the host has admitted it."""
        return self

    def remember(self, *_: object) -> None:
        """Cache nothing: there is nowhere to."""

    def collect_garbage(self) -> None:
        """Have Python look for garbage, among what is made from now on."""
        gc.freeze()
        gc.enable()

    def give_back(self) -> None:
        """Have prints reach stdout again."""
        self._link.tell(Kind.LOG, give_back=True)

    def stop(self, error: BaseException | None) -> BaseException | None:
        """Shut the plugin down; return what the run ended with."""
        failed = [*self.commands.shut_down()]
        if failed and error is None:
            error = failed.pop(0)
        for other in failed:
            self.warn(other)
        self.context.close()
        wait_for_threads(self.warn)
        return error

    def warn(self, error: BtplugError) -> None:
        """Have the host print a warning."""
        self._link.tell(Kind.LOG, warning=_fields(error))

    def ending(self, error: BaseException | None) -> Frame:
        """Return the last frame."""
        if isinstance(error, click.exceptions.Exit):
            error = PluginExit(error.exit_code) if error.exit_code else None
        if error is None:
            self.out.flush()
            return Frame(Kind.RESULT)
        told: dict[str, object] = {}
        hint = refusal(error, self.manifest.permissions)
        if self._debug:
            import traceback

            trace = "".join(traceback.format_exception(error))
            told["trace"] = shortened(trace)
        if isinstance(error, BtplugError):
            error.fix = hint or error.fix
            told |= _fields(error)
        elif isinstance(error, PluginExit):
            told |= {"exit": error.code, "what": shortened(error.message)}
        elif isinstance(error, click.ClickException):
            told |= _shown(error, hint)
        elif isinstance(error, click.Abort):
            told["aborted"] = True
        elif isinstance(error, (KeyboardInterrupt, Terminated)):
            told["interrupted"] = getattr(error, "exit_code", 130)
        else:
            told["defect"] = shortened(f"{type(error).__name__}: {error}")
        return self._link.frame(Kind.FAILURE, told)


def _fields(error: BtplugError) -> dict[str, object]:
    return {
        "what": shortened(error.what),
        "where": error.where and shortened(error.where),
        "fix": error.fix and shortened(error.fix),
        "code": error.exit_code,
    }


def _shown(error: click.ClickException, hint: str) -> dict[str, object]:
    """Return Click's own words, usage and all, and the parts of them."""
    from btplug.cli.report import from_click

    text = io.StringIO()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        error.ctx.color = (
            True  # otherwise Click drops escapes, where the host shows them
        )
    error.show(file=text)
    if hint:
        text.write(f"  fix:   {hint}")
    shown = shortened(text.getvalue().rstrip("\n"))
    fields = _fields(from_click(error))
    fields["fix"] = hint or fields["fix"]
    return {**fields, "shown": shown, "code": error.exit_code}


class _Given(Settings):
    """Settings that the host has read."""

    def __init__(self, order: Order, link: Link) -> None:
        nowhere = os.path.join(os.sep, "nonexistent")
        super().__init__(Folders(nowhere, nowhere, nowhere, order.state))
        self._values, self._of_host, self._link = order.settings, order.own, link

    def of(self, manifest: Manifest) -> Values:
        return {key: Setting(*value) for key, value in self._values.items()}

    def host(self, key: str) -> float | str:
        return self._of_host[key]

    def set_up_logs(self) -> None:
        with self._lock:
            if self._logs_ready:
                return
            self._logs_ready = True
        import logging

        link, level = self._link, str(self._of_host["log_level"])

        class Sent(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                message = shortened(self.format(record))
                link.tell(Kind.LOG, level=record.levelno, message=message)

        root = logging.getLogger()
        root.addHandler(Sent())
        floor = level if level in ("debug", "error", "critical") else "warning"
        root.setLevel(floor.upper())
        logging.getLogger("btplug").setLevel(level.upper())
        logging.raiseExceptions = False
