"""The stream results are written to, kept clean of what plugins print."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from btplug.errors import Terminated

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReaderGone(Exception):
    """Whoever read our output went away; not an OSError, which Click would eat."""


# Kept until the process ends: a stream that nobody holds is closed, with a warning.
_LASTING: list[ResultStream] = []


class ResultStream:
    """stdout; or, while the result is JSON, the only way to what stdout was.

    Attributes:
        out: Where results are written.
    """

    def __init__(self) -> None:
        self.out: TextIO = sys.stdout
        self._printed: TextIO | None = None

    @property
    def kept(self) -> bool:
        """True while prints are kept away from the results."""
        return self._printed is not None

    def keep(self) -> None:
        """Send to stderr what anybody prints from here on, from C code as well."""
        if self._printed is not None:
            return
        self._printed = self.out
        with suppress(OSError, ValueError, AttributeError):
            if self.out.fileno() == 1:
                self.out.flush()
                self.out = open(  # noqa: SIM115 - closed in `give_back`, or at the end
                    os.dup(1), "w", encoding="utf-8", newline="\n",
                    errors="backslashreplace",
                )  # fmt: skip
                os.dup2(2, 1)
        sys.stdout = _named(sys.stderr)

    def give_back(self) -> None:
        """Let prints reach stdout again."""
        if self._printed is None:
            return
        sys.stdout.flush()
        sys.stdout, self._printed = self._printed, None
        if self.out is not sys.stdout:
            kept, self.out = self.out, sys.stdout
            kept.flush()
            os.dup2(kept.fileno(), 1)
            kept.close()


_NAME = b"btplug: printed: "


def _named(errors: TextIO) -> TextIO:
    """Return what stands for stdout: lines that say on *errors* that they are noise."""
    if not hasattr(errors, "buffer"):
        return errors
    raw = io.BufferedWriter(_Named(errors))
    return io.TextIOWrapper(
        raw, errors.encoding, "backslashreplace", line_buffering=True
    )


class _Named(io.RawIOBase):
    def __init__(self, errors: TextIO) -> None:
        self._errors, self._begins = errors, True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._errors.fileno()

    def isatty(self) -> bool:
        return self._errors.isatty()

    def write(self, data: Any) -> int:  # any buffer
        text = bytes(data)
        named = text[:-1].replace(b"\n", b"\n" + _NAME) + text[-1:]
        if text:
            self._errors.flush()
            self._errors.buffer.write(_NAME + named if self._begins else named)
            self._errors.buffer.flush()
            self._begins = text.endswith(b"\n")
        return len(text)


def is_stuck(stream: TextIO) -> bool:
    """Tell whether a flush would wait for a reader that has stopped reading."""
    with suppress(OSError, ValueError, AttributeError):
        import select

        ready = select.poll()
        ready.register(stream.fileno(), select.POLLOUT)
        return not ready.poll(0)
    return False


@contextmanager
def result_stream(*, json: bool, lasting: bool) -> Iterator[ResultStream]:
    """Provide the stream of a run.

    Args:
        json: Keep prints out of it from the start.
        lasting: Until the process ends: exit handlers of plugins print, too.
    """
    stream = ResultStream()
    if json:
        stream.keep()
    try:
        yield stream
    finally:
        told = isinstance(sys.exc_info()[1], (KeyboardInterrupt, Terminated))
        with suppress(OSError, ValueError):
            if not (told and is_stuck(stream.out)):
                stream.out.flush()
        if lasting:
            _LASTING.append(stream)
        else:
            stream.give_back()
