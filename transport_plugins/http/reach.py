"""From a host's name to a connection; what both forms do the same way."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    from .exchange import Exchange

    T_co = TypeVar("T_co", covariant=True)
    # Any: each family writes its addresses in its own way.
    Address: TypeAlias = tuple[socket.AddressFamily, Any]
    Found: TypeAlias = list[Address] | OSError

    class IO(Protocol[T_co]):
        """What a sync and an async backend do each in their way."""

        async def look_up(self, host: str, port: int, left: float) -> list[Address]: ...
        async def dial(self, address: Address, left: float) -> T_co: ...


T = TypeVar("T")


async def reach(io: IO[T], exchange: Exchange, host: str, port: int) -> T:
    """Connect to the first address of *host* that answers."""
    exchange.connecting(host, port)
    addresses = await io.look_up(host, port, exchange.left())
    exchange.phase = "connect"
    failed: OSError = OSError("it has no address")
    for index, address in enumerate(addresses):
        # A share for each, so that one which says nothing leaves time for the next.
        share = exchange.left() / (len(addresses) - index)
        try:
            return await io.dial(address, share)
        except OSError as exc:
            failed = exc
    raise failed


def numeric(host: str, port: int) -> list[Address]:
    """Return the address that *host* is, if it is one and no name."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return []


def ask(host: str, port: int, answer: Callable[[Found], object]) -> None:
    """Look a name up in a thread: the system's look-up cannot be interrupted."""

    def work() -> None:
        try:
            answer(_addresses(host, port, 0))
        except OSError as exc:
            answer(exc)

    # A daemon, because a look-up that hangs must not keep the process.
    threading.Thread(target=work, name=f"look up {host}", daemon=True).start()


def _addresses(host: str, port: int, flags: int) -> list[Address]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as exc:  # a label of more than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "not a possible name") from exc
    return list(dict.fromkeys((row[0], row[4]) for row in rows))
