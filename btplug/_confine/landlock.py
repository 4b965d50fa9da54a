"""Landlock: what a process may do to files, TCP ports and other processes.

Of the kernel's interface this knows versions 1 to 7, uses all that the kernel has, and
leaves nothing half done: a rule that cannot be set is an error.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from btplug._confine.syscalls import System

NEWEST = 7

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO = 1 << 6, 1 << 9, 1 << 10
_MAKE_BLOCK, _MAKE_SYM = 1 << 11, 1 << 12
_EXECUTE, _REFER, _TRUNCATE, _IOCTL_DEV = 1, 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1  # all rights of version 1
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BOTH_TCP = 3  # bind and connect
_BOTH_SCOPES = 3  # abstract UNIX sockets and signals
_VERSION = 1  # flag of landlock_create_ruleset
_PATH_BENEATH = 1  # kind of rule
# Or beyond reach: what cannot be found cannot be read either, rule or no rule.
_ABSENT = (FileNotFoundError, NotADirectoryError, PermissionError)


def version(system: System) -> int:
    """Return the newest version that both sides know, 0 without Landlock."""
    try:
        found = system.call("landlock_create_ruleset", 0, 0, _VERSION)
    except OSError:
        return 0
    return min(found, NEWEST)


def file_rights(known: int) -> int:
    """Return every right over files that a kernel of version *known* can deny."""
    rights = _FIRST
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        if known >= since:
            rights |= right
    return rights


def restrict(
    system: System,
    known: int,
    usual: Iterable[str],
    read: Iterable[str],
    write: Iterable[str],
    own: str,
) -> None:
    """Deny this thread, for ever, all files but these, TCP, and others' sockets.

    A path that is not there is left out; none of them may be executed as a program.

    Args:
        known: A version of the kernel's interface, 1 or more.
        usual: To read, over links too: files, and folders with all they hold.
        read: The same, resolved; one that leads over a link by now is left out.
        write: As *read*; read as well, but nothing can be made in them but files and
            folders.
        own: A folder to write where links, pipes and sockets can be made, too.

    Raises:
        OSError: The kernel refused.
    """
    rights = file_rights(known)
    ruleset = system.call("landlock_create_ruleset", *_attributes(known, rights), 0)
    try:
        reading = rights & (_READ_FILE | _READ_DIR)
        for path in usual:
            _allow(system, ruleset, path, reading)
        for path in read:
            _allow(system, ruleset, path, reading, resolved=True)
        kept = rights & ~(_EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV)
        _allow(system, ruleset, own, kept)
        # What a link leads to would be lent to a later run, and whoever opens a pipe
        # for the file that it was waits for ever.
        kept &= ~(_MAKE_SYM | _MAKE_FIFO | _MAKE_SOCK)
        for path in write:
            _allow(system, ruleset, path, kept, resolved=True)
        system.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _attributes(known: int, rights: int) -> tuple[bytes, int]:
    fields = [rights]
    if known >= 4:
        fields.append(_BOTH_TCP)
    if known >= 6:
        fields.append(_BOTH_SCOPES)
    packed = b"".join(field.to_bytes(8, "little") for field in fields)
    return packed, len(packed)


def _allow(
    system: System, ruleset: int, path: str, rights: int, *, resolved: bool = False
) -> None:
    hold = os.O_PATH | os.O_CLOEXEC  # not everywhere, and this module is
    try:
        fd = _open_straight(path, hold) if resolved else os.open(path, hold)
    except _ABSENT:
        return
    try:
        found = os.fstat(fd).st_mode
        if stat.S_ISLNK(found):  # only where none was followed
            return
        if not stat.S_ISDIR(found):
            rights &= _OF_FILES
        rule = (rights | fd << 64).to_bytes(12, "little")
        system.call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def _open_straight(path: str, flags: int) -> int:
    """Open an absolute path and follow no link: what was looked at before, or nothing.

    A link at the end is opened itself; below one on the way nothing is found.
    """
    fd = os.open(os.sep, flags)
    for name in filter(None, path.split(os.sep)):
        above = fd
        try:
            fd = os.open(name, flags | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return fd
