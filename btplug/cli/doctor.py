"""``btplug doctor``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

import btplug
from btplug.cli.lazy import host_of
from btplug.cli.output import show_json, show_rows
from btplug.cli.transports import trial
from btplug.config import nearest
from btplug.errors import BtplugError

if TYPE_CHECKING:
    from btplug._discovery import Place
    from btplug.cli.host import Host

_LIBRARIES = ("click", "httpx", "msgspec", "platformdirs", "pyyaml", "rich")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> int:
    """Check btplug and every plugin; start the transports and time them.

    Exit 0 only when nothing is broken. Commands are checked by their manifests; their
    code is not run.
    """
    host = host_of(ctx)
    found = _found(host)
    if as_json:
        show_json(found, host.out)
    else:
        _print(found, host.out)
    broken = [p for p in found["plugins"] if p["state"] == "broken"]
    broken += [row for row in found["places"] + found["trust"] if row["error"]]
    return 4 if broken or found["settings"] else 0


def _found(host: Host) -> dict[str, list[dict[str, object]]]:
    listing = host.listing()
    index = listing.state()
    rows = [row._asdict() for row in listing.rows()]
    settings: list[dict[str, object]] = []
    started: dict[str, tuple[float, BtplugError | None]] = {}
    try:
        started = trial(host)
        settings += _wrong_settings(host, {str(row["name"]) for row in rows})
    except BtplugError as exc:
        settings.append({"error": exc.what, "fix": exc.fix})
    plugins: list[dict[str, object]] = []
    for row in rows:
        seconds, error = started.get(row["name"], (None, None))
        if row["state"] != "ready" or row["kind"] != "transport":
            seconds, error = None, None
        if error is not None:
            row = {**row, "state": "broken", "error": error.line()}
        milliseconds = None if seconds is None else round(seconds * 1000, 1)
        plugins.append({**row, "milliseconds": milliseconds})
        if row["state"] == "ready" and row["kind"] == "cli":
            settings += _missing_transports(host, str(row["name"]), rows)
    return {
        "versions": _versions(),
        "trust": [_trust(host)],
        "confinement": [_confinement()],
        "places": [_place(place) for place in host.finder.places],
        "index": [{"state": index, "path": host.home.cache}],
        "settings": settings,
        "plugins": plugins,
    }


def _confinement() -> dict[str, object]:
    """Return what the kernel offers, and what a confined plugin can do all the same."""
    from btplug._confine.offer import offer

    found = offer()
    return {
        "landlock": found.landlock,
        "error": found.missing or None,
        "open": "; ".join(found.open) or None,
    }


def _trust(host: Host) -> dict[str, object]:
    """Return what was accepted, and what stands for the set of plugins in use.

    With ``--locked`` it is that of the lock.
    """
    from btplug._trust.lockfile import fingerprint
    from btplug.cli.lock import in_use

    found: dict[str, object] = {"accepted": None, "fingerprint": None, "error": None}
    try:
        found["accepted"] = len(host.gate.store.all())
        found["fingerprint"] = host.gate.fingerprint or fingerprint(in_use(host))
    except BtplugError as exc:
        found["error"] = exc.line()
    return found


def _missing_transports(
    host: Host, name: str, rows: list[dict[str, Any]]
) -> list[dict[str, object]]:
    """Find transports that a plugin needs and that there are none of."""
    there = {row["name"] for row in rows if row["kind"] == "transport"}
    return [
        {
            "error": f"{name} needs the transport {needed!r}, and there is none",
            "fix": nearest(needed, there) or "install it, or correct 'transports:'",
        }
        for needed in host.find(name).transports or ()
        if needed not in there
    ]


def _place(place: Place) -> dict[str, object]:
    error = None
    try:
        if place.root:
            os.scandir(place.root).close()
    except OSError as exc:
        # The user's own folder is made when it is needed, if it can be.
        made_later = place.source == "user" and not os.path.isdir(place.root)
        error = None if made_later else exc.strerror
    path = place.root or "site-packages"
    return {"source": place.source, "path": path, "error": error}


def _wrong_settings(host: Host, names: set[str]) -> list[dict[str, object]]:
    """Check btplug's own settings, and for whom the others are."""
    from btplug.settings import HOST

    settings = host.settings()
    for key in HOST:
        settings.host(key)
    return [
        {
            "error": f"found settings for {owner!r}, expected the name of a plugin",
            "fix": nearest(owner, names) or "remove them, or install the plugin",
        }
        for owner in settings.owners()
        if owner not in names
    ]


def _versions() -> list[dict[str, object]]:
    from importlib.metadata import PackageNotFoundError, version

    found: list[dict[str, object]] = [
        {"name": "btplug", "version": btplug.__version__},
        {"name": "python", "version": sys.version.split()[0]},
    ]
    for name in _LIBRARIES:
        try:
            found.append({"name": name, "version": version(name)})
        except PackageNotFoundError:
            found.append({"name": name, "version": None})
    return found


def _print(found: dict[str, list[dict[str, object]]], out: TextIO) -> None:
    for title, rows in found.items():
        if rows:
            out.write(f"{title}:\n")
            hidden = ("summary", "path") if title == "plugins" else ()
            shown = [{k: v for k, v in r.items() if k not in hidden} for r in rows]
            show_rows(shown, out)
            out.write("\n")
