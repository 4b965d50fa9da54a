"""What signing dialects have in common: nonces, freshness, whose key it is."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from btplug.dialects._ss58 import hotkey_of
from btplug.dialects.replays import SECOND, Replays
from btplug.errors import ConfigError, TransportError, Unauthentic, Unsupported
from btplug.network import join_url, request_target

if TYPE_CHECKING:
    from btplug.dialects.keys import Signer

_SHORT = 512  # characters of a URL whose target is remembered
# Bytes of a signature: in both schemes there are, and in one that is coming.
_LEAST, _MOST = 64, 5499


class Nonces:
    """Unix times in nanoseconds, each larger than the one before."""

    __slots__ = ("_last",)

    # A signal's handler may sign while the thread that it interrupts holds it; a forked
    # process makes it anew, since whoever held it is not there.
    _lock: ClassVar[threading.RLock]

    def __init__(self) -> None:
        self._last = 0

    @classmethod
    def forked(cls) -> None:
        """Forget who held the lock."""
        cls._lock = threading.RLock()

    def next(self, now_ns: int) -> int:
        """Return *now_ns*, or one more than the last where time did not go on."""
        with self._lock:
            # In one line and without a call: there, a handler would sign with the same.
            self._last = nonce = now_ns if now_ns > self._last else self._last + 1
            return nonce


Nonces.forked()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=Nonces.forked)


class Window:
    """How old a request may be, and how far its clock may be ahead, in seconds.

    Args:
        max_timeout: Further seconds that a request may be old at most.

    Raises:
        ConfigError: A number is negative, or more than an hour.
    """

    __slots__ = ("_ahead", "_back", "_longest")

    def __init__(self, *, back: float, ahead: float, max_timeout: float = 0.0) -> None:
        _check_seconds("back", back)
        _check_seconds("ahead", ahead)
        _check_seconds("max_timeout", max_timeout)
        self._longest = back + max_timeout
        self._back = int(back * SECOND)
        self._ahead = int(ahead * SECOND)

    def check(self, nonce: int, now_ns: int, where: str, extra: float = 0.0) -> None:
        """Refuse a *nonce* outside the window.

        Args:
            extra: Further seconds that the request may be old.

        Raises:
            Unauthentic: It is.
        """
        age = now_ns - nonce
        back = self._back + int(extra * SECOND)
        if not -self._ahead <= age <= back:
            tense = "old" if age > 0 else "in the future"
            raise Unauthentic(
                f"the nonce {nonce} is {abs(age) / SECOND:.3f} s {tense}, "
                f"expected {back / SECOND:g} s at most, "
                f"or {self._ahead / SECOND:g} s in the future",
                where=where,
                fix="set both clocks, and sign right before sending",
            )

    def replays(self, *, upload: float, limit: int, given: Replays | None) -> Replays:
        """Return a memory that outlives the window and a slow body.

        Raises:
            ConfigError: The *given* one does not outlive the window.
        """
        _check_seconds("upload", upload)
        window = self._longest
        if given is None:
            return Replays(keep=max(window + upload, 1.0), limit=limit)
        if given.keep < window:
            raise ConfigError(
                f"found replays kept for {given.keep:g} s, expected the window of "
                f"{window:g} s at least",
                fix=f"make them with Replays(keep={window:g})",
            )
        return given


def check_mine(hotkey: str | None, signer: Signer | None) -> str | None:
    """Return the hotkey of this side: *hotkey*, else that of *signer*.

    Raises:
        ConfigError: It is no address.
    """
    mine = hotkey if hotkey is not None else (signer.hotkey if signer else None)
    if mine is not None and (not isinstance(mine, str) or hotkey_of(mine) is None):
        raise ConfigError(
            f"found the hotkey {str(mine)[:64]!r}, expected an ss58 address",
            fix="copy it from your wallet; it has 48 characters",
        )
    return mine


def signed_by(signer: Signer | None, dialect: str) -> Signer:
    """Return *signer*.

    Raises:
        Unsupported: There is none.
    """
    if signer is None:
        raise Unsupported(
            f"found no key for the dialect {dialect}, expected one to sign with",
            fix="configure its key: wallet/hotkey, or a path to a hotkey file",
            delivered=False,
        )
    return signer


def signature_by(signer: Signer, data: bytes) -> str:
    """Return the signature of *data*, as headers have it.

    Raises:
        TransportError: The signer, which may be anybody's code, made none.
    """
    try:
        made = signer.sign(data)
    except Exception as exc:
        # Without its text: it may quote what it signs with.
        what = f"the signer of {signer.hotkey} failed ({type(exc).__name__})"
        fix = "see what it raised: the cause of this error"
        raise TransportError(what, fix=fix, delivered=False) from exc
    if not isinstance(made, (bytes, bytearray, memoryview)):
        found = f"a {type(made).__name__}"
    elif not _LEAST <= len(made) <= _MOST:
        found = f"{len(made):,} bytes"
    else:
        return "0x" + made.hex()
    raise TransportError(
        f"found {found} as signature of {signer.hotkey}, "
        f"expected {_LEAST} to {_MOST:,} bytes",
        fix="mend its signer: sign(data) returns the bare signature",
        delivered=False,
    )


def bad_header(found: str, expected: str, where: str) -> Unauthentic:
    """Make the error of a header that is missing or malformed."""
    return Unauthentic(
        f"found {found}, expected {expected}",
        where=where,
        fix="sign the request as the dialect says",
    )


def told(header: str, value: str | None) -> str:
    """Return how an error names a header: with the start of its value, or its lack."""
    # So short that no signature in the wrong header is given away.
    return f"no {header}" if value is None else f"{header[:40]} {value[:32]!r}"


def told_secret(header: str, value: str | None) -> str:
    """Return the same without any of the value."""
    return f"no {header}" if value is None else f"{header} of {len(value):,} characters"


def _check_seconds(name: str, seconds: float) -> None:
    # A configuration may hold anything.
    if not isinstance(seconds, (int, float)) or not 0 <= seconds <= 3600:
        raise ConfigError(
            f"found {name} {seconds!r}, expected seconds from 0 to 3600",
            fix=f"leave {name!r} out",
        )


def target_of(url: str, target: str) -> str:
    """Return path and query of a message, as they are signed."""
    # Long ones may be those of a plugin that would fill the memory with them.
    short = len(f"{url}{target}") <= _SHORT
    return (_known if short else _target)(url, target)


def _target(url: str, target: str) -> str:
    return request_target(join_url(url, target))


_known = lru_cache(maxsize=1024)(_target)
