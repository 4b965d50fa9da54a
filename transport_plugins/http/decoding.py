"""gzip and deflate, undone within a limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

CODINGS = ("gzip", "x-gzip", "deflate")
_STEP = 1024 * 1024


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
        tick: Called for every MiB; may raise to stop.

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
    return b"".join(_pieces(data, coding))


def _pieces(data: bytes, coding: str) -> Iterator[bytes]:
    """Yield the decoded data, at most 1 MiB at a time."""
    if coding == "deflate":
        # The standard means zlib's format; some servers send the bare one.
        bare = len(data) < 2 or data[0] & 15 != 8 or (data[0] << 8 | data[1]) % 31
        bits = -zlib.MAX_WBITS if bare else zlib.MAX_WBITS
    else:
        bits = zlib.MAX_WBITS | 16
    rest = data
    while rest:
        decoder = zlib.decompressobj(bits)
        while not decoder.eof:
            try:
                piece = decoder.decompress(rest, _STEP)
            except zlib.error as exc:
                raise Undecodable(str(exc)) from exc
            rest = decoder.unconsumed_tail
            if piece:
                yield piece
            elif not rest and not decoder.eof:
                raise Undecodable("it ends early")
        # A gzip file may have several members; anything else after the end is foreign.
        rest = decoder.unused_data
        if rest and (coding == "deflate" or not rest.startswith(b"\x1f\x8b")):
            raise Undecodable("more follows after its end")
