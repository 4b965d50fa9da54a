"""Places -> manifests and errors. Returns data, runs no plugin code."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import digest, load_cached, observe, settled, store_cached
from btplug._installed import Spot, installed_spots
from btplug.errors import ManifestError, PluginError
from btplug.manifest import FILE, Manifest, folder_names, is_name, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug._folders import Folders

FOLDERS = {"cli": "cli_plugins", "transport": "transport_plugins"}


class Place(NamedTuple):
    """A folder that may hold plugins.

    Attributes:
        source: ``shipped``, ``plugin-dir``, ``installed``, ``user``, ``path`` or
            ``project``.
        mixed: Plugin folders lie in *root* itself too, whatever their kind.
    """

    source: str
    root: str
    mixed: bool = False

    def shelves(self) -> list[tuple[str, str]]:
        """Return (kind, folder) pairs; an empty kind stands for either."""
        own = [(kind, os.path.join(self.root, name)) for kind, name in FOLDERS.items()]
        return [("", self.root), *own] if self.mixed else own


def shipped() -> Place:
    """Return the place of the plugins that come with btplug."""
    package = os.path.dirname(os.path.abspath(__file__))
    # In a checkout they lie beside the package, in a wheel inside it.
    inside = os.path.isdir(os.path.join(package, FOLDERS["cli"]))
    return Place("shipped", package if inside else os.path.dirname(package))


def places(home: Folders, plugin_dirs: tuple[str, ...] = ()) -> list[Place]:
    """Return the places plugins come from, the one that wins first."""
    found = [shipped()]
    found += [Place("plugin-dir", _absolute(d), mixed=True) for d in plugin_dirs]
    found.append(Place("installed", ""))
    found.append(Place("user", home.data))
    for folder in os.environ.get("BTPLUG_PLUGIN_PATH", "").split(os.pathsep):
        if folder:
            found.append(Place("path", _absolute(folder), mixed=True))
    # Last: who walks into a folder has not chosen what lies in it.
    here = _absolute(".")
    if any(os.path.isdir(os.path.join(here, name)) for name in FOLDERS.values()):
        found.append(Place("project", here))
    # Two places with one real path are one place; "installed" has no path.
    unique: dict[str, Place] = {}
    for place in found:
        unique.setdefault(place.root and os.path.realpath(place.root), place)
    return list(unique.values())


def _absolute(folder: str) -> str:
    try:
        return os.path.abspath(folder)
    except FileNotFoundError:
        return os.path.join(os.sep, "gone", folder)  # so is the working directory


class Finder:
    """Looks plugins up by name, place by place, without reading the others."""

    def __init__(self, home: Folders, plugin_dirs: tuple[str, ...] = ()) -> None:
        self.home = home
        self.places = places(home, plugin_dirs)

    @cached_property
    def _installed(self) -> list[Spot]:
        return installed_spots(self.home)

    def spots(self, place: Place) -> list[Spot]:
        """Return everything *place* holds, sorted by name."""
        if place.source == "installed":
            return self._installed
        return [
            spot
            for kind, shelf in place.shelves()
            for spot in shelf_spots(shelf, kind, place.source)
        ]

    def find(self, name: str) -> Spot | None:
        """Return the spot that has the name, or None.

        Raises:
            ManifestError: Two plugins in one place have it.
        """
        if not is_name(name):
            return None
        for place in self.places:
            if place.source == "installed":
                found = [s for s in self._installed if s.name == name]
            else:
                found = spots_of(place, name)
            if len(found) > 1:
                raise clash(name, found)
            if found:
                return found[0]
        return None

    def transports(self, *, in_process: bool) -> list[str]:
        """Return the names that some place offers as a transport, places in order.

        Args:
            in_process: Those of ``--plugin-dir`` may start; otherwise nobody looks
                through a folder of its own for them, whose every manifest tells.
        """
        names: dict[str, None] = {}
        for place in self.places:
            if place.source == "installed":
                found = [s.name for s in self._installed if s.kind == "transport"]
                names |= dict.fromkeys(found)
                continue
            withheld = place.source == "plugin-dir" and not in_process
            for kind, shelf in place.shelves():
                if kind != "cli" and not (withheld and not kind):
                    spots = shelf_spots(shelf, kind, place.source)
                    names |= dict.fromkeys(self._transports(shelf, spots))
        return list(names)

    def _transports(self, shelf: str, spots: list[Spot]) -> list[str]:
        """Return the names of *spots* without those that are commands.

        Where anything may lie only the config.yaml tells; what it told is cached, or
        every start would read the YAML of all.
        """
        if all(spot.kind for spot in spots):
            return [spot.name for spot in spots]
        path = os.path.join(self.home.cache, f"kinds-{digest(shelf)}")
        known = load_cached(path, "kinds") or {}
        found = {}
        for spot in spots:
            now = observe(os.path.join(spot.root, FILE))
            old, kind = known.get(spot.root, (None, ""))
            if old is None or old != now:
                kind = _kind(spot)
            found[spot.root] = now, kind
        if found != known and settled(*(now for now, _ in found.values())):
            store_cached(path, "kinds", found)
        return [spot.name for spot in spots if found[spot.root][1] != "cli"]


def _kind(spot: Spot) -> str:
    """Return what a plugin is; of a broken one nothing is known, not even that."""
    try:
        return read_spot(spot).kind
    except PluginError:
        return ""


def spots_of(place: Place, name: str) -> list[Spot]:
    """Return where *place* holds plugin *name*: none, one, or several that clash."""
    return [
        Spot(name, kind, os.path.join(shelf, folder), place.source)
        for kind, shelf in place.shelves()
        for folder in folder_names(name)
        if is_plugin_folder(os.path.join(shelf, folder), kind)
    ]


def shelf_spots(shelf: str, kind: str, source: str) -> list[Spot]:
    """Return every plugin folder on a shelf, sorted by name."""
    try:
        entries = sorted(os.scandir(shelf), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        Spot(entry.name.replace("_", "-"), kind, entry.path, source)
        for entry in entries
        if entry.name[0] not in "._" and is_plugin_folder(entry.path, kind)
    ]


def is_plugin_folder(path: str, kind: str) -> bool:
    """Tell a plugin, good or broken, from a folder that has to do with none."""
    if os.path.lexists(os.path.join(path, FILE)):
        return True
    # Code without a config.yaml is a plugin whose author needs a hint; but where
    # anything may lie, only a config.yaml makes a plugin.
    return bool(kind) and os.path.exists(os.path.join(path, "plugin.py"))


def read_spot(spot: Spot, content: bytes | None = None) -> Manifest:
    """Read the manifest at a spot and hold it against where it lies.

    Args:
        content: Of its config.yaml, where that was read before.

    Raises:
        ManifestError: It is broken, or its folder or shelf says another thing.
    """
    if spot.package and not all(p.isidentifier() for p in spot.package.split(".")):
        raise ManifestError(
            f"the entry point {spot.name!r}: found {spot.package!r}, "
            "expected the sub-package that holds config.yaml",
            where=spot.root,
            fix="name the package alone, without a class",
        )
    folder = os.path.basename(spot.root)
    manifest = read_manifest(
        spot.root, package=spot.package, source=spot.source, record=spot.record,
        content=content,
    )  # fmt: skip
    if not spot.package and folder not in folder_names(manifest.name):
        raise ManifestError(
            f"{manifest.path}: plugin.name: found {manifest.name!r} in the folder "
            f"{folder!r}, expected the folder to be called like the plugin",
            fix=f"rename the folder to {folder_names(manifest.name)[-1]}",
            plugin=manifest.name,
        )
    if spot.package and manifest.name != spot.name:
        raise ManifestError(
            f"{manifest.path}: plugin.name: found {manifest.name!r}, "
            f"expected the name of the entry point, {spot.name!r}",
            fix="make the two the same",
        )
    if spot.kind and manifest.kind != spot.kind:
        raise ManifestError(
            f"{manifest.path}: plugin.kind: found {manifest.kind!r}, "
            f"expected {spot.kind!r}, because it lies in {os.path.dirname(spot.root)}",
            fix=f"change 'kind:', or move the folder to {FOLDERS[manifest.kind]}",
        )
    return manifest


def by_name(spots: list[Spot]) -> dict[str, list[Spot]]:
    """Sort spots by name; more than one of a name in one place is a clash."""
    found: dict[str, list[Spot]] = {}
    for spot in spots:
        found.setdefault(spot.name, []).append(spot)
    return found


def clash(name: str, spots: list[Spot]) -> ManifestError:
    """Make the error of two plugins of one name in one place: both are broken."""
    return ManifestError(
        f"two plugins are named {name!r} in the same place",
        where=" and ".join(spot.root for spot in spots),
        fix="remove or rename one of them",
        plugin=name,
    )


def scan_directory(directory: str, kind: str) -> Iterator[Manifest | PluginError]:
    """Yield what lies in *directory*, for the registry of *kind*.

    Raises:
        PluginError: It is no folder.
    """
    root = os.path.abspath(directory)
    if not os.path.isdir(root):
        raise PluginError(
            f"found no folder {directory!r}, expected one that holds plugin folders",
            where=root,
            fix="give the folder above the plugin's own",
        )
    shelves = [("", root), (kind, os.path.join(root, FOLDERS[kind]))]
    if os.path.basename(root) == FOLDERS[kind]:
        shelves[0] = (kind, root)
    spots = [s for k, shelf in shelves for s in shelf_spots(shelf, k, "directory")]
    for name, twins in by_name(spots).items():
        spot = twins[0]
        try:
            yield read_spot(spot) if len(twins) == 1 else clash(name, twins)
        except PluginError as exc:
            exc.plugin = exc.plugin or (spot.name if is_name(spot.name) else None)
            yield exc
