"""gzip and deflate, undone within a limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

CODINGS = ("gzip", "x-gzip", "deflate")
_STEP = 1024 * 1024
# A decoder copies what follows the end of its data, for each member anew.
_SLICE = 64 * 1024
# An empty one has 20 bytes and costs as much as thousands of them elsewhere.
_MEMBERS = 4096


class Undecodable(ValueError):
    """The data is not what its coding says."""


class OverLimit(ValueError):
    """Decoded, the data is larger than the limit."""


def decode(data: bytes, coding: str, limit: int, tick: Callable[[], object]) -> bytes:
    """Return *data* decoded.

    It is decoded twice, the first time only to count: 300 KB can decode to 300 MB,
    and what will be refused must not be held in memory.

    Args:
        coding: One of CODINGS.
        limit: Bytes that the result may have.
        tick: Called at least for every MiB; may raise to stop.

    Raises:
        Undecodable: It is no such data, or ends early.
        OverLimit: The result would be larger than *limit*.
    """
    size = 0
    for piece in _pieces(data, coding):
        size += len(piece)
        if size > limit:
            raise OverLimit
        tick()
    pieces = []
    for piece in _pieces(data, coding):
        pieces.append(piece)
        tick()
    return b"".join(pieces)


def _pieces(data: bytes, coding: str) -> Iterator[bytes]:
    """Yield the decoded data, at most 1 MiB at a time, or nothing of it yet."""
    if coding == "deflate":
        # The standard means zlib's format; some servers send the bare one.
        bare = len(data) < 2 or data[0] & 15 != 8 or (data[0] << 8 | data[1]) % 31
        bits = -zlib.MAX_WBITS if bare else zlib.MAX_WBITS
    else:
        bits = zlib.MAX_WBITS | 16
    decoder, members = zlib.decompressobj(bits), 1
    for start in range(0, len(data), _SLICE):
        rest = data[start : start + _SLICE]
        while rest or not decoder.eof:
            if decoder.eof:
                # A gzip file may have several members; anything else is foreign.
                if coding == "deflate" or rest[:1] != b"\x1f":
                    raise Undecodable("more follows after its end")
                decoder, members = zlib.decompressobj(bits), members + 1
                if members > _MEMBERS:
                    raise Undecodable(f"it has more than {_MEMBERS:,} members")
            try:
                piece = decoder.decompress(rest, _STEP)
            except zlib.error as exc:
                raise Undecodable(str(exc)) from exc
            yield piece
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if not piece and not rest:
                break
    if not decoder.eof:
        raise Undecodable("it ends early")
