"""``btplug.lock``: the plugins in use, pinned in a text that people review."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from btplug._trust import blocktext
from btplug._trust.blocktext import BadBlocks
from btplug._trust.hashes import is_digest, sha256
from btplug._trust.owners import read_owned
from btplug.errors import TrustError
from btplug.manifest import Permissions, asked_text, is_name
from btplug.trust import permission_lines, permissions_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from btplug._load.pinned import Pinned
    from btplug.manifest import Manifest

FILE = "btplug.lock"
_HEAD = "btplug-lock: 1"
_COMMENT = (
    "Plugins in use: written by 'btplug lock', made to be reviewed and committed."
)
_KEYS = frozenset(
    {
        "digest", "fingerprint", "kind", "network", "plugin", "read", "source",
        "version", "write",
    }
)  # fmt: skip
_MOST = 1024 * 1024


class Entry(NamedTuple):
    """One plugin of a lock.

    Attributes:
        source: ``shipped``, ``user``, …; of a distribution its name and version too.
        digests: By tag of the wheel; one without a tag is right on every system.
    """

    name: str
    kind: str
    source: tuple[str, ...]
    version: str
    permissions: Permissions
    digests: tuple[tuple[str, str], ...]

    def digest(self, tag: str) -> str | None:
        """Return what is pinned for a system; None: nothing is."""
        return dict(self.digests).get(tag)


def entry_of(manifest: Manifest, pinned: Pinned) -> Entry:
    """Return the entry of a plugin, of which *pinned* was read."""
    source: tuple[str, ...] = (manifest.source,)
    if manifest.record:
        about = os.path.basename(manifest.record).removesuffix(".dist-info")
        source += tuple(part for part in about.rpartition("-")[::2] if part)
    return Entry(
        manifest.name, manifest.kind, source, manifest.version, manifest.permissions,
        ((pinned.tag, pinned.digest),),
    )  # fmt: skip


def fingerprint(entries: Iterable[Entry]) -> str:
    """Return what stands for a set of plugins, the same on every system.

    Digests that a system's wheel tag belongs to are left out: one system does not know
    those of another.
    """
    blocks = [_block(e._replace(digests=_everywhere(e))) for e in sorted(entries)]
    return f"h1:{sha256(blocktext.write(_HEAD, blocks).encode())}"


def _everywhere(entry: Entry) -> tuple[tuple[str, str], ...]:
    return tuple((tag, digest) for tag, digest in entry.digests if not tag)


def lock_text(entries: Iterable[Entry]) -> str:
    """Return the text of a lock."""
    entries = sorted(entries)
    first: blocktext.Block = {"fingerprint": [(fingerprint(entries),)]}
    blocks = [first, *map(_block, entries)]
    return blocktext.write(_HEAD, blocks, comment=_COMMENT)


def read_lock(path: str) -> dict[str, Entry]:
    """Read a lock, and hold its fingerprint against what it lists.

    Raises:
        TrustError: It is missing, or not as `btplug lock` writes it.
    """
    try:
        return parse_lock(read_owned(path, _MOST).decode())
    except FileNotFoundError as exc:
        raise TrustError(
            f"found no {os.path.basename(path)}, expected the plugins that may run",
            where=path,
            fix="write it with: btplug lock; or name another with --lock FILE",
        ) from exc
    except ValueError as exc:
        raise TrustError(
            f"the lock is not as btplug writes it: {exc}",
            where=path,
            fix="put back the one that was committed, or remove it and write it anew "
            "with: btplug lock",
        ) from exc


def parse_lock(text: str) -> dict[str, Entry]:
    """Return the plugins that the text of a lock pins, by name.

    Raises:
        BadBlocks: It is not as `lock_text` writes it.
    """
    # Git may have been told to end lines as Windows does.
    blocks = blocktext.read(text.replace("\r\n", "\n"), _HEAD, _KEYS)
    if not blocks:
        raise BadBlocks("found no fingerprint, expected one")
    found = [_entry(block) for block in blocks[1:]]
    entries = {entry.name: entry for entry in found}
    if len(entries) != len(found):
        raise BadBlocks("found a plugin twice, expected each once")
    now = fingerprint(found)
    if (stated := blocktext.word(blocks[0], "fingerprint")) != now:
        raise BadBlocks(f"fingerprint: found {stated[:80]!r}, expected {now!r}")
    return entries


def _block(entry: Entry) -> blocktext.Block:
    return {
        "plugin": [(entry.name,)],
        "kind": [(entry.kind,)],
        "source": [entry.source],
        "version": [(entry.version,)],
        **permission_lines(entry.permissions),
        "digest": [(d, tag) if tag else (d,) for tag, d in sorted(entry.digests)],
    }


def _entry(block: blocktext.Block) -> Entry:
    digests = []
    for words in block.get("digest", []):
        if not 1 <= len(words) <= 2 or not is_digest(words[0]):
            raise BadBlocks(f"digest: found {' '.join(words)[:80]!r}, expected h1:…")
        digests.append((words[1] if len(words) == 2 else "", words[0]))
    found = Entry(
        blocktext.word(block, "plugin"),
        blocktext.word(block, "kind"),
        blocktext.one(block, "source"),
        blocktext.word(block, "version"),
        permissions_in(block),
        tuple(sorted(digests)),
    )
    if not is_name(found.name) or found.kind not in ("cli", "transport"):
        raise BadBlocks(f"found {found.name[:80]!r} of kind {found.kind[:80]!r}")
    if len(dict(digests)) != len(digests) or not digests:
        raise BadBlocks(f"{found.name}: expected one digest for each tag")
    return found


def merged(new: Iterable[Entry], old: Mapping[str, Entry]) -> list[Entry]:
    """Keep what other systems have pinned of the same versions."""
    found = []
    for entry in new:
        before = old.get(entry.name)
        tagged = all(tag for tag, _ in entry.digests)
        if (
            before
            and tagged
            and before._replace(digests=()) == entry._replace(digests=())
        ):
            kept = {tag: d for tag, d in before.digests if tag} | dict(entry.digests)
            entry = entry._replace(digests=tuple(sorted(kept.items())))
        found.append(entry)
    return found


def difference(pinned: Entry | None, now: Entry | None) -> str | None:
    """Return what differs between a lock and what is there; None: nothing does."""
    if now is None:
        return "is in the lock, and there is none" if pinned else None
    if pinned is None:
        return "is in use, and not in the lock"
    tag, digest = now.digests[0]
    parts = [
        f"{key} {_shown(old)} -> {_shown(new)}"
        for key, old, new in (
            ("kind", pinned.kind, now.kind),
            ("source", pinned.source, now.source),
            ("version", pinned.version, now.version),
        )
        if old != new
    ]
    asked = zip(Permissions._fields, pinned.permissions, now.permissions, strict=True)
    parts += [
        f"{key} {asked_text(old)} -> {asked_text(new)}"
        for key, old, new in asked
        if old != new
    ]
    expected = pinned.digest(tag)
    if expected is None:
        parts.append(f"no digest for {tag}" if tag else "no digest for every system")
    elif expected != digest:
        parts.append(f"digest {expected} -> {digest}")
    return ", ".join(parts) or None


def _shown(value: object) -> str:
    return " ".join(value) or "none" if isinstance(value, tuple) else str(value)
