"""When a connection may be used, and whether it has been closed meanwhile."""

from __future__ import annotations

import select
import socket
from time import monotonic
from typing import TYPE_CHECKING

from .flow import Stale

if TYPE_CHECKING:
    from collections.abc import Callable

    from .exchange import Exchange

# A program may have SIGPIPE end it.
QUIET = getattr(socket, "MSG_NOSIGNAL", 0)
_PIECE = 64 * 1024
# Seconds from a reply on, and at least, in which the peer's closing is awaited.
_WATCHED, _LEAST = 0.02, 0.001


def looker(sock: socket.socket, *, full: bool = False) -> Callable[[float], bool]:
    """Return what tells whether something, if only the end, can be read from *sock*.

    It is made once for many looks, and waits so many seconds.

    Args:
        full: *sock* takes no more; that it does again is awaited, too.
    """
    if not hasattr(select, "poll"):  # Windows
        writing = [sock] if full else []
        return lambda wait: (
            sock.fileno() < 0 or any(select.select([sock], writing, [], wait))
        )
    poll = select.poll()
    poll.register(sock, select.POLLIN | (select.POLLOUT if full else 0))
    # Closed, its number may be somebody else's by now.
    return lambda wait: sock.fileno() < 0 or bool(poll.poll(wait * 1000))


class Wire:
    """A connection as far as it matters whether it may be used again.

    Attributes:
        uses: How many exchanges have used this connection.
        rested: When the last one ended, by the monotonic clock.
    """

    __slots__ = ("_clean", "rested", "uses")

    def __init__(self) -> None:
        self.uses = 0
        self._clean = True
        self.rested = 0.0

    def rest(self, *, clean: bool) -> None:
        """Note the end of an exchange; *clean* if it left not a byte behind."""
        self._clean, self.rested = clean, monotonic()

    def doubt(self, exchange: Exchange) -> float:
        """Return how many seconds to watch a kept connection before it is used.

        A server that closes after its reply without saying so does it now. What must
        not be sent twice waits for that, the first time a connection is used again.
        """
        if self.uses != 1 or exchange.safe:
            return 0.0
        young = _WATCHED - (monotonic() - self.rested)
        return min(exchange.left(), max(_LEAST, young))

    def begin(
        self, exchange: Exchange, occupied: bool, pieces: list[bytes]
    ) -> list[bytes]:
        """Return *pieces* as they are to be sent now: in one packet, if they fit.

        Args:
            occupied: The peer has closed the connection, or sent what nobody asked for;
                looked at in this moment, since this is when it matters.

        Raises:
            Stale: It is a kept connection that cannot be used again.
        """
        self.uses += 1
        # Refused, too: else it would be kept, and be the first to be tried again.
        clean, self._clean = self._clean, False
        if self.uses > 1 and (exchange.fresh or not clean or occupied):
            raise Stale
        size = sum(map(len, pieces))
        exchange.sending(size, reused=self.uses > 1)
        return pieces if size > _PIECE else [b"".join(pieces)]
