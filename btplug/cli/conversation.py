"""What a confined plugin says, and what its host does about it.

All of it may be a lie: text is escaped, numbers are bounded, and what is to be JSON is
read before it is written.
"""

from __future__ import annotations

import os
import signal
import sys
from codecs import getincrementaldecoder
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from btplug._confine.frames import BadFrame, Frame, Kind
from btplug._json import BadJSON, dumps, loads
from btplug.cli.drawing import Drawing, text_of
from btplug.cli.report import Shown, say, warn
from btplug.cli.stream import is_stuck
from btplug.errors import (
    BtplugError,
    PluginError,
    PluginExit,
    PluginFailed,
    PluginTimeout,
    Terminated,
    TransportError,
    UsageError,
)
from btplug.logs import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug._broker.broker import Broker
    from btplug._confine.process import Child
    from btplug.cli.host import Host
    from btplug.manifest import Manifest

# By exit code, what a plugin's own error may end a run with.
_ERRORS: dict[int, type[BtplugError]] = {
    2: UsageError,
    4: PluginError,
    5: TransportError,
    7: PluginTimeout,
}
_LONGEST = 8 * 1024 * 1024  # bytes of a line of JSON; to check it takes 30 times that
_DEEPEST = 512  # levels of it, as many as the plugin's side writes
_UTF8 = getincrementaldecoder("utf-8")
_SOURCES = ("result", "stdout", "stderr", "noise")
_PIECE = 4096  # bytes that a pipe takes at once if it takes any


