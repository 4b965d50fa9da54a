"""Hotkeys as text: the addresses of Bittensor."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_DIGITS = {
    character: value
    for value, character in enumerate(
        "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    )
}
_PREFIX = 42  # of Bittensor; other prefixes would give one key many names
# Points of small order and other spellings of them, without the sign: anybody can
# sign for these keys. The first is the default account of the chain.
# Source: RFC 8032, section 5.1; RFC 7748, section 6.1, for why they are refused.
_WEAK = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


def hotkey_of(text: str) -> str | None:
    """Return *text* if it is the address of a key that only its owner signs for.

    The object is mostly the same for equal texts, so that keeping it costs little.

    Source: the SS58 address format of Substrate.
    """
    # 35 bytes that begin with 42 are 48 digits; the cache holds no long text.
    return _checked(text) if len(text) == 48 else None


@lru_cache(maxsize=4096)
def _checked(text: str) -> str | None:
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            return None
        number = number * 58 + digit
    if number.bit_length() > 35 * 8:
        return None
    raw = number.to_bytes(35, "big")
    checksum = blake2b(b"SS58PRE" + raw[:33]).digest()[:2]
    if raw[0] != _PREFIX or raw[33:] != checksum:
        return None
    # The sign stands in the highest bit.
    unsigned = raw[1:32] + bytes((raw[32] & 0x7F,))
    return None if unsigned in _WEAK else text
