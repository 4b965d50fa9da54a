"""A client for the benchmarks: ``python -m benchmarks.client MODE COUNT PORT…``.

It sends COUNT messages of 1 KiB, after some that do not count, and prints the seconds
they took. The first port never answers, the others do.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from btplug import Context, Message, Peer, TransportPluginRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug import Transport

_BODY = b"x" * 1024
_ROOT = Path(__file__).resolve().parents[1]
_IN_FLIGHT = 256
_WARM = 512


@contextmanager
def opened_http() -> Iterator[Transport]:
    os.environ["BTPLUG_HTTP__DIALECTS"] = "{btauth/1: {key: //Alice}}"
    context = Context()
    registry = TransportPluginRegistry(context)
    if errors := registry.discover_plugins(_ROOT / "transport_plugins"):
        raise errors[0]
    yield context.transports["http"]
    registry.shut_down()
    context.close()


def _many(count: int, ports: list[str], limit: int, hotkey: str | None) -> float:
    message = Message(body=_BODY)
    peers = [Peer(f"http://127.0.0.1:{port}/S", hotkey) for port in ports]
    with opened_http() as http:

        def send(count: int) -> None:
            given = (peers[n % len(peers)] for n in range(count))
            for one in http.send_many(given, message, limit=limit):
                assert one.unwrap().ok

        return _timed(send, count)


def _timed(send: Callable[[int], object], count: int) -> float:
    send(_WARM)
    begun = time.perf_counter()
    send(count)
    return time.perf_counter() - begun


def signed(count: int, ports: list[str]) -> float:
    from btplug.dialects import load_signer

    return _many(count, ports[1:], _IN_FLIGHT, load_signer("//Bob").hotkey)


def one_host(count: int, ports: list[str]) -> float:
    return _many(count, ports[1:2], 64, None)


def _raw(count: int, ports: list[str], limit: int) -> float:
    import aiohttp

    async def work() -> float:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            gate = asyncio.Semaphore(limit)

            async def one(port: str) -> None:
                async with (
                    gate,
                    session.post(f"http://127.0.0.1:{port}/S", data=_BODY) as reply,
                ):
                    await reply.read()

            async def send(count: int) -> None:
                given = (ports[n % len(ports)] for n in range(count))
                await asyncio.gather(*map(one, given))

            await send(_WARM)
            begun = time.perf_counter()
            await send(count)
            return time.perf_counter() - begun

    return asyncio.run(work())


def raw_many(count: int, ports: list[str]) -> float:
    return _raw(count, ports[1:], _IN_FLIGHT)


def raw_one(count: int, ports: list[str]) -> float:
    return _raw(count, ports[1:2], 64)


def tensor(count: int, place: list[str]) -> float:
    """Exchange tensors of 1 MiB with the neuron at *place*: port and hotkey."""
    import numpy as np

    from btplug.codecs import decode_tensors, encode_tensors

    port, hotkey = place
    peer = Peer(f"http://127.0.0.1:{port}/tensor", hotkey)
    array = np.random.default_rng(1).random((512, 512), np.float32)

    async def work() -> float:
        async def send(count: int) -> None:
            for _ in range(count):
                message = Message(body=encode_tensors({"x": array}))
                reply = await http.asend(peer, message, timeout=60)
                assert (decode_tensors(reply.body)["y"] == array).all()

        await send(10)
        begun = time.perf_counter()
        await send(count)
        return time.perf_counter() - begun

    with opened_http() as http:
        return asyncio.run(work())


def sync(count: int, ports: list[str]) -> float:
    peer, message = Peer(f"http://127.0.0.1:{ports[1]}/S"), Message(body=_BODY)
    with opened_http() as http:
        return _timed(lambda n: [http.send(peer, message) for _ in range(n)], count)


def raw_httpx(count: int, ports: list[str]) -> float:
    import httpx

    url = f"http://127.0.0.1:{ports[1]}/S"
    with httpx.Client() as client:
        return _timed(
            lambda n: [client.post(url, content=_BODY) for _ in range(n)], count
        )


def hanging(count: int, ports: list[str]) -> float:
    """Return the seconds until the last of 56 healthy among 200 hanging peers."""
    urls = [f"http://127.0.0.1:{ports[0]}/"] * 200
    urls += [f"http://127.0.0.1:{port}/" for port in ports[1:57]]
    with opened_http() as http:
        begun, last, good = time.perf_counter(), 0.0, 0
        given = (Peer(url) for url in urls)
        for one in http.send_many(given, Message(body=_BODY), timeout=2.0):
            if one.reply:
                good, last = good + 1, time.perf_counter() - begun
        assert good == len(ports[1:57])
        return last


MODES = {
    mode.__name__: mode
    for mode in (signed, one_host, raw_many, raw_one, sync, raw_httpx, hanging, tensor)
}

if __name__ == "__main__":
    print(MODES[sys.argv[1]](int(sys.argv[2]), sys.argv[3:]))
