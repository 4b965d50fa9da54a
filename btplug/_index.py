"""The listing of all plugins, from the cache where nothing changed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from btplug._discovery import by_name, clash, read_spot
from btplug._folders import digest, load_cached, observe, settled, store_cached
from btplug.errors import BtplugError, PluginError
from btplug.manifest import FILE, is_name

if TYPE_CHECKING:
    from btplug._discovery import Finder
    from btplug._folders import Observation
    from btplug._installed import Spot
    from btplug.trust import TrustStore

# States of a plugin that runs only once the operator accepts it.
REFUSED = ("untrusted", "changed")
# Files of one plugin that are looked at again whenever all plugins are listed.
_MOST_SEEN = 200


class Row(NamedTuple):
    """One line of ``btplug list``; what is not known is None.

    Attributes:
        state: ``ready``, ``untrusted``, ``changed``, ``disabled``, ``shadowed`` or
            ``broken``.
        trust: ``shipped``, ``trusted``, ``untrusted`` or ``changed``.
    """

    name: str
    kind: str | None
    version: str | None
    summary: str | None
    source: str
    state: str
    trust: str
    path: str
    error: str | None


class Listing:
    """All plugins of all places, good, broken, shadowed and disabled.

    Never raises for what a plugin's folder holds.
    """

    def __init__(self, finder: Finder, *, in_process: bool = False) -> None:
        self._finder, self._in_process = finder, in_process
        # Two environments on one cache would overwrite each other's.
        lasting = [place for place in finder.places if place.source != "plugin-dir"]
        made_for = digest(repr((sys.prefix, lasting)))
        self._path = os.path.join(finder.home.cache, f"list-{made_for}")
        self._cached: Any = load_cached(self._path, "list")
        self._old: Any = None

    def json(self, kind: str | None = None) -> str:
        """Return the listing as a JSON array, one object a line."""
        if kind is None and (fresh := self._fresh()):
            return fresh[0]
        return as_json(self.rows(kind))

    def rows(self, kind: str | None = None) -> list[Row]:
        """Return the listing sorted by name; of one *kind*, what is not the other."""
        if fresh := self._fresh():
            import marshal

            rows = [Row(*values) for values in marshal.loads(fresh[1])]
        else:
            rows = self._made()
        return [row for row in rows if kind is None or row.kind in (kind, None)]

    def state(self) -> str:
        """Tell whether the cache fits, for ``btplug doctor``."""
        if self._cached is None and self._old is None:
            return "missing"
        return "fresh" if self._fresh() else "stale"

    def _key(self) -> tuple[object, ...]:
        disabled = self._finder.home.disabled
        try:
            names = tuple(sorted(os.listdir(disabled)))
        except OSError:
            names = ()
        places = tuple(tuple(place) for place in self._finder.places)
        installed = tuple(
            tuple(s) for p in self._finder.places if p.source == "installed"
            for s in self._finder.spots(p)
        )  # fmt: skip
        return places, installed, names, self._in_process

    def _fresh(self) -> tuple[str, bytes] | None:
        """Return (JSON, rows) of the cache if all it saw is as it was."""
        if self._cached is not None and not self._fits():
            self._old, self._cached = self._cached, None
        return self._cached[1:3] if self._cached else None

    def _fits(self) -> bool:
        """Hold every file that the cache has seen against what is there now."""
        key, _, _, (paths, observations) = self._cached
        if key != self._key():
            return False
        # The hot loop of `btplug list`: 10,000 plugins are 10,000 turns.
        stat, none = os.stat, None
        for path, old in zip(paths, observations, strict=True):
            try:
                now = stat(path)
            except (OSError, ValueError):
                if old is not none:
                    return False
            else:
                if old != (now.st_mtime_ns, now.st_size, now.st_ino):
                    return False
        return True

    def _made(self) -> list[Row]:
        known = self._known()
        key = self._key()
        from btplug.trust import TrustStore

        store = TrustStore(self._finder.home)
        seen: dict[str, Observation] = {store.path: observe(store.path)}
        rows: list[Row] = []
        taken: set[str] = set()
        for place in self._finder.places:
            for _, shelf in place.shelves() if place.root else ():
                seen[shelf] = observe(shelf)
                # A folder that is no plugin today may become one.
                for folder in _folders(shelf):
                    path = os.path.join(folder, FILE)
                    seen[path] = observe(path)
                    if seen[path] is None:
                        seen[folder] = observe(folder)
            named = by_name(self._finder.spots(place))
            for spot in (spot for twins in named.values() for spot in twins):
                path = os.path.join(spot.root, FILE)
                seen[path] = observe(path)
                row = self._row(spot, named[spot.name], taken, known, seen[path])
                rows.append(_judged(row, spot, store, seen))
            taken.update(named)
        rows.sort(key=lambda row: (row.name, row.state == "shadowed"))
        self._store(key, rows, seen)
        return rows

    def _known(self) -> dict[str, tuple[Observation, Row]]:
        """Return the rows of the old cache by path: only what changed is read again."""
        if self._old is None:
            return {}
        import marshal

        _, _, rows, (paths, observations) = self._old
        old = dict(zip(paths, observations, strict=True))
        found = [Row(*values) for values in marshal.loads(rows)]
        return {row.path: (old.get(row.path), row) for row in found}

    def _row(
        self,
        spot: Spot,
        twins: list[Spot],
        taken: set[str],
        known: dict[str, tuple[Observation, Row]],
        now: Observation,
    ) -> Row:
        path = os.path.join(spot.root, FILE)
        old, row = known.get(path, (None, None))
        # A shadowed or disabled row says nothing of what the file holds.
        good = row is not None and row.state in ("ready", *REFUSED)
        if row is None or old is None or old != now or not good:
            row = _read(spot, path)
        else:
            row = row._replace(state="ready", error=None)
        # The same folder may be found by another way today.
        row = row._replace(source=spot.source)
        if len(twins) > 1:
            error = clash(spot.name, twins).line()
            return row._replace(state="broken", error=error)
        if row.name in taken:
            return row._replace(
                state="shadowed", error="an earlier place has this name"
            )
        if row.state == "ready" and self._finder.home.is_disabled(row.name):
            return row._replace(
                state="disabled", error=f"enable it with: btplug enable {row.name}"
            )
        foreign = spot.source == "plugin-dir" and row.kind == "transport"
        if row.state == "ready" and foreign and not self._in_process:
            return row._replace(state="disabled", error="starts only with --in-process")
        return row

    def _store(
        self, key: tuple[object, ...], rows: list[Row], seen: dict[str, Observation]
    ) -> None:
        # What one call alone was told to look at is not worth keeping.
        if any(place.source == "plugin-dir" for place in self._finder.places):
            return
        if settled(*seen.values()):
            import marshal

            plain = marshal.dumps([tuple(row) for row in rows])
            observed = (tuple(seen), tuple(seen.values()))
            store_cached(self._path, "list", (key, as_json(rows), plain, observed))


def _folders(shelf: str) -> list[str]:
    try:
        return [e.path for e in os.scandir(shelf) if e.name[0] != "." and e.is_dir()]
    except OSError:
        return []


def _read(spot: Spot, path: str) -> Row:
    try:
        manifest = read_spot(spot)
    except PluginError as exc:
        name = exc.plugin or spot.name
        name = name if is_name(name) else ascii(name)[1:-1]
        return Row(
            name, spot.kind or None, None, None, spot.source, "broken", "", path,
            exc.line(),
        )  # fmt: skip
    return Row(
        manifest.name, manifest.kind, manifest.version, manifest.summary, spot.source,
        "ready", "", path, None,
    )  # fmt: skip


def _judged(
    row: Row, spot: Spot, store: TrustStore, seen: dict[str, Observation]
) -> Row:
    """Hold a plugin against what the operator accepted.

    By the same bytes as a run would, but what was seen is remembered: only a run
    has to know.
    """
    # Imported here: a listing from the cache does without.
    from btplug._trust.consent import Verdict, verdict

    pinned = None
    try:
        known = spot.source == "shipped" or store.all()
        found = verdict(spot, row.kind, store) if known else Verdict("untrusted")
        row = row._replace(trust=found.state)
        pinned = found.code.pinned if found.code else None
    except BtplugError as exc:
        # The store cannot be read, or the plugin not any more.
        trust = "untrusted" if exc.where == store.path else "changed"
        row = row._replace(trust=trust)
        if row.state == "ready":
            row = row._replace(state=trust, error=exc.line())
    if pinned is not None:
        files = pinned.paths if len(pinned.paths) <= _MOST_SEEN else ()
        for path in (*pinned.folders, *map(pinned.place, files)):
            seen[path] = observe(path)
    if row.state == "ready" and row.trust in REFUSED and spot.source != "plugin-dir":
        words = "--in-process " if row.kind == "transport" else ""
        what = "changed since it was trusted; " if row.trust == "changed" else ""
        error = f"{what}accept it with: btplug trust {words}{row.name}"
        row = row._replace(state=row.trust, error=error)
    return row


def as_json(rows: list[Row]) -> str:
    """Return rows as a JSON array, one object a line, with a final newline."""
    from btplug._json import dumps

    lines = ",\n ".join(dumps(row._asdict()) for row in rows)
    return f"[{lines}]\n"
