"""Who else could write where code lies."""

from __future__ import annotations

import os
import stat

from btplug.errors import TrustError


def real_folder(path: str) -> str:
    """Return *path* without links, once all folders on the way are safe.

    Safe is what only root or the user may write. A folder such as /tmp, where
    everybody may write but the sticky bit lets only owners remove and rename, is safe
    to walk through: what lies in it is held to the same rule by itself.

    Raises:
        TrustError: Somebody else may write one of them; the message has its mode and
            the command that mends it.
        OSError: There is no such folder.
    """
    path = os.path.abspath(path)
    safe = (0, os.geteuid())
    at = ""
    for part in path.split(os.sep):
        at = f"{at}{part}" if at in ("", os.sep) else f"{at}{os.sep}{part}"
        at = at or os.sep
        found = os.lstat(at)
        mode = found.st_mode
        if stat.S_ISLNK(mode):
            return real_folder(os.path.realpath(path))
        if mode & 0o022 or found.st_uid not in safe:
            check_owner(at, found, last=at == path)
    return path


def check_owner(
    path: str, found: os.stat_result, *, last: bool = True, within: str = ""
) -> None:
    """Refuse a file or folder that others may write.

    Args:
        last: It is not walked through only, but its content counts.
        within: A folder in which all is probably alike, to mend all of it at once.

    Raises:
        TrustError: It says who may, and what to do.
    """
    mode = stat.S_IMODE(found.st_mode)
    what = "folder" if stat.S_ISDIR(found.st_mode) else "file"
    if found.st_uid not in (0, os.geteuid()):
        raise TrustError(
            f"the {what} belongs to {_user(found.st_uid)}, expected root or you",
            where=path,
            fix=f"take it over: {_command('chown', os.geteuid(), path, within)}",
        )
    if not mode & 0o022 or (mode & stat.S_ISVTX and not last):
        return
    others = bool(mode & 0o002)
    if others or not _is_own_group(found.st_gid):
        who = "everybody" if others else f"the group {_group(found.st_gid)}"
        raise TrustError(
            f"the {what} may be written by {who} (mode {mode:04o}), "
            "expected root or you alone",
            where=path,
            fix=_command("chmod", "go-w" if mode & 0o020 else "o-w", path, within),
        )


def read_owned(path: str, most: int) -> bytes:
    """Read a file that decides what may run: only root and the user may write it.

    Args:
        most: Bytes it may have.

    Raises:
        TrustError: Others may write it or a folder on the way; it is no regular file,
            too large, or cannot be read.
        FileNotFoundError: There is none.
    """
    folder, name = os.path.split(os.path.abspath(path))
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(os.path.join(real_folder(folder), name), flags)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise FileNotFoundError(2, os.strerror(2), path) from exc
    except OSError as exc:
        if os.path.islink(path):
            raise _irregular(path, "a link") from exc
        raise TrustError(
            f"the file cannot be read: {exc.strerror}",
            where=path,
            fix="be allowed to read it, or remove it",
        ) from exc
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _irregular(path, kind_of(found.st_mode))
        check_owner(path, found)
        content = read_whole(fd, found.st_size, most)
    finally:
        os.close(fd)
    if content is None:
        raise TrustError(
            f"found more than {most:,} bytes, expected what btplug wrote",
            where=path,
            fix="replace it by a copy from before",
        )
    return content


def read_whole(fd: int, size: int, most: int) -> bytes | None:
    """Return all that an open file holds; None: more than *most* bytes.

    Args:
        size: That it had a moment ago.
    """
    pieces: list[bytes] = []
    while size <= most:
        # One byte more than it should have tells whether it has grown.
        piece = os.read(fd, size + 1)
        if len(piece) == size and not pieces:
            return piece
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        most -= len(piece)
        size = max(size - len(piece), 0)
    return None


def _irregular(path: str, kind: str) -> TrustError:
    return TrustError(
        f"found {kind}, expected a regular file", where=path, fix="replace it by a file"
    )


def kind_of(mode: int) -> str:
    """Return what a file is that is no regular one."""
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _is_own_group(gid: int) -> bool:
    """Tell whether nobody but the user is in a group.

    Where each user has a group of the same name, files are often made writable by it.
    """
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return (
        gid == user.pw_gid
        and group.gr_name == user.pw_name
        and set(group.gr_mem) <= {user.pw_name}
        # Whose first group it is does not stand among its members.
        and all(u.pw_gid != gid or u.pw_uid == user.pw_uid for u in pwd.getpwall())
    )


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _command(name: str, how: object, path: str, within: str) -> str:
    from shlex import quote

    return f"{name} {'-R ' if within else ''}{how} {quote(within or path)}"
