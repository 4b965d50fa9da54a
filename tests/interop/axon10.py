"""A real axon of bittensor 10 on loopback; run by its own environment's Python.

Prints ``READY port hotkey`` and serves EchoSynapse as //Bob until its input ends.
"""

import sys
from typing import ClassVar, Tuple  # noqa: UP035 - see `refuse`

from bittensor.utils import networking

# The constructor asks six services on the internet for it.
networking.get_external_ip = lambda: "203.0.113.7"

import bittensor as bt  # noqa: E402
from bittensor_wallet import Keypair  # noqa: E402

MALLORY = Keypair.create_from_uri("//Mallory").ss58_address


class Wallet:
    """What axon and dendrite use of a wallet; no files, no chain."""

    def __init__(self, uri: str) -> None:
        self.hotkey = self.coldkey = self.coldkeypub = Keypair.create_from_uri(uri)


class EchoSynapse(bt.Synapse):
    """Of these fields two are covered by the signature."""

    prompt: str
    numbers: list[int] = []  # noqa: RUF012 - pydantic copies it
    reply: str | None = None
    required_hash_fields: ClassVar[tuple[str, ...]] = ("prompt", "numbers")

    def deserialize(self) -> str | None:
        return self.reply


def echo(synapse: EchoSynapse) -> EchoSynapse:
    synapse.reply = f"{synapse.prompt}|{sum(synapse.numbers)}|{synapse.dendrite.hotkey}"
    return synapse


def refuse(synapse: EchoSynapse) -> Tuple[bool, str]:  # noqa: UP006 - compared
    return synapse.dendrite.hotkey == MALLORY, "not welcome"


def main() -> None:
    port = int(sys.argv[1])
    axon = bt.Axon(
        wallet=Wallet("//Bob"),
        port=port,
        ip="127.0.0.1",
        external_ip="127.0.0.1",
        external_port=port,
    )
    axon.fast_config.host = "127.0.0.1"  # otherwise it listens everywhere
    axon.attach(echo, blacklist_fn=refuse)
    axon.start()
    while not axon.fast_server.started:
        axon.fast_server.config.loaded  # noqa: B018 - waiting
    sys.stdout.write(f"READY {port} {axon.wallet.hotkey.ss58_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    axon.stop()


if __name__ == "__main__":
    main()
