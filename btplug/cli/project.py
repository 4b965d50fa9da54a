"""The working directory's own btplug.yaml: inert until the operator trusts it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from btplug.cli.report import warn
from btplug.errors import BtplugError, TrustError

if TYPE_CHECKING:
    from btplug.cli.host import Host

FILE = "btplug.yaml"
MOST = 65536
Project = tuple[str, str, bytes]


def trusted_project(host: Host) -> Project | None:
    """Return path, digest and content of ./btplug.yaml; None: it has no effect.

    One that is there and not trusted costs one line.
    """
    if not os.path.lexists(FILE):
        return None
    try:
        found = read_project(FILE)
        if found is None:
            return None
        accepted = host.gate.store.find(found[0])
        if accepted is not None and accepted.digest == found[1]:
            return found
        was = (
            "is not trusted" if accepted is None else "has changed since it was trusted"
        )
        raise TrustError(
            f"{FILE} {was}: what it sets has no effect",
            fix="look at it, and accept it with: btplug trust .",
        )
    except TrustError as exc:
        if not host.told_project:
            host.told_project = True
            warn(
                BtplugError(exc.what, where=exc.where, fix=exc.fix),
                json=host.json_errors,
            )
        return None


def read_project(path: str) -> Project | None:
    """Read a project's settings once; None where there are none.

    Raises:
        TrustError: It is no regular file, too large, or others may write it.
    """
    from btplug._hashes import digest_of, sha256
    from btplug._owners import read_owned

    try:
        content = read_owned(path, MOST)
    except FileNotFoundError:
        return None
    return os.path.realpath(path), digest_of([(FILE, sha256(content))]), content