class Conversation:
    """One run of a child, from its order to its last frame."""

    def __init__(
        self,
        host: Host,
        manifest: Manifest,
        child: Child,
        broker: Callable[[], Broker],
    ) -> None:
        self._host, self._manifest, self._child = host, manifest, child
        self._broker = broker
        self._line = bytearray()
        self._decoders = {source: _UTF8("backslashreplace") for source in _SOURCES}
        assert host.context is not None
        self._drawing = Drawing(host.context)
        self._started = self._ending = self._refused = False
        self.told = False  # what is raised, the child said

    def run(self) -> None:
        """Hear the child until it is done.

        Raises:
            BtplugError: The plugin's own, or of how its process ended.
            PluginExit: It chose its exit code.
        """
        context = self._host.context
        assert context is not None
        self._allow("start_limit", "load")
        try:
            last = self._child.hear(self.take, self.noise)
        except (KeyboardInterrupt, Terminated, PluginFailed) as exc:
            self._end(exc)
            raise
        finally:
            self.close()
        if last.kind == Kind.FAILURE:
            self._raise(_fields(last))
        if self._line:
            raise BadFrame("a result that ends within a line")
        self._host.out.flush()

    def _allow(self, limit: str, doing: str) -> None:
        context = self._host.context
        assert context is not None
        self._child.allow(float(context.settings.host(limit)) or None, doing)

    def close(self) -> None:
        """Draw no more."""
        self._drawing.close()

    def _end(self, exc: BaseException) -> None:
        """Tell the child to end, and give it time to clean up."""
        self._ending = True
        number: int = signal.SIGINT
        if isinstance(exc, Terminated):
            number = exc.exit_code - 128
        elif isinstance(exc, PluginFailed):
            number, self._refused = signal.SIGTERM, True
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, number)
        self._allow("stop_limit", "stop")
        with suppress(BtplugError):
            self._child.hear(self.take, self.noise)

    @property
    def _json(self) -> bool:
        """True where the result is to be JSON; not for a --json of the plugin's own."""
        return self._host.json or self._host.stream.kept

    def take(self, frame: Frame) -> None:
        """Do what one frame asks for.

        Raises:
            BadFrame: It may not ask for that.
        """
        if frame.kind == Kind.RESULT:
            self._result(frame.body)
        elif frame.kind == Kind.TABLE:
            if not self._ending:
                out = None if self._json else self._host.out
                self._drawing.table(_fields(frame), out)
        elif frame.kind == Kind.OUTPUT:
            self._print(frame.body, "stdout" if frame.id == 1 else "stderr")
        elif frame.kind == Kind.STARTED:
            if self._started:
                raise BadFrame("a second sign that it has started")
            self._started = True
            if not self._ending:
                self._allow("run_limit", "finish")
            self._remember(frame.body)
        elif frame.kind == Kind.LOG:
            self._log(_fields(frame))
        elif frame.kind == Kind.STATUS:
            self._drawing.status(_fields(frame))
        elif frame.kind == Kind.PROGRESS:
            self._drawing.progress(_fields(frame))
        elif frame.kind == Kind.ASK:
            told = {} if self._ending else self._drawing.answer(_fields(frame))
            self._child.post(Frame(Kind.ANSWER, dumps(told).encode(), id=frame.id))
        else:
            self._broker().take(frame)

    def _remember(self, told: bytes) -> None:
        """Cache what was read for the plugin, but no value of the fields it names."""
        secret = frozenset(told.decode(errors="replace").splitlines())
        context = self._host.context
        assert context is not None
        self._host.remember(self._manifest, context.settings, lambda: secret)

    # -- output

    def _result(self, data: bytes) -> None:
        host = self._host
        if self._refused:
            return
        if not self._json:
            self._write(host.out, data, "result")
            return
        self._line += data
        if b"\n" in data:
            *lines, rest = bytes(self._line).split(b"\n")
            self._line = bytearray(rest)
            for line in lines:
                _check(line)
            text = b"".join(line + b"\n" for line in lines)
            self._write(host.out, text, "result")
        elif len(self._line) > _LONGEST:
            raise PluginFailed(
                f"found a result of more than {_LONGEST:,} bytes in one line of JSON",
                fix="yield it in rows, or write it into a file",
            )

    def _print(self, data: bytes, source: str) -> None:
        stream = sys.stdout if source == "stdout" else sys.stderr
        if stream is not None:
            with suppress(ValueError):
                self._write(stream, data, source)

    # out: a text stream, or its stand-in
    def _write(self, out: Any, data: bytes, source: str) -> None:
        if not self._ending:
            self._write_all(out, data, source)
            return
        for start in range(0, len(data), _PIECE):
            # A second signal is not to be needed where nobody reads any more.
            if is_stuck(out):
                return
            self._write_all(out, data[start : start + _PIECE], source)

    def _write_all(self, out: Any, data: bytes, source: str) -> None:
        binary = getattr(out, "buffer", None)
        if binary is not None and not out.isatty():
            out.flush()
            binary.write(data)
        else:
            # A character may be cut where a frame ends.
            text = self._decoders[source].decode(data)
            out.write(escape(text, keep="\n\t"))
        out.flush()

    def noise(self, data: bytes) -> None:
        """Show what the process prints past its channel."""
        self._print(data, "noise")

    def _log(self, told: dict[str, Any]) -> None:
        if told.get("give_back"):
            if not self._host.json:
                self._host.stream.give_back()
        elif self._ending and is_stuck(sys.stderr):
            return
        elif "warning" in told:
            warn(self._error(told["warning"]), json=self._host.json_errors)
        elif isinstance(told.get("level"), int):
            context = self._host.context
            assert context is not None
            logger = context.bound(self._manifest.name).logger
            logger.log(told["level"], "%s", self._text(told, "message", _PIECE // 2))

    # -- how it ended

    def _raise(self, told: dict[str, Any]) -> None:
        self.told = True
        if trace := text_of(told, "trace"):
            say(escape(trace.rstrip(), keep="\n\t"))
        name = self._manifest.name
        if isinstance(told.get("exit"), int) and 0 <= told["exit"] <= 63:
            left = PluginExit(told["exit"], text_of(told, "what"))
            left.plugin = name
            raise left
        if told.get("interrupted") in (129, 143):
            raise Terminated(told["interrupted"] - 128)
        if told.get("interrupted"):
            raise KeyboardInterrupt
        if told.get("aborted"):
            raise click.Abort
        if "defect" in told:
            # Its word alone: who patches btplug there blames btplug.
            raise PluginFailed(
                f"its confined process failed: {text_of(told, 'defect')}",
                fix="report it to the plugin's author, with what BTPLUG_DEBUG=1 shows",
                plugin=name,
            )
        if "shown" in told and not self._host.json_errors:
            raise Shown(text_of(told, "shown"), told.get("code"))
        raise self._error(told)

    def _error(self, told: object) -> BtplugError:
        found = told if isinstance(told, dict) else {}
        code = found.get("code")
        return _ERRORS.get(code if isinstance(code, int) else 1, PluginFailed)(
            self._text(found, "what") or f"{self._manifest.name} failed",
            where=self._text(found, "where") or None,
            fix=self._text(found, "fix") or None,
            plugin=self._manifest.name,
        )

    def _text(self, told: dict[str, Any], key: str, most: int = _PIECE // 6) -> str:
        """Return a text; while a run ends, no more of it than a pipe takes at once."""
        text = text_of(told, key)
        while self._ending and len(ascii(text)) > most:
            part = len(text) // 4
            text = f"{text[:part]} … {text[-part:]}"
        return text


def _fields(frame: Frame) -> dict[str, Any]:
    try:
        found = loads(frame.body)
    except BadJSON as exc:
        raise BadFrame(f"no JSON in a frame of the kind {frame.kind} ({exc})") from exc
    if not isinstance(found, dict):
        raise BadFrame(f"no mapping in a frame of the kind {frame.kind}")
    return found


def _check(line: bytes) -> None:
    try:
        loads(line, limit=_LONGEST, depth=_DEEPEST)
    except BadJSON as exc:
        raise PluginFailed(
            f"found a result that is no JSON for every reader: {exc}",
            fix="return what JSON has",
        ) from exc
