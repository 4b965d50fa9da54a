"""The dialects that a transport or a server was configured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from btplug.config import nearest
from btplug.dialects import create
from btplug.errors import ConfigError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from btplug.dialects import Dialect
    from btplug.message import Peer

NAMES = ("none", "btauth/1", "v10")


class Dialects:
    """Chooses how a peer is spoken to.

    Args:
        options: Name of a dialect to what `create` takes for it: its key and options.
        default: Of peers with a hotkey that name no dialect.

    Raises:
        ConfigError: A name, an option or a key is wrong.
    """

    def __init__(
        self,
        options: Mapping[str, Mapping[str, object]],
        *,
        default: str = "btauth/1",
    ) -> None:
        for name in (default, *options):
            if name not in NAMES:
                raise ConfigError(
                    f"found the dialect {name!r}, expected one of: {', '.join(NAMES)}",
                    fix=nearest(name, NAMES) or "name one of them",
                )
        self._default = default
        # Any: what `create` checks.
        self._made: dict[str, Dialect] = {
            name: create(name, **given)  # type: ignore[arg-type]  # create checks
            for name, given in options.items()
        }

    def of(self, peer: Peer) -> Dialect | None:
        """Return the dialect for *peer*; None where nothing is to be proven.

        Raises:
            Unsupported: No key is configured for it.
        """
        name = peer.dialect or (self._default if peer.hotkey else "none")
        if name == "none" and not peer.hotkey:
            return None
        found = self._made.get(name)
        if found is None and name == "none":
            found = self._made[name] = create(name)
        if found is None:
            known = name in NAMES
            raise Unsupported(
                f"found a peer to be spoken to in {name!r}, and no key for that"
                if known
                else f"found a peer with the dialect {name!r}, "
                f"expected one of: {', '.join(NAMES)}",
                where=peer.url.partition("?")[0],
                fix=f"configure one: dialects: {{{name}: {{key: wallet/hotkey}}}}"
                if known
                else nearest(name, NAMES) or "name one of them",
                delivered=False,
            )
        return found
