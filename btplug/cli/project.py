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
        accepted = host.gate.store.find(os.path.realpath(FILE))
        found = read_project(FILE) if accepted else None
        if accepted and found and accepted.digest == found[1]:
            return found
        was = "has changed since it was trusted" if accepted else "is not trusted"
        raise TrustError(
            f"{FILE} {was}: what it sets has no effect",
            fix="look at it, and accept it with: btplug trust .",
        )
    except TrustError as exc:
        if not host.told_project:
            host.told_project = True
            told = BtplugError(exc.what, where=exc.where, fix=exc.fix)
            warn(told, json=host.json_errors)
        return None


def read_project(path: str) -> Project | None:
    """Read a project's settings once; None where there are none.

    Raises:
        TrustError: It is no regular file, too large, or others may write it.
    """
    from btplug._trust.hashes import digest_of, sha256
    from btplug._trust.owners import read_owned

    try:
        content = read_owned(path, MOST)
    except FileNotFoundError:
        return None
    return os.path.realpath(path), digest_of([(FILE, sha256(content))]), content
