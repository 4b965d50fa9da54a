"""A server for the benchmarks: answers on many ports with what it got.

``python -m benchmarks.echo PORTS`` prints READY and its ports on one line, first one
that takes connections and never answers, and lives until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

# A dendrite wants JSON, and its axon's own status.
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"bt_header_axon_status_code: 200\r\n\r\n"
)


class Echo(asyncio.Protocol):
    """As little HTTP as a client that behaves needs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.rest = cast("asyncio.Transport", transport), b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            at = self.rest.lower().find(b"content-length:", 0, end)
            size = int(self.rest[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.rest) < end + 4 + size:
                return
            body = self.rest[end + 4 : end + 4 + size]
            self.rest = self.rest[end + 4 + size :]
            self.transport.write(_HEAD % size + body)


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    host = "127.0.0.1"
    servers = [await loop.create_server(asyncio.Protocol, host, 0)]
    servers += [await loop.create_server(Echo, host, 0) for _ in range(count)]
    print(
        "READY", *(server.sockets[0].getsockname()[1] for server in servers), flush=True
    )
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    # The server must not be what is measured: asyncio's own loop is too slow for that.
    import uvloop

    from benchmarks.crowd import raise_limit

    raise_limit()
    uvloop.run(_serve(int(sys.argv[1])))
