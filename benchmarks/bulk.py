"""Bodies of a gigabyte, for the benchmarks: ``python -m benchmarks.bulk MODE …``.

``bulk serve`` is the server: it swallows what is posted, and sends as many bytes as the
path says. ``bulk MODE MIB FOLDER PORT`` moves that many MiB after a few that do not
count, and prints the seconds it took and by how many MiB the memory grew, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.machine import Memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

MIB = 1024 * 1024
_PIECE = 256 * 1024
_WARM = 8 * MIB
_ZEROS = bytes(_PIECE)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


class Flood(asyncio.BufferedProtocol):
    """As little HTTP as a client that behaves needs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.space = bytearray(4 * _PIECE)
        self.full, self.task = False, None
        self.left: int | None = 0
        self.head = self.tail = b""

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.space

    def buffer_updated(self, nbytes: int) -> None:
        if self.left == 0:
            self._begin(bytes(self.space[:nbytes]))
        else:
            self._swallow(nbytes, bytes(self.space[max(0, nbytes - 5) : nbytes]))

    def _begin(self, data: bytes) -> None:
        self.head += data
        head, found, rest = self.head.partition(b"\r\n\r\n")
        if not found:
            return
        self.head = self.tail = b""
        if head.startswith(b"GET"):
            self.task = asyncio.ensure_future(self._send(int(head.split()[1][1:])))
            return
        size = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        self.left = int(size) if size else None
        self._swallow(len(rest), rest[-5:])

    def _swallow(self, size: int, tail: bytes) -> None:
        if self.left is None:
            self.tail = (self.tail + tail)[-5:]
            ended = self.tail == b"0\r\n\r\n"
        else:
            self.left -= size
            ended = self.left == 0
        if ended:
            self.left = 0
            self.transport.write(_HEAD % 0)

    async def _send(self, size: int) -> None:
        self.transport.write(_HEAD % size)
        while size:
            self.transport.write(_ZEROS[:size])
            size -= min(size, _PIECE)
            while self.full:
                self.wake = asyncio.get_running_loop().create_future()
                await self.wake

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.wake.set_result(None)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Flood, "127.0.0.1", 0)
    print("READY", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def _pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // _PIECE):
        yield _ZEROS


async def _later(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // _PIECE):
        yield _ZEROS


def _file(folder: Path, size: int) -> Path:
    path = folder / f"bulk-{size}"
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(size)
    return path


def _measured(size: int, move: Callable[[int], int]) -> None:
    moved, memory = move(_WARM), Memory()
    assert moved == _WARM
    begun = time.perf_counter()
    moved = move(size)
    seconds = time.perf_counter() - begun
    assert moved == size, f"{moved:,} of {size:,} bytes"
    print(json.dumps({"seconds": seconds, "memory": memory.grown()}))


def _ours(size: int, url: str, folder: Path, mode: str) -> None:
    from benchmarks.client import opened_http
    from btplug import Message, Peer
    from btplug.dialects import load_signer

    peer, hotkey = Peer(url), load_signer("//Bob").hotkey

    with opened_http() as transport:

        def up(size: int) -> int:
            with transport.stream(peer, Message(), _pieces(size)) as stream:
                assert stream.head.ok, stream.head
                return sum(map(len, stream)) + size

        def down(size: int) -> int:
            message = Message(method="GET", target=str(size))
            with transport.stream(peer, message) as stream:
                return sum(map(len, stream))

        def file(size: int) -> int:
            path = _file(folder, size)
            with transport.stream(Peer(url, hotkey), Message(), path) as stream:
                assert stream.head.ok, stream.head
                return sum(map(len, stream)) + size

        _measured(size, {"up": up, "down": down, "file": file}[mode])


def _raw(size: int, url: str, folder: Path, mode: str) -> None:
    import hashlib

    import aiohttp

    async def up(session: Any, size: int) -> int:
        async with session.post(url, data=_later(size)) as reply:
            return len(await reply.read()) + size

    async def down(session: Any, size: int) -> int:
        total = 0
        async with session.get(f"{url}/{size}") as reply:
            async for part in reply.content.iter_any():
                total += len(part)
        return total

    async def file(session: Any, size: int) -> int:
        with _file(folder, size).open("rb") as source:
            # What is signed has to be read first, whoever signs it.
            await asyncio.to_thread(hashlib.file_digest, source, "sha256")
            source.seek(0)
            async with session.post(url, data=source) as reply:
                return len(await reply.read()) + size

    work: Callable[[Any, int], Awaitable[int]] = {
        "up": up, "down": down, "file": file,
    }[mode]  # fmt: skip
    loop = asyncio.new_event_loop()

    async def opened() -> Any:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None))

    session = loop.run_until_complete(opened())
    _measured(size, lambda size: loop.run_until_complete(work(session, size)))
    loop.run_until_complete(session.close())


def main() -> None:
    if sys.argv[1] == "serve":
        # The server must not be what is measured.
        import uvloop

        uvloop.run(_serve())
        return
    mode, mib, folder, port = sys.argv[1:]
    run = _raw if mode.startswith("raw_") else _ours
    url = f"http://127.0.0.1:{port}"
    run(int(mib) * MIB, url, Path(folder), mode.removeprefix("raw_"))


if __name__ == "__main__":
    main()
