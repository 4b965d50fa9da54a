"""Which files a confined plugin is lent: what words name, and what was accepted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from btplug.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from btplug._folders import Folders
    from btplug.manifest import Manifest

# Whatever the permissions of a plugin say.
ALWAYS = "to read, every file and folder that its command line names"


class Lender:
    """Finds out where names lead, once: what is checked here is what is lent.

    Attributes:
        guarded: What no plugin may open: keys, and what decides over plugins.
    """

    def __init__(self, home: Folders, manifest: Manifest) -> None:
        self._home, self._manifest = home, manifest
        paths = [home.trust]
        if os.path.isabs(own := os.path.expanduser("~")):
            paths += [
                own,
                *(os.path.join(own, name) for name in (".bittensor", ".ssh")),
            ]
        self.guarded = [os.path.realpath(path) for path in paths]

    def named(self, words: list[str]) -> Iterator[str]:
        """Yield the files and folders that words of the command line name.

        A word without a slash may be meant as anything. Where it is a link out of the
        working directory, as a clone may bring one along, it names nothing.
        """
        for text in texts(words):
            path = _resolved(text)
            bare = os.sep not in os.path.expanduser(text)
            if path and not (bare and _astray(text, path)) and self._lends(path):
                yield path

    def granted(self, key: str, named: Sequence[str]) -> list[str]:
        """Return what the permission *key*, ``read`` or ``write``, stands for.

        Raises:
            TrustError: A path below the working directory leads out of it: nobody who
                accepted it has seen where.
        """
        found: list[str] = []
        for text in getattr(self._manifest.permissions, key):
            if text == "state":
                plugin = self._manifest
                state = self._home.state(plugin.name, plugin.source, plugin.root)
                found.append(os.path.realpath(state))
            elif text == "arguments":
                found += named
            elif path := _resolved(text):
                if (below := _below(text)) is not None and _astray(below, path):
                    raise self._refusal(key, text, path)
                if self._lends(path):
                    found.append(path)
        return found

    def guards(self, path: str) -> bool:
        """Tell whether *path* leads to what no plugin may open."""
        return any(_touch(path, keys) for keys in self.guarded)

    def _lends(self, path: str) -> bool:
        return path != os.sep and os.path.exists(path) and not self.guards(path)

    def _refusal(self, key: str, text: str, path: str) -> TrustError:
        manifest = self._manifest
        fix = "put it into the manifest"
        if manifest.source != "plugin-dir":
            fix += f", and accept it with: btplug trust {manifest.name}"
        return TrustError(
            f"permissions: {key}: {text}: found a link on the way that leads out of "
            f"the working directory, to {path}; expected what lies below it",
            where=manifest.path,
            fix=f"remove the link; or, if the plugin is to have that path, {fix}",
            plugin=manifest.name,
        )


def texts(words: list[str]) -> Iterator[str]:
    """Yield what may name something: each word, and its part behind a ``=``."""
    for word in words:
        yield word
        yield from word.split("=", 1)[1:]


def _resolved(text: str) -> str:
    if not text or "\0" in text:
        return ""
    return os.path.realpath(os.path.expanduser(text))


def _below(text: str) -> str | None:
    """Return the part of a path below the working directory; None: it lies elsewhere.

    One that begins elsewhere may come back, as ``~/clone/x`` does.
    """
    path = os.path.expanduser(text)
    if not os.path.isabs(path):
        return path
    here, parts = os.path.realpath(os.curdir), path.split(os.sep)
    for end in range(len(parts), 1, -1):
        if os.path.realpath(os.sep.join(parts[:end])) == here:
            return os.path.join(os.curdir, *parts[end:])
    return None


def _astray(text: str, path: str) -> bool:
    """Tell whether a link led from the relative *text* out of the working directory.

    Args:
        path: What *text* was resolved to.
    """
    here = os.path.realpath(os.curdir)
    if path == os.path.normpath(os.path.join(here, text)):
        return False  # no link is on the way
    return here == os.sep or os.path.commonpath([here, path]) != here


def _touch(path: str, keys: str) -> bool:
    """Tell whether *path* is or holds the folder *keys*, or lies in it, if not HOME."""
    common = os.path.commonpath([path, keys])
    if keys == os.path.realpath(os.path.expanduser("~")):
        return common == path
    return common in (path, keys)
