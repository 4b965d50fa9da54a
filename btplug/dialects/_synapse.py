"""What a synapse of the v10 protocol is: a class name, fields, and their hash."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha3_256
from typing import TYPE_CHECKING

from btplug._json import BadJSON, NoJSON, crowded, encode, loads
from btplug.dialects._shapes import is_word
from btplug.dialects._ss58 import hotkey_of
from btplug.errors import BadReply, ConfigError, NotAllowed
from btplug.network import join_url, request_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from btplug.message import Message, Peer, Reply

# What the protocol itself writes into a body.
OWN = frozenset(
    (
        "name", "timeout", "total_size", "header_size", "dendrite", "axon",
        "computed_body_hash",
    )
)  # fmt: skip
# A number of 256 bits has 78. Reading and writing takes the square of their number.
_DIGITS = 80
_RAISE = "send less at a time, or raise the option max_items of v10 where it is read"


class Synapses:
    """Which fields of each class are hashed, in this order, and which are required.

    Args:
        max_items: Commas and opening brackets that a body of others may have.

    Raises:
        ConfigError: A name is no name of Python, or the protocol's own, or
            *max_items* is less than 1.
    """

    __slots__ = ("_hashed", "_most", "_required")

    def __init__(
        self,
        hash_fields: Mapping[str, Sequence[str]],
        required_fields: Mapping[str, Sequence[str]],
        max_items: int,
    ) -> None:
        if not isinstance(max_items, int) or max_items < 1:
            raise ConfigError(
                f"found max_items {max_items!r}, expected a whole number from 1 on",
                fix="leave 'max_items' out",
            )
        self._hashed = _checked("hash_fields", hash_fields)
        self._required = _checked("required_fields", required_fields)
        self._most = max_items

    def required(self, name: str) -> tuple[str, ...]:
        """Return the required fields of a class; none of one that is not known."""
        return self._required.get(name, ())

    def body_hash(self, name: str, fields: Mapping[str, object], where: str) -> str:
        """Return the hash of those fields as the v10 protocol computes it.

        ``str()`` of what JSON gives: `1` and `1.0` differ, and so does the order of
        keys, as for the other side.

        Raises:
            NotAllowed: A hashed or required field is missing.
        """
        hashed = self._hashed.get(name, ())
        for field in (*hashed, *self.required(name)):
            if field not in fields:
                raise NotAllowed(
                    f"found no field {field!r} in the body of {name}, expected it",
                    where=where,
                    fix="give every field that is hashed or required",
                    delivered=False,
                )
        return _hex("".join(_hex(str(fields[field])) for field in hashed))

    def read_request(self, body: bytes, where: str) -> dict[str, object]:
        """Return the fields of a body that somebody sent.

        Raises:
            NotAllowed: It is no JSON object, or has more in it than *max_items*.
        """
        if crowded(body, self._most):
            raise NotAllowed(self._crowd(body), where=where, fix=_RAISE)
        return read(body, where, digits=_DIGITS)

    def read_reply(self, reply: Reply, where: str) -> object:
        """Return what the body of *reply* says.

        Raises:
            BadReply: It is not JSON, or has more in it than *max_items*.
        """
        if crowded(reply.body, self._most):
            raise BadReply(self._crowd(reply.body), where=where, fix=_RAISE)
        # So much that *max_items* is the limit for lists: one for 32 bytes is allowed.
        limit = max(len(reply.body), 32 * self._most)
        try:
            return loads(reply.body, limit=limit, strict=True, digits=_DIGITS)
        except BadJSON as exc:
            raise BadReply(
                f"found a body of {len(reply.body):,} bytes that begins with "
                f"{reply.body[:80]!r}, expected JSON ({exc})",
                where=where,
                fix="report it to the owner of the peer",
            ) from exc

    def _crowd(self, body: bytes) -> str:
        return (
            f"found a body of {len(body):,} bytes with more than {self._most:,} commas "
            "and opening brackets (those in text count too), expected fewer"
        )


def empty(value: object) -> str:
    """Return the empty value of the type of *value*, as a header carries it."""
    return b64encode(encode(type(value)())).decode()


def read(body: bytes, where: str, digits: int | None = None) -> dict[str, object]:
    """Return the fields of a body.

    Args:
        digits: That an integer of others may have; None: it is our own.

    Raises:
        NotAllowed: It is no JSON object.
    """
    try:
        value = loads(body, limit=len(body), digits=digits)
    except BadJSON as exc:
        raise _no_object(f"a body of {len(body):,} bytes ({exc})", where) from exc
    if not isinstance(value, dict):
        raise _no_object(f"a body with {type(value).__name__}", where)
    return value


def write(fields: Mapping[str, object], where: str) -> bytes:
    """Return the body that holds *fields*.

    Raises:
        NotAllowed: Text among them has half a surrogate pair.
    """
    try:
        return encode(fields, name="body")
    except NoJSON as exc:
        raise _no_object(f"a body with {exc.found} at {exc.at}", where) from exc


def sendable(peer: Peer, message: Message) -> tuple[str, str, dict[str, object]]:
    """Return class, receiver and fields of what is to be sent.

    Raises:
        NotAllowed: *peer* has no hotkey, or the message is no synapse.
    """
    where, receiver = peer.url.partition("?")[0], peer.hotkey
    name = class_sent(peer, message)
    if name is None or message.method.upper() != "POST":
        raise _not_sent(
            f"found {message.method} to {message.target[:80]!r}",
            "POST to a path that ends with the class of the synapse",
            where,
        )
    if receiver is None or hotkey_of(receiver) is None:
        raise _not_sent(
            f"found a peer with the hotkey {receiver and receiver[:64]!r}",
            "the address of who receives it: v10 signs for nobody else",
            where,
        )
    for key, _ in message.headers:
        if key.lower().startswith("bt_header_") or key.lower() in OWN:
            raise _not_sent(f"found the header {key[:40]!r}", "none of v10", where)
    fields = read(message.body or b"{}", where)
    if own := sorted(OWN & fields.keys()):
        raise _not_sent(f"found the field {own[0]!r}", "those of the class", where)
    return name, receiver, fields


def class_sent(peer: Peer, message: Message) -> str | None:
    """Return the class that *message* to *peer* names by its path."""
    return class_name(request_target(join_url(peer.url, message.target)))


def class_name(target: str) -> str | None:
    """Return the last segment of a request target, if a class can be called so."""
    name = target.partition("?")[0].rpartition("/")[2]
    return name if is_word(name) else None


def address(where: str) -> dict[str, object]:
    """Return ip and port of ``host:port`` as a dendrite has them; IPv6 unbracketed."""
    host, _, port = where.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else None
    return {"ip": host.strip("[]"), "port": number}


def phrase(status: int) -> str:
    """Return the words of a status, as a dendrite expects them."""
    if status == 200:
        return "Success"
    from http import HTTPStatus

    return HTTPStatus(status).phrase if status in set(HTTPStatus) else str(status)


def _not_sent(found: str, expected: str, where: str) -> NotAllowed:
    return NotAllowed(
        f"{found}, expected {expected}",
        where=where,
        fix="send the fields of the synapse as a JSON object; v10 adds the rest",
        delivered=False,
    )


def _no_object(found: str, where: str) -> NotAllowed:
    return NotAllowed(
        f"found {found}, expected a JSON object with the fields of the synapse",
        where=where,
        fix="encode the fields as one JSON object",
        delivered=False,
    )


def _hex(text: str) -> str:
    return sha3_256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _checked(
    option: str, table: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    for name, fields in table.items():
        # A text would be taken for fields of one letter each.
        names = (name, fields) if isinstance(fields, str) else (name, *fields)
        if isinstance(fields, str) or not all(map(is_word, names)) or OWN & {*fields}:
            raise ConfigError(
                f"found {fields!r} for {name!r} in {option}, expected names of fields",
                fix="write them as a list, without those of the protocol",
            )
    return {name: tuple(fields) for name, fields in table.items()}
