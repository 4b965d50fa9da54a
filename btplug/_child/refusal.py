"""What to do about a file that a confined plugin may not open."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug.manifest import Permissions


def refusal(error: BaseException, permissions: Permissions) -> str:
    """Return what to do, empty where *error* is not of a file that was refused."""
    for exc in chain(error):
        if isinstance(exc, OSError) and exc.errno == errno.EACCES:
            name = exc.filename
            return _fix(name, permissions) if isinstance(name, str) else ""
    return ""


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what it was raised from, each once.

    One that is raised again may be the context of its own cause.
    """
    exc: BaseException | None = error
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__


def _fix(name: str, permissions: Permissions) -> str:
    there = os.path.exists(name)
    # Without a slash neither a new file nor a link out of the folder is lent.
    bare = not os.path.dirname(name) and (not there or os.path.islink(name))
    named = os.path.join(".", name) if bare else name
    if there and not _readable(name):
        return (
            f"a confined plugin reads what its command line names: name {named} there, "
            "or below 'permissions: read:' in its config.yaml"
        )
    grant = "" if "arguments" in permissions.write else (
        ", and have 'permissions: {write: [arguments]}' in its config.yaml"
    )  # fmt: skip
    return (
        "a confined plugin writes what its command line names, a new file with its "
        f"folder: name {named} there{grant}"
    )


def _readable(name: str) -> bool:
    try:
        if os.path.isdir(name):
            os.listdir(name)
        else:
            os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True
