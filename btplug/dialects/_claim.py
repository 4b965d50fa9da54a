"""The headers of v10: what a sender says of itself, and what of it is signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from btplug.dialects._parts import bad_header, told, told_secret
from btplug.dialects._shapes import (
    is_digest,
    is_nonce,
    is_seconds,
    is_signature,
    is_uuid,
)
from btplug.dialects._ss58 import hotkey_of
from btplug.errors import NotAllowed, Unauthentic

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.message import Headers

# Before 7.2.0 a nonce was no time of day, so its age says nothing.
OLDEST = 7_002_000
_DENDRITE = "bt_header_dendrite_"
_AXON = "bt_header_axon_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the sender of a synapse says.

    Attributes:
        name: Class of the synapse; not signed.
        sender: Its hotkey.
        nonce: Unix time in nanoseconds.
        uuid: Of the instance that sent it; without a dot.
        body_hash: Lower-case hex.
        timeout: Seconds; not signed.
        version: As an integer, 10.5.0 is 10005000; not signed.
    """

    name: str
    sender: str
    nonce: int
    uuid: str
    body_hash: str
    timeout: float
    version: int

    def signed(self, receiver: str) -> bytes:
        """Return the bytes that are signed."""
        parts = (str(self.nonce), self.sender, receiver, self.uuid, self.body_hash)
        return ".".join(parts).encode()

    def dendrite(self) -> dict[str, object]:
        """Return what a body says of the sender; never the signature."""
        return {
            "version": self.version,
            "nonce": self.nonce,
            "uuid": self.uuid,
            "hotkey": self.sender,
        }

    def block(self, receiver: str) -> dict[str, object]:
        """Return what the protocol writes into a body."""
        return {
            "name": self.name,
            "timeout": self.timeout,
            "dendrite": self.dendrite(),
            "axon": {"hotkey": receiver},
            "computed_body_hash": self.body_hash,
        }


def headers_of(claim: Claim, signature: str, url: str, receiver: str) -> Headers:
    """Return the headers of a request to *receiver* at *url*."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (
        ("name", claim.name),
        ("timeout", str(claim.timeout)),
        (f"{_AXON}ip", parts.hostname or ""),
        (f"{_AXON}port", str(port)),
        (f"{_AXON}hotkey", receiver),
        (f"{_DENDRITE}version", str(claim.version)),
        (f"{_DENDRITE}nonce", str(claim.nonce)),
        (f"{_DENDRITE}uuid", claim.uuid),
        (f"{_DENDRITE}hotkey", claim.sender),
        (f"{_DENDRITE}signature", signature),
        ("computed_body_hash", claim.body_hash),
    )


def read_claim(
    name: str, headers: Headers, mine: str | None, cap: float, where: str
) -> tuple[Claim, str]:
    """Return what the headers say, well formed, and the signature.

    Args:
        mine: The hotkey they must be for.
        cap: Seconds a timeout has at most.

    Raises:
        Unauthentic: A header is missing, malformed, there twice or for another.
        NotAllowed: The version is below 7.2.0.
    """
    found = _collect(headers, where)
    for header, (fits, expected, secret) in _CHECKS.items():
        value = found.get(header)
        if value is None or not fits(value):
            show = told_secret if secret else told
            raise bad_header(show(header, value), expected, where)
    version = int(found[f"{_DENDRITE}version"])
    if version < OLDEST:
        raise NotAllowed(
            f"found the version {version}, expected {OLDEST} (7.2.0) or later",
            where=where,
            fix="send with a newer version: nonces were no times before",
        )
    receiver = found[f"{_AXON}hotkey"]
    if receiver != mine:
        raise Unauthentic(
            f"the request is for {receiver}, "
            f"expected one for {mine or 'nobody: no hotkey is configured'}",
            where=where,
            fix="ask for the hotkey of this server, and sign for it",
        )
    claim = Claim(
        name=name,
        sender=found[f"{_DENDRITE}hotkey"],
        nonce=int(found[f"{_DENDRITE}nonce"]),
        uuid=found[f"{_DENDRITE}uuid"],
        body_hash=found["computed_body_hash"],
        timeout=min(float(found["timeout"]), cap),
        version=version,
    )
    return claim, found[f"{_DENDRITE}signature"]


def _collect(headers: Headers, where: str) -> dict[str, str]:
    """Return those of our headers that are there, each once."""
    found: dict[str, str] = {}
    for key, value in headers:
        name = key.lower()
        if name in _CHECKS:
            if name in found:
                raise bad_header(f"{name} twice", "it once", where)
            found[name] = value
    return found


def _is_address(text: str) -> bool:
    return hotkey_of(text) is not None


# Header -> what it must fit, the same in words, and whether it is never shown.
_CHECKS: dict[str, tuple[Callable[[str], bool], str, bool]] = {
    f"{_DENDRITE}version": (is_nonce, "digits such as 10005000", False),
    f"{_DENDRITE}hotkey": (_is_address, "an ss58 address", False),
    f"{_DENDRITE}nonce": (is_nonce, "nanoseconds in plain digits", False),
    f"{_DENDRITE}uuid": (is_uuid, "up to 64 letters, digits, - or _", False),
    f"{_DENDRITE}signature": (is_signature, "0x, 128 lower-case hex digits", True),
    f"{_AXON}hotkey": (_is_address, "an ss58 address", False),
    "timeout": (is_seconds, "seconds such as 12.0", False),
    "computed_body_hash": (is_digest, "64 lower-case hex digits", False),
}
