"""Files whose peers are records with keys: CSV, JSON and JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from btplug import BtplugError
from btplug.network import bracket

from .source import wrong

if TYPE_CHECKING:
    from btplug import Peer

    from .source import Source

    Record = Mapping[str, object] | str
    Records = Iterator[tuple[str, Record]]

_KEYS = "url, or ip and port"
_DEPTH = 24


def peer_of(record: Record, where: str, parse: Callable[[str, str], Peer]) -> Peer:
    """Return the peer that a record describes.

    Args:
        record: With ``url``, or ``ip`` and ``port``, which may stand below ``axon``;
            and perhaps ``hotkey``. Or the peer as a text.

    Raises:
        UsageError: A key is missing or has a wrong value.
    """
    if isinstance(record, str):
        return parse(record.strip(), where)
    axon = record.get("axon")
    place = axon if isinstance(axon, Mapping) else record
    hotkey = record.get("hotkey") or place.get("hotkey") or None
    if url := record.get("url"):
        peer = parse(_text(url, "url", where), where)
    else:
        ip, port = place.get("ip"), place.get("port")
        if ip in (None, "") or port in (None, ""):
            keys = ", ".join(key for key, v in place.items() if v not in (None, ""))
            fix = "name them like that; CSV has the names in its first line"
            raise wrong(where, f"the keys {keys[:200]!r}", _KEYS, fix)
        host = bracket(_text(ip, "ip", where).strip())
        peer = parse(f"{host}:{_port(port, where)}", where)
    if hotkey is None:
        return peer
    name = _text(hotkey, "hotkey", where).strip()
    if not (name.isascii() and name.isalnum()):
        raise wrong(where, f"hotkey {name[:80]!r}", "an ss58 address", "correct it")
    if peer.hotkey not in (None, name):
        raise wrong(where, "two hotkeys for one peer", "one", "leave one out")
    return replace(peer, hotkey=name)


def of_csv(source: Source) -> Records:
    """Yield the rows below the header."""
    import csv

    rows = csv.reader((line for _, line in source.lines()), strict=True)
    names: list[str] = []
    where = f"{source.name}:1"
    try:
        for row in rows:
            if row and not names:
                names = [name.strip().lower() for name in row]
                if "url" not in names and not {"ip", "port"} <= {*names}:
                    fix = "put a header above the rows, such as: ip,port,hotkey"
                    found = f"the columns {', '.join(names)[:200]!r}"
                    raise wrong(where, found, _KEYS, fix)
            elif row:
                if len(row) != len(names):
                    raise wrong(
                        where,
                        f"{len(row)} fields",
                        f"{len(names)} as in the header",
                        "mend the row",
                    )
                yield where, dict(zip(names, row, strict=True))
            where = f"{source.name}:{rows.line_num + 1}"
    except csv.Error as exc:
        raise wrong(where, f"a broken row ({exc})", "CSV", "close its quotes") from exc


def of_json(source: Source) -> Records:
    """Yield the peers of a list, or the one that there is."""
    text = source.text()
    value = _decode(text, source.name, "for one object a line pass --format jsonl")
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        fix = "put the peers into a list"
        raise wrong(source.name, _kind(value), "a list of objects", fix)
    for number, record in enumerate(value, 1):
        where = f"{source.name}: record {number}"
        yield where, _record(record, where)


def of_jsonl(source: Source) -> Records:
    """Yield the object of each line; empty lines are passed over."""
    for where, line in source.lines():
        if line.strip():
            fix = "write one object a line, or pass --format json"
            yield where, _record(_decode(line, where, fix), where)


def _decode(text: str, where: str, fix: str) -> object:
    from btplug.codecs import decode_json

    content = text.encode()
    try:
        return decode_json(content, limit=len(content), depth=_DEPTH)
    except BtplugError as exc:
        raise wrong(where, f"broken JSON ({exc.__cause__})", "JSON", fix) from exc


def _record(record: object, where: str) -> Record:
    if not isinstance(record, (Mapping, str)):
        fix = f"write each peer as a text, or with the keys {_KEYS}"
        raise wrong(where, _kind(record), "an object", fix)
    return record


def _kind(value: object) -> str:
    """Return what JSON calls a value of that type."""
    if value is None:
        return "null"
    names = {list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")


def _text(value: object, key: str, where: str) -> str:
    if not isinstance(value, str):
        kind = "an object" if isinstance(value, Mapping) else _kind(value)
        raise wrong(where, f"{key} is {kind}", "a text", "put it in quotes")
    return value


def _port(value: object, where: str) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 6:
        text = int(text)
    if type(text) is not int or not 1 <= text <= 65535:
        fix = "correct it; leave out neurons that do not serve"
        raise wrong(where, f"port {repr(value)[:80]}", "1 to 65535", fix)
    return text
