"""The one place that imports httpx.

httpx2 continues httpx with the same names, by the same author; httpx has had no
release since December 2024. It is used where it is installed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx
elif find_spec("httpx2") is not None:
    import httpx2 as httpx
else:
    # httpx imports its own command line with rich and pygments, 60 ms, and goes on
    # without it where that import fails; so it is made to fail.
    _hidden = "httpx" not in sys.modules
    if _hidden:
        sys.modules["httpx._main"] = None
    try:
        import httpx
    finally:
        if _hidden:
            sys.modules.pop("httpx._main", None)

__all__ = ["httpx"]
