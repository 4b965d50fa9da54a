"""v10's tensors between our codec and the real one, bit by bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hostile_server import open_http

from btplug import Message, Peer
from btplug.codecs import decode_v10_tensor, encode_v10_tensor
from btplug.dialects import V10, load_signer
from btplug.serving import application
from btplug.testing import serving

BOB = load_signer("//Bob")
HASHED = {"TensorSynapse": ["x"]}
KINDS = [
    "float16",
    "float32",
    "float64",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "bool",
]


def bits(kind):
    """Return an array of every kind of bits: infinities, -0.0, all sorts of NaN too."""
    if kind == "bool":
        return np.array([[True, False, True], [False, True, True]])
    width = np.dtype(kind).itemsize
    patterns = np.random.default_rng(7).integers(0, 256, 60 * width, np.uint8)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1]) if "f" in kind else [0, 1]
    return np.concatenate([patterns.view(kind), np.array(special).astype(kind)])


ARRAYS = {kind: bits(kind) for kind in KINDS} | {
    "turned": np.arange(12, dtype="f4").reshape(3, 4).T,
    "deep": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "empty": np.zeros((0,), "f4"),
    "flat": np.zeros((3, 0, 2), "f8"),
    "one": np.array([7], "i8"),
    "large": np.random.default_rng(1).random((512, 512), np.float32),
}


def same(found, array):
    """Return whether type, shape and each bit are the same."""
    return (found.dtype, found.shape, found.tobytes()) == (
        array.dtype, array.shape, array.tobytes(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_a_tensor_goes_to_a_real_axon_and_back(axon10, name):
    port, hotkey = axon10
    peer = Peer(f"http://127.0.0.1:{port}/TensorSynapse", hotkey, "v10")
    body = json.dumps({"x": encode_v10_tensor(ARRAYS[name])}).encode()
    dialects = {"v10": {"key": "//Alice", "hash_fields": HASHED}}
    with open_http(dialects=dialects) as http:
        reply = http.send(peer, Message(body=body), timeout=30)

    assert reply.status == 200, reply.body[:500]
    # JSON of a neuron may be as large as the reply; its limit is for those of the web.
    answer = reply.json(limit=len(reply.body))
    assert same(decode_v10_tensor(answer["y"]), ARRAYS[name])
    assert same(decode_v10_tensor(answer["x"]), ARRAYS[name])


@pytest.fixture(scope="module")
def served():
    """Our server, which keeps what it decodes and sends it back encoded anew."""
    seen = []

    async def handler(request):
        fields = json.loads(request.message.body)
        seen.append(decode_v10_tensor(fields["x"]))
        fields = {"x": fields["x"], "y": encode_v10_tensor(seen[-1])}
        body = json.dumps(fields).encode()
        return Message(body=body, media_type="application/json")

    app = application(handler, dialects=[V10(BOB, hash_fields=HASHED)])
    with open_http() as http, serving(http, app) as url:
        yield int(url.rpartition(":")[2]), seen


@pytest.mark.parametrize("name", ARRAYS)
def test_a_tensor_of_a_real_dendrite_comes_and_goes_back(served, dendrite10, name):
    port, seen = served
    array = ARRAYS[name]
    sent = {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "hex": array.tobytes().hex(),
    }
    found = dendrite10(
        port=port, hotkey=BOB.hotkey, synapse="TensorSynapse", fields={"x": sent}
    )

    assert found["status"] == 200, found["message"]
    assert same(seen[-1], array)
    assert found["y"] == sent
