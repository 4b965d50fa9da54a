"""A real dendrite of bittensor 10; run by its own environment's Python.

Reads one JSON object a line: ``port``, ``hotkey``, ``synapse`` and its ``fields``, and
where they differ from the usual ``uri``, ``timeout``, ``clock``: seconds by which the
dendrite's is ahead, ``at``: nanoseconds at which it stands still. Prints one for each:
what the dendrite reports, and the synapse it was given back.
"""

import asyncio
import json
import os
import sys
import time

import numpy as np
import synapses10
from bittensor.core import dendrite as module
from bittensor.core.chain_data import AxonInfo
from synapses10 import Wallet, bt


class Clock:
    """What the dendrite takes for the time."""

    def __init__(self) -> None:
        self.ahead, self.at = 0.0, None

    def time(self) -> float:
        return time.time()

    def time_ns(self) -> int:
        return self.at or time.time_ns() + int(self.ahead * 1e9)


module.time = CLOCK = Clock()


def arrays(fields):
    """Return *fields* with an array for each ``{"dtype", "shape", "hex"}``."""
    made = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            data = np.frombuffer(bytes.fromhex(value["hex"]), value["dtype"])
            value = bt.Tensor.serialize(data.reshape(value["shape"]))
        made[name] = value
    return made


def plain(value):
    """Return a field of an answer so that JSON takes it."""
    if not isinstance(value, bt.Tensor):
        return value
    array = value.deserialize()
    text = array.tobytes().hex()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "hex": text}


async def ask(dendrite, asked):
    CLOCK.ahead, CLOCK.at = asked.get("clock", 0.0), asked.get("at")
    port, hotkey = asked["port"], asked["hotkey"]
    info = AxonInfo(
        version=10005000, ip="127.0.0.1", port=port, ip_type=4, hotkey=hotkey,
        coldkey=hotkey,
    )  # fmt: skip
    synapse = getattr(synapses10, asked["synapse"])(**arrays(asked["fields"]))
    streaming = isinstance(synapse, bt.StreamingSynapse)
    found = await dendrite.forward(
        info, synapse, timeout=asked.get("timeout", 12.0), deserialize=False,
        streaming=streaming,
    )  # fmt: skip
    chunks = []
    if streaming:
        async for one in found:
            chunks.append(one)
        found = chunks.pop()
    fields = {name: plain(getattr(found, name)) for name in type(synapse).model_fields}
    kept = {key: fields[key] for key in fields.keys() - bt.Synapse.model_fields.keys()}
    said = found.dendrite
    return {
        "status": int(said.status_code or 0),
        "message": said.status_message,
        "body_hash": synapse.body_hash,
        "chunks": chunks,
        **kept,
    }


async def main() -> None:
    # What bittensor prints must not come between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    dendrites = {}
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            uri = asked.get("uri", "//Alice")
            if uri not in dendrites:
                dendrites[uri] = bt.Dendrite(wallet=Wallet(uri).hotkey)
            out.write(json.dumps(await ask(dendrites[uri], asked)) + "\n")
            out.flush()
    finally:
        for one in dendrites.values():
            await one.aclose_session()


if __name__ == "__main__":
    asyncio.run(main())
