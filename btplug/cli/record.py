"""What is kept of a run, whatever became of it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

import btplug
from btplug.errors import BtplugError, PluginExit, Terminated, UsageError

if TYPE_CHECKING:
    from btplug.cli.host import Host

_RESULTS = {
    0: "done", 4: "broken", 5: "undelivered", 6: "refused", 7: "late", 8: "died",
    129: "terminated", 130: "interrupted", 143: "terminated",
}  # fmt: skip


def code_of(exc: BaseException) -> int:
    """Return the exit code that an error ends a run with."""
    if isinstance(exc, (BtplugError, click.ClickException, Terminated)):
        return exc.exit_code
    if isinstance(exc, PluginExit):
        return exc.code
    if isinstance(exc, (click.Abort, KeyboardInterrupt)):
        return 130
    if isinstance(exc, click.exceptions.Exit):
        return exc.exit_code
    return 141 if isinstance(exc, BrokenPipeError) else 70


def place_of(text: str) -> str | None:
    """Return ``host:port`` of a URL, host:port or hotkey@host:port.

    Returns:
        The host alone where the scheme has no known port; None: *text* is none of them.
    """
    from urllib.parse import urlsplit

    from btplug._broker.hosts import PORTS
    from btplug.message import Peer
    from btplug.network import bracket

    try:
        parts = urlsplit(Peer.parse(text).url)
        port = parts.port or PORTS.get(parts.scheme)
    except (UsageError, ValueError):
        return None
    host = bracket(parts.hostname or "")
    return f"{host}:{port}" if port else host


def _place(reached: str) -> str | None:
    """Return ``host:port`` of a URL; the broker has told it so already."""
    return place_of(reached) if "://" in reached else reached


def record(host: Host, code: int) -> None:
    """Log the run of a plugin; that it cannot be logged is no reason to fail."""
    manifest = host.called
    if manifest is None:
        return
    from btplug._trust.runs import Run, append

    digest = fingerprint = None
    with suppress(BtplugError):  # what was refused has been read by nobody
        fingerprint = host.gate.fingerprint
        digest = host.gate.admit(manifest).digest
    now = time.time()
    begun = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(host.begun))
    run = Run(
        time=f"{begun}.{int(host.begun * 1000) % 1000:03d}Z",
        command=f"run {manifest.name}",
        plugin=manifest.name,
        version=manifest.version,
        source=manifest.source,
        btplug=btplug.__version__,
        digest=digest,
        fingerprint=fingerprint,
        result=_RESULTS.get(code, "failed"),
        exit_code=code,
        seconds=round(now - host.begun, 3),
        hosts=tuple(dict.fromkeys(filter(None, map(_place, host.reached)))),
    )
    with suppress(OSError):
        append(host.home, run, more=host.reached.more)
