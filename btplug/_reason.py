"""What was raised, in words."""

from __future__ import annotations

from btplug.errors import PluginExit


def reason_of(exc: BaseException) -> str:
    """Return ``Type: text`` of anything that was raised, even where it has no text."""
    if isinstance(exc, PluginExit):
        return f"it ended with code {exc.code}"
    try:
        text = str(exc)
    except Exception:
        text = "(its text cannot be shown)"
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
