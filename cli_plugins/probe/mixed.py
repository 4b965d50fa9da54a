"""Peers of several transports in one fan-out, with one limit and one deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from btplug import BtplugError, TransportPlugin

if TYPE_CHECKING:
    from btplug import Message, Peer, Reply, Transport


def scheme_of(peer: Peer) -> str:
    """Return what chooses the transport of *peer*."""
    return peer.url.partition("://")[0].lower()


class Mixed(TransportPlugin):
    """Sends each message through the transport that its peer's scheme asks for.

    Args:
        found: Scheme -> its transport, or why there is none: the failure of its peers.
    """

    def __init__(self, found: Mapping[str, Transport | BtplugError]) -> None:
        self._found = found

    def initialize(self, config: object) -> None: ...

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        transport = self._found[scheme_of(peer)]
        if isinstance(transport, BtplugError):
            # One error for many peers: without this its traceback would only grow.
            raise transport.with_traceback(None)
        return await transport.asend(peer, message, timeout=timeout)

    def shutdown(self) -> None: ...
