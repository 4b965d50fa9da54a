"""A real dendrite of bittensor 10; run by its own environment's Python.

``dendrite10.py many COUNT PORT…`` sends COUNT messages of 1 KiB, 256 at once, each to
another port; ``dendrite10.py tensor COUNT PORT HOTKEY`` exchanges tensors of 1 MiB with
an axon. Both do some that do not count, and print the seconds the others took.
"""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "interop"))

from bittensor.core.chain_data import AxonInfo
from synapses10 import EchoSynapse, TensorSynapse, Wallet, bt


def axon(port, hotkey):
    return AxonInfo(
        version=10005000, ip="127.0.0.1", port=int(port), ip_type=4, hotkey=hotkey,
        coldkey=hotkey,
    )  # fmt: skip


async def many(dendrite, count, *ports):
    axons = [axon(port, Wallet("//Bob").hotkey.ss58_address) for port in ports]
    synapse = EchoSynapse(prompt="x" * 1000)

    async def send(count):
        for begin in range(0, count, len(axons)):
            asked = axons[: count - begin]
            found = await dendrite.forward(asked, synapse, 60, deserialize=False)
            assert all(one.dendrite.status_code == 200 for one in found), found[0]

    await send(64)
    begun = time.perf_counter()
    await send(count)
    return time.perf_counter() - begun


async def tensor(dendrite, count, port, hotkey):
    array = np.random.default_rng(1).random((512, 512), np.float32)
    there = axon(port, hotkey)

    async def send(count):
        for _ in range(count):
            synapse = TensorSynapse(x=bt.Tensor.serialize(array))
            found = await dendrite.forward(there, synapse, 60, deserialize=False)
            assert (found.y.deserialize() == array).all()

    await send(2)
    begun = time.perf_counter()
    await send(count)
    return time.perf_counter() - begun


async def main(mode, count, *words):
    async with bt.Dendrite(wallet=Wallet("//Alice").hotkey) as dendrite:
        return await {"many": many, "tensor": tensor}[mode](
            dendrite, int(count), *words
        )


if __name__ == "__main__":
    sys.stdout.write(f"\n{asyncio.run(main(*sys.argv[1:]))}\n")
