"""How much one sender may ask, known for a bounded number of senders."""

from __future__ import annotations

from collections import OrderedDict


class Gate:
    """Counts what is in flight and how fast it comes, for each sender.

    Held are those with something in flight, and a time for those that asked last.

    Args:
        running: Requests of one sender at once.
        rate: Requests of one sender each second; a second's worth may come at once.
        remembered: Senders whose rate is known; whoever was silent longest is
            forgotten first, and then has its whole second again.
    """

    __slots__ = ("_busy", "_due", "_remembered", "_running", "_step")

    def __init__(self, *, running: int, rate: float, remembered: int) -> None:
        self._running, self._step, self._remembered = running, 1 / rate, remembered
        self._busy: dict[str, int] = {}
        # When each would have asked, had it asked evenly: the generic cell rate
        # algorithm (ITU-T I.371), one number for each sender.
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._busy) + len(self._due)

    def enter(self, sender: str, now: float) -> float:
        """Let a request in, or tell how long to wait.

        Args:
            now: Seconds on any clock that does not go back.

        Returns:
            0.0 where it is in: `leave` is then called for it once. Else seconds.
        """
        if wait := self.wait(sender, now):
            return wait
        self._due[sender] = max(self._due.get(sender, now), now) + self._step
        self._due.move_to_end(sender)
        if len(self._due) > self._remembered:
            self._due.popitem(last=False)
        self._busy[sender] = self._busy.get(sender, 0) + 1
        return 0.0

    def wait(self, sender: str, now: float) -> float:
        """Return what `enter` would, and let nobody in."""
        if self._busy.get(sender, 0) >= self._running:
            return 1.0
        due = max(self._due.get(sender, now), now)
        late = due + self._step - now - max(1.0, self._step)
        return late if late > 1e-9 else 0.0

    def leave(self, sender: str) -> None:
        """Tell that a request that was let in is over."""
        busy = self._busy.pop(sender) - 1
        if busy:
            self._busy[sender] = busy
