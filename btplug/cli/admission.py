"""Whether a plugin may be loaded in this call, and on whose word."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from btplug.errors import TrustError

if TYPE_CHECKING:
    from btplug._folders import Folders
    from btplug._load.codecache import CodeCache
    from btplug._trust.lockfile import Entry
    from btplug.manifest import Manifest
    from btplug.trust import TrustStore


class Admitted(NamedTuple):
    """A plugin that may be loaded.

    Attributes:
        manifest: As it stands in the bytes that were checked.
        code: Those bytes; None: it is shipped, and Python's own import has it.
        confined: It may not run in btplug's own process.
        digest: Of the bytes, where they were read.
    """

    manifest: Manifest
    code: CodeCache | None = None
    confined: bool = False
    digest: str | None = None


class Gate:
    """Holds every plugin that is not shipped against what the operator accepted.

    Args:
        in_process: ``--in-process`` was given: for what lies in ``--plugin-dir``.
        lock: The lock that ``--locked`` names; None: the trust store decides.
    """

    def __init__(self, home: Folders, *, in_process: bool, lock: str | None) -> None:
        self._home, self._in_process, self._lock = home, in_process, lock
        self._known: dict[str, Admitted] = {}

    @cached_property
    def store(self) -> TrustStore:
        """What the operator accepted."""
        from btplug.trust import TrustStore

        return TrustStore(self._home)

    @cached_property
    def locked(self) -> dict[str, Entry]:
        """What the lock pins, by name."""
        from btplug._trust.lockfile import read_lock

        return read_lock(self._lock) if self._lock else {}

    @property
    def fingerprint(self) -> str | None:
        """Of the lock that decides; None: none does."""
        if self._lock is None:
            return None
        from btplug._trust.lockfile import fingerprint

        return fingerprint(self.locked.values())

    def admit(self, manifest: Manifest) -> Admitted:
        """Return what may be loaded of a plugin, read and checked.

        Raises:
            TrustError: Nobody has accepted it, or not what lies there now.
            PluginError: It cannot be read, or is broken.
        """
        if manifest.source == "shipped" and self._lock is None:
            return Admitted(manifest)
        if manifest.root not in self._known:
            self._known[manifest.root] = self._admit(manifest)
        return self._known[manifest.root]

    def _admit(self, manifest: Manifest) -> Admitted:
        if self._lock is None:
            return self._accepted(manifest)
        locked = self._as_locked(manifest)
        if manifest.source == "shipped" or manifest.kind == "cli":
            return locked
        # A lock is consent to nothing that runs in btplug's own process.
        found = self._accepted(manifest)
        if found.digest != locked.digest:
            raise TrustError(
                f"{manifest.name} changed while it was read",
                where=manifest.root,
                fix="let no other process change it meanwhile",
                plugin=manifest.name,
            )
        return found

    def _accepted(self, manifest: Manifest) -> Admitted:
        here = manifest.kind == "transport"
        if manifest.source == "plugin-dir":
            return self._in_plugin_dir(manifest)
        from btplug._trust.consent import refusal, verdict

        found_now = verdict(manifest, manifest.kind, self.store)
        if found_now.state == "untrusted":
            from btplug._trust.consent import pin_accountable

            # What nobody can accept is told first.
            pin_accountable(manifest)
        if found_now.state != "trusted":
            raise refusal(manifest, found_now, self.store, in_process=here)
        assert found_now.code
        assert found_now.accepted
        if here and not found_now.accepted.in_process:
            raise refusal(manifest, found_now, self.store, in_process=True)
        own = _read(found_now.code, manifest)
        if own.manifest.permissions != found_now.accepted.permissions:
            changed = found_now._replace(state="changed")
            raise refusal(own.manifest, changed, self.store, in_process=here)
        return own._replace(confined=not found_now.accepted.in_process)

    def _in_plugin_dir(self, manifest: Manifest) -> Admitted:
        from btplug._trust.consent import code_of, pin_accountable

        if manifest.kind == "transport" and not self._in_process:
            raise TrustError(
                f"{manifest.name} would run in btplug's own process",
                where=manifest.root,
                fix="add --in-process, in front of the command, if you trust its code",
                plugin=manifest.name,
            )
        code = code_of(manifest, self._home, pin_accountable(manifest))
        found = _read(code, manifest)
        return found._replace(confined=not self._in_process)

    def _as_locked(self, manifest: Manifest) -> Admitted:
        from btplug._load.pinned import read_folder
        from btplug._trust.consent import code_of, pin_accountable
        from btplug._trust.lockfile import difference, entry_of

        shipped = manifest.source == "shipped"
        pinned = (
            read_folder(manifest.root, checked=False)
            if shipped
            else pin_accountable(manifest)
        )
        found = _read(code_of(manifest, self._home, pinned), manifest)
        entry = entry_of(found.manifest, pinned)
        expected = self.locked.get(manifest.name)
        if expected is not None:
            # Where it lies is another matter than what it is.
            expected = expected._replace(source=entry.source)
        if differs := difference(expected, entry):
            raise TrustError(
                f"{manifest.name} is not what the lock says: {differs}",
                where=manifest.root,
                fix="look at what changed, and write the lock anew with: btplug lock"
                if expected
                else f"look at it, accept it with: btplug trust {manifest.name}, and "
                "pin it with: btplug lock",
                plugin=manifest.name,
            )
        return found._replace(confined=not shipped)


def _read(code: CodeCache, manifest: Manifest) -> Admitted:
    from btplug._trust.consent import manifest_in

    own = manifest_in(code, manifest)
    return Admitted(own, code, confined=True, digest=code.pinned.digest)
