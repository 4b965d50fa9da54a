"""When to try once more, and how long to wait before."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from btplug.message import Reply
    from btplug.outcome import Failure

TRIES = 3
_BUSY = (429, 503)
# The longest form of a date in HTTP has 33 characters.
_DATE = 40


def pause(reply: Reply | None, failure: Failure | None, tries: int) -> float | None:
    """Return the seconds before the next try; None: the answer stands.

    Only for what may be sent twice: a peer that is busy has got the message.

    Args:
        tries: How many there were.
    """
    backoff: float = 0.05 * 4 ** (tries - 1)
    if failure is not None:
        return backoff if failure.kind in ("refused", "cut") else None
    if reply is None or reply.status not in _BUSY:
        return None
    after = retry_after(reply.header("retry-after") or "", now=time())
    return None if after is None else after or backoff


def retry_after(value: str, *, now: float) -> float | None:
    """Turn a ``Retry-After`` header into seconds to wait.

    Args:
        value: Whole seconds (``"120"``) or an HTTP date.
        now: Unix time in seconds, which a date is held against.

    Returns:
        Seconds from *now*, not capped; ``0.0`` when the date has passed; None where
        *value* is neither.

    Source: RFC 9110, sections 5.6.7 and 10.2.3.
    """
    value = value.strip()
    # isdigit() alone is true for '²', which float() rejects.
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 12 else None
    if not value or len(value) > _DATE:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # One of the three forms names no zone: all of them mean UTC.
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)
