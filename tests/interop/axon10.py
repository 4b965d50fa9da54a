"""A real axon of bittensor 10 on loopback; run by its own environment's Python.

It prints ``READY port hotkey`` and serves the synapses of synapses10 as //Bob until its
input ends.
"""

import asyncio
import socket
import sys
import time
from functools import partial
from typing import Tuple  # noqa: UP035 - see `refuse`

from synapses10 import (
    EchoSynapse,
    Keypair,
    SlowSynapse,
    TensorSynapse,
    Wallet,
    WordStream,
    bt,
)

MALLORY = Keypair.create_from_uri("//Mallory").ss58_address


class Neuron:
    """The handlers; an echo of "go on" lets a stream send its next words.

    Attributes:
        served: How many echoes passed all checks.
    """

    def __init__(self) -> None:
        self.served, self.told = 0, asyncio.Event()

    async def echo(self, synapse: EchoSynapse) -> EchoSynapse:
        if synapse.prompt == "go on":
            self.told.set()
        self.served += 1
        total = sum(synapse.numbers)
        synapse.reply = f"{synapse.prompt}|{total}|{synapse.dendrite.hotkey}"
        synapse.served = self.served
        return synapse

    async def wait(self, synapse: SlowSynapse) -> SlowSynapse:
        await asyncio.sleep(synapse.seconds)
        return synapse

    def tensor(self, synapse: TensorSynapse) -> TensorSynapse:
        synapse.y = bt.Tensor.serialize(synapse.x.deserialize())
        return synapse

    def words(self, synapse: WordStream):
        async def stream(send):
            for word in synapse.prompt.split():
                if word == "wait":
                    await self.told.wait()
                    self.told.clear()
                    continue
                part = {"type": "http.response.body", "body": word.encode()}
                await send({**part, "more_body": True})

        return synapse.create_streaming_response(stream)


def refuse(synapse: EchoSynapse) -> Tuple[bool, str]:  # noqa: UP006 - compared
    return synapse.dendrite.hotkey == MALLORY, "not welcome"


def main() -> None:
    # A socket of its own: a port that was free a moment ago may be taken, and then it
    # would wait for itself for ever. By itself it listens everywhere, too.
    # With its protocol's number, as by itself: asyncio asks for no TCP_NODELAY else.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    port = listener.getsockname()[1]
    axon = bt.Axon(
        wallet=Wallet("//Bob"),
        port=port,
        ip="127.0.0.1",
        external_ip="127.0.0.1",
        external_port=port,
    )
    server = axon.fast_server
    server.run = partial(server.run, sockets=[listener])
    neuron = Neuron()
    axon.attach(neuron.echo, blacklist_fn=refuse).attach(neuron.wait)
    axon.attach(neuron.tensor).attach(neuron.words)
    axon.start()
    while not server.started:
        time.sleep(0.01)
    sys.stdout.write(f"READY {port} {axon.wallet.hotkey.ss58_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    axon.stop()


if __name__ == "__main__":
    main()
