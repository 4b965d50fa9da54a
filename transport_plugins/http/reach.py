"""From a host's name to a connection; what both forms do the same way."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from btplug.errors import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    from btplug.network import Allow

    from .exchange import Exchange

    T_co = TypeVar("T_co", covariant=True)
    # Any: each family writes its addresses in its own way.
    Address: TypeAlias = tuple[socket.AddressFamily, Any]
    Found: TypeAlias = list[Address] | OSError

    class IO(Protocol[T_co]):
        """What the sync and the async form do each in their way.

        Attributes:
            allow: Whether an address may be connected to; None: any may.
        """

        allow: Allow | None

        async def look_up(self, host: str, port: int, left: float) -> Found: ...
        async def dial(self, address: Address, left: float) -> T_co: ...


T = TypeVar("T")


async def reach(io: IO[T], exchange: Exchange, host: str, port: int) -> T:
    """Connect to the first address of *host* that answers."""
    exchange.connecting(host, port)
    addresses = _numeric(host, port) or await io.look_up(host, port, exchange.left())
    if isinstance(addresses, OSError):
        raise addresses
    if io.allow is not None:
        addresses = _allowed(io.allow, exchange, host, port, addresses)
    exchange.phase = "connect"
    failed: OSError | None = None
    try:
        for index, address in enumerate(addresses):
            # A share for each, so that one which says nothing leaves time for the next.
            share = exchange.left() / (len(addresses) - index)
            try:
                return await io.dial(address, share)
            except OSError as exc:
                failed = exc
        raise failed or OSError("it has no address")
    finally:
        failed = None  # its traceback holds this frame, and so the message


def _allowed(
    allow: Allow, exchange: Exchange, host: str, port: int, addresses: list[Address]
) -> list[Address]:
    """Return the addresses that may be connected to; these are, and no others.

    Raises:
        NotAllowed: None may.
    """
    found = [one for one in addresses if allow(host, port, one[1][0])]
    if found or not addresses:
        return found
    from btplug.logs import escape

    shown = ", ".join(dict.fromkeys(one[1][0] for one in addresses[:4]))
    of = "" if shown == host else f" of {escape(host)}"
    raise NotAllowed(
        f"the address {shown}{of} is not allowed",
        where=exchange.out.place.shown,
        fix="whoever lends the transport has to allow it",
        delivered=False,
    )


def _numeric(host: str, port: int) -> list[Address]:
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
