"""Every error btplug raises on purpose, its exit code and its remedy.

Classes are sorted by what the reader can do about them.
Standard library only: everything else may import this module.
"""

from __future__ import annotations

from typing import ClassVar


class BtplugError(Exception):
    """Base of every error btplug raises on purpose.

    Args:
        what: What went wrong, one sentence, no full stop.
        where: File, plugin or peer it happened in.
        fix: What the reader can do next, in the imperative.
        plugin: Name of the plugin concerned.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        plugin: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        self.plugin = plugin

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def line(self) -> str:
        """Return it on one line, for rows of a listing; a longer remedy is left out."""
        fix = self.fix if self.fix and "\n" not in self.fix else None
        where = f"where: {self.where}" if self.where else ""
        parts = (self.what, where, f"fix: {fix}" if fix else "")
        return "; ".join(" ".join(part.split()) for part in parts if part)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: like KeyboardInterrupt, no plugin's business to catch.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class UsageError(BtplugError):
    """A word of the command line, or an argument of a call, is wrong."""

    exit_code = 2


# A KeyError too, because a registry reads as a mapping and `get` asks for one.
class UnknownPlugin(BtplugError, KeyError):
    """No plugin has that name."""

    exit_code = 3


class PluginError(BtplugError):
    """A plugin or its configuration is broken: it cannot be loaded or started."""

    exit_code = 4


class ManifestError(PluginError):
    """A config.yaml does not say what a plugin is."""


class ConfigError(PluginError):
    """A setting has a wrong key or a wrong value."""


class DuplicatePlugin(PluginError):
    """A plugin's name is taken."""


class PluginLoadError(PluginError):
    """A plugin's own code failed while it was imported."""


class PluginStartError(PluginError):
    """A plugin's initialize failed."""


class TrustError(BtplugError):
    """Not accepted by the operator, not what the lock says, or not confined here."""

    exit_code = 6


class PluginTimeout(BtplugError):
    """A plugin did not finish within its time limit."""

    exit_code = 7


class PluginDied(BtplugError):
    """A confined plugin's process ended without being told to, or past a limit."""

    exit_code = 8


class Unconfinable(BtplugError):
    """This system cannot confine a plugin, or did not.

    Attributes:
        OTHERWISE: What to do where nothing can be confined.
    """

    exit_code = 6
    OTHERWISE = (
        "let it run in btplug's own process, unconfined: btplug trust --in-process NAME"
    )


class PluginFailed(BtplugError):
    """A plugin ran and raised; the cause is chained.

    Attributes:
        exit_code: 1, or what the plugin chose by raising `PluginExit`.
    """


class PluginExit(Exception):
    """Raised by a plugin to end its run with an exit code of its own.

    Args:
        code: 0 to 63. Higher codes are btplug's and the shell's.
        message: Shown on stderr; empty for none.

    Raises:
        ValueError: *code* is outside that range.
    """

    def __init__(self, code: int, message: str = "") -> None:
        if not 0 <= code <= 63:
            raise ValueError(f"an exit code of a plugin is 0 to 63, not {code}")
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.plugin: str | None = None  # filled in by whoever ran it

    def __str__(self) -> str:
        return self.message


class TransportError(BtplugError):
    """A transport could not deliver a message or an acceptable reply.

    Args:
        delivered: False when surely nothing reached the peer, None when unknown.
            Only False allows to send again without asking.
    """

    exit_code = 5
    kind: ClassVar[str] = "failed"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        plugin: str | None = None,
        delivered: bool | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix, plugin=plugin)
        self.delivered = delivered


class Refused(TransportError):
    """No connection: refused, unreachable, unknown name, or TLS not agreed."""

    kind = "refused"


class Late(TransportError):
    """The deadline passed before the whole reply was there."""

    kind = "late"


class Cut(TransportError):
    """The connection ended before the whole reply was there."""

    kind = "cut"


class BadReply(TransportError):
    """What came is not a reply that can be accepted."""

    kind = "bad-reply"


class TooLarge(TransportError):
    """What came is larger than the limit."""

    kind = "too-large"


class NotAllowed(TransportError):
    """The message may not be sent, or not to that peer."""

    kind = "not-allowed"


class Unauthentic(TransportError):
    """What came does not prove that it is from whom it says."""

    kind = "unauthentic"


class Unsupported(TransportError):
    """The transport does not do this."""

    kind = "unsupported"


def reason_of(exc: BaseException) -> str:
    """Return ``Type: text`` of anything that was raised, even where it has no text."""
    if isinstance(exc, PluginExit):
        return f"it ended with code {exc.code}"
    try:
        text = str(exc)
    except Exception:
        text = "(its text cannot be shown)"
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
