"""SHA-256 without what `hashlib` imports, and the digest of a set of files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "h1:"


def sha256(data: bytes) -> str:
    """Return the SHA-256 of *data* in 64 hexadecimal digits.

    Importing `hashlib` costs 5 ms, for OpenSSL; where that is loaded anyway it is
    the fastest there is.
    """
    if openssl := sys.modules.get("_hashlib"):
        found: str = openssl.openssl_sha256(data).hexdigest()
        return found
    if sys.version_info >= (3, 12):
        from _sha2 import sha256 as own
    else:
        from _sha256 import sha256 as own  # type: ignore[import-not-found]  # 3.11 has it
    return str(own(data).hexdigest())


def digest_of(hashes: Iterable[tuple[str, str]]) -> str:
    """Return the digest of files, the same on every platform.

    Args:
        hashes: Path with ``/`` and SHA-256 of each file, in any order.

    Returns:
        ``h1:`` and the SHA-256 of the lines ``HASH  PATH``, sorted by path.
    """
    lines = "".join(f"{found}  {path}\n" for path, found in sorted(hashes))
    return PREFIX + sha256(lines.encode())


def is_digest(text: str) -> bool:
    """Tell whether *text* has the form of what `digest_of` returns."""
    digits = text.removeprefix(PREFIX)
    return digits != text and len(digits) == 64 and not digits.strip("0123456789abcdef")
