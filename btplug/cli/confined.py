"""A plugin that runs in a confined child, as a command of the host's."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from btplug.cli.lent import Lender, texts
from btplug.cli.piped import flags_at_stake, lent_stdin
from btplug.cli.record import place_of
from btplug.errors import BtplugError, Unconfinable, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from btplug._broker.broker import Broker
    from btplug._confine.process import Child
    from btplug.cli.admission import Admitted
    from btplug.cli.conversation import Conversation
    from btplug.cli.host import Host
    from btplug.manifest import Manifest

_MAIN = "btplug._child.main"


class Confined(click.Command):
    """Hands its words to the child, where the plugin's own parser is."""

    def __init__(self, admitted: Admitted, host: Host) -> None:
        super().__init__(admitted.manifest.name, add_help_option=False)
        self._admitted, self._host = admitted, host

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = [*args]
        return ctx.args

    def invoke(self, ctx: click.Context) -> None:
        host, manifest = self._host, self._admitted.manifest
        if host.child is None:
            start(host, self._admitted, ctx.args)
        child = host.child
        assert child is not None
        assert ctx.parent is not None
        brokers: list[Broker] = []

        def broker() -> Broker:
            # Made by the first call: msgspec costs 20 ms, and not every plugin sends.
            if not brokers:
                brokers.append(_broker(host, manifest, child, ctx.args))
            return brokers[0]

        conversation: Conversation | None = None
        try:
            # It reads what it is to do once it is confined, and no sooner.
            for frame in _order(host, self._admitted, ctx).frames():
                child.post(frame)
            # While it gets ready.
            conversation = _conversation(host, manifest, child, broker)
            child.wait_until_confined(conversation.noise)
            host.collect_garbage()
            conversation.run()
        except BtplugError as exc:
            told = conversation is not None and conversation.told
            exc.where = exc.where or (None if told else manifest.path)
            _complete(exc, manifest)
            raise
        finally:
            if conversation is not None:
                conversation.close()
            for one in brokers:
                one.close()
                host.reached.merge(one.reached)
            child.kill()


def _conversation(
    host: Host, manifest: Manifest, child: Child, broker: Callable[[], Broker]
) -> Conversation:
    """Return what hears the child, and do what else a run needs that can wait."""
    from btplug import sandbox
    from btplug.cli.conversation import Conversation

    import_module("btplug._trust.runs")  # for the end
    sandbox.sweep()
    return Conversation(host, manifest, child, broker)


def start(host: Host, admitted: Admitted, words: list[str]) -> None:
    """Start the child of a plugin; nothing of the plugin runs before it is confined.

    Raises:
        Unconfinable: This system cannot.
        TrustError: A path that was accepted leads elsewhere by now.
    """
    from btplug import sandbox

    assert admitted.code is not None
    admitted.code.compile_ahead()
    admitted.code.keep()
    manifest = admitted.manifest
    lender = Lender(host.home, manifest)
    named = [*lender.named(words)]
    read, write = lender.granted("read", named), lender.granted("write", named)
    if "arguments" in manifest.permissions.write:
        from btplug.cli.made import made

        host.made += made(texts(words), lender.guards)
    # Once for both. While transports start, the child has time for what it needs alone.
    starts = manifest.transports is None or manifest.transports
    import_module("btplug.registry" if starts else _MAIN)
    try:
        # Until somebody owns it, a signal would leave its folder behind.
        with _signals_held(), lent_stdin() as stdin:
            host.stdin_flags = flags_at_stake(stdin)
            host.child = sandbox.start(
                f"{_MAIN}:main",
                read=[*map(os.path.realpath, admitted.code.pinned.own), *named, *read],
                write=[*write, *(one.path for one in host.made)],
                guarded=lender.guarded,
                stdin=stdin,
                # What was read since, settings and keys, would be in the copy.
                fork=host.context is None,
            )
    except BtplugError as exc:
        _complete(exc, manifest)
        raise


@contextmanager
def _signals_held() -> Iterator[None]:
    """Have what ends a run wait; a child takes its own signals when it is confined."""
    import signal

    if sys.platform == "win32":  # nor is anything confined there
        yield
        return
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _complete(exc: BtplugError, manifest: Manifest) -> None:
    """Say of which plugin an error is, and what lets that one run unconfined."""
    exc.plugin = exc.plugin or manifest.name
    if manifest.source == "plugin-dir" and isinstance(exc, Unconfinable):
        exc.fix = "add --in-process, in front of the command, if you trust its code"
    elif exc.fix:
        exc.fix = exc.fix.replace(
            "trust --in-process NAME", f"trust --in-process {manifest.name}"
        )


def _broker(host: Host, manifest: Manifest, child: Child, words: list[str]) -> Broker:
    """Return what lends the started transports, to the hosts that are permitted."""
    from btplug._broker.broker import Broker
    from btplug._broker.hosts import Hosts
    from btplug._lending import Transports

    context = host.context
    assert context is not None
    rules = [rule for rule in manifest.permissions.network if rule != "none"]
    if "arguments" in rules:
        rules.remove("arguments")
        rules += _places(texts(words))
    hosts, lent = Hosts(rules), Transports()
    for name in context.transports:
        try:
            lent.lend(name, host.transports[name].limited_to(hosts.allows))
        except Unsupported as exc:
            why = Unsupported(
                f"the transport {name!r} is not lent to a confined plugin: {exc.what}",
                fix=f"{exc.fix}, or let the plugin run in btplug's own process, "
                f"unconfined: btplug trust --in-process {manifest.name}",
                delivered=False,
            )
            lent.mark_broken(name, why)
    return Broker(lent, hosts, child.post, context.home)


def _places(texts: Iterable[str]) -> Iterator[str]:
    """Yield ``host:port`` of what *texts* name: URLs, host:port, hotkey@host:port."""
    from btplug._broker.hosts import names_one

    for text in texts:
        place = place_of(text) if ":" in text else None
        # A word may come from anywhere: `x://any` is no permission for all hosts.
        if place and names_one(place):
            yield place


def _columns(host: Host) -> int:
    """Return how wide the terminal is that results go to, 0 where it is none."""
    if not host.out.isatty():
        return 0
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _order(host: Host, admitted: Admitted, ctx: click.Context) -> Any:
    from btplug._child.order import Order, pinned_of
    from btplug.settings import HOST

    context = host.context
    assert context is not None
    assert admitted.code is not None
    manifest: Manifest = admitted.manifest
    settings = context.settings
    own: dict[str, float | str] = {key: settings.host(key) for key in HOST}
    own["log_file"] = ""
    transports = context.transports
    assert ctx.parent is not None
    return Order(
        manifest=(*manifest[:7], tuple(manifest.permissions), *manifest[8:]),
        pinned=pinned_of(admitted.code),
        codes=admitted.code.codes,
        words=[*ctx.args],
        program=ctx.parent.command_path,
        json=host.json,
        settings={
            key: (value.value, value.origin, value.is_text)
            for key, value in settings.of(manifest).items()
        },
        own=own,
        schemes={name: tuple(transports[name].schemes) for name in transports},
        broken={
            name: (error.what, error.where, error.fix, error.exit_code, schemes)
            for name, (error, schemes) in transports.broken.items()
        },
        withheld=[*transports.withheld],
        state=host.home.state_root,
        asks=sys.stdin is not None and sys.stdin.isatty(),
        columns=_columns(host),
        kept=host.stream.kept,
        debug=bool(os.environ.get("BTPLUG_DEBUG")),
    )
