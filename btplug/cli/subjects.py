"""What 'trust' is asked about: plugins by name or folder, a project, its settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from btplug._discovery import FOLDERS, shelf_spots, spots_of
from btplug._installed import Spot
from btplug._load.codecache import CodeCache
from btplug._trust.consent import manifest_in, pin_accountable, place_of
from btplug._trust.hashes import digest_of
from btplug.cli.project import FILE as SETTINGS
from btplug.cli.project import read_project
from btplug.cli.report import warn
from btplug.cli.unknown import unknown
from btplug.errors import BtplugError, UsageError
from btplug.manifest import FILE, is_name
from btplug.trust import Accepted

if TYPE_CHECKING:
    from btplug._load.pinned import Pinned
    from btplug.cli.host import Host
    from btplug.manifest import Manifest


class Subject(NamedTuple):
    """One thing to accept.

    Attributes:
        consent: What would be recorded.
        sizes: Bytes of each file, by path.
        hashes: SHA-256 of each.
        manifest: Of a plugin; None: the settings of a project.
    """

    consent: Accepted
    sizes: dict[str, int]
    hashes: dict[str, str]
    manifest: Manifest | None = None


def subjects(word: str, host: Host, *, in_process: bool) -> list[Subject]:
    """Return what *word* stands for: a plugin's name or folder, or a project's folder.

    Raises:
        UsageError: It is shipped, a transport without ``--in-process``, or nothing.
        BtplugError: It cannot be read, or others may write it.
    """
    spot = host.finder.find(word) if is_name(word) else None
    if spot is None and os.path.lexists(os.path.join(word, FILE)):
        spot = _spot_at(os.path.abspath(word), host)
    if spot is not None:
        return [_plugin(spot, in_process=in_process)]
    if os.path.isdir(word):
        if found := _project(os.path.abspath(word), host, in_process=in_process):
            return found
        raise UsageError(
            f"found nothing to accept in {word!r}, expected a plugin's {FILE}, "
            f"{SETTINGS}, or one of {', '.join(FOLDERS.values())}",
            fix="name a plugin, or the folder that holds it",
        )
    unknown(host, word)


def digest_over(found: list[Subject]) -> str:
    """Return the digest that stands for all of *found*, wherever their folder lies."""
    consents = [subject.consent for subject in found]
    if len(consents) == 1:
        return consents[0].digest
    base = os.path.commonpath([os.path.dirname(c.path) for c in consents])
    return digest_of((os.path.relpath(c.path, base), c.digest[3:]) for c in consents)


def _spot_at(root: str, host: Host) -> Spot:
    """Return the spot of a folder, as the place that holds it knows it."""
    name = os.path.basename(root).replace("_", "-")
    real = os.path.realpath(root)
    for place in host.finder.places:
        spots = (
            host.finder.spots(place)
            if place.source == "installed"
            else spots_of(place, name)
        )
        for spot in spots:
            if os.path.realpath(spot.root) == real:
                return spot
    shelf = os.path.basename(os.path.dirname(root))
    kind = {folder: kind for kind, folder in FOLDERS.items()}.get(shelf, "")
    return Spot(name, kind, root, "path")


def _plugin(spot: Spot, *, in_process: bool) -> Subject:
    if spot.source == "shipped":
        raise UsageError(
            f"{spot.name} comes with btplug, and needs no trust",
            fix="run it",
            plugin=spot.name,
        )
    pinned = pin_accountable(spot)
    manifest = manifest_in(CodeCache(None, pinned), spot)
    if manifest.kind == "transport" and not in_process:
        raise UsageError(
            f"{manifest.name} is a transport, which runs in btplug's own process: "
            "that is a consent of its own",
            fix=f"give it with: btplug trust --in-process {manifest.name}",
            plugin=manifest.name,
        )
    consent = Accepted(
        place_of(manifest), manifest.name, manifest.kind, manifest.version,
        pinned.digest, manifest.permissions, in_process,
    )  # fmt: skip
    return Subject(consent, _sizes(pinned), pinned.hashes, manifest)


def _sizes(pinned: Pinned) -> dict[str, int]:
    return {
        path: len(pinned.files[path])
        if path in pinned.files
        else os.lstat(pinned.place(path)).st_size
        for path in sorted(pinned.hashes)
    }


def _project(root: str, host: Host, *, in_process: bool) -> list[Subject]:
    """Return the settings and the plugins of a project; what is broken costs a line."""
    from btplug._confine.offer import offer

    found: list[Subject] = []
    if settings := read_project(os.path.join(root, SETTINGS)):
        path, digest, content = settings
        name = os.path.basename(root) or os.sep
        consent = Accepted(path, name, "settings", "", digest)
        from btplug._trust.hashes import sha256

        sizes, hashes = {SETTINGS: len(content)}, {SETTINGS: sha256(content)}
        found.append(Subject(consent, sizes, hashes))
    for kind, folder in FOLDERS.items():
        for spot in shelf_spots(os.path.join(root, folder), kind, "project"):
            try:
                # Commands of a project stay confined, whatever its transports get,
                # where anything can be.
                here = in_process and (kind == "transport" or bool(offer().missing))
                found.append(_plugin(spot, in_process=here))
            except BtplugError as exc:
                exc.plugin = exc.plugin or spot.name
                warn(exc, json=host.json_errors)
    return found
