"""The request signing of bittensor 11; run by its own environment's Python.

Reads one JSON object from standard input: ``sign`` or ``verify`` and its arguments;
prints one with what came of it.
"""

import json
import sys

from bittensor import http_auth
from bittensor_core import Keypair


def main() -> None:
    asked = json.load(sys.stdin)
    common = {"method": asked["method"], "path": asked["target"]}
    body = bytes.fromhex(asked["body"])
    if asked["do"] == "sign":
        found: object = http_auth.sign(
            Keypair.create_from_uri(asked["uri"]),
            body=body,
            receiver_ss58=asked["receiver"],
            **common,
        )
    else:
        try:
            caller = http_auth.verify(
                asked["headers"], body, self_hotkey_ss58=asked["receiver"], **common
            )
            found = {"hotkey": caller.hotkey_ss58}
        except http_auth.AuthError as exc:
            found = {"error": type(exc).__name__}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
