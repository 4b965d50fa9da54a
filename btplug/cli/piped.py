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
    own: int | None = None
    try:
        found = _readable()
        if found is not None and stat.S_ISREG(os.fstat(found).st_mode):
            # Its place in the file is its own: moved, a shell would go on elsewhere.
            with suppress(OSError):  # it was opened by somebody who may do more
                own = os.open("/proc/self/fd/0", os.O_RDONLY | os.O_CLOEXEC)
                os.lseek(own, os.lseek(0, 0, os.SEEK_CUR), os.SEEK_SET)
        yield found if own is None else own
    finally:
        if own is not None:
            os.close(own)


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
