"""How two neurons prove who they are: dialects, without I/O and without a clock.

The names below are the promise; each is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from btplug.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.config import Secret
    from btplug.dialects.btauth1 import BtAuth1
    from btplug.dialects.chosen import Dialects
    from btplug.dialects.keys import Signer, load_signer
    from btplug.dialects.none import NoProof
    from btplug.dialects.replays import Replays
    from btplug.dialects.v10 import V10
    from btplug.message import Message, Peer, Reply, Request

__all__ = [
    "V10",
    "BtAuth1",
    "Dialect",
    "Dialects",
    "NoProof",
    "Replays",
    "Signer",
    "create",
    "load_signer",
]

_HOMES = {
    "BtAuth1": "btauth1",
    "Dialects": "chosen",
    "NoProof": "none",
    "Replays": "replays",
    "Signer": "keys",
    "V10": "v10",
    "load_signer": "keys",
}
# Name in a configuration -> class.
_CLASSES = {"none": "NoProof", "btauth/1": "BtAuth1", "v10": "V10"}


class Dialect(Protocol):
    """What is added to a message so that the other side knows who sent it.

    One instance serves many threads. It raises `Unauthentic` where something is not
    proven and `NotAllowed` where it is proven but refused; no error text holds a
    signature.
    """

    name: ClassVar[str]

    def outgoing(
        self,
        peer: Peer,
        message: Message,
        *,
        timeout: float,
        now_ns: int,
        sha256: str | None = None,
    ) -> Message:
        """Return *message* as it is sent; call it once for each attempt.

        Args:
            message: With its method; its headers and target are what will be sent.
            timeout: Seconds the whole exchange may take.
            now_ns: Unix time in nanoseconds.
            sha256: Hex digest of a body that is streamed, so not in the message.
        """

    def answer(self, peer: Peer, sent: Message, reply: Reply) -> Reply:
        """Return *reply* with its signer, where one is proven."""

    def admit(self, head: Request, now_ns: int) -> None:
        """Refuse by headers alone, before the body is read.

        Args:
            now_ns: Unix time in nanoseconds at which the headers arrived.
        """

    def incoming(self, request: Request, now_ns: int) -> Request:
        """Return the whole request with the verified hotkey of its sender.

        It checks all that `admit` checks again.

        Args:
            now_ns: As given to `admit`, so that a slow body does not make it stale.
        """

    def reply(self, request: Request, reply: Reply) -> Reply:
        """Return *reply* as it is sent back; *request* is what `incoming` returned."""


def create(
    name: str,
    *,
    key: str | Secret | Signer | None = None,
    scheme: str = "sr25519",
    wallets: str | None = None,
    password: Callable[[], str] | None = None,
    **options: object,
) -> Dialect:
    """Make a dialect from plain configuration.

    Args:
        name: ``none``, ``btauth/1`` or ``v10``.
        key: What signs, as `load_signer` takes it; None: nothing can be sent.
        scheme: Of a development key.
        wallets: Folder of wallets, as `load_signer` takes it.
        password: Asked for where the hotkey file is encrypted.
        options: Keyword arguments of the dialect's class.

    Raises:
        ConfigError: No dialect or option is called so, or a value is wrong.
    """
    from btplug.config import nearest

    if name not in _CLASSES:
        raise ConfigError(
            f"found the dialect {name!r}, expected one of: {', '.join(_CLASSES)}",
            fix=nearest(name, _CLASSES) or "name one of them",
        )
    cls = __getattr__(_CLASSES[name])
    assert isinstance(cls, type)
    known = getattr(cls.__init__, "__kwdefaults__", None) or {}  # type: ignore[misc]  # only read
    for option in options:
        if option not in known:
            raise ConfigError(
                f"found the option {option!r} of the dialect {name}, "
                f"expected one of: {', '.join(known) or 'none'}",
                fix=nearest(option, known) or f"remove {option!r}",
            )
    if key is not None and name != "none":
        from btplug.dialects.keys import load_signer

        signer = load_signer(key, scheme=scheme, wallets=wallets, password=password)
        made: Dialect = cls(signer, **options)
    else:
        made = cls(**options)
    return made


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'btplug.dialects' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"btplug.dialects.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
