"""How a run ends: signals, threads left behind, flushing, the exit itself."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

from btplug.cli.stream import ReaderGone, is_stuck
from btplug.errors import BtplugError, Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Seconds that threads a plugin left behind get to finish.
GRACE = 2.0


class Signals:
    """What to do with a signal that ends the run.

    The first is raised, so that plugins unwind and are shut down; the second ends the
    process at once. It is remembered too, because an exception that is raised inside a
    destructor is lost; then it is sent once more.

    Attributes:
        number: Of the first that came; 0: none has.
        raises: False while plugins are shut down: then it is only remembered.
        leaving: Called before the process ends at once, if nothing breaks in.
    """

    def __init__(self) -> None:
        self.number, self.raises = 0, True
        self._lost = False
        self.leaving: Callable[[], object] | None = None

    @property
    def code(self) -> int:
        """The exit code: 0, or 128 and the number."""
        return self.number and 128 + self.number

    def __call__(self, number: int, _: object = None) -> None:
        if self._lost and self.raises:
            self._lost = False
            self.throw()
        if self.number:
            leaving, self.leaving = self.leaving, None
            try:
                if leaving is not None:
                    leaving()
            finally:
                os._exit(128 + number)
        self.number = number
        if self.raises:
            self.throw()

    def throw(self) -> NoReturn:
        """Raise what stands for the signal that came."""
        import signal

        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(self.number)

    def unraised(self, lost: BaseException | None) -> bool:
        """Send the signal again if *lost*, which nobody can catch, stood for it."""
        if not (self.number and isinstance(lost, (KeyboardInterrupt, Terminated))):
            return False
        import _thread

        self._lost = True
        with suppress(RuntimeError):  # no further thread: it is remembered
            _thread.start_new_thread(self._send, ())
        return True

    def _send(self) -> None:
        import signal
        import time

        time.sleep(0.01)  # whatever lost it has ended; else it is lost again
        if self._lost and self.raises and hasattr(signal, "pthread_kill"):
            # To the main thread: what it waits for has to end.
            signal.pthread_kill(threading.main_thread().ident or 0, self.number)


@contextmanager
def signals_watched() -> Iterator[Signals]:
    """Take Ctrl-C, SIGTERM and SIGHUP, so that live plugins are shut down.

    A terminal that was closed sends SIGHUP, unless ``nohup`` has it ignored.
    """
    signals = Signals()
    report = sys.unraisablehook

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        if not signals.unraised(found.exc_value):
            report(found)

    sys.unraisablehook = unraisable
    try:
        with _handled(signals):
            yield signals
    finally:
        sys.unraisablehook = report


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Set the handler of all that ends a run; an ignored signal stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    import signal

    # Windows has no SIGHUP.
    names = [n for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
    before = {
        number: signal.signal(number, handler)
        for number in (getattr(signal, name) for name in names)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _leave(number: int, _: object) -> None:
    os._exit(128 + number)


@contextmanager
def output_watched() -> Iterator[None]:
    """Tell the ways in which stdout fails from everything else.

    Raises:
        ReaderGone: The other end of the pipe was closed.
        BtplugError: The output could not be written.
    """
    try:
        yield
    except BrokenPipeError as exc:
        _forget_output()
        raise ReaderGone from exc
    except BtplugError as exc:
        # A plugin that prints meets the closed pipe itself.
        if isinstance(exc.__cause__, BrokenPipeError) and _reader_gone():
            _forget_output()
            raise ReaderGone from exc
        raise
    except OSError as exc:
        import errno

        if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        _forget_output()
        raise BtplugError(
            f"the output could not be written: {exc.strerror}",
            fix="make room, or write it somewhere else",
        ) from exc


def _reader_gone() -> bool:
    """Tell whether stdout is a pipe that nobody reads any more."""
    import select

    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _forget_output() -> None:
    """Let nothing try to write again what is left in the buffer."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends


def open_missing() -> None:
    """Put the null device where stdin, stdout or stderr was closed.

    Otherwise the next file that is opened takes their number, and gets their data.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - stays open
    # A character that the locale cannot write is shown, not a reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end(code: int, *, json: bool) -> NoReturn:
    """End the process after threads had their grace and the output is flushed.

    The interpreter's own tear-down costs 10 ms and does nothing more for anybody.
    """
    import atexit

    # A signal from here on ends the process at once.
    with _handled(_leave):
        wait_for_threads(partial(_warn, json=json))
        atexit._run_exitfuncs()
        code = _flush(code, json)
        os._exit(code)


def _flush(code: int, json: bool) -> int:
    """Flush what is still buffered; return the exit code, now that it is known."""
    told = code in (129, 130, 143)
    for stream in (sys.stdout, sys.stderr):
        # A plugin may have closed one, or taken it away.
        if stream is None or stream.closed or (told and is_stuck(stream)):
            continue
        try:
            stream.flush()
        except OSError as exc:
            if stream is not sys.stdout:
                continue  # words that are lost: all was done, and nobody can be told
            if isinstance(exc, BrokenPipeError):
                return code or 141
            from btplug.cli.report import fail

            what = f"the output could not be written: {exc.strerror}"
            fix = "make room, or write it somewhere else"
            fail(BtplugError(what, fix=fix), json=json)
            return code or 1
    return code


def _warn(error: BtplugError, *, json: bool) -> None:
    from btplug.cli.report import warn

    warn(error, json=json)


def wait_for_threads(warn: Callable[[BtplugError], object]) -> None:
    """Give threads that were left behind their grace; *warn* of those that stay."""
    import time

    if pools := sys.modules.get("concurrent.futures.thread"):
        # The interpreter's own end tells idle workers of a pool to go; we skip it.
        leave = pools._python_exit
        threading.Thread(target=leave, name="btplug: pools", daemon=True).start()
    until = time.monotonic() + GRACE
    others = [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.current_thread()
    ]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            what = f"the thread {thread.name!r} was left running"
            warn(BtplugError(what, fix="join it in shutdown"))
