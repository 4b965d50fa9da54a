"""The files of an installed distribution, read once."""

from __future__ import annotations

import os
import stat

from btplug._load.pinned import COMPILED, Pinned, read_folder
from btplug._trust.hashes import sha256
from btplug._trust.owners import (
    check_owner,
    kind_of,
    read_owned,
    read_whole,
    real_folder,
)
from btplug.errors import PluginLoadError

MOST_FILES = 20_000
MOST_BYTES = 512 * 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_distribution(record: str, root: str, package: str) -> Pinned:
    """Read the files that the distribution's RECORD lists.

    Without compiled caches, scripts and its own ``.dist-info``: those differ from
    machine to machine. Source is kept, of all else only the hash. Where the plugin is
    not in the list, as in an editable install, its whole top-level package counts.

    Args:
        record: The folder ``….dist-info``.
        root: The plugin's folder, which is *package*.

    Raises:
        TrustError: Others may write a file, or a folder on the way.
        PluginLoadError: A file is missing, a link, or there is too much.
    """
    inside = package.replace(".", "/")
    try:
        paths = _listed(record) if record else []
        if f"{inside}/config.yaml" in paths:
            return _recorded(record, paths)
    except OSError as exc:
        found = exc.strerror or type(exc).__name__
        raise _refused(exc.filename or record, found, "what was installed") from exc
    return _editable(root, package)


def _recorded(record: str, paths: list[str]) -> Pinned:
    base = real_folder(os.path.dirname(record))
    for folder in sorted({folder for path in paths for folder in _above(path)}):
        place = os.path.join(base, folder)
        found = os.lstat(place)
        if not stat.S_ISDIR(found.st_mode):
            raise _refused(place, kind_of(found.st_mode), "a folder")
        check_owner(place, found)
    files: dict[str, bytes] = {}
    hashes: dict[str, str] = {}
    left = MOST_BYTES
    for path in paths:
        content = _content(os.path.join(base, path), left)
        left -= len(content)
        hashes[path] = sha256(content)
        if path.endswith((".py", "/config.yaml")):
            files[path] = content
    tag = _tag(record) if any(path.endswith(COMPILED) for path in paths) else ""
    tops = sorted({os.path.join(base, path.partition("/")[0]) for path in paths})
    own = (record, *tops)
    return Pinned(base, files, (record,), hashes=hashes, tag=tag, own=own)


def _listed(record: str) -> list[str]:
    """Return the paths in a RECORD that belong to every copy of the distribution.

    Source: PyPA, Recording installed projects, the RECORD file.
    """
    import csv

    place = os.path.join(record, "RECORD")
    try:
        text = read_owned(place, 16 * 1024 * 1024).decode()
    except FileNotFoundError:
        return []
    except ValueError as exc:
        raise _refused(place, "bytes that are no UTF-8", "a list of files") from exc
    found = []
    for row in csv.reader(text.splitlines()):
        path = os.path.normpath(row[0]).replace(os.sep, "/") if row else "."
        outside = path.startswith(("/", "..")) or path == "."
        own = path.partition("/")[0].endswith(".dist-info")
        if not (outside or own or path.endswith(".pyc")):
            found.append(path)
    if len(found) > MOST_FILES:
        raise _refused(place, f"{len(found):,} files", f"at most {MOST_FILES:,}")
    return sorted(set(found))


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _content(path: str, most: int) -> bytes:
    try:
        fd = os.open(path, _FLAGS)
    except OSError as exc:
        kind = "a link" if os.path.islink(path) else exc.strerror
        raise _refused(path, str(kind), "the file that was installed") from exc
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(path, kind_of(found.st_mode), "a regular file")
        check_owner(path, found)
        content = read_whole(fd, found.st_size, most)
    finally:
        os.close(fd)
    if content is None:
        raise _refused(path, f"more than {MOST_BYTES:,} bytes", "less in all")
    return content


def _tag(record: str) -> str:
    """Return for which systems the installed wheel was made."""
    text = read_owned(os.path.join(record, "WHEEL"), 65536).decode("utf-8", "replace")
    tags = [line[5:] for line in text.splitlines() if line.startswith("Tag: ")]
    return min(tags, default="unknown")


def _editable(root: str, package: str) -> Pinned:
    top, *rest = package.split(".")
    folder = os.path.realpath(root)
    for _ in rest:
        folder = os.path.dirname(folder)
    if os.path.basename(folder) != top:
        what = f"the folder {os.path.basename(folder)!r}"
        raise _refused(root, what, f"the package {package}")
    found = read_folder(folder, compiled=True)
    files = {f"{top}/{path}": content for path, content in found.files.items()}
    base = os.path.dirname(found.root)
    tag = "editable" if any(path.endswith(COMPILED) for path in files) else ""
    # Beside the package may lie anything: a project's secrets, or a HOME.
    own = (found.root,)
    return Pinned(base, files, found.folders, tag=tag, own=own)


def _refused(where: str, found: str, expected: str) -> PluginLoadError:
    return PluginLoadError(
        f"found {found} in the distribution, expected {expected}",
        where=ascii(where)[1:-1],
        fix="install it again",
    )
