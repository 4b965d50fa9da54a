"""The request signing of bittensor 11; run by its own environment's Python.

Reads one JSON object a line: ``sign``, ``verify`` or ``payload`` and its arguments;
prints one with what came of it. What it has accepted is a replay until it ends.
"""

import hashlib
import json
import sys
import time

from bittensor import http_auth
from bittensor_core import Keypair


def sign(asked, body, common):
    if (nonce := asked.get("nonce")) is None:
        nonce = time.time_ns() + int(asked.get("ahead", 0) * 1e9)
    key = Keypair.create_from_uri(asked["uri"], asked.get("scheme", 1))
    return http_auth.sign(
        key, body=body, receiver_ss58=asked["receiver"], nonce_ns=nonce, **common
    )


def verify(asked, body, common):
    now = time.time_ns() + int(asked.get("ahead", 0) * 1e9)
    try:
        caller = http_auth.verify(
            asked["headers"], body, self_hotkey_ss58=asked["receiver"],
            now_ns=asked.get("now", now), **common,
            require_receiver=asked.get("bound", True),
        )  # fmt: skip
    except http_auth.AuthError as exc:
        return {"error": type(exc).__name__}
    return {"hotkey": caller.hotkey_ss58}


def payload(asked, body, common):
    signed = http_auth.build_payload(
        scheme=asked["scheme"], body=body, nonce_ns=asked["nonce"],
        sender_ss58=asked["sender"], receiver_ss58=asked["receiver"], **common,
    )  # fmt: skip
    return {"sha256": hashlib.sha256(signed).hexdigest(), "size": len(signed)}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        common = {"method": asked["method"], "path": asked["target"]}
        do = {"sign": sign, "verify": verify, "payload": payload}[asked["do"]]
        found = do(asked, bytes.fromhex(asked["body"]), common)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
