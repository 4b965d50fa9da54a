"""PEERS -> peers: arguments, files and stdin.

All are read before the first is asked: a mistake in the last line must not be found
after a thousand peers were sent something.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from btplug import Peer, UsageError

from .source import EXPECTED, Source, shown, wrong

# Format -> endings that tell it.
FORMATS: dict[str, tuple[str, ...]] = {
    "lines": (),
    "csv": (".csv",),
    "json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
}
# With its port: Peer.parse would take any word for a host, and port 80.
_ADDRESS = re.compile(
    r"(?:[^\s/@]*@)?(?:\[[^\s\]]*\]|[^\s/:@?#\[\]]+):\d+(?:[/?].*)?", re.ASCII
)
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_peers(
    given: Iterable[str | Peer], format: str | None, most: int
) -> list[Peer]:
    """Return all peers in the order given, duplicates too.

    Args:
        given: Each is a peer, the path of a file, or ``-`` for stdin.
        format: A key of FORMATS, for every file; None: told by its ending, or by how
            it begins.
        most: Peers in all; a file may have that many KiB.

    Raises:
        UsageError: One is wrong (``file:line: found X, expected Y``), there are more
            than *most*, or none.
    """
    if most < 1:
        raise UsageError(
            f"--max-peers: found {most}, expected 1 or more", fix="raise it"
        )
    peers: list[Peer] = []
    stdin = False
    for one in given:
        if one == "-" and stdin:
            raise UsageError(
                "found '-' twice in PEERS, expected it once",
                fix="leave one out: stdin can be read only once",
            )
        stdin = stdin or one == "-"
        for peer in _read(one, format, most):
            if len(peers) == most:
                raise UsageError(
                    f"found more than {most:,} peers, expected at most that",
                    fix="raise --max-peers, or probe them in parts",
                )
            peers.append(peer)
    if not peers:
        raise UsageError(
            "found no peer in PEERS, expected at least one",
            fix=f"give {EXPECTED}, or a file that is not empty",
        )
    return peers


def parse(text: str, where: str) -> Peer:
    """Read one peer.

    Raises:
        UsageError: *text* is none; it is not shown where it may hold a password.
    """
    if "://" not in text and not _ADDRESS.fullmatch(text):
        fix = "name the port, and write IPv6 in brackets"
        raise wrong(where, shown(text), EXPECTED, fix)
    try:
        return Peer.parse(text)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc.what}", fix=exc.fix) from exc


def _read(one: str | Peer, format: str | None, most: int) -> Iterator[Peer]:
    if isinstance(one, Peer):
        yield one
    elif "://" in one or _ADDRESS.fullmatch(one):
        yield parse(one, "PEERS")
    else:
        source = Source(one, most * 1024)
        chosen = format or _told(one) or _looks(source.first().strip())
        if chosen == "lines":
            yield from _of_lines(source)
            return
        from . import records

        read = getattr(records, f"of_{chosen}")
        for where, record in read(source):
            yield records.peer_of(record, where, parse)


def _told(path: str) -> str | None:
    ending = os.path.splitext(path)[1].lower()
    return next((n for n, ends in FORMATS.items() if ending in ends), None)


def _looks(line: str) -> str:
    """Return the format of what begins with *line*."""
    if line.startswith("{"):
        return "jsonl" if line.endswith("}") else "json"
    # An IPv6 address begins with a bracket too.
    if line.startswith("[") and line[1:].lstrip()[:1] in ("", "{", '"', "]"):
        return "json"
    names = {name.strip('" ').lower() for name in line.split(",")}
    return "csv" if "url" in names or {"ip", "port"} <= names else "lines"


def _of_lines(source: Source) -> Iterator[Peer]:
    for where, line in source.lines():
        if text := _COMMENT.sub("", line).strip():
            yield parse(text, where)
