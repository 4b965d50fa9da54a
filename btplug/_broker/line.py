"""A child's calls, all over its one channel."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from btplug._broker.flow import Flow
from btplug._confine.frames import BadFrame, Kind
from btplug.errors import Cut, NotAllowed

if TYPE_CHECKING:
    from btplug._confine.frames import Channel

_MOST_CALLS = 48  # at once; the host takes a few more, which may be ending
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

    def open(self, kind: int, body: bytes) -> Flow:
        """Begin a call, or ask the host's operator something."""
        while self._abandoned:
            self.close(self._abandoned.popleft(), cancel=True)
        self._turns.acquire()
        with self._lock:
            self._last = self._last % 0xFFFFFFFF + 1
            flow = self._flows[self._last] = Flow(self._last, self._channel.send)
            if self._ended is not None:
                flow.close(_refused())
            elif not self._heard:
                self._heard = True
                self._thread.start()
        try:
            flow.post(kind, body)
        except OSError as exc:
            self.close(flow, cancel=False)
            raise _refused() from exc
        except BaseException:
            self.close(flow, cancel=False)
            raise
        return flow

    def close(self, flow: Flow, *, cancel: bool) -> None:
        """Let a call go; once more does nothing."""
        with self._lock:
            if self._flows.pop(flow.number, None) is None:
                return
        self._turns.release()
        flow.close(Cut("the call was closed"))
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


def _gone() -> Cut:
    return Cut(_GONE, fix=_FIX)


def _refused() -> NotAllowed:
    return NotAllowed(_GONE, fix=_FIX, delivered=False)
