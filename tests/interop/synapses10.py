"""What the neurons of bittensor 10 have in common; for its own environment's Python."""

from typing import ClassVar

from bittensor.core import tensor
from bittensor.utils import networking

# Axon and dendrite ask six services on the internet for it. Not the address they
# listen on: a dendrite that finds its own there asks 0.0.0.0 instead.
networking.get_external_ip = lambda: "203.0.113.7"
# Without torch its tensors fail while they look for torch's types: none are missing.
tensor.dtypes.torch = True

import bittensor as bt  # noqa: E402
from bittensor_wallet import Keypair  # noqa: E402


class Wallet:
    """What axon and dendrite use of a wallet; no files, no chain."""

    def __init__(self, uri: str) -> None:
        self.hotkey = self.coldkey = self.coldkeypub = Keypair.create_from_uri(uri)


class EchoSynapse(bt.Synapse):
    """Of these fields two are covered by the signature."""

    prompt: str
    numbers: list[int] = []  # noqa: RUF012 - pydantic copies it
    reply: str | None = None
    served: int = 0
    required_hash_fields: ClassVar[tuple[str, ...]] = ("prompt", "numbers")


class SlowSynapse(bt.Synapse):
    """Nothing of it is covered."""

    seconds: float = 0.0


class TensorSynapse(bt.Synapse):
    """An array there, and an array back."""

    x: bt.Tensor | None = None
    y: bt.Tensor | None = None
    required_hash_fields: ClassVar[tuple[str, ...]] = ("x",)


class WordStream(bt.StreamingSynapse):
    """A text there, and its words back, one after the other."""

    prompt: str
    completion: str = ""
    required_hash_fields: ClassVar[tuple[str, ...]] = ("prompt",)

    async def process_streaming_response(self, response):
        async for chunk in response.content.iter_any():
            yield chunk.decode()

    def extract_response_json(self, response):
        return {"name": type(self).__name__, "prompt": self.prompt}
