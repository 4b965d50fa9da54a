"""Standard input, as a confined plugin gets it: to read, and to do nothing else with.

Somebody else may go on reading it afterwards, a shell its script for one.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def lent_stdin() -> Iterator[int | None]:
    """Give a descriptor to read from; None where there is nothing, or a terminal."""
    found = _readable()
    own = None if found is None else _opened_again()
    try:
        yield found if own is None else own
    finally:
        if own is not None:
            os.close(own)


def _opened_again() -> int | None:
    """Open it once more: its place in a file and its flags are the plugin's own.

    Moved, a shell would go on elsewhere; set not to block, it would not go on.
    """
    mode = os.fstat(0).st_mode
    if stat.S_ISREG(mode) or stat.S_ISFIFO(mode):
        flags = os.O_RDONLY | os.O_CLOEXEC
        with suppress(OSError):  # it was opened by somebody who may do more
            # A pipe with a name waits for somebody who writes.
            own = os.open("/proc/self/fd/0", flags | os.O_NONBLOCK)
            os.set_blocking(own, True)
            if stat.S_ISREG(mode):
                os.lseek(own, os.lseek(0, 0, os.SEEK_CUR), os.SEEK_SET)
            return own
    return None


def flags_at_stake(lent: int | None) -> int | None:
    """Return the flags of standard input where a plugin gets that very one.

    A device is not opened again, and a pipe of another user cannot be.
    """
    if lent != 0:
        return None
    import fcntl

    return fcntl.fcntl(0, fcntl.F_GETFL)


def give_back(flags: int) -> None:
    """Set the flags of standard input as they were."""
    import fcntl

    with suppress(OSError):  # closed meanwhile
        fcntl.fcntl(0, fcntl.F_SETFL, flags)


def _readable() -> int | None:
    import fcntl

    try:
        mode = fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ACCMODE
        if mode != os.O_RDONLY or os.isatty(0):
            return None
        # Landlock does not see the other end of a pipe, which /proc would open: what
        # is written there a shell would run. A pipe of another user nobody can open.
        if os.readlink("/proc/self/fd/0").startswith("pipe:"):
            with suppress(PermissionError):
                os.fchmod(0, 0o400)
    except OSError:  # closed
        return None
    return 0
