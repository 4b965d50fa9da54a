"""v10: what axons and dendrites of the Bittensor SDK up to 10 speak.

Its weak points, which no reader can mend: name, timeout and version are not signed,
the body only where its fields are hashed, and replies not at all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from btplug.dialects import _synapse
from btplug.dialects._claim import Claim, headers_of, read_claim
from btplug.dialects._crypto import verify
from btplug.dialects._parts import (
    Nonces,
    Window,
    check_mine,
    signature_by,
    signed_by,
)
from btplug.dialects._shapes import is_status
from btplug.dialects._synapse import Synapses, class_name
from btplug.errors import BadReply, NotAllowed, Unauthentic, Unsupported
from btplug.values import new_message, new_reply, new_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from btplug.dialects.keys import Signer
    from btplug.dialects.replays import Replays
    from btplug.message import Headers, Message, Peer, Reply, Request

VERSION = 10_005_000  # the protocol of 10.5.0
_STATUS = "bt_header_axon_status_code"
_NONE: Mapping[str, Sequence[str]] = {}


class V10:
    """Speaks v10 on both sides; a body is the JSON object of a synapse's fields.

    Args:
        signer: An sr25519 key that signs what is sent; None: receives only.
        hotkey: Mine, for which requests must be signed; None: that of *signer*.
        hash_fields: Class of synapse -> the fields its hash protects, in order.
        required_fields: Class of synapse -> the fields it cannot be made without.
        max_items: Commas and opening brackets that a request or reply may have, those
            in its text included: more is refused before it is decoded.
        max_timeout: Seconds; a sender may name more, and gets these.
        back: Seconds a request may be old beyond its timeout.
        ahead: Seconds its clock may be ahead of mine.
        upload: Seconds its body may take to arrive after the headers.
        limit: Accepted requests remembered at most; of one sender, a quarter of them.
        replays: The memory of accepted requests, where it is shared.

    Raises:
        ConfigError: A value is out of range, or *hotkey* is none.
    """

    name: ClassVar[str] = "v10"

    def __init__(
        self,
        signer: Signer | None = None,
        *,
        hotkey: str | None = None,
        hash_fields: Mapping[str, Sequence[str]] = _NONE,
        required_fields: Mapping[str, Sequence[str]] = _NONE,
        max_items: int = 200_000,
        max_timeout: float = 12.0,
        back: float = 4.0,
        ahead: float = 2.0,
        upload: float = 30.0,
        limit: int = 200_000,
        replays: Replays | None = None,
    ) -> None:
        self._signer = signer
        self._mine = check_mine(hotkey, signer)
        self._synapses = Synapses(hash_fields, required_fields, max_items)
        self._window = Window(back=back, ahead=ahead, max_timeout=max_timeout)
        self.replays = self._window.replays(upload=upload, limit=limit, given=replays)
        self._max_timeout = max_timeout
        self._nonces = Nonces()
        self._last: tuple[Headers, str, tuple[Claim, str]] | None = None
        self._uuid = os.urandom(16).hex()

    def outgoing(
        self,
        peer: Peer,
        message: Message,
        *,
        timeout: float,
        now_ns: int,
        sha256: str | None = None,
    ) -> Message:
        """Return the synapse that *message* holds the fields of, signed for *peer*.

        Raises:
            Unsupported: There is no sr25519 key, or the body is streamed.
            NotAllowed: *peer* has no hotkey, or the message is no synapse.
        """
        signer = signed_by(self._signer, self.name)
        where = peer.url.partition("?")[0]
        if signer.scheme != "sr25519" or sha256 is not None:
            raise Unsupported(
                "found a streamed body, expected one in memory"
                if sha256 is not None
                else f"found a key of {signer.scheme}, expected one of sr25519",
                where=where,
                fix="send it with btauth/1",
                delivered=False,
            )
        name, receiver, fields = _synapse.sendable(peer, message)
        claim = Claim(
            name=name,
            sender=signer.hotkey,
            nonce=self._nonces.next(now_ns),
            uuid=self._uuid,
            body_hash=self._synapses.body_hash(name, fields, where),
            timeout=float(timeout),
            version=VERSION,
        )
        signature = signature_by(signer, claim.signed(receiver))
        headers = headers_of(claim, signature, peer.url, receiver)
        for field in self._synapses.required(name):
            if fields[field] is not None:
                key = f"bt_header_input_obj_{field}"
                headers += ((key, _synapse.empty(fields[field])),)
        return new_message(
            body=_synapse.write({**fields, **claim.block(receiver)}, where),
            media_type="application/json",
            headers=message.headers + headers,
            method=message.method,
            target=message.target,
        )

    def answer(self, peer: Peer, sent: Message, reply: Reply) -> Reply:
        """Return *reply* with the status the axon gives; replies are not signed.

        Raises:
            BadReply: It is 200, and no answer of an axon to this synapse, or has too
                much in it to look for its status or required fields.
        """
        if reply.status != 200:
            return reply
        where = peer.url.partition("?")[0]
        code: object = reply.header(_STATUS)
        streamed = reply.media_type.startswith("text/event-stream")
        name = _synapse.class_sent(peer, sent) or "the synapse"
        required = () if streamed else self._synapses.required(name)
        fields: object = None
        # Only what is looked at is decoded: all others of a fan-out wait meanwhile.
        if required or (code is None and not streamed):
            fields = self._synapses.read_reply(reply, where)
        if code is None and isinstance(fields, dict):
            axon = fields.get("axon")
            code = axon.get("status_code") if isinstance(axon, dict) else None
        elif code is None and streamed:
            code = 200  # a stream begins before its axon knows
        text = str(code)
        if not is_status(text):
            raise _no_answer(f"no {_STATUS} of 100 to 599", "200", where)
        if text != "200":
            return new_reply(
                status=int(text), body=reply.body, media_type=reply.media_type,
                headers=reply.headers, seconds=reply.seconds,
            )  # fmt: skip
        for field in required:
            if not isinstance(fields, dict):
                raise _no_answer("no JSON object", f"the fields of {name}", where)
            if field not in fields:
                raise _no_answer(f"no field {field!r}", f"all of {name}", where)
        return reply

    def admit(self, head: Request, now_ns: int) -> None:
        """Check shape, version, receiver and age of the headers.

        Raises:
            Unauthentic: One of them is missing or wrong.
            NotAllowed: The version is below 7.2.0.
        """
        self._claim(head, now_ns)

    def incoming(self, request: Request, now_ns: int) -> Request:
        """Check all of *request*; in its body, the sender is the one that was verified.

        The body keeps its fields; what the protocol writes into it is replaced: name,
        timeout (as capped), dendrite (without signature), axon, hash.

        Raises:
            Unauthentic: It is not proven, not for me, not fresh or not new.
            NotAllowed: Its version is below 7.2.0, its body is no synapse or has too
                much in it, or too many requests are remembered to take another one.
        """
        claim, signature = self._claim(request, now_ns)
        message, where, mine = request.message, request.address, self._mine or ""
        proof = bytes.fromhex(signature[2:])
        if not verify("sr25519", claim.sender, claim.signed(mine), proof):
            raise Unauthentic(
                f"the signature is not of this request by {claim.sender}, "
                "expected one of nonce, sender, receiver, uuid and hash",
                where=where,
                fix="sign for the hotkey of this server",
            )
        fields = self._synapses.read_request(message.body, where)
        computed = self._synapses.body_hash(claim.name, fields, where)
        if computed != claim.body_hash:
            raise Unauthentic(
                f"the body of {claim.name} hashes to {computed}, "
                f"expected {claim.body_hash} as it was signed",
                where=where,
                fix="hash the same fields on both sides, in the same order",
            )
        block = claim.block(mine)
        block["dendrite"] = {**claim.dendrite(), **_synapse.address(where)}
        kept = {k: v for k, v in fields.items() if k not in _synapse.OWN}
        shown = new_message(
            body=_synapse.write({**kept, **block}, where),
            media_type="application/json",
            headers=message.headers,
            method=message.method,
            target=message.target,
        )
        # Last: what is refused for another reason can be sent again.
        self.replays.add(claim.sender, claim.nonce, now_ns)
        return new_request(message=shown, address=where, hotkey=claim.sender)

    def reply(self, request: Request, reply: Reply) -> Reply:
        """Return *reply* with what a dendrite asks for: its headers, required fields.

        A required field that the handler left out is taken from the request.
        """
        name = class_name(request.message.target) or ""
        body = reply.body
        required = self._synapses.required(name)
        if reply.status == 200 and reply.media_type.startswith("application/json"):
            body = body or b"{}"
            fields = _synapse.read(body, request.address) if required else {}
            if missing := [field for field in required if field not in fields]:
                asked = _synapse.read(request.message.body, request.address)
                added = {field: asked[field] for field in missing if field in asked}
                body = _synapse.write({**fields, **added}, request.address)
        headers = (
            ("name", name),
            (_STATUS, str(reply.status)),
            ("bt_header_axon_status_message", _synapse.phrase(reply.status)),
            ("bt_header_axon_hotkey", self._mine or ""),
        )
        taken = {key for key, _ in headers}
        kept = tuple(pair for pair in reply.headers if pair[0].lower() not in taken)
        return new_reply(
            status=reply.status, body=body, media_type=reply.media_type,
            headers=kept + headers, signer=reply.signer, seconds=reply.seconds,
        )  # fmt: skip

    def _claim(self, head: Request, now_ns: int) -> tuple[Claim, str]:
        where, message = head.address, head.message
        name = class_name(message.target)
        if name is None or message.method != "POST":
            raise NotAllowed(
                f"found {message.method} {message.target[:80]!r}, "
                "expected POST to a path that ends with the class of a synapse",
                where=where,
                fix="post to /NameOfTheSynapse",
            )
        headers, last = message.headers, self._last
        # `incoming` mostly follows `admit`, with the very same headers.
        if last is not None and last[0] is headers and last[1] == name:
            found = last[2]
        else:
            found = read_claim(name, headers, self._mine, self._max_timeout, where)
            self._last = headers, name, found
        claim = found[0]
        self._window.check(claim.nonce, now_ns, where, extra=claim.timeout)
        return found


def _no_answer(found: str, expected: str, where: str) -> BadReply:
    return BadReply(
        f"found {found} in the reply, expected {expected}",
        where=where,
        fix="report it to the owner of the peer",
    )
