"""Plugins of installed distributions, from an index of their entry points."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import Folders, load_cached, observe, settled, store_cached

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUPS = {"btplug.cli_plugins": "cli", "btplug.transport_plugins": "transport"}


class Spot(NamedTuple):
    """Where a plugin seems to lie, before its config.yaml is read.

    Attributes:
        kind: As the shelf or the entry point says; empty where either may lie.
        root: The folder with config.yaml.
        source: Kind of place.
        package: Importable name of *root*; only of installed distributions.
    """

    name: str
    kind: str
    root: str
    source: str
    package: str = ""


def installed_spots(home: Folders) -> list[Spot]:
    """Return the plugins that installed distributions offer, sorted by name.

    Asking for entry points costs 34 ms; a folder on `sys.path` gets a new time when
    a distribution comes or goes, so the answer is kept until then.
    """
    # `python -m btplug` puts the working directory first; nothing in it is installed.
    here = (0, _working_directory())
    roots = [p for item in enumerate(sys.path) if (p := item[1]) and item != here]
    seen = tuple((path, observe(path)) for path in roots)
    path = os.path.join(home.cache, "installed")
    cached = load_cached(path, "installed")
    if cached and cached[0] == seen:
        return [Spot(*values) for values in cached[1]]
    spots = sorted({s for root in roots for s in _offered(root)})
    if settled(*(observation for _, observation in seen)):
        store_cached(path, "installed", (seen, [tuple(spot) for spot in spots]))
    return spots


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _offered(root: str) -> list[Spot]:
    from importlib.metadata import distributions

    return [
        Spot(point.name, GROUPS[point.group], _root(distribution, point.value),
             "installed", point.value)
        for distribution in distributions(path=[root])
        for point in distribution.entry_points
        if point.group in GROUPS
    ]  # fmt: skip


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
