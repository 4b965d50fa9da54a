"""Who may ask: which dialect a request is in, and what it proves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from btplug.dialects._ss58 import hotkey_of
from btplug.dialects.replays import Full, Replays
from btplug.errors import (
    BadReply,
    BtplugError,
    ConfigError,
    NotAllowed,
    Unauthentic,
    UsageError,
)
from btplug.serving._requests import Refusal

if TYPE_CHECKING:
    import logging
    from collections.abc import Container, Iterable

    from btplug.dialects import Dialect
    from btplug.message import Request

# What the headers of btauth/1 and v10 begin with, and where a sender names itself.
_MARKS = ("x-bittensor-", "bt_header_dendrite_")
_CLAIMS = {"btauth/1": "x-bittensor-hotkey", "v10": "bt_header_dendrite_hotkey"}
_REFUSED = (Unauthentic, NotAllowed, BadReply, UsageError)


class Door:
    """Turns refusals of the dialects into answers; their reasons go to the log only.

    Args:
        dialects: Those that are spoken.
        allow: Verified hotkeys that may ask; None: whoever a dialect lets in.
        deny: Claimed hotkeys that may not.

    Raises:
        ConfigError: No dialect is given, or what is no hotkey.
    """

    def __init__(
        self,
        dialects: Iterable[Dialect],
        allow: Container[str] | None,
        deny: Container[str],
        logger: logging.Logger,
    ) -> None:
        self.spoken = {dialect.name: dialect for dialect in dialects}
        for dialect in self.spoken.values():
            replays = getattr(dialect, "replays", None)
            if isinstance(replays, Replays):
                replays.begin(time.time_ns())
        _check("allow", allow)
        _check("deny", deny)
        self._allow, self._deny, self._logger = allow, deny, logger
        self._told = False  # that the clock went back
        if not self.spoken:
            raise ConfigError(
                "found no dialect to serve, expected one at least",
                fix="name 'none' to answer everybody",
            )

    def admit(self, head: Request, now_ns: int) -> Dialect:
        """Return the dialect of a request whose headers are in order.

        Args:
            now_ns: Unix time in nanoseconds at which they arrived.

        Raises:
            Refusal: They are not, or its sender is denied, or not allowed.
        """
        name = _name(head)
        dialect = self.spoken.get(name)
        if dialect is None:
            raise Refusal(401)
        try:
            dialect.admit(head, now_ns)
        except _REFUSED as exc:
            raise self._refusal(exc, head) from exc
        claimed = self.claimed(dialect, head)
        if claimed is not None and claimed in self._deny:
            raise Refusal(403)
        # Whoever made up keys would fill the memory of what was accepted, too.
        self._check_allowed(claimed)
        return dialect

    def claimed(self, dialect: Dialect, head: Request) -> str | None:
        """Return the hotkey that a request names as its sender; nothing proves it."""
        # An address has one spelling here: what is claimed is what will be verified.
        claim = _CLAIMS.get(dialect.name)
        return head.message.header(claim) if claim else None

    def incoming(self, dialect: Dialect, request: Request, now_ns: int) -> Request:
        """Return the whole request with the hotkey that was verified, if one was.

        Raises:
            Refusal: It is not proven, or its sender may not ask.
        """
        try:
            found = dialect.incoming(request, now_ns)
        except _REFUSED as exc:
            self._check_clock(dialect, now_ns)
            raise self._refusal(exc, request) from exc
        self._check_allowed(found.hotkey)
        return found

    def _check_clock(self, dialect: Dialect, now_ns: int) -> None:
        """Refuse for now, where it is my clock that is to blame."""
        replays = getattr(dialect, "replays", None)
        seconds = replays.behind(now_ns) if isinstance(replays, Replays) else 0.0
        if not seconds:
            return
        if not self._told:
            self._told = True
            self._logger.warning(
                "the clock went back %.1f s: what was accepted before cannot be told "
                "from what is new, so signed requests are answered 503; restart the "
                "server, or wait",
                seconds,
            )
        raise Refusal(503, 1.0)

    def _check_allowed(self, hotkey: str | None) -> None:
        if self._allow is not None and (hotkey is None or hotkey not in self._allow):
            raise Refusal(403)

    def _refusal(self, exc: BtplugError, request: Request) -> Refusal:
        self._logger.debug("refused a request of %s: %s", request.address, exc.what)
        status = _status(exc)
        return Refusal(status, 1.0 if status == 503 else 0.0)


def _check(name: str, given: object) -> None:
    """Refuse names that nobody can have, where a container tells what it holds."""
    if isinstance(given, (frozenset, set, list, tuple)):
        wrong = [one for one in given if hotkey_of(str(one)) is None]
    else:
        wrong = [given] if isinstance(given, str) else []
    if wrong:
        raise ConfigError(
            f"found {wrong[0]!r:.80} in the list {name!r}, "
            "expected ss58 addresses of hotkeys",
            fix="correct it: no request comes from a hotkey of that name",
        )


def _name(head: Request) -> str:
    # By any header of a dialect: half a signature is not taken for none.
    for key, _ in head.message.headers:
        if key.startswith(_MARKS):
            return "btauth/1" if key.startswith(_MARKS[0]) else "v10"
    return "none"


def _status(error: BtplugError) -> int:
    if isinstance(error, Unauthentic):
        return 401
    if isinstance(error, Full):
        return 503
    return 403 if isinstance(error, NotAllowed) else 400
