"""``btplug lock``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from btplug.cli.lazy import host_of
from btplug.cli.report import say
from btplug.errors import BtplugError, TrustError
from btplug.logs import escape

if TYPE_CHECKING:
    from btplug._trust.lockfile import Entry
    from btplug.cli.host import Host

# Where plugins lie that nobody has who clones the project.
_OWN = ("user", "path")


@click.command("lock")
@click.option("--check", is_flag=True, help="Write nothing; exit 6 if it differs.")
@click.option(
    "--project",
    is_flag=True,
    help="Leave out your own: your plugin folder and BTPLUG_PLUGIN_PATH.",
)
@click.option("--lock", "path", metavar="FILE", help="Another file than btplug.lock.")
@click.pass_context
def command(ctx: click.Context, check: bool, project: bool, path: str | None) -> None:
    """Write btplug.lock: every plugin in use with version, digest and permissions.

    In use is what would run: shipped or trusted, and enabled; your own plugins too,
    unless you say --project. Commit the file, and 'btplug --locked run NAME' runs
    exactly that.
    """
    from btplug._index import REFUSED
    from btplug._trust.lockfile import FILE, fingerprint, read_lock

    host = host_of(ctx)
    path = path or ctx.find_root().params.get("lock") or FILE
    if project:
        places = host.finder.places
        host.finder.places = [p for p in places if p.source not in _OWN]
    entries = in_use(host)
    if check:
        pinned = read_lock(path)
        _check(host, pinned, {entry.name: entry for entry in entries}, path)
        say(f"{escape(path)} fits: {fingerprint(pinned.values())}")
        return
    entries = _written(path, entries)
    say(f"{len(entries)} plugins: {escape(path)}")
    if own := [entry.name for entry in entries if entry.source[0] in _OWN]:
        text = f"{', '.join(own)}: on this machine alone"
        say(f"{text}; leave out with: btplug lock --project")
    if rest := [row.name for row in host.listing().rows() if row.state in REFUSED]:
        text = f"{', '.join(rest)}: left out, not trusted as it is now"
        say(f"{text}; accept with: btplug trust NAME")
    click.echo(fingerprint(entries))


def in_use(host: Host) -> list[Entry]:
    """Return an entry for every plugin that would run.

    Raises:
        BtplugError: One cannot be read.
    """
    names = [row.name for row in host.listing().rows() if row.state == "ready"]
    return [entry for name in names if (entry := _entry(host, name))]


def _entry(host: Host, name: str) -> Entry | None:
    """Return the entry of a plugin as it lies there; None: there is none."""
    from btplug._load.pinned import read_folder
    from btplug._trust.consent import code_of, manifest_in, pin_accountable
    from btplug._trust.lockfile import entry_of

    manifest = host.look_up(name)
    if manifest is None:
        return None
    if manifest.source == "shipped":
        pinned = read_folder(manifest.root, checked=False)
    else:
        pinned = pin_accountable(manifest)
    return entry_of(manifest_in(code_of(manifest, host.home, pinned), manifest), pinned)


def _written(path: str, entries: list[Entry]) -> list[Entry]:
    from btplug._folders import write_atomic
    from btplug._trust.lockfile import lock_text, merged, read_lock

    old: dict[str, Entry] = {}
    if os.path.lexists(path):
        old = read_lock(path)
    entries = merged(entries, old)
    try:
        write_atomic(os.path.abspath(path), lock_text(entries).encode(), foreign=True)
    except OSError as exc:
        raise BtplugError(
            f"the lock cannot be written: {exc.strerror}",
            where=path,
            fix="write it somewhere else with: btplug lock --lock FILE",
        ) from exc
    return entries


def _check(
    host: Host, pinned: dict[str, Entry], used: dict[str, Entry], path: str
) -> None:
    from btplug._trust.lockfile import difference

    found, fix = [], "look at what changed, and write it anew with: btplug lock"
    if any(used[name].source[0] in _OWN for name in used.keys() - pinned.keys()):
        fix += "; or leave out your own plugins with: btplug lock --check --project"
    for name in sorted(pinned.keys() | used.keys()):
        # What is pinned need not be trusted here: a lock is for other machines too.
        now = used.get(name)
        try:
            now = now or _entry(host, name)
        except BtplugError as exc:
            found.append(f"{name}: {exc.line()}")
            continue
        if differs := difference(pinned.get(name), now):
            found.append(f"{name}: {differs}")
    if found:
        raise TrustError(
            f"{len(found)} plugins differ from the lock\n  " + "\n  ".join(found),
            where=path,
            fix=fix,
        )
