"""Our server for the benchmarks: ``python -m benchmarks.neuron MODE``.

It prints ``READY port hotkey``, answers as //Bob with all checks on, and lives until
its standard input ends. MODE is ``echo`` or ``tensor``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from btplug import Message, Request
from btplug.codecs import decode_tensors, encode_tensors
from btplug.dialects import V10, BtAuth1, load_signer
from btplug.serving import Limits, application
from btplug.testing import running, serving

_ROOT = Path(__file__).resolve().parents[1]
# Counted like any other, and not reached: one client asks as much as a whole subnet.
_LIMITS = Limits(address_rate=1e6, hotkey_rate=1e6)


async def echo(request: Request) -> Message:
    """Do what the handler of the axon does; in btauth/1, send the body back."""
    if request.message.header("x-bittensor-version"):
        return request.message
    fields = json.loads(request.message.body)
    fields["reply"] = f"{fields['prompt']}|{sum(fields['numbers'])}|{request.hotkey}"
    return Message(body=json.dumps(fields).encode(), media_type="application/json")


async def tensor(request: Request) -> Message:
    arrays = decode_tensors(request.message.body)
    return Message(body=encode_tensors({"y": arrays["x"]}))


def main() -> None:
    bob, alice = load_signer("//Bob"), load_signer("//Alice")
    hashed = {"EchoSynapse": ["prompt", "numbers"]}
    app = application(
        {"echo": echo, "tensor": tensor}[sys.argv[1]],
        dialects=[BtAuth1(bob), V10(bob, hash_fields=hashed)],
        limits=_LIMITS,
        allow={alice.hotkey},
    )
    folder = _ROOT / "transport_plugins" / "http"
    with running(folder) as transport, serving(transport, app) as url:
        print("READY", url.rpartition(":")[2], bob.hotkey, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
