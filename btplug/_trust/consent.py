"""Whether a plugin may be loaded: what lies there, held against what was accepted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from btplug._discovery import read_spot
from btplug._installed import Spot
from btplug._load.codecache import CodeCache
from btplug.errors import PluginLoadError, TrustError
from btplug.manifest import FILE, Manifest, Permissions, asked_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from btplug._folders import Folders
    from btplug._load.pinned import Pinned
    from btplug.trust import Accepted, TrustStore


class Verdict(NamedTuple):
    """What is known of a plugin that lies somewhere.

    Attributes:
        state: ``shipped``, ``trusted``, ``untrusted``, or ``changed`` since.
        code: Its bytes; None where nobody had to read them.
    """

    state: str
    code: CodeCache | None = None
    accepted: Accepted | None = None


class Changes(NamedTuple):
    """What differs from what was accepted; None: which files is not known."""

    changed: tuple[str, ...] | None = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it as one line."""
        parts = [
            "files" if self.changed is None else _names("changed", self.changed),
            _names("new", self.added),
            _names("removed", self.removed),
            _names("permissions", self.permissions),
        ]
        return "; ".join(part for part in parts if part)

    @property
    def configuration_alone(self) -> bool:
        """True where only config.yaml has changed, and it asks for nothing more."""
        others = self.added or self.removed or self.permissions
        names = [os.path.basename(path) for path in self.changed or ()]
        return names == [FILE] and not others


def _names(word: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{word} {shown}" if names else ""


def place_of(found: Spot | Manifest) -> str:
    """Return the path under which consent to a plugin is kept."""
    return os.path.realpath(found.root)


def pin_accountable(found: Spot | Manifest) -> Pinned:
    """Read a plugin's bytes such that nobody else could write them.

    Raises:
        TrustError: Somebody else may.
        PluginLoadError: They are not what a plugin may consist of.
    """
    if found.package:
        from btplug._trust.distfiles import read_distribution

        return read_distribution(found.record, found.root, found.package)
    from btplug._load.pinned import read_folder

    return read_folder(found.root)


def code_of(found: Spot | Manifest, home: Folders | None, pinned: Pinned) -> CodeCache:
    """Return a plugin's bytes with what was compiled of them, kept in *home*."""
    return CodeCache(home, pinned, package=found.package)


def manifest_in(code: CodeCache, found: Spot | Manifest) -> Manifest:
    """Return the manifest that stands in the bytes that were read.

    The one that is known by name and time may be another by now.

    Raises:
        ManifestError: It is broken.
        PluginLoadError: It is gone.
    """
    if code.manifest is not None:
        *values, permissions = code.manifest
        kept = Manifest._make(values)
        return kept._replace(
            permissions=Permissions._make(permissions), source=found.source
        )
    folder = f"{found.package.replace('.', '/')}/" if found.package else ""
    content = code.pinned.files.get(folder + FILE)
    if content is None:
        raise PluginLoadError(
            "found no config.yaml, expected the one that was there a moment ago",
            where=found.root,
            fix="let no other process change the plugin meanwhile",
        )
    spot = Spot(
        found.name, found.kind, found.root, found.source, found.package, found.record
    )
    return read_spot(spot, content)


def verdict(found: Spot | Manifest, kind: str | None, store: TrustStore) -> Verdict:
    """Hold what lies there now against what was accepted.

    A plugin that was never accepted is not even read.

    Raises:
        TrustError: The store is damaged, or others may write the plugin.
        PluginLoadError: The plugin was accepted and cannot be read any more.
    """
    if found.source == "shipped":
        return Verdict("shipped")
    # Mostly there is no link on the way, and nothing to resolve.
    accepted = store.find(found.root) or store.find(place_of(found))
    if accepted is None or (accepted.kind, accepted.name) != (kind, found.name):
        return Verdict("untrusted")
    code = code_of(found, store.home, pin_accountable(found))
    same = code.pinned.digest == accepted.digest
    return Verdict("trusted" if same else "changed", code, accepted)


def changes(
    store: TrustStore,
    accepted: Accepted,
    digest: str,
    now: Mapping[str, str],
    permissions: Permissions,
) -> Changes:
    """Return what differs from what was accepted.

    Args:
        digest: Of what is there now; *now* are the hashes of its files.
        permissions: What it asks for now.
    """
    asked = tuple(
        f"{key} {asked_text(old)} -> {asked_text(new)}"
        for key, old, new in zip(
            Permissions._fields, accepted.permissions, permissions, strict=True
        )
        if old != new
    )
    if accepted.digest == digest:
        return Changes(permissions=asked)
    old = store.hashes(accepted)
    if old is None:
        return Changes(None, permissions=asked)
    return Changes(
        tuple(sorted(path for path in old.keys() & now if old[path] != now[path])),
        tuple(sorted(now.keys() - old)),
        tuple(sorted(old.keys() - now)),
        asked,
    )


def refusal(
    manifest: Manifest, found: Verdict, store: TrustStore, *, in_process: bool = False
) -> TrustError:
    """Make the error of a plugin that may not be loaded, with what would accept it.

    Args:
        in_process: It runs in btplug's own process, which is a consent of its own.
    """
    name = manifest.name
    accept = f"btplug trust {'--in-process ' if in_process else ''}{name}"
    fix = f"look at it, and accept it with: {accept}"
    if found.state == "untrusted":
        what = f"{name} is not trusted: nobody has accepted its code here"
    elif found.state == "changed" and found.code and found.accepted:
        pinned = found.code.pinned
        differs = changes(
            store, found.accepted, pinned.digest, pinned.hashes, manifest.permissions
        )
        what = f"{name} has changed since it was trusted: {differs.text()}"
        if differs.configuration_alone:
            fix = (
                f"put it back and set values with: btplug config set {name}.KEY VALUE; "
                f"or accept it with: {accept}"
            )
        if manifest.source == "project" and not in_process:
            fix += (
                f"; while you write it, run it with: btplug --plugin-dir . run {name}"
            )
    else:
        what = (
            f"{name} is trusted when confined, and would run in btplug's own process, "
            "with all that you may do"
        )
    return TrustError(what, where=manifest.root, fix=fix, plugin=name)
