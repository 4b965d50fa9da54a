"""What a confined plugin sends in parts: chunks of a stream, and peers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from io import TextIOBase
from typing import TYPE_CHECKING, Any

from btplug._broker.flow import cut
from btplug._broker.parcels import BATCH, Turn, fitting, packed
from btplug._confine.frames import INLINE, LONGEST
from btplug._sending import made
from btplug.errors import TooLarge, UsageError
from btplug.message import Message, Peer
from btplug.outcome import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROOM = LONGEST - 4096  # bytes of a turn
_NOBODY = Peer("none://")


def check_chunks(chunks: Any) -> bool:  # any kind a stream takes
    """Tell whether *chunks* can be read twice.

    Raises:
        UsageError: A stream takes nothing of that kind.
    """
    if isinstance(chunks, os.PathLike):
        if not stat.S_ISREG(os.stat(chunks).st_mode):
            raise UsageError(  # to open a pipe would wait for whoever writes to it
                f"found no file at {os.fspath(chunks)!r}, expected one",
                fix="open it, and pass what is read",
            )
        return True
    if isinstance(chunks, str):  # no name of a file, which would be sent
        raise UsageError(
            "found chunks of type str, expected bytes, a path or pieces of bytes",
            fix="encode a text; give a path as pathlib.Path",
        )
    if isinstance(chunks, bytes | bytearray | memoryview):
        return True
    if isinstance(chunks, TextIOBase):
        raise UsageError(
            "found a file of text, expected one of bytes", fix="open it with 'rb'"
        )
    if isinstance(chunks, list | tuple):
        from btplug.values import view_of  # few plugins stream

        for chunk in chunks:
            view_of(chunk)  # or it would fail with half of them sent
    seekable = getattr(chunks, "seekable", None)
    if seekable is not None and seekable():
        return True
    if not (isinstance(chunks, Iterable) or hasattr(chunks, "read")):
        raise UsageError(
            f"found chunks of type {type(chunks).__name__}, "
            "expected bytes, a path, a file or pieces of bytes",
            fix="pass an iterable of bytes",
        )
    return False


def parts(chunks: Any) -> Iterator[bytes]:  # any kind a stream takes
    """Yield what a stream is given, in parts that fit into a frame each."""
    from btplug.values import view_of  # few plugins stream

    if isinstance(chunks, bytes | bytearray | memoryview):
        yield from cut(chunks)
    elif isinstance(chunks, os.PathLike):
        with open(chunks, "rb") as file:
            yield from _read(file)
    elif hasattr(chunks, "read"):
        yield from _read(chunks)
    else:
        for chunk in chunks:
            yield from cut(view_of(chunk))


def _read(file: Any) -> Iterator[bytes]:
    from btplug.values import view_of

    while part := file.read(INLINE):
        yield from cut(view_of(part))


def turns(
    peers: Iterable[Peer],
    message: Callable[[Peer], Message] | None,
    known: dict[int, Peer],
) -> Iterator[bytes]:
    """Yield the turns of *peers*, packed; note in *known* who has which position."""
    batch: list[Turn] = []
    # What is made one by one goes one by one.
    size, most = 0, BATCH if isinstance(peers, list | tuple) else 1
    for index, peer in enumerate(peers):
        if not isinstance(peer, Peer):
            if batch:
                yield packed(batch)
            raise UsageError(
                f"found a {type(peer).__name__} after {index:,} peers, expected a Peer",
                fix="make one of a text with Peer.parse(text)",
            )
        known[index] = peer
        turn, length = _turn(peer, message)
        if batch and size + length > INLINE:
            yield packed(batch)
            batch, size = [], 0
        batch.append(turn)
        size += length
        if len(batch) >= most:
            yield packed(batch)
            batch, size = [], 0
    if batch:
        yield packed(batch)


def _turn(peer: Peer, message: Callable[[Peer], Message] | None) -> tuple[Turn, int]:
    """Return the turn of one peer, which fits into a frame, and its bytes there."""
    try:
        turn = Turn(peer, made(message, peer)) if message else Turn(peer)
        if (size := len(packed(turn))) <= _ROOM:
            return turn, size
        raise TooLarge(
            f"found a message of more than {_ROOM:,} bytes for one peer of many",
            fix="send one message to all of them, or one by one with send",
            delivered=False,
        )
    except Exception as exc:
        # Not with its peer: that may be what does not fit, and is known here.
        turn = Turn(_NOBODY, failure=fitting(Failure.of(exc)))
        return turn, len(packed(turn))
