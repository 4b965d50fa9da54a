"""What a host and its confined child say to each other: frames over one descriptor.

A frame is its length, what it is, whether more follows, whose it is, and a body that is
opaque here: nothing is decoded before somebody asks for just that kind of value.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from btplug.errors import PluginDied, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 1024 * 1024  # bytes of a frame, its head included
INLINE = 256 * 1024  # bytes of a body that travels with its head
CHUNK = 64 * 1024  # bytes of each part of a longer one
WINDOW = 16  # parts that may be under way before the receiver asks for more
_HIGH = 8 * LONGEST  # bytes that wait for a child which does not read


class Kind:
    """What a frame is; the first five are of the run, the others belong to an id.

    No enum: to define one takes as long as confining a process.
    """

    READY = 1  # the child is confined, and has proven it
    GO = 2  # what it is to do
    RESULT = 3  # what came of it, or one row; the last says that no more follows
    FAILURE = 4  # why there is none; with an id: of that call
    OUTPUT = 5  # what the plugin prints
    LOG = 6
    STATUS = 7
    PROGRESS = 8
    ASK = 9
    ANSWER = 10
    CALL = 11  # of a transport
    CHUNK = 12  # of a body
    CREDIT = 13  # how many parts more may be sent
    OUTCOME = 14  # of one peer of many
    RETURN = 15
    CANCEL = 16
    STARTED = 17  # the plugin is loaded; which of its settings are secret
    TABLE = 18  # a part of the result that is drawn on a terminal


# 4 bytes how long the body is, 1 its kind, 1 whether more follows, 4 the id. Not with
# `struct`, which would take as long to import as this module.
_HEAD = 10
LONGEST_BODY = LONGEST - _HEAD
KINDS = frozenset(value for name, value in vars(Kind).items() if name.isupper())
_OF_CHILD = KINDS - {Kind.GO, Kind.ANSWER, Kind.OUTCOME, Kind.RETURN}


class Frame:
    """One frame.

    Attributes:
        id: Of the call it belongs to, 0 for none.
        more: Others of the same call follow and belong to it.
    """

    __slots__ = ("body", "id", "kind", "more")

    def __init__(
        self, kind: int, body: bytes = b"", id: int = 0, more: bool = False
    ) -> None:
        self.kind, self.body, self.id, self.more = kind, body, id, more

    def packed(self) -> bytes:
        """Return it as it travels.

        Raises:
            UsageError: Its body is too long.
        """
        if len(self.body) > LONGEST_BODY:
            raise UsageError(
                f"found {len(self.body):,} bytes for one frame, expected "
                f"{LONGEST_BODY:,} at most",
                fix="cut it, or write it into a file",
            )
        size, number = len(self.body).to_bytes(4, "big"), self.id.to_bytes(4, "big")
        return size + bytes((self.kind, self.more)) + number + self.body


class BadFrame(PluginDied):
    """What came over the channel is no frame, or not one of those that may come."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the plugin's process broke the rules of its channel: found {found}",
            fix="report it to the plugin's author; the process was ended",
        )


class Reader:
    """Makes frames of bytes, whatever they are; holds one frame at most.

    Args:
        host: Only what a child may say is taken.
    """

    def __init__(self, *, host: bool) -> None:
        self._kinds = _OF_CHILD if host else KINDS
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with *data*.

        Raises:
            BadFrame: There is one that cannot be accepted; nothing more is read.
        """
        self._held += data
        while len(self._held) >= _HEAD:
            length = int.from_bytes(self._held[:4], "big")
            kind, more = self._held[4:6]
            number = int.from_bytes(self._held[6:_HEAD], "big")
            if length > LONGEST_BODY:
                raise BadFrame(
                    f"a frame of {length:,} bytes, expected {LONGEST_BODY:,} at most"
                )
            if kind not in self._kinds or more > 1:
                raise BadFrame(f"a frame of the kind {kind}, which it may not send")
            end = _HEAD + length
            if len(self._held) < end:
                return
            body = bytes(self._held[_HEAD:end])
            del self._held[:end]
            yield Frame(kind, body, number, more == 1)

    @property
    def partial(self) -> bool:
        """True in the middle of a frame."""
        return bool(self._held)


class Channel:
    """A child's end: it waits, both to send and to receive."""

    def __init__(self, fd: int) -> None:
        self._fd, self._reader = fd, Reader(host=False)
        self._ready: deque[Frame] = deque()
        self._lock = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Send a frame whole; threads take turns.

        Raises:
            OSError: The host is gone.
        """
        left = memoryview(frame.packed())
        with self._lock:
            while left:
                left = left[os.write(self._fd, left) :]

    def receive(self) -> Frame | None:
        """Return the next frame, None once the host is gone; one thread at a time."""
        while not self._ready:
            data = os.read(self._fd, CHUNK)
            if not data:
                return None
            self._ready.extend(self._reader.feed(data))
        return self._ready.popleft()


class Port:
    """The host's end: it never waits for the child.

    Args:
        fd: Not blocking.
        wake: Called, in any thread, where something waits to be written.
    """

    def __init__(self, fd: int, wake: Callable[[], object]) -> None:
        self._fd, self._wake = fd, wake
        self._reader = Reader(host=True)
        self._waiting: deque[memoryview] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._closed = False

    @property
    def full(self) -> bool:
        """True where a child reads its answers too slowly to be asked for more."""
        return self._held > _HIGH

    @property
    def waiting(self) -> bool:
        """True where something waits to be written."""
        return bool(self._waiting)

    def post(self, frame: Frame) -> None:
        """Send a frame, now or once the child reads; from any thread."""
        self.put(frame.packed())

    def put(self, packed: bytes) -> None:
        """Send bytes as they are; see `post`."""
        data = memoryview(packed)
        with self._lock:
            if self._closed:
                return
            if not self._waiting:
                data = data[self._write(data) :]
            if not data:
                return
            self._waiting.append(data)
            self._held += len(data)
            # Before `close` can return: then what wakes may be somebody else's file.
            self._wake()

    def flush(self) -> None:
        """Write what the child takes now."""
        with self._lock:
            while self._waiting:
                done = self._write(self._waiting[0])
                if self._closed:
                    break
                self._held -= done
                if done < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][done:]
                    break
                self._waiting.popleft()

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # the child is gone, which whoever reads will notice
            self._closed = True
            self._waiting.clear()
            self._held = 0
            return len(data)

    def take(self) -> Iterator[Frame] | None:
        """Return the frames that have come, None once the child has closed its end.

        Raises:
            BadFrame: See `Reader`; while the frames are gone through.
        """
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return iter(())
        except OSError:  # reset: it went with something unread
            return None
        return self._reader.feed(data) if data else None

    def close(self) -> None:
        """Write nothing any more."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._held = 0
