"""A load of echoes in v10: ``python -m benchmarks.load COUNT PORT HOTKEY``.

All requests are signed before the clock runs; then a few connections send them, each
the next when its answer is whole. It prints the seconds that took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, cast

from btplug import Message, Peer
from btplug.dialects import V10, load_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug.dialects import Signer

_CONNECTIONS = 16
_WARM = 64
_FIELDS = {"prompt": "x" * 1000, "numbers": [1, 2]}


def _requests(count: int, peer: Peer, signer: Signer) -> Iterator[bytes]:
    """Yield as many requests of one sender: an axon wants its nonces in order."""
    body = json.dumps(_FIELDS).encode()
    message = Message(body=body, method="POST", target="/EchoSynapse")
    dialect = V10(
        signer,
        hash_fields={"EchoSynapse": ["prompt", "numbers"]},
        required_fields={"EchoSynapse": ["prompt"]},
    )
    for _ in range(count):
        sent = dialect.outgoing(peer, message, timeout=12.0, now_ns=time.time_ns())
        lines = [
            f"POST {sent.target} HTTP/1.1", "host: 127.0.0.1",
            f"content-type: {sent.media_type}", f"content-length: {len(sent.body)}",
            *(f"{name}: {value}" for name, value in sent.headers),
        ]  # fmt: skip
        yield "\r\n".join(lines).encode() + b"\r\n\r\n" + sent.body


class Line(asyncio.Protocol):
    """One connection; as little HTTP as servers that behave need."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self._rest, self._size = answer, b"", 0
        self.over: asyncio.Future[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError("closed"))

    async def send(self, requests: Iterator[bytes]) -> None:
        """Send each, and return after the last answer."""
        self._requests = requests
        self.over = asyncio.get_running_loop().create_future()
        self._next()
        await self.over

    def _next(self) -> None:
        if (request := next(self._requests, None)) is None:
            self.over.set_result(None)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._rest.lower().index(b"content-length:", 0, end) + 15
        whole = end + 4 + int(self._rest[at:end].split(b"\r\n", 1)[0])
        if len(self._rest) < whole:
            return
        answer, self._rest = self._rest[:whole], self._rest[whole:]
        if answer.startswith(b"HTTP/1.1 200 ") and self._answer in answer:
            self._next()
        else:
            self.over.set_exception(ValueError(answer[:500]))


async def _main(count: int, port: int, hotkey: str) -> float:
    alice = load_signer("//Alice")
    peer = Peer(f"http://127.0.0.1:{port}", hotkey)
    answer = f"{_FIELDS['prompt']}|3|{alice.hotkey}".encode()
    loop = asyncio.get_running_loop()
    each, warm = count // _CONNECTIONS, _WARM // _CONNECTIONS
    work = []
    for _ in range(_CONNECTIONS):
        _, line = await loop.create_connection(lambda: Line(answer), "127.0.0.1", port)
        work.append((line, list(_requests(warm + each, peer, alice))))
    await asyncio.gather(*(line.send(iter(own[:warm])) for line, own in work))
    begun = time.perf_counter()
    await asyncio.gather(*(line.send(iter(own[warm:])) for line, own in work))
    return time.perf_counter() - begun


if __name__ == "__main__":
    # What sends must not be what is measured: asyncio's own loop is slower.
    import uvloop

    print(uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
