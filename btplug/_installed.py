"""Plugins of installed distributions, from an index of their entry points."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import (
    Folders,
    digest,
    load_cached,
    observe,
    settled,
    store_cached,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

GROUPS = {"btplug.cli_plugins": "cli", "btplug.transport_plugins": "transport"}


class Spot(NamedTuple):
    """Where a plugin seems to lie, before its config.yaml is read.

    Attributes:
        kind: As the shelf or the entry point says; empty where either may lie.
        root: The folder with config.yaml.
        source: Kind of place.
        package: Importable name of *root*; only of installed distributions.
        record: The folder ``….dist-info``; only of those, and not of all.
    """

    name: str
    kind: str
    root: str
    source: str
    package: str = ""
    record: str = ""


def installed_spots(home: Folders) -> list[Spot]:
    """Return the plugins that installed distributions offer, sorted by name.

    Asking for entry points costs 34 ms; a folder on `sys.path` gets a new time when
    a distribution comes or goes, so the answer is kept until then.
    """
    # `python -m btplug` puts the working directory first; nothing in it is installed.
    here = (0, _working_directory())
    roots = [p for item in enumerate(sys.path) if (p := item[1]) and item != here]
    # One folder may be there by two paths: lib64 is often a link to lib.
    roots = list({os.path.realpath(root): root for root in reversed(roots)}.values())
    roots.reverse()
    seen = tuple((path, observe(path)) for path in roots)
    # Two environments on one cache would overwrite each other's.
    path = os.path.join(home.cache, f"installed-{digest(repr(roots))}")
    cached = load_cached(path, "installed")
    if cached and cached[0] == seen:
        return [Spot(*values) for values in cached[1]]
    spots = _offered(roots)
    if settled(*(observation for _, observation in seen)):
        store_cached(path, "installed", (seen, [tuple(spot) for spot in spots]))
    return spots


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _offered(roots: list[str]) -> list[Spot]:
    from importlib.metadata import distributions

    found: list[Spot] = []
    known: set[str] = set()
    for distribution in distributions(path=roots):
        # Anything may be wrong with what others installed; it is their plugins only
        # that are missing then.
        with suppress(Exception):
            # Of two versions the one that an import would find counts.
            name = distribution.metadata["Name"]
            if name not in known:
                known.add(name)
                found += _spots(distribution)
    return sorted(set(found))


def _spots(distribution: Distribution) -> Iterator[Spot]:
    for point in distribution.entry_points:
        if point.group not in GROUPS:
            continue
        package = ascii(point.value.strip())[1:-1][:200]
        # One that names no package is listed as broken: its author wonders otherwise.
        good = all(part.isidentifier() for part in package.split("."))
        root = (
            _root(distribution, package) if good else str(distribution.locate_file(""))
        )
        kind = GROUPS[point.group]
        yield Spot(point.name, kind, root, "installed", package, _record(distribution))


def _record(distribution: Distribution) -> str:
    """Return the folder that holds the list of the distribution's files."""
    for file in distribution.files or ():
        if file.name == "RECORD" and file.parent.name.endswith(".dist-info"):
            return os.path.dirname(str(distribution.locate_file(file)))
    return ""


def _root(distribution: Distribution, package: str) -> str:
    """Return the folder of *package*, without importing any of its parents."""
    inside = package.replace(".", "/")
    for file in distribution.files or ():
        if str(file) == f"{inside}/config.yaml":
            return os.path.dirname(str(distribution.locate_file(file)))
    # An editable install lists no files: look beside the top-level package, which
    # find_spec finds without importing anything.
    from importlib.util import find_spec

    top, _, rest = package.partition(".")
    spec = find_spec(top)
    places = spec.submodule_search_locations if spec else None
    folder = next(iter(places), "") if places else ""
    return os.path.join(folder, *rest.split(".")) if rest else folder
