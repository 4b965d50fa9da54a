"""Many peers, each asked once: ``python -m benchmarks.crowd MODE PORT…``.

Prints as JSON how many answered, the seconds it took, by how many MiB the memory grew
and how many descriptors were open at most.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.machine import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BODY = b"x" * 1024
_IN_FLIGHT = 512
_WARM = 16
_TICK = 0.02  # seconds between two looks at the descriptors


def raise_limit() -> None:
    """Allow this process as many descriptors as the system does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def _counted(found: list[int]) -> Iterator[None]:
    """Note every now and then how many descriptors are open."""
    place = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    over = threading.Event()

    def look() -> None:
        while not over.wait(_TICK):
            found.append(len(os.listdir(place)) - 1)  # without the one it is read by

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _measured(ask: Callable[[list[str]], int], ports: list[str]) -> None:
    ask(ports[:_WARM])
    memory, found = Memory(), [0]
    with _counted(found):
        begun = time.perf_counter()
        answered = ask(ports)
        seconds = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "answered": answered,
                "seconds": seconds,
                "memory": memory.grown(),
                "descriptors": max(found),
            }
        )
    )


def ours(ports: list[str]) -> None:
    from benchmarks.client import opened_http
    from btplug import Message, Peer

    message = Message(body=_BODY)
    with opened_http() as http:

        def ask(ports: list[str]) -> int:
            given = (Peer(f"http://127.0.0.1:{port}/S") for port in ports)
            found = http.send_many(given, message, limit=_IN_FLIGHT)
            return sum(one.reply is not None and one.reply.ok for one in found)

        _measured(ask, ports)


def raw(ports: list[str]) -> None:
    import aiohttp

    loop, gate = asyncio.new_event_loop(), asyncio.Semaphore(_IN_FLIGHT)

    async def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    session = loop.run_until_complete(opened())

    async def one(port: str) -> bool:
        async with (
            gate,
            session.post(f"http://127.0.0.1:{port}/S", data=_BODY) as reply,
        ):
            await reply.read()
            return reply.ok

    async def every(ports: list[str]) -> int:
        return sum(await asyncio.gather(*map(one, ports)))

    _measured(lambda ports: loop.run_until_complete(every(ports)), ports)
    loop.run_until_complete(session.close())


if __name__ == "__main__":
    raise_limit()
    {"ours": ours, "raw": raw}[sys.argv[1]](sys.argv[2:])
