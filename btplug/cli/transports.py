"""Starting transports side by side, and what happens when one does not start."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from btplug._loop import LOOK
from btplug.cli.report import warn
from btplug.errors import BtplugError, PluginError, TrustError, UnknownPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from btplug.cli.host import Host
    from btplug.context import Context
    from btplug.manifest import Manifest
    from btplug.registry import TransportPluginRegistry

_ADD = "add --in-process, in front of the command, if you trust its code"
# Seconds a start took, and why the transport is broken.
Took = tuple[float, BtplugError | None]


def start_for(target: Manifest, host: Host, context: Context) -> None:
    """Start what *target* names, or every enabled transport if it names none.

    One that does not start costs one line; the others stay up.

    Raises:
        BtplugError: It did not start, and the target's manifest names it.
    """
    needed = target.transports is not None
    found: dict[str, Manifest] = {}
    if needed:
        context.transports.withheld = [
            "name the transport under 'transports:' in the plugin's config.yaml"
        ]
    elif not host.in_process and "plugin-dir" in {p.source for p in host.finder.places}:
        context.transports.withheld = [_ADD]
    names: Iterable[str] = target.transports or ()
    if not needed:
        names = host.finder.transports(in_process=host.in_process)
    for name in names:
        try:
            manifest, fix = _allowed(name, host, needed=needed)
        except BtplugError as exc:
            if needed:
                raise _about(exc, name, target) from exc
            context.transports.mark_broken(name, exc)
            warn(exc, json=host.json_errors)
        else:
            if fix is None:
                found[name] = manifest
            elif manifest.kind == "transport":
                context.transports.withheld.append(f"{name}: {fix}")
    for name, (_, error) in start_all(found.values(), host.transports).items():
        if error is None:
            secret = partial(_secret, host, name)
            host.remember(found[name], context.settings, secret)
        elif needed:
            raise error
        else:
            warn(error, json=host.json_errors)
    for scheme, first, other in context.transports.prefer(list(found)):
        what = f"the scheme {scheme!r} is served by {first!r}, which comes first"
        fix = f"disable one of them: btplug disable {other}"
        warn(BtplugError(what, fix=fix, plugin=other), json=host.json_errors)


def _secret(host: Host, name: str) -> frozenset[str]:
    from btplug.schema import secret_fields

    return secret_fields(type(host.transports[name]).Config)


def trial(host: Host) -> dict[str, Took]:
    """Start every enabled transport, for ``btplug doctor``."""
    context = host.start(None)
    context.settings.host("start_limit")  # raises what is wrong with the settings
    found: dict[str, Manifest] = {}
    for name in host.finder.transports(in_process=host.in_process):
        with suppress(BtplugError):
            manifest, fix = _allowed(name, host, needed=False)
            if fix is None:
                found[name] = manifest
    return start_all(found.values(), host.transports)


def start_all(
    plugins: Iterable[Manifest], registry: TransportPluginRegistry
) -> dict[str, Took]:
    """Register transports side by side, each within its own start-up limit.

    Returns:
        For each the seconds it took, and why it is broken; the others stay up.
    """
    took: dict[str, Took] = {}

    def start(plugin: Manifest) -> None:
        begun, error = time.perf_counter(), None
        try:
            registry.register_plugin(plugin)
        except BtplugError as exc:
            exc.plugin = plugin.name
            error = exc
        took[plugin.name] = (time.perf_counter() - begun, error)

    # The last one here: a single transport needs no further thread.
    waiting = list(plugins)
    threads = [
        threading.Thread(target=start, args=(plugin,), daemon=True)
        for plugin in waiting[:-1]
    ]
    for thread in threads:
        thread.start()
    for plugin in waiting[-1:]:
        start(plugin)
    for thread in threads:
        while thread.is_alive():
            thread.join(LOOK)
    return took


def _allowed(name: str, host: Host, *, needed: bool) -> tuple[Manifest, str | None]:
    """Return the manifest of a transport, and what to do if it may not start.

    Raises:
        PluginError: It may not, and it is needed.
    """
    manifest = host.find(name, "transport")
    if manifest.kind != "transport":
        fix = "name a transport under 'transports:'"
    elif host.home.is_disabled(name):
        fix = f"enable it with: btplug enable {name}"
    elif manifest.source == "plugin-dir" and not host.in_process:
        fix = _ADD
    else:
        try:
            return host.admit(manifest).manifest, None
        except TrustError as exc:
            # What was accepted once and has changed is worth a line of its own.
            if needed or not _is_new(manifest, host):
                raise
            return manifest, exc.fix
    if needed:
        raise PluginError(f"the transport {name!r} cannot be started", fix=fix)
    return manifest, fix


def _is_new(manifest: Manifest, host: Host) -> bool:
    """Tell whether nobody has ever accepted a plugin in this place."""
    return host.gate.store.find(os.path.realpath(manifest.root)) is None


def _about(error: BtplugError, name: str, target: Manifest) -> BtplugError:
    """Say of an error whose plugin cannot run for it."""
    if isinstance(error, UnknownPlugin):
        what = f"{target.name} needs the transport {name!r}, and there is none"
        error = PluginError(what, where=target.path, fix=error.fix)
    error.plugin = error.plugin or target.name
    return error
