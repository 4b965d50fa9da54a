"""What a plugin in a confined child prints to, is asked through, and draws on."""

from __future__ import annotations

import io
import sys
import threading
from contextlib import contextmanager, suppress
from operator import length_hint
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

from btplug._confine.frames import CHUNK, LONGEST_BODY, Frame, Kind
from btplug.context import Screen, nobody

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from btplug._child.link import Link

T = TypeVar("T")

# Characters of a text. A frame has up to five, and JSON may need 12 bytes for one.
_LONGEST = 16 * 1024


class Far(Screen):
    """Has the host draw and ask."""

    def __init__(self, link: Link, *, asks: bool) -> None:
        self._link, self._asks = link, asks

    @contextmanager
    def status(self, text: str) -> Iterator[object]:
        self._link.tell(Kind.STATUS, text=shortened(text))
        try:
            yield None
        finally:
            self._link.tell(Kind.STATUS)

    def progress(
        self, items: Iterable[T], label: str, total: int | None
    ) -> Iterator[T]:
        from time import monotonic

        if total is None:
            total = length_hint(items) or None
        self._link.tell(Kind.PROGRESS, label=shortened(label), total=total)
        done, told = 0, monotonic()
        try:
            for item in items:
                yield item
                done += 1
                if monotonic() - told > 0.05:
                    told = monotonic()
                    self._link.tell(Kind.PROGRESS, done=done)
        finally:
            self._link.tell(Kind.PROGRESS, done=done)
            self._link.tell(Kind.PROGRESS)

    def ask(self, question: str, default: str | None, secret: bool) -> str:
        if not self._asks:
            return super().ask(question, default, secret)
        return str(self._asked(question, default=default, secret=secret))

    def confirm(self, question: str, default: bool | None) -> bool:
        if not self._asks:
            return super().confirm(question, default)
        return bool(self._asked(question, default=default, confirm=True))

    def _asked(self, question: str, **more: object) -> object:
        answer = self._link.asked({"question": shortened(question), **more})
        if "answer" not in answer:
            raise nobody(question)
        return answer["answer"]


def shortened(text: str) -> str:
    """Return what fits into a frame of a text, with both of its ends."""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} … {text[-half:]}"


def printed(link: Link, number: int, *, lines: bool) -> TextIO:
    """Return what stands for stdout or stderr, perhaps sent line by line."""
    return io.TextIOWrapper(
        _Sent(link, number),
        "utf-8",
        "backslashreplace",
        newline="\n",
        line_buffering=lines,
    )


def results(link: Link, *, terminal: bool) -> TextIO:
    """Return what results are written to; *terminal*: the host writes it to one."""
    kind = _Drawn if terminal else io.TextIOWrapper
    return kind(_Sent(link, 0), "utf-8", "backslashreplace", newline="\n")


def flush_prints() -> None:
    """Send what was printed; a plugin may have closed the streams, or taken them."""
    for printed in (sys.stdout, sys.stderr):
        with suppress(ValueError, AttributeError):
            printed.flush()


class _Drawn(io.TextIOWrapper):
    """Where results go that the host shows on a terminal."""

    def draw(self, *table: object) -> bool:
        """Have the host draw a table; False: it is too long for that."""
        self.flush()
        flush_prints()
        sent = cast("_Sent", self.buffer)
        return sent.draw(table)


class _Sent(io.BufferedIOBase):
    """The end of a stream: its host writes what it is given.

    Where a signal breaks in, a `BufferedWriter` would give it once more.
    """

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number
        self.name = ("<result>", "<stdout>", "<stderr>")[number]
        self._held = bytearray()
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if not self._number:
            raise io.UnsupportedOperation("results have no descriptor")
        return self._number

    def draw(self, table: object) -> bool:
        frame = self._link.frame(Kind.TABLE, {"table": table})
        if len(frame.body) > LONGEST_BODY:
            return False
        self._link.send(frame)
        return True

    def write(self, data: Any) -> int:  # any buffer
        if self.closed:
            raise ValueError("write to closed file")
        with self._lock:
            self._held += data
            if len(self._held) >= CHUNK:
                self.flush()
        return memoryview(data).nbytes

    def flush(self) -> None:
        with self._lock:
            held, self._held = self._held, bytearray()
            for start in range(0, len(held), CHUNK):
                self._post(bytes(held[start : start + CHUNK]))

    def _post(self, part: bytes) -> None:
        if self._number:
            self._link.send(Frame(Kind.OUTPUT, part, id=self._number))
        else:
            # What was printed before it comes before it.
            flush_prints()
            self._link.send(Frame(Kind.RESULT, part, more=True))
