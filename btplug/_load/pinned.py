"""A plugin's files, read once: what is hashed here is what runs."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NoReturn

from btplug._trust.hashes import digest_of, sha256
from btplug._trust.owners import check_owner, kind_of, read_whole, real_folder
from btplug.errors import PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_FILES = 1_000
MOST_BYTES = 16 * 1024 * 1024
MOST_ENTRIES = 10_000  # those that are ignored too
MOST_DEPTH = 16
COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib")
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Pinned:
    """The bytes of a plugin, as they were when they were read.

    Args:
        hashes: SHA-256 of files by path, where the content of some was not kept.

    Attributes:
        root: The folder, without links.
        own: What it may read of itself.
        files: Path below *root*, with ``/``, to content.
        folders: Where its files lie, *root* first: their times tell of new files.
        tag: Of the wheel, where compiled modules make it differ between systems.
        whole: The content of every file is in *files*.
    """

    __slots__ = (
        "_digest", "_hashes", "files", "folders", "own", "root", "tag", "whole",
    )  # fmt: skip

    def __init__(
        self,
        root: str,
        files: dict[str, bytes],
        folders: tuple[str, ...] = (),
        *,
        hashes: dict[str, str] | None = None,
        tag: str = "",
        own: tuple[str, ...] = (),
    ) -> None:
        self.root, self.files, self.folders, self.tag = root, files, folders, tag
        self.own = own or (root,)
        self._hashes, self.whole = hashes, hashes is None
        self._digest: str | None = None

    @property
    def paths(self) -> Collection[str]:
        """All files that count."""
        return self.files if self.whole else self.hashes

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file, by path."""
        if self._hashes is None:
            self._hashes = {path: sha256(data) for path, data in self.files.items()}
        return self._hashes

    @property
    def digest(self) -> str:
        """What stands for all files: see `digest_of`."""
        if self._digest is None:
            self._digest = digest_of(self.hashes.items())
        return self._digest

    def recall(self, digest: str) -> None:
        """Take the digest that was made of exactly these files before."""
        self._digest = digest

    def place(self, path: str) -> str:
        """Return the whole path of a file."""
        return f"{self.root.rstrip(os.sep)}{os.sep}{path.replace('/', os.sep)}"


def read_folder(root: str, *, checked: bool = True, compiled: bool = False) -> Pinned:
    """Read all files of a plugin's folder, once, without following a link.

    ``__pycache__`` and names that begin with a dot are left out: pip, pytest and
    editors make them, and nothing in them is used.

    Args:
        checked: Only root and the user may write any folder on the way, and the files.
        compiled: Files of compiled code are no reason to refuse.

    Raises:
        TrustError: Others may write it.
        PluginLoadError: It holds a link, a pipe, a device, compiled code, or too much.
    """
    try:
        real = real_folder(root) if checked else os.path.realpath(root)
        top = os.open(real, _FLAGS | os.O_DIRECTORY)
    except OSError as exc:
        raise _unreadable(root, exc) from exc
    try:
        reader = _Reader(real, checked, compiled)
        reader.folder(top, "", 0)
    except OSError as exc:
        raise _unreadable(root, exc) from exc
    finally:
        os.close(top)
    folders = tuple(os.path.join(real, f) if f else real for f in reader.folders)
    return Pinned(real, reader.files, folders)


class _Reader:
    def __init__(self, root: str, checked: bool, compiled: bool) -> None:
        self.root, self.checked, self.compiled = root, checked, compiled
        self.files: dict[str, bytes] = {}
        self.folders: list[str] = []
        self.left, self.entries = MOST_BYTES, MOST_ENTRIES
        self.safe = (0, os.geteuid())

    def folder(self, fd: int, inside: str, depth: int) -> None:
        """Read an open folder; *inside* is its path below the root, and ``/``."""
        self.folders.append(inside.rstrip("/"))
        if depth > MOST_DEPTH:
            self.refuse(inside, f"a folder {depth} levels deep", "fewer levels")
        if self.checked and depth:
            path = os.path.join(self.root, inside)
            check_owner(path, os.fstat(fd), within=self.root)
        with os.scandir(fd) as found:
            for entry in found:
                self.entries -= 1
                if self.entries < 0:
                    what = f"more than {MOST_ENTRIES:,} entries"
                    self.refuse(inside, what, "fewer files")
                name = entry.name
                if name[0] == ".":
                    continue
                path = inside + name
                if entry.is_file(follow_symlinks=False):
                    self.read(fd, name, path)
                elif entry.is_dir(follow_symlinks=False):
                    if name != "__pycache__":
                        self.enter(fd, name, path, depth)
                elif name != "__pycache__":
                    self.refuse(path, _kind(fd, name), "regular files alone")

    def enter(self, above: int, name: str, path: str, depth: int) -> None:
        self.check_name(path)
        fd = self.open(above, name, path, _FLAGS | os.O_DIRECTORY)
        try:
            self.folder(fd, f"{path}/", depth + 1)
        finally:
            os.close(fd)

    def read(self, above: int, name: str, path: str) -> None:
        self.check_name(path)
        if not self.compiled and name.lower().endswith(COMPILED):
            self.refuse(path, "compiled code", "source: compiled code not allowed")
        if len(self.files) >= MOST_FILES:
            self.refuse(path, f"more than {MOST_FILES:,} files", "fewer")
        fd = self.open(above, name, path, _FLAGS)
        try:
            found = os.fstat(fd)
            # What it was when the folder was listed, it may be no more.
            if not stat.S_ISREG(found.st_mode):
                self.refuse(path, kind_of(found.st_mode), "regular files alone")
            if self.checked and (
                found.st_mode & 0o022 or found.st_uid not in self.safe
            ):
                whole = os.path.join(self.root, path)
                check_owner(whole, found, within=self.root)
            content = read_whole(fd, found.st_size, self.left)
            if content is None:
                what = f"more than {MOST_BYTES:,} bytes"
                self.refuse(path, what, "less, in all files together")
            self.left -= len(content)
            self.files[path] = content
        finally:
            os.close(fd)

    def open(self, above: int, name: str, path: str, flags: int) -> int:
        try:
            return os.open(name, flags, dir_fd=above)
        except OSError as exc:
            raise _unreadable(os.path.join(self.root, path), exc) from exc

    def check_name(self, path: str) -> None:
        # A line end in a name could stand for two lines of the digest.
        if not path.isprintable():
            self.refuse(path, "such a name", "names in UTF-8 that can be shown")

    def refuse(self, path: str, found: str, expected: str) -> NoReturn:
        raise PluginLoadError(
            f"found {found} in the plugin, expected {expected}",
            where=ascii(os.path.join(self.root, path))[1:-1],
            fix="remove it from the plugin's folder",
        )


def _kind(fd: int, name: str) -> str:
    try:
        return kind_of(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return "what is gone already"


def _unreadable(path: str, exc: OSError) -> PluginLoadError:
    return PluginLoadError(
        f"the plugin's files cannot be read: {exc.strerror}",
        where=ascii(path)[1:-1],
        fix="let no other process change them meanwhile, and be allowed to read them",
    )
