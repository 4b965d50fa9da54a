"""What was accepted already, so that it is not accepted twice."""

from __future__ import annotations

import threading
from collections import Counter
from heapq import heappop, heappush

from btplug.errors import ConfigError, NotAllowed, Unauthentic

SECOND = 1_000_000_000


class Full(NotAllowed):
    """There is no place for an accepted request now: it may be sent later."""


class Replays:
    """Remembers each accepted nonce of each sender until it is too old to come back.

    An entry takes about 170 bytes. Nonces are Unix times in nanoseconds: what is
    forgotten is known by its age, so it is refused without being remembered.

    Args:
        keep: Seconds a nonce is remembered, counted from the time it names: the
            window in which requests are fresh, and what a slow body may take.
        limit: Entries held at most, a quarter of them of one sender; full of live
            ones, new requests are refused.

    Raises:
        ConfigError: A value is out of range.
    """

    __slots__ = (
        "_began",
        "_count",
        "_held",
        "_lock",
        "_order",
        "_seen",
        "_start",
        "keep",
        "limit",
    )

    def __init__(self, *, keep: float = 40.0, limit: int = 200_000) -> None:
        if not 0 < keep <= 86_400 or not isinstance(limit, int) or limit < 1:
            raise ConfigError(
                f"found keep {keep!r} and limit {limit!r}, "
                "expected at most a day in seconds, and at least 1 entry",
                fix="leave both out",
            )
        self.keep = keep
        self.limit = limit
        self._began = 0
        # By second: membership looks into one set, and a second is forgotten at once.
        self._seen: dict[int, set[tuple[str, int]]] = {}
        self._order: list[int] = []
        self._count = 0
        self._held: dict[str, int] = {}  # of each sender
        self._start = 0  # the first second that is remembered; never goes back
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def begin(self, now_ns: int) -> None:
        """Refuse from now on what was signed before *now_ns*: a server starts.

        An earlier process may have accepted it. A sender whose clock is ahead of mine
        names a later time than it signs at: a restart that takes less than it is
        ahead is not noticed. Only the first call counts, so that servers may share
        one memory.

        Args:
            now_ns: Unix time in nanoseconds.
        """
        self._began = self._began or now_ns

    def behind(self, now_ns: int) -> float:
        """Return by how many seconds a clock has to go on until new nonces are taken.

        More than 0.0 where it went back: since the start, or so far that what is new
        cannot be told from what is forgotten.

        Args:
            now_ns: Unix time in nanoseconds.
        """
        first = max(self._began, self._start * SECOND)
        return max(0.0, (first - now_ns) / SECOND)

    def add(self, hotkey: str, nonce: int, now_ns: int) -> None:
        """Remember *nonce*, only after its signature was verified.

        Args:
            now_ns: Unix time in nanoseconds; when it goes back, nothing comes back.

        Raises:
            Unauthentic: It was seen before, or is older than what is remembered, or
                than the server.
            Full: There is no place without forgetting one that is still live, or
                the sender has its share of them.
        """
        second = nonce // SECOND
        entry = (hotkey, nonce)
        if nonce < self._began:
            raise Unauthentic(
                f"the nonce {nonce} is from before this server started, expected a "
                "later one: what was accepted before that is not known",
                fix="sign again and send again; set both clocks if it is refused again",
            )
        with self._lock:
            start = (now_ns - int(self.keep * SECOND)) // SECOND
            if start > self._start:
                self._forget(start)
            if second < self._start:
                raise Unauthentic(
                    f"the nonce {nonce} is older than what is remembered, "
                    f"expected one of the last {self.keep:g} s",
                    fix="set both clocks; sign again and send the body sooner",
                )
            entries = self._seen.get(second)
            if entries is not None and entry in entries:
                raise Unauthentic(
                    f"the nonce {nonce} was accepted before, expected a new one",
                    fix="sign each attempt again",
                )
            if self._count >= self.limit:
                raise Full(
                    f"the memory of {self.limit:,} accepted requests is full, "
                    "expected fewer at a time",
                    fix="send again later, or raise the server's limit",
                )
            held = self._held.get(hotkey, 0)
            # One sender alone must not keep all others out.
            if held >= (share := max(self.limit // 4, 1)):
                raise Full(
                    f"the memory holds {held:,} accepted requests of {hotkey}, "
                    f"expected at most {share:,} of one sender in {self.keep:g} s",
                    fix="send again later, or raise the server's limit",
                )
            if entries is None:
                entries = self._seen[second] = set()
                heappush(self._order, second)
            entries.add(entry)
            self._count += 1
            self._held[hotkey] = held + 1

    def _forget(self, start: int) -> None:
        self._start = start
        while self._order and self._order[0] < start:
            gone = self._seen.pop(heappop(self._order))
            self._count -= len(gone)
            for hotkey, number in Counter(hotkey for hotkey, _ in gone).items():
                left = self._held.pop(hotkey) - number
                if left:
                    self._held[hotkey] = left
