"""btauth/1: requests signed by a hotkey, as the Bittensor SDK 11 does it.

Source: https://www.bittensor.com/docs/guides/signed-requests
"""

from __future__ import annotations

from hashlib import sha256 as _sha256
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from btplug.dialects._crypto import SCHEMES, verify
from btplug.dialects._parts import (
    Nonces,
    Window,
    bad_header,
    check_mine,
    signature_by,
    signed_by,
    target_of,
    told,
    told_secret,
)
from btplug.dialects._shapes import is_digest, is_nonce, is_signature
from btplug.dialects._ss58 import hotkey_of
from btplug.dialects.replays import Replays
from btplug.errors import NotAllowed, Unauthentic
from btplug.values import new_message, new_request

if TYPE_CHECKING:
    from btplug.dialects.keys import Signer
    from btplug.message import Headers, Message, Peer, Reply, Request

_PREFIX = "x-bittensor-"
_VERSION = "X-Bittensor-Version"
_HOTKEY = "X-Bittensor-Hotkey"
_RECEIVER = "X-Bittensor-Receiver"
_NONCE = "X-Bittensor-Nonce"
_CRYPTO = "X-Bittensor-Crypto"
_SIGNATURE = "X-Bittensor-Signature"
_HELD = 1024 * 1024  # bytes of a body that is not let go before the next one


class _Claim(NamedTuple):
    """What the headers say, well formed and not yet proven."""

    sender: str
    receiver: str | None
    nonce: int
    scheme: str
    signature: str


class BtAuth1:
    """Signs requests and verifies them; replies are not signed in this dialect.

    Args:
        signer: Signs what is sent; None: this instance receives only.
        hotkey: Mine, to which requests must be bound; None: that of *signer*.
        require_receiver: Refuse requests that are bound to nobody.
        back: Seconds a request may be old when its headers arrive.
        ahead: Seconds its clock may be ahead of mine.
        upload: Seconds its body may take to arrive after them.
        limit: Accepted requests remembered at most; of one sender, a quarter of them.
        replays: The memory of accepted requests, where it is shared.

    Raises:
        ConfigError: A value is out of range, or *hotkey* is none.
    """

    name: ClassVar[str] = "btauth/1"

    def __init__(
        self,
        signer: Signer | None = None,
        *,
        hotkey: str | None = None,
        require_receiver: bool = True,
        back: float = 10.0,
        ahead: float = 2.0,
        upload: float = 30.0,
        limit: int = 200_000,
        replays: Replays | None = None,
    ) -> None:
        self._signer = signer
        self._mine = check_mine(hotkey, signer)
        self._require_receiver = require_receiver
        self._window = Window(back=back, ahead=ahead)
        self.replays = self._window.replays(upload=upload, limit=limit, given=replays)
        self._nonces = Nonces()
        self._last: tuple[Headers, _Claim] | None = None
        self._last_body = b"", _sha256().hexdigest()

    def outgoing(
        self,
        peer: Peer,
        message: Message,
        *,
        timeout: float,
        now_ns: int,
        sha256: str | None = None,
    ) -> Message:
        """Return *message* with signed headers; bound to the hotkey of *peer*, if any.

        Raises:
            Unsupported: There is no key.
            NotAllowed: The message has such headers already, or the hotkey of *peer*
                is none.
        """
        signer, receiver = signed_by(self._signer, self.name), peer.hotkey
        _check_sendable(message, peer)
        if sha256 is None:
            sha256 = self._digest(message.body)
        elif not is_digest(sha256):
            raise _not_sent("found another sha256", "64 lower-case hex digits", peer)
        target = target_of(peer.url, message.target)
        nonce = self._nonces.next(now_ns)
        data = signed_bytes(
            signer.scheme, message.method.upper(), target, sha256, nonce,
            signer.hotkey, receiver,
        )  # fmt: skip
        if data is None:
            raise _not_sent("found line breaks in the request", "none", peer)
        signature = signature_by(signer, data)
        headers: Headers = (
            (_VERSION, "1"),
            (_HOTKEY, signer.hotkey),
            (_NONCE, str(nonce)),
            (_SIGNATURE, signature),
        )
        if signer.scheme != "sr25519":
            headers += ((_CRYPTO, signer.scheme),)
        if receiver is not None:
            headers += ((_RECEIVER, receiver),)
        return new_message(
            body=message.body,
            media_type=message.media_type,
            headers=message.headers + headers,
            method=message.method,
            target=message.target,
        )

    def _digest(self, body: bytes) -> str:
        """Return the SHA-256 of a body; of one that goes to many peers, made once."""
        last = self._last_body
        if last[0] is not body:
            last = body, _sha256(body).hexdigest()
            if len(body) <= _HELD:
                self._last_body = last
        return last[1]

    def answer(self, peer: Peer, sent: Message, reply: Reply) -> Reply:
        """Return *reply* itself: nobody signs replies, so it has no signer.

        Only the hotkey of *peer* can have accepted the request, but whoever sits
        between the two can have written the reply.
        """
        return reply

    def admit(self, head: Request, now_ns: int) -> None:
        """Check shape, receiver and age of the headers, in this order.

        Raises:
            Unauthentic: One of them is wrong.
        """
        self._claim(head, now_ns)

    def incoming(self, request: Request, now_ns: int) -> Request:
        """Check all of *request* and return it with the hotkey that signed it.

        Raises:
            Unauthentic: It is not proven, not for me, not fresh or not new.
            NotAllowed: Too many requests are remembered to take another one.
        """
        claim = self._claim(request, now_ns)
        message = request.message
        data = signed_bytes(
            claim.scheme, message.method, message.target,
            _sha256(message.body).hexdigest(), claim.nonce, claim.sender,
            claim.receiver,
        )  # fmt: skip
        signature = bytes.fromhex(claim.signature[2:])
        if data is None or not verify(claim.scheme, claim.sender, data, signature):
            raise Unauthentic(
                f"the signature is not of this request by {claim.sender}, "
                "expected one of method, target, body, nonce, sender and receiver",
                where=request.address,
                fix="sign exactly what is sent, and change nothing on the way",
            )
        self.replays.add(claim.sender, claim.nonce, now_ns)
        where = request.address
        return new_request(message=message, address=where, hotkey=claim.sender)

    def reply(self, request: Request, reply: Reply) -> Reply:
        """Return *reply* itself: replies are not signed in this dialect."""
        return reply

    def _claim(self, head: Request, now_ns: int) -> _Claim:
        where, headers, last = head.address, head.message.headers, self._last
        # `incoming` mostly follows `admit`, with the very same headers.
        if last is not None and last[0] is headers:
            claim = last[1]
        else:
            claim = _read(headers, where)
            self._last = headers, claim
        if claim.receiver is None:
            if self._require_receiver:
                raise Unauthentic(
                    "the request is bound to no receiver, expected one for "
                    f"{self._mine or 'a hotkey'}",
                    where=where,
                    fix=f"send {_RECEIVER} and sign it",
                )
        elif claim.receiver != self._mine:
            raise Unauthentic(
                f"the request is for {claim.receiver}, "
                f"expected one for {self._mine or 'nobody: no hotkey is configured'}",
                where=where,
                fix="ask for the hotkey of this server, and sign for it",
            )
        self._window.check(claim.nonce, now_ns, where)
        return claim


