"""Where btplug keeps its own files, and how it writes and caches them safely."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, NamedTuple

Observation = tuple[int, int, int] | None


class Folders(NamedTuple):
    """The four folders of btplug; with BTPLUG_HOME all lie in that one."""

    config: str
    data: str
    cache: str
    state_root: str

    @property
    def user_config(self) -> str:
        """The file that belongs to the user; btplug never writes it."""
        return os.path.join(self.config, "config.yaml")

    @property
    def disabled(self) -> str:
        """Folder with one empty file for each disabled plugin."""
        return os.path.join(self.config, "disabled")

    @property
    def trust(self) -> str:
        """Folder with what the operator accepted; nobody else's business."""
        return os.path.join(self.config, "trust")

    @property
    def accepted(self) -> str:
        """The trust store: see `btplug.trust`."""
        return os.path.join(self.trust, "accepted")

    def written(self, owner: str) -> str:
        """Folder with one file for each key that ``config set`` wrote for *owner*."""
        return os.path.join(self.config, "settings", owner)

    def state(self, plugin: str, source: str = "", root: str = "") -> str:
        """Make and return the folder in which *plugin* keeps what it needs.

        Args:
            source: Kind of place it was found in. What lies in a project, or was named
                by ``--plugin-dir``, may be called like another plugin, and what that
                one keeps is none of its business: its folder is of its place too.
            root: Its folder there.
        """
        if source in ("plugin-dir", "project"):
            from _blake2 import blake2b

            place = os.fsencode(os.path.realpath(root))
            plugin = f"{plugin}@{blake2b(place, digest_size=8).hexdigest()}"
        path = os.path.join(self.state_root, plugin)
        make_private(path)
        return path

    def is_disabled(self, name: str) -> bool:
        """Tell whether ``btplug disable NAME`` is in force."""
        return os.path.exists(os.path.join(self.disabled, name))


def folders() -> Folders:
    """Return the folders that the environment asks for."""
    if home := os.environ.get("BTPLUG_HOME"):
        home = os.path.abspath(home)
        return Folders(home, home, *(os.path.join(home, x) for x in ("cache", "state")))
    if sys.platform.startswith("linux"):
        # The rule platformdirs has for Linux (XDG base directories): importing it
        # costs 17 ms, a third of the start. A test holds the two together.
        return Folders(
            _xdg("XDG_CONFIG_HOME", "~/.config"),
            _xdg("XDG_DATA_HOME", "~/.local/share"),
            _xdg("XDG_CACHE_HOME", "~/.cache"),
            _xdg("XDG_STATE_HOME", "~/.local/state"),
        )
    import platformdirs

    dirs = platformdirs.PlatformDirs("btplug", appauthor=False)
    return Folders(
        dirs.user_config_dir, dirs.user_data_dir, dirs.user_cache_dir,
        dirs.user_state_dir,
    )  # fmt: skip


def _xdg(variable: str, default: str) -> str:
    root = os.environ.get(variable, "")
    if os.path.isabs(root):
        return os.path.join(root, "btplug")
    # The specification: a relative path is no path.
    root = "/nonexistent"  # a user without a home: the working directory is none
    if os.path.isabs(os.environ.get("HOME", os.sep)):
        home = os.path.expanduser(default)
        root = home if os.path.isabs(home) else root
    else:
        # No folder is as good as none; expanduser would begin where we happen to be.
        from pwd import getpwuid

        with suppress(KeyError):
            root = default.replace("~", getpwuid(os.getuid()).pw_dir)
    return os.path.join(root, "btplug")


def digest(text: str) -> str:
    """Return eight characters that stand for *text* in the name of a file."""
    from binascii import crc32

    return f"{crc32(os.fsencode(text)):08x}"


def observe(path: str) -> Observation:
    """Return what tells a changed file or folder from an unchanged one.

    Returns:
        Nanoseconds of the last change, size, inode; None where nothing is.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def settled(*observations: Observation) -> bool:
    """Tell whether what was observed is old enough to be recognised by it.

    A second change within one tick of the clock leaves the time as it is; file
    systems tick as slowly as every two seconds.
    """
    import time

    now = time.time_ns()
    return all(seen is None or abs(now - seen[0]) > 2e9 for seen in observations)


def make_private(folder: str) -> None:
    """Make a folder and those above it, closed to everybody else.

    Whoever could write into one of them could put plugins there.
    """
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        try:
            os.mkdir(path, mode=0o700)
            os.chmod(path, 0o700)  # whatever the umask took away
        except FileExistsError:
            continue  # another process was faster


def write_atomic(path: str, content: bytes, *, foreign: bool = False) -> None:
    """Replace *path* by *content*, whole or not at all; folders are made, private.

    Args:
        foreign: The folder is not btplug's: it must be there, nothing else in it is
            touched, and others may read the file.

    Raises:
        OSError: It could not be written; what was there is untouched.
    """
    folder, name = os.path.split(path)
    if not foreign:
        make_private(folder)
        _sweep(folder)
    temporary = os.path.join(folder, f".tmp-{os.getpid()}-{name}-{os.urandom(4).hex()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.chmod(temporary, 0o644 if foreign else 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Ctrl-C as well: a secret may be in it, and no later write is sure to come.
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _sweep(folder: str) -> None:
    """Remove what processes that were killed while writing have left behind."""
    import time

    for entry in os.scandir(folder):
        if entry.name.startswith(".tmp-"):
            try:
                if time.time() - entry.stat().st_mtime > 60:
                    os.unlink(entry.path)
            except OSError:
                continue  # another process was faster


def load_cached(path: str, kind: str) -> Any:  # of the shape that was stored
    """Return what `store_cached` wrote; None for missing, damaged or foreign content.

    The checksum stands before marshal, which may crash on bytes it did not write.
    """
    import marshal
    from binascii import crc32

    try:
        # A pipe in its place must not keep us waiting.
        with open(path, "rb", opener=_open_now) as file:
            content = file.read(_MOST_CACHED)
    except (OSError, ValueError):
        return None
    start = len(_STAMP) + 4
    if content[:start] != _STAMP + crc32(content[start:]).to_bytes(4, "big"):
        return None
    try:
        found = marshal.loads(content[start:])
    except (ValueError, EOFError, TypeError, MemoryError):
        return None
    if isinstance(found, tuple) and len(found) == 2 and found[0] == kind:
        value: object = found[1]
        return value
    return None


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def store_cached(path: str, kind: str, value: Any) -> None:
    """Write plain data for `load_cached`; that it cannot be written is normal."""
    import marshal
    from binascii import crc32

    try:
        body = marshal.dumps((kind, value))
        write_atomic(path, _STAMP + crc32(body).to_bytes(4, "big") + body)
    except (OSError, ValueError):
        return


# Ten thousand plugins are listed in 4 MiB; more was not written by us.
_MOST_CACHED = 64 * 1024 * 1024


def _stamp() -> bytes:
    from btplug import __version__

    tag = sys.implementation.cache_tag
    # The last number goes up with what a manifest is checked for.
    return f"btplug {__version__} {tag} {sys.hexversion:x} 3\n".encode()


_STAMP = _stamp()
