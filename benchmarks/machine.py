"""What machine and which versions the figures are of."""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from btplug import __version__


def facts() -> dict[str, Any]:
    """Return what somebody needs who compares two results."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "load": load(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "btplug": __version__,
        **{name: version(name) for name in ("click", "httpx", "rich")},
    }


def load() -> float:
    """Return how many processes wanted to run in the last minute; 0 if unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


class Memory:
    """By how much the memory of this process grows from now on, at its peak."""

    def __init__(self) -> None:
        gc.collect()
        with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # Linux forgets the peak that was
        self._before = _resident() or _peak()

    def grown(self) -> float:
        """Return MiB; where the system does not tell the present, of peaks only."""
        return max(0, _peak() - self._before) / 2**20


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _peak() -> int:
    with suppress(OSError), open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def _cpu() -> str:
    if sys.platform.startswith("linux"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