def signed_bytes(
    scheme: str,
    method: str,
    target: str,
    digest: str,
    nonce: int,
    sender: str,
    receiver: str | None,
) -> bytes | None:
    """Return what is signed, or None where a part would make a line of its own."""
    text = (
        f"btauth/1\n{scheme}\n{method}\n{target}\n{digest}\n{nonce}\n{sender}\n"
        f"{receiver or '-'}"
    )
    # A server may hand over what its parser let through.
    return text.encode("utf-8", "surrogatepass") if text.count("\n") == 7 else None


def _check_sendable(message: Message, peer: Peer) -> None:
    if peer.hotkey is not None and hotkey_of(peer.hotkey) is None:
        raise _not_sent(f"found the hotkey {peer.hotkey[:64]!r}", "an address", peer)
    for key, _ in message.headers:
        if key[:12].lower() == _PREFIX:
            found = f"found the header {key[:40]!r} in the message"
            raise _not_sent(found, "none of it", peer)


def _not_sent(found: str, expected: str, peer: Peer) -> NotAllowed:
    return NotAllowed(
        f"{found}, expected {expected}",
        where=peer.url.partition("?")[0],
        fix="btauth/1 makes its headers itself, from the message and the peer",
        delivered=False,
    )


def _read(headers: Headers, where: str) -> _Claim:
    found: dict[str, str] = {}
    for key, value in headers:
        if key[:12].lower() == _PREFIX:
            name = key.lower()
            if name in found:
                raise bad_header(f"{key[:40]} twice", "it once", where)
            found[name] = value
    get = found.get
    if (version := get("x-bittensor-version")) != "1":
        raise bad_header(told(_VERSION, version), "'1'", where)
    claimed, receiver = get("x-bittensor-hotkey"), get("x-bittensor-receiver")
    sender = hotkey_of(claimed or "")
    if sender is None:
        raise bad_header(told(_HOTKEY, claimed), "an ss58 address", where)
    if receiver is not None and hotkey_of(receiver) is None:
        raise bad_header(told(_RECEIVER, receiver), "an ss58 address or none", where)
    nonce = get("x-bittensor-nonce")
    if nonce is None or not is_nonce(nonce):
        raise bad_header(told(_NONCE, nonce), "nanoseconds in plain digits", where)
    scheme = get("x-bittensor-crypto", "sr25519")
    if scheme not in SCHEMES:
        raise bad_header(told(_CRYPTO, scheme), " or ".join(SCHEMES), where)
    signature = get("x-bittensor-signature")
    if signature is None or not is_signature(signature):
        raise bad_header(
            told_secret(_SIGNATURE, signature),
            "0x and 128 lower-case hex digits",
            where,
        )
    return _Claim(sender, receiver, int(nonce), scheme, signature)
