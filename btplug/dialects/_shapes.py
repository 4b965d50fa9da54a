"""What values of headers look like: one spelling each, in ASCII."""

from __future__ import annotations

import re

_nonce = re.compile(r"0|[1-9][0-9]{0,19}").fullmatch
_signature = re.compile(r"0x[0-9a-f]{128}").fullmatch
_digest = re.compile(r"[0-9a-f]{64}").fullmatch
_uuid = re.compile(r"[0-9A-Za-z_-]{1,64}").fullmatch
_seconds = re.compile(r"[0-9]{1,9}(\.[0-9]{1,20})?(e-[0-9]{1,2})?").fullmatch
_word = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}").fullmatch
_status = re.compile(r"[1-5][0-9][0-9]").fullmatch


def is_nonce(text: str) -> bool:
    """Return whether it is Unix time in nanoseconds, without a leading zero."""
    return _nonce(text) is not None


def is_signature(text: str) -> bool:
    """Return whether it is ``0x`` and 64 bytes in lower-case hex."""
    return _signature(text) is not None


def is_digest(text: str) -> bool:
    """Return whether it is 32 bytes in lower-case hex."""
    return _digest(text) is not None


def is_uuid(text: str) -> bool:
    """Return whether it names an instance; a dot would end it in what is signed."""
    return _uuid(text) is not None


def is_seconds(text: str) -> bool:
    """Return whether it is a number as Python writes one that is not negative."""
    return _seconds(text) is not None


def is_word(text: str) -> bool:
    """Return whether it is a name as classes and fields of Python have it."""
    return _word(text) is not None


def is_status(text: str) -> bool:
    """Return whether it is a status of HTTP."""
    return _status(text) is not None
