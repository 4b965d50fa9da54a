"""What machine and which versions the figures are of."""

from __future__ import annotations

import os
import platform
import sys
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


def _cpu() -> str:
    if sys.platform.startswith("linux"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
