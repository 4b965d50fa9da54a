"""The host's hold of a confined child: hears it, limits its time, ends it."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from btplug._confine.frames import BadFrame, Frame, Kind, Port
from btplug._confine.rules import PAST_FILES, PAST_MEMORY
from btplug._confine.scratch import remove
from btplug.errors import PluginDied, PluginTimeout, Unconfinable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from btplug._confine.rules import Limits
    from btplug.errors import BtplugError

_START = 20.0  # seconds; a hundredth of one where nothing is wrong
_GONE = 2.0  # seconds to end for a process that has closed its channel
_LOOK = 1.0  # seconds; a signal that came just before a wait does not end it
_NOISE = 65536  # bytes that are read at once of what it prints past the channel


class Child:
    """A process that was started; a ``with`` block ends it in every case.

    All of it belongs to one thread, but for `post`.

    Attributes:
        pid: Its process id, and that of its group.
        folder: Where it may write; gone when it is.
    """

    def __init__(
        self,
        pid: int,
        channel: int,
        noise: int,
        folder: str,
        owned: int,
        limits: Limits,
    ) -> None:
        self.pid, self.folder, self._owned = pid, folder, owned
        self._limits = limits
        self._channel, self._noise = channel, noise
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        os.set_blocking(channel, False)
        os.set_blocking(noise, False)
        self._port = Port(channel, lambda: os.eventfd_write(self._wake, 1))
        self._until, self._doing = float("inf"), ("", 0.0)
        self._pending: Iterator[Frame] = iter(())
        self._hears = self._open = True

    def tell(self, data: bytes) -> None:
        """Send what is no frame, before any frame."""
        self._port.put(data)

    def post(self, frame: Frame) -> None:
        """Send a frame, now or once the child reads; from any thread."""
        self._port.post(frame)

    def allow(self, seconds: float | None, doing: str) -> None:
        """Give it so much time from now on.

        Args:
            seconds: None: without end.
            doing: What it has to do by then, as in "the plugin did not …".
        """
        self._until = float("inf") if seconds is None else monotonic() + seconds
        self._doing = doing, seconds or 0.0

    def wait_until_confined(self, noise: Callable[[bytes], object]) -> None:
        """Return once it has proven that it is confined; nothing of a plugin has run.

        Raises:
            Unconfinable: It is not; the message says why.
        """
        self.allow(_START, "start")
        try:
            frame = self._next(noise)
        except (PluginDied, PluginTimeout) as exc:
            raise Unconfinable(
                f"the process that was to be confined did not start: {exc.what}",
                fix="see what it printed, with BTPLUG_DEBUG=1",
            ) from exc
        if frame.kind != Kind.READY:
            reason = frame.body.decode(errors="replace")
            raise Unconfinable(
                f"the plugin cannot be confined here: {reason}",
                fix=Unconfinable.OTHERWISE,
            )
        self.allow(None, "")

    def hear(
        self, take: Callable[[Frame], object], noise: Callable[[bytes], object]
    ) -> Frame:
        """Hand over what it says until it is done, and return its last frame.

        The time that *take* needs for a question is not the child's.

        Args:
            take: Gets every frame but the last.
            noise: Gets what the process prints past the channel, a crash for one.

        Returns:
            A RESULT with nothing to follow, or a FAILURE without an id.

        Raises:
            PluginTimeout: It took longer than it was allowed.
            PluginDied: It ended without such a frame, or broke a rule of the channel.
        """
        while True:
            frame = self._next(noise)
            if frame.kind == Kind.RESULT and not frame.more:
                return frame
            if frame.kind == Kind.FAILURE and not frame.id:
                return frame
            if frame.kind == Kind.READY:
                raise BadFrame("a second sign that it is confined")
            began = monotonic()
            take(frame)
            if frame.kind == Kind.ASK:
                self._until += monotonic() - began

    def _next(self, noise: Callable[[bytes], object]) -> Frame:
        while True:
            # Before each frame: a flood of them must not keep the clock from striking.
            if monotonic() > self._until:
                doing, seconds = self._doing
                raise PluginTimeout(
                    f"the plugin did not {doing} within {seconds:g} s",
                    fix="ask it for less at once, or raise its time limit",
                )
            if (frame := next(self._pending, None)) is not None:
                return frame
            if not self._hears:
                raise self._ended(noise)
            self._wait(noise)

    def _wait(self, noise: Callable[[bytes], object]) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._noise, select.POLLIN)
        # Who does not read its answers gets no further questions through.
        events = 0 if self._port.full else select.POLLIN
        if self._port.waiting:
            events |= select.POLLOUT
        poll.register(self._channel, events)
        left = self._until - monotonic()
        for fd, event in poll.poll(min(max(left, 0.0), _LOOK) * 1000):
            if fd == self._wake:
                os.eventfd_read(self._wake)
            elif fd == self._noise:
                self._hear_noise(noise)
            else:
                self._port.flush()
                if event & ~select.POLLOUT:
                    found = self._port.take()
                    self._hears = found is not None
                    self._pending = found or iter(())

    def _hear_noise(self, noise: Callable[[bytes], object]) -> bool:
        try:
            data = os.read(self._noise, _NOISE)
        except BlockingIOError:
            return False
        if not data:
            # Both its standard outputs are closed: no reason to be woken again.
            os.dup2(self._wake, self._noise, inheritable=False)
            return False
        noise(data)
        return True

    def _ended(self, noise: Callable[[bytes], object]) -> BtplugError:
        """Say why it has ended; it closed its channel, so it has or soon will."""
        watch = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            poll.poll(_GONE * 1000)
        finally:
            os.close(watch)
        status = self._reap()
        # Only now: one that closed its channel and lives could print without end.
        while self._hear_noise(noise):
            pass
        return died(status, self._limits)

    def _reap(self) -> int | None:
        """End it, and return how it ended; None where somebody else was told."""
        self.kill()
        self._open = False
        try:
            return os.waitpid(self.pid, 0)[1]
        except ChildProcessError:  # SIGCHLD is ignored in this process
            return None

    def kill(self) -> None:
        """End it and its group, and do not wait for that; `end` does."""
        if self._open:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
                os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """End it and all it holds, now; again where a signal broke in."""
        if self._open:
            self._reap()
        if self._channel >= 0:
            fds = (self._channel, self._noise, self._wake)
            self._channel = -1
            self._port.close()
            for fd in fds:
                os.close(fd)
        remove(self.folder)
        if self._owned >= 0:
            os.close(self._owned)
            self._owned = -1

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def died(status: int | None, limits: Limits) -> BtplugError:
    """Make the error of a process that ended without its last frame.

    Args:
        status: As waitpid gives it; None where it is not known.
    """
    code = None if status is None else os.waitstatus_to_exitcode(status)
    report = "report it to the plugin's author"
    if code == PAST_MEMORY:
        return PluginDied(
            f"the plugin went past its limit of {limits.memory / 1024**2:,.0f} MiB "
            "of memory",
            fix="give it less to do at once",
        )
    if code == PAST_FILES:
        return PluginDied(
            f"the plugin went past its limit of {limits.files} open files",
            fix=report,
        )
    if code == -signal.SIGXCPU:
        return PluginTimeout(
            f"the plugin used up its {limits.processor} s of processor time",
            fix="ask it for less at once",
        )
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return PluginDied(f"the plugin's process was ended by {name}", fix=report)
    shown = "" if code is None else f" (exit code {code})"
    return PluginDied(f"the plugin's process ended without a result{shown}", fix=report)
