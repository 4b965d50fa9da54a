"""The socket that a server listens on, and what happens where files run out."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress

from btplug.errors import Refused, UsageError
from btplug.logs import get_logger
from btplug.network import bracket

BACKLOG = 128  # connections the system keeps until they are taken
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_QUIET = 60.0  # seconds between two warnings


class Listener(socket.socket):
    """A socket that turns away whom it cannot take.

    asyncio's way is a traceback for each of 128 tries every second, and everybody
    waits, also who is to be told that there are too many.
    """

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._warned = -_QUIET

    def accept(self) -> tuple[socket.socket, object]:
        """Take a connection.

        Raises:
            BlockingIOError: There is none, or none could be taken.
            OSError: There is not even the file to turn one away.
        """
        try:
            return super().accept()
        except OSError as exc:
            if exc.errno not in _EXHAUSTED or not self._turn_away():
                raise
            self._warn(exc)
            raise BlockingIOError from exc

    def close(self) -> None:
        """Close it."""
        super().close()
        self._give_spare()

    def _give_spare(self) -> None:
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)

    def _turn_away(self) -> bool:
        """Take one connection and close it: left there, it would wake the loop again.

        Returns:
            False where another thread was faster to take the file.
        """
        self._give_spare()
        try:
            super().accept()[0].close()
        except BlockingIOError:
            pass
        except OSError:
            return False
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
        return True

    def _warn(self, exc: OSError) -> None:
        if (now := time.monotonic()) >= self._warned + _QUIET:
            self._warned = now
            get_logger().warning(
                "whoever connects is turned away (%s): raise the limit of open files, "
                "or lower serve.connections",
                os.strerror(exc.errno or 0),
            )


def listen(host: str, port: int) -> Listener:
    """Return a socket that listens.

    Raises:
        UsageError: The host is empty, or the port is none.
        Refused: The address cannot be listened on.
    """
    # An empty name means every address, which nobody should get by an empty variable.
    if not host:
        raise UsageError(
            "found an empty host to listen on, expected an address",
            fix="name 127.0.0.1, or 0.0.0.0 for every address",
        )
    if not 0 <= port <= 65535:
        raise UsageError(
            f"found the port {port}, expected 0 to 65535", fix="name 0 for a free one"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
        return Listener(made.detach())
    except OSError as exc:
        raise Refused(
            f"cannot listen there: {_reason(exc)}",
            where=f"{bracket(host)}:{port}",
            fix="name an address of this host, and a free port, or 0 for any",
            delivered=False,
        ) from exc


def _reason(exc: OSError) -> str:
    # What was tried is added to the text of some; an unknown name has no number.
    number = exc.errno or 0
    return os.strerror(number) if number > 0 else str(exc.strerror or exc)
