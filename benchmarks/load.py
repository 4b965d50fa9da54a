"""A load of echoes: ``python -m benchmarks.load DIALECT COUNT PORT HOTKEY``.

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
from btplug.dialects import V10, BtAuth1, load_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug.dialects import Dialect

_CONNECTIONS = 16
_WARM = 64
_PROMPT = "x" * 1000
_ANSWER = _PROMPT.encode()
_BODY = json.dumps({"prompt": _PROMPT, "numbers": [1, 2]}).encode()


def _dialect(name: str) -> Dialect:
    alice = load_signer("//Alice")
    if name == "btauth/1":
        return BtAuth1(alice)
    hashed = {"EchoSynapse": ["prompt", "numbers"]}
    return V10(alice, hash_fields=hashed, required_fields={"EchoSynapse": ["prompt"]})


def _requests(count: int, peer: Peer, dialect: Dialect) -> Iterator[bytes]:
    """Yield requests; in one dialect, so that an axon has its nonces in order."""
    message = Message(
        body=_BODY, media_type="application/json", method="POST", target="/EchoSynapse"
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

    def __init__(self) -> None:
        self._rest = b""
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
        if answer.startswith(b"HTTP/1.1 200 ") and _ANSWER in answer:
            self._next()
        else:
            self.over.set_exception(ValueError(answer[:500]))


async def _main(name: str, count: int, port: int, hotkey: str) -> float:
    peer = Peer(f"http://127.0.0.1:{port}", hotkey)
    loop = asyncio.get_running_loop()
    each, warm = count // _CONNECTIONS, _WARM // _CONNECTIONS
    work = []
    for _ in range(_CONNECTIONS):
        _, line = await loop.create_connection(Line, "127.0.0.1", port)
        work.append((line, list(_requests(warm + each, peer, _dialect(name)))))
    await asyncio.gather(*(line.send(iter(own[:warm])) for line, own in work))
    begun = time.perf_counter()
    await asyncio.gather(*(line.send(iter(own[warm:])) for line, own in work))
    return time.perf_counter() - begun


if __name__ == "__main__":
    # What sends must not be what is measured: asyncio's own loop is slower.
    import uvloop

    name, count, port, hotkey = sys.argv[1:]
    print(uvloop.run(_main(name, int(count), int(port), hotkey)))
