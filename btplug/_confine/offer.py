"""What this system has for confining a process."""

from __future__ import annotations

import os
from typing import NamedTuple

from btplug._confine.landlock import version
from btplug._confine.syscalls import System, machine


class Offer(NamedTuple):
    """What this system has for confining, and what stays open all the same.

    Attributes:
        landlock: Version of the interface that is used, 0 where there is none.
        missing: Why nothing can be confined here; empty where it can.
        open: What a confined plugin can still do or learn.
    """

    landlock: int
    missing: str
    open: tuple[str, ...]


_OPEN = (
    "whether a path exists, and its size, owner and times (stat); where links lead",
    "the names, times and load of the system, as every program sees them",
    "processor time, threads and room for temporary files, up to the time limit",
)


def offer() -> Offer:
    """Tell what the kernel offers."""
    at, known, missing = machine(), 0, ""
    if at is None:
        uname = os.uname()
        missing = f"there is no filter for {uname.sysname} on {uname.machine}"
    else:
        known = version(System(at))
        try:
            with open("/proc/sys/kernel/seccomp/actions_avail") as file:
                filters = "errno" in file.read().split()
        except OSError:
            filters = False
        if not known:
            missing = "the kernel has no Landlock, or it is switched off"
        elif not filters:
            missing = "the kernel has no seccomp filters, or /proc is not there"
    return Offer(known, missing, () if missing else _OPEN)
