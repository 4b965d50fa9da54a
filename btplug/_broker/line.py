"""A child's calls, all over its one channel."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from btplug._broker.flow import Flow
from btplug._confine.frames import BadFrame, Kind
from btplug.errors import Cut, Late, NotAllowed

if TYPE_CHECKING:
    from btplug._confine.frames import Channel

_MOST_CALLS = 48  # at once; the host takes a few more, which may be ending
_LOOK = 1.0  # seconds
_PATIENCE = 12.0  # seconds to wait for a turn where the call has no limit
_GONE, _FIX = "btplug, which lends the transport, has ended", "run it again"


class Line:
    """All calls of a child over its one channel; a thread hears for all of them.

    Args:
        channel: Nobody else reads from it any more.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._flows: dict[int, Flow] = {}
        self._last = 0
        self._heard = False
        self._ended: BaseException | None = None
        self._thread = threading.Thread(
            target=self._hear, name="btplug host", daemon=True
        )
        self._abandoned: deque[Flow] = deque()
        self._turns = threading.BoundedSemaphore(_MOST_CALLS)

    def abandon(self, flow: Flow) -> None:
        """Let a call go when the next one begins; takes no lock."""
        self._abandoned.append(flow)

    def open(
        self,
        kind: int,
        body: bytes,
        *,
        limit: float | None = None,
        wanted: Wanted | None = None,
    ) -> Flow:
        """Begin a call, or ask the host's operator something.

        Args:
            limit: Seconds to wait at most while there are as many as there may be.

        Raises:
            Late: There still are.
            Cut: Nobody wants it any more.
            NotAllowed: The host is gone.
        """
        # What is no limit is refused by the host.
        limit = limit if limit is not None and limit > 0 else _PATIENCE
        until = monotonic() + limit
        self._drop()
        # Others may be abandoned meanwhile, which wakes nobody.
        while not self._turns.acquire(timeout=max(0, min(until - monotonic(), _LOOK))):
            self._drop()
            if monotonic() < until:
                continue
            raise Late(
                f"waited {limit:g} s while {_MOST_CALLS} calls and streams were under "
                "way, which is the most there may be",
                fix="end some before you begin others, or ask many with send_many",
                delivered=False,
            )
        if wanted is not None and wanted.given_up:
            self._turns.release()
            raise _closed()
        with self._lock:
            self._last = self._last % 0xFFFFFFFF + 1
            flow = self._flows[self._last] = Flow(self._last, self._channel.send)
        try:
            self._begin(flow)
            flow.post(kind, body)
        except OSError as exc:
            self.close(flow, cancel=False)
            raise _refused() from exc
        except BaseException:
            self.close(flow, cancel=False)
            raise
        if wanted is not None:
            wanted.hold(flow)
        return flow

    def _drop(self) -> None:
        """Let go what nobody has any more."""
        while self._abandoned:
            self.close(self._abandoned.popleft(), cancel=True)

    def _begin(self, flow: Flow) -> None:
        with self._lock:
            if self._ended is not None:
                flow.close(_refused())
            elif not self._heard:
                self._thread.start()
                self._heard = True

    def close(self, flow: Flow, *, cancel: bool) -> None:
        """Let a call go; once more does nothing."""
        with self._lock:
            if self._flows.pop(flow.number, None) is None:
                return
        self._turns.release()
        flow.close(_closed())
        if cancel:
            try:
                flow.post(Kind.CANCEL)
            except OSError:  # the host is gone, and so are its calls
                return

    def _hear(self) -> None:
        why: BaseException = _gone()
        try:
            while (frame := self._channel.receive()) is not None:
                flow = self._flows.get(frame.id)
                if flow is not None:
                    flow.put(frame)
        except (OSError, BadFrame) as exc:
            why = exc
        with self._lock:
            self._ended = why
            flows = list(self._flows.values())
        for flow in flows:
            flow.close(why)


class Wanted:
    """Whether anybody waits for a call that another thread makes.

    Attributes:
        given_up: Nobody does any more.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._flow: Flow | None = None
        self.given_up = False

    # Each of the two writes before it reads, so that one of them sees the other.
    def hold(self, flow: Flow) -> None:
        """Remember the call, for `give_up`."""
        self._flow = flow
        if self.given_up:
            self._line.close(flow, cancel=True)

    def give_up(self) -> None:
        """End the call, or let it never begin; from any thread."""
        self.given_up = True
        if self._flow is not None:
            self._line.close(self._flow, cancel=True)


def _closed() -> Cut:
    return Cut("the call was closed")


def _gone() -> Cut:
    return Cut(_GONE, fix=_FIX)


def _refused() -> NotAllowed:
    return NotAllowed(_GONE, fix=_FIX, delivered=False)
