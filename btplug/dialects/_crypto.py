"""Signatures: the one place that knows bittensor_core."""

from __future__ import annotations

from typing import Any

from btplug.errors import Unsupported

# Its numbers for the schemes.
SCHEMES = {"ed25519": 0, "sr25519": 1}


def core() -> Any:  # it has no types
    """Return bittensor_core.

    Raises:
        Unsupported: It is not installed.
    """
    try:
        import bittensor_core  # type: ignore[import-untyped]  # it has no types
    except ImportError as exc:
        raise Unsupported(
            "found no bittensor_core, expected it for hotkeys and signatures",
            fix="pip install 'btplug[bittensor]'",
        ) from exc
    return bittensor_core


def verify(scheme: str, hotkey: str, data: bytes, signature: bytes) -> bool:
    """Return whether *signature* is of *data* by *hotkey*, under that scheme only."""
    try:
        valid = core().verify(data, signature, hotkey, SCHEMES[scheme])
    except ValueError:  # a signature of a wrong length, bytes that are no key
        return False
    return valid is True
