"""One call between host and child: what came of it, and leave to send more.

Both ends use it. Parts of bodies, and outcomes, wait for credit, so that neither end
holds more than a window of them; a child that sends without credit is ended.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from btplug._confine.frames import CHUNK, WINDOW, BadFrame, Frame, Kind
from btplug.errors import TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WINDOWED = (Kind.CHUNK, Kind.OUTCOME)


class Room:
    """Bytes that may be held at once, of all calls together.

    Attributes:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self.most, self._held = most, 0
        self._lock = threading.Lock()

    def take(self, length: int) -> bool:
        """Count *length* bytes more, if there is room for them."""
        with self._lock:
            if self._held + length > self.most:
                return False
            self._held += length
            return True

    def give(self, length: int) -> None:
        """Count them no more."""
        with self._lock:
            self._held -= length


class Flow:
    """One call, at one end.

    Args:
        number: Id of the call.
        post: Sends a frame.
        room: For what came and is not taken; None: it has no bound of its own.

    Attributes:
        changed: Called, in any thread, when something came or it was closed.
    """

    __slots__ = (
        "_closed", "_credit", "_frames", "_held", "_post", "_ready", "_room", "_taken",
        "changed", "number",
    )  # fmt: skip

    def __init__(
        self, number: int, post: Callable[[Frame], object], room: Room | None = None
    ) -> None:
        self.number, self._post, self._room = number, post, room
        self._ready = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._credit, self._held, self._taken = WINDOW, 0, 0
        self._closed: BaseException | None = None
        self.changed: Callable[[], object] | None = None

    def put(self, frame: Frame) -> None:
        """Take what the other end sent.

        Raises:
            BadFrame: It had no credit for it, or gives more than there can be.
            TooLarge: There is no room for it.
        """
        with self._ready:
            if frame.kind == Kind.CREDIT:
                self._credit += int.from_bytes(frame.body, "big")
                if self._credit > WINDOW or len(frame.body) != 4:
                    raise BadFrame("credit for parts that were never sent")
            else:
                self._held += frame.kind in _WINDOWED
                if self._held > WINDOW:
                    raise BadFrame("more parts of a body than were asked for")
                if self._room is not None:
                    if self._closed is not None:
                        return  # nobody takes it any more, see `end`
                    if not self._room.take(len(frame.body)):
                        raise _no_room(self._room.most)
                self._frames.append(frame)
        self._tell()

    def close(self, error: BaseException) -> None:
        """Let nobody wait any longer: *error* is raised once all is taken."""
        with self._ready:
            self._closed = self._closed or error
        self._tell()

    def end(self, error: BaseException) -> None:
        """Close it, and forget what was not taken."""
        with self._ready:
            self._closed = self._closed or error
            if self._room is not None:
                self._room.give(sum(len(frame.body) for frame in self._frames))
            self._frames.clear()
        self._tell()

    def _tell(self) -> None:
        with self._ready:
            self._ready.notify_all()
        if self.changed is not None:
            self.changed()

    @property
    def closed(self) -> bool:
        """True once it was closed, whatever can still be taken."""
        return self._closed is not None

    def poll(self) -> Frame | None:
        """Return the next frame if there is one.

        Raises:
            BaseException: It was closed, and nothing is left.
        """
        with self._ready:
            if not self._frames:
                if self._closed is not None:
                    raise self._closed
                return None
            frame = self._frames.popleft()
            if self._room is not None:
                self._room.give(len(frame.body))
            grant = 0
            if frame.kind in _WINDOWED:
                self._held -= 1
                self._taken += 1
                if self._taken >= WINDOW // 2:
                    grant, self._taken = self._taken, 0
        if grant:
            self.post(Kind.CREDIT, grant.to_bytes(4, "big"))
        return frame

    def take(self) -> Frame:
        """Wait for the next frame; see `poll`."""
        while True:
            if (frame := self.poll()) is not None:
                return frame
            with self._ready:
                if not self._frames and self._closed is None:
                    self._ready.wait()

    def spend(self) -> bool:
        """Use credit for one part, if there is any.

        Raises:
            BaseException: It was closed.
        """
        with self._ready:
            if self._closed is not None:
                raise self._closed
            if not self._credit:
                return False
            self._credit -= 1
            return True

    def send(self, kind: int, body: bytes = b"", *, more: bool = False) -> None:
        """Send a part, once there is credit for it."""
        while not self.spend():
            with self._ready:
                if not self._credit and self._closed is None:
                    self._ready.wait()
        self.post(kind, body, more=more)

    def send_unless_answered(self, kind: int, body: bytes) -> bool:
        """Send a part as `send` does; False where an answer came instead of credit."""
        while not self.spend():
            with self._ready:
                if self._frames:
                    return False
                if not self._credit and self._closed is None:
                    self._ready.wait()
        self.post(kind, body, more=True)
        return True

    def post(self, kind: int, body: bytes = b"", *, more: bool = False) -> None:
        """Send what needs no credit."""
        self._post(Frame(kind, body, self.number, more))


def _no_room(most: int) -> TooLarge:
    return TooLarge(
        f"found more than {most:,} bytes that wait to be sent, of all calls together",
        fix="send to fewer at once",
        delivered=None,
    )


def parted(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the parts of a whole body as they are sent, and whether more follow."""
    left = len(body)
    for part in cut(body):
        left -= len(part)
        yield part, left > 0


def cut(body: bytes | bytearray | memoryview) -> Iterator[bytes]:
    """Yield *body* in parts that fit into a frame each; at least one."""
    view = memoryview(body)
    view = view.cast("B") if view.c_contiguous else memoryview(bytes(view))
    for start in range(0, max(len(view), 1), CHUNK):
        yield bytes(view[start : start + CHUNK])


class Threads:
    """Threads that are made when they are needed, and are daemons.

    A pool of the standard library waits for its threads when the process ends, and a
    message may take as long as its peer likes.
    """

    def __init__(self, most: int, name: str) -> None:
        from queue import SimpleQueue

        self._most, self._name = most, name
        self._lock = threading.Lock()
        self._idle = self._count = 0
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()

    def submit(self, work: Callable[[], object]) -> None:
        """Let a thread do *work*, which raises nothing.

        Raises:
            RuntimeError: The system gives no more threads.
        """
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._count < self._most:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._count += 1
        self._work.put(work)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        """Let them end after what they do."""
        for _ in range(self._count):
            self._work.put(None)
