"""What lies between uvicorn and a transport: when is written, and when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Transport

_LARGE = 256 * 1024  # bytes of a reply that is not joined


class Joined:
    """A transport that sends at once what one step of the loop writes.

    uvicorn writes the head of a reply and then its body: that would be two packets,
    and whoever reads them woken twice.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:  # whatever else a transport has
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send *data* with all else that this step of the loop writes."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not left."""
        held = sum(map(len, self._held))
        return held + self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close it when all has left."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        held, self._held = self._held, []
        # Twice where it is large: joining copies it.
        for data in held if sum(map(len, held)) > _LARGE else (b"".join(held),):
            self._transport.write(data)


class Flow(FlowControl):
    """uvicorn's, without what reads on for a request that is not answered yet.

    Attributes:
        held: So much of a body is there that the rest waits for its turn.
    """

    held = False

    def resume_reading(self) -> None:
        """Read on, where somebody wants it."""
        if self.read_paused and not self.held:
            self.read_paused = False
            self._transport.resume_reading()
