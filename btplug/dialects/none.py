"""The dialect that proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from btplug.errors import Unauthentic
from btplug.values import new_request

if TYPE_CHECKING:
    from btplug.message import Message, Peer, Reply, Request


class NoProof:
    """Messages go as they are; nobody is asked who they are, nobody is believed."""

    name: ClassVar[str] = "none"

    def outgoing(
        self,
        peer: Peer,
        message: Message,
        *,
        timeout: float,
        now_ns: int,
        sha256: str | None = None,
    ) -> Message:
        """Return *message* itself.

        Raises:
            Unauthentic: *peer* demands a hotkey: nothing here can prove it.
        """
        _demand_nothing(peer)
        return message

    def answer(self, peer: Peer, sent: Message, reply: Reply) -> Reply:
        """Return *reply* itself; raise Unauthentic as `outgoing` does."""
        _demand_nothing(peer)
        return reply

    def admit(self, head: Request, now_ns: int) -> None:
        """Admit everybody."""

    def incoming(self, request: Request, now_ns: int) -> Request:
        """Return *request* without a hotkey, whatever it claims."""
        if request.hotkey is None:
            return request

        return new_request(message=request.message, address=request.address)

    def reply(self, request: Request, reply: Reply) -> Reply:
        """Return *reply* itself."""
        return reply


def _demand_nothing(peer: Peer) -> None:
    if peer.hotkey is not None:
        raise Unauthentic(
            f"the peer must be {peer.hotkey}, and the dialect 'none' proves nothing",
            where=peer.url.partition("?")[0],
            fix="choose the dialect btauth/1 or v10, or leave the hotkey out",
            delivered=False,
        )
