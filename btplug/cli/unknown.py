"""What a name may have meant that no plugin has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from btplug._discovery import read_spot
from btplug._installed import Spot
from btplug.config import nearest
from btplug.errors import UnknownPlugin
from btplug.manifest import FILE

if TYPE_CHECKING:
    from btplug._discovery import Finder
    from btplug.cli.host import Host


def unknown(host: Host, name: str, kind: str | None = None) -> NoReturn:
    """Raise UnknownPlugin with the nearest name there is, or what hides it.

    Raises:
        ManifestError: A folder of another name says that it is this plugin.
    """
    rows = host.listing().rows()
    for row in rows:
        if row.name == name and row.state == "broken":
            folder = os.path.dirname(row.path)
            read_spot(Spot(name, row.kind or "", folder, row.source))
    names = (row.name for row in rows if kind in (None, row.kind))
    hint = nearest(name, names) or _missed(host.finder)
    raise UnknownPlugin(
        f"no plugin named {name!r}", fix=hint or "see what there is: btplug list"
    )


def _missed(finder: Finder) -> str:
    """Say which --plugin-dir holds no plugins, as one that is a plugin itself."""
    for place in finder.places:
        if place.source == "plugin-dir" and not finder.spots(place):
            above = os.path.dirname(place.root)
            if os.path.lexists(os.path.join(place.root, FILE)):
                return f"name the folder above the plugin's: --plugin-dir {above}"
            return f"no plugin folder lies in {place.root}"
    return ""
