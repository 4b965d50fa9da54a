"""The one place that imports httpx and what lies below it."""

from __future__ import annotations

import sys

# httpx imports its own command line with rich and pygments, 60 ms, and goes on
# without it where that import fails; so it is made to fail.
_hidden = "httpx" not in sys.modules
if _hidden:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # how to bar it
try:
    import h11
    import httpcore
    import httpx
finally:
    if _hidden:
        sys.modules.pop("httpx._main", None)

__all__ = ["h11", "httpcore", "httpx"]
