"""A transport of asyncio: written to, waited for, and given up."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, cast

from btplug.errors import TransportError

from .flow import Garbled
from .reading import Reading
from .wires import QUIET, looker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from btplug.message import Buffer

    from .exchange import Exchange
    from .heads import Heads

_FRESH = 0.001  # seconds
# Bytes handed to asyncio at once: it moves all it holds for every bit that leaves.
_PIECE = 256 * 1024
_PARTS = 64  # sent by one call; a system takes 1,024
_VECTORS = hasattr(socket.socket, "sendmsg")


class Line(Reading, asyncio.BufferedProtocol):
    """A connection of the async form, as asyncio sees it.

    Attributes:
        lost: It has ended, or is about to.
    """

    __slots__ = (
        "__weakref__", "_ciphered", "_full", "_held", "_look", "_loop", "_paused",
        "_sock", "_space", "_wake", "lost", "transport",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, space: memoryview, heads: Heads) -> None:
        super().__init__(heads)
        self._sock, self._ciphered = sock, False
        self._look = looker(sock)
        self.lost = self._full = self._paused = False
        self._held = 0  # bytes of a part of a message that wait to be written
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.Future[None] | None = None
        self._space = space

    def get_buffer(self, sizehint: int) -> memoryview:
        # asyncio's own allocates 256 KiB for every read.
        return self._room or self._space

    def buffer_updated(self, nbytes: int) -> None:
        if self._room is not None:
            self.filled(self._room, nbytes)
        elif self._exchange is None or self._complete:
            self._clean = False
            self.abort()  # bytes that nobody asked for
        else:
            try:
                self.received(bytes(self._space[:nbytes]))
            except (TransportError, Garbled) as exc:
                self._fail(exc)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.use(cast("asyncio.Transport", transport))
        # pause_writing comes as soon as the system takes no more.
        self.transport.set_write_buffer_limits(0)

    def use(self, transport: asyncio.Transport) -> None:
        """Take a transport: the first one, or that of TLS."""
        self.transport = transport
        self._ciphered = transport.get_extra_info("ssl_object") is not None
        # What comes before anything was asked is looked at then.
        transport.pause_reading()

    def pause(self) -> None:
        """Read no more until what was read has been taken."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on: what was read has been taken."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._woken()

    def occupied(self) -> bool:
        """Tell whether the peer has closed it, or sent what nobody asked for."""
        if self.lost:
            return True
        # The loop has looked a moment ago: a look of our own costs as much as sending.
        if monotonic() - self.rested < _FRESH:
            return False
        return self._look(0)

    def _told(self) -> bool:
        """Tell whether the peer has ended it in the way of TLS, if that is spoken."""
        if not self._ciphered:
            return True
        import ssl  # it is there by now

        try:
            return not self.transport.get_extra_info("ssl_object").read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    def abort(self) -> None:
        """End it now; what was not sent yet is not sent."""
        self.lost = True
        self.transport.abort()

    def _post(self, data: bytes) -> None:
        """Send the first of a message now; what cannot be is left to the loop.

        Nothing waits there, or this connection would not be used again. A loop may
        keep it until all others have had their turn, and their peers sleep meanwhile.
        """
        sent = 0
        if not self._ciphered:
            try:
                sent = self._sock.send(data, QUIET)
            except BlockingIOError:
                pass
            except OSError as exc:
                self._broke(exc)
                return
        if sent < len(data):
            self.transport.write(data[sent:])

    def _fail(self, exc: Exception) -> None:
        """End the exchange by *exc*, and the connection."""
        raise NotImplementedError

    def _broke(self, exc: Exception) -> None:
        """Note that sending failed: a second try would only say so less well."""
        raise NotImplementedError

    async def _write(
        self, pieces: Sequence[Buffer], exchange: Exchange, done: asyncio.Future[None]
    ) -> bool:
        """Write until all is with the system, or *done* says that it is over.

        Returns:
            Nothing is left that asyncio has not seen.
        """
        self._held = sum(map(len, pieces))
        left = deque(part for piece in pieces for part in _cut(piece))
        # What can take no more says so a step of the loop later.
        while left and not done.done() and not self.transport.is_closing():
            sent = self._send(left)
            self._held -= sent
            if left and not sent and not self.lost:
                part = left.popleft()
                self._held -= len(part)
                self.transport.write(part)
            # A server may refuse a message halfway, with a reply that can be read.
            while self._full and not done.done():
                await self._wait(exchange.left())
            exchange.step()
        return not left

    def _send(self, left: deque[Buffer]) -> int:
        """Send what the system takes of many parts at once; return how many bytes.

        asyncio has no call for that before Python 3.12, and a call for each part wakes
        the peer for each. What the system does not take is left to it.
        """
        if not _VECTORS or self._ciphered or self.transport.get_write_buffer_size():
            return 0
        try:
            sent = size = self._sock.sendmsg([*islice(left, _PARTS)], (), QUIET)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._broke(exc)
            return 0
        while size:
            part = left.popleft()
            if len(part) > size:
                left.appendleft(memoryview(part)[size:])
            size -= min(size, len(part))
        return sent

    def _take_rest(self) -> None:
        """Take what had come before a write failed: asyncio does not look there.

        A server that refuses a message halfway answers and closes.
        """
        if self._ciphered:
            return  # it would have to be deciphered
        with suppress(OSError):
            while size := self._sock.recv_into(self.get_buffer(-1)):
                self.buffer_updated(size)

    async def _wait(self, seconds: float) -> None:
        """Wait until something happens, but no longer than that."""
        self._wake = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._woken)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None

    def _woken(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _cut(piece: Buffer) -> Iterator[Buffer]:
    if len(piece) <= _PIECE:
        yield piece
        return
    view = memoryview(piece)
    for start in range(0, len(piece), _PIECE):
        yield view[start : start + _PIECE]
