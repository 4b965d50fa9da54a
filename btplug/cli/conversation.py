"""What a confined plugin says, and what its host does about it.

All of it may be a lie: text is escaped, numbers are bounded, and what is to be JSON is
read before it is written.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import click

from btplug._frames import BadFrame, Frame, Kind
from btplug._json import BadJSON, dumps, loads
from btplug.cli.report import say, warn
from btplug.errors import (
    BtplugError,
    PluginError,
    PluginExit,
    PluginFailed,
    Terminated,
    TransportError,
    UsageError,
)
from btplug.logs import escape

if TYPE_CHECKING:
    from btplug._broker import Broker
    from btplug.cli.host import Host
    from btplug.manifest import Manifest
    from btplug.sandbox import Child

# By exit code, what a plugin's own error may end a run with.
_ERRORS: dict[int, type[BtplugError]] = {
    2: UsageError,
    4: PluginError,
    5: TransportError,
}
_LONGEST = 1024 * 1024  # characters of a line of JSON


class Conversation:
    """One run of a child, from its order to its last frame."""

    def __init__(
        self, host: Host, manifest: Manifest, child: Child, broker: Broker
    ) -> None:
        self._host, self._manifest, self._child = host, manifest, child
        self._broker = broker
        self._line = b""
        self._drawn = ExitStack()
        self._progress: Iterator[int] | None = None
        self._done = 0

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
        except (KeyboardInterrupt, Terminated) as exc:
            self._end(exc)
            raise
        finally:
            self.close()
        if last.kind is Kind.FAILURE:
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
        if self._progress is not None:
            self._progress.close()  # type: ignore[attr-defined]  # a generator
            self._progress = None
        self._drawn.close()

    def _end(self, exc: BaseException) -> None:
        """Tell the child what the operator wants, and give it time to clean up."""
        number: int = signal.SIGINT
        if isinstance(exc, Terminated):
            number = exc.exit_code - 128
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, number)
        self._allow("stop_limit", "stop")
        with suppress(BtplugError):
            self._child.hear(self.take, self.noise)

    def take(self, frame: Frame) -> None:
        """Do what one frame asks for.

        Raises:
            BadFrame: It may not ask for that.
        """
        if frame.kind is Kind.RESULT:
            self._result(frame.body)
        elif frame.kind is Kind.OUTPUT:
            self._print(frame.body, error=frame.id != 1)
        elif frame.kind is Kind.STARTED:
            self._allow("run_limit", "finish")
        elif frame.kind is Kind.LOG:
            self._log(_fields(frame))
        elif frame.kind is Kind.STATUS:
            self._status(_fields(frame))
        elif frame.kind is Kind.PROGRESS:
            self._draw(_fields(frame))
        elif frame.kind is Kind.ASK:
            self._child.post(self._answer(_fields(frame), frame.id))
        else:
            self._broker.take(frame)

    # -- output

    def _result(self, data: bytes) -> None:
        host = self._host
        if not host.json:
            self._write(host.out, data)
            return
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > _LONGEST * 64:
            raise BadFrame("a line of JSON without end")
        for line in lines:
            try:
                loads(line, limit=_LONGEST * 64)
            except BadJSON as exc:
                raise BadFrame(f"a result that is no JSON ({exc})") from exc
            host.out.write(line.decode() + "\n")
        host.out.flush()

    def _print(self, data: bytes, *, error: bool) -> None:
        stream = sys.stderr if error else sys.stdout
        if stream is not None:
            with suppress(ValueError):
                self._write(stream, data)

    def _write(self, out: Any, data: bytes) -> None:  # a text stream, or its stand-in
        binary = getattr(out, "buffer", None)
        if binary is not None and not out.isatty():
            out.flush()
            binary.write(data)
        else:
            out.write(escape(data.decode("utf-8", "backslashreplace"), keep="\n\t"))
        out.flush()

    def noise(self, data: bytes) -> None:
        """Show what the process prints past its channel."""
        self._print(data, error=True)

    def _log(self, told: dict[str, Any]) -> None:
        if told.get("give_back"):
            self._host.stream.give_back()
        elif "warning" in told:
            warn(self._error(told["warning"]), json=self._host.json_errors)
        elif isinstance(told.get("level"), int):
            context = self._host.context
            assert context is not None
            logger = context.bound(self._manifest.name).logger
            logger.log(told["level"], "%s", _text(told, "message"))

    # -- what is drawn and asked

    def _status(self, told: dict[str, Any]) -> None:
        context = self._host.context
        assert context is not None
        self._drawn.close()
        if "text" in told:
            self._drawn.enter_context(context.status(_text(told, "text")))

    def _draw(self, told: dict[str, Any]) -> None:
        context = self._host.context
        assert context is not None
        if "label" in told:
            self.close()
            total = told.get("total")
            total = total if isinstance(total, int) and total >= 0 else None
            self._done = 0
            items = iter(range(1 << 40))
            label = _text(told, "label")
            self._progress = context.progress(items, label=label, total=total)
        elif self._progress is not None and isinstance(told.get("done"), int):
            steps = min(told["done"] - self._done, 1_000_000)
            for _ in range(steps):
                next(self._progress, None)
            self._done = told["done"]
        elif self._progress is not None:
            self._progress.close()  # type: ignore[attr-defined]  # a generator
            self._progress = None

    def _answer(self, told: dict[str, Any], number: int) -> Frame:
        context = self._host.context
        assert context is not None
        question, default = _text(told, "question"), told.get("default")
        answer: dict[str, object] = {}
        with suppress(UsageError):
            if told.get("confirm"):
                known = default if isinstance(default, bool) else None
                answer["answer"] = context.confirm(question, default=known)
            else:
                text = default if isinstance(default, str) else None
                answer["answer"] = context.ask(
                    question, default=text, secret=bool(told.get("secret"))
                )
        return Frame(Kind.ANSWER, dumps(answer).encode(), id=number)

    # -- how it ended

    def _raise(self, told: dict[str, Any]) -> None:
        if trace := _text(told, "trace"):
            say(escape(trace.rstrip(), keep="\n\t"))
        name = self._manifest.name
        if isinstance(told.get("exit"), int) and 0 <= told["exit"] <= 63:
            left = PluginExit(told["exit"], _text(told, "what"))
            left.plugin = name
            raise left
        if told.get("interrupted"):
            raise click.Abort
        if "defect" in told:
            raise RuntimeError(f"in the confined process: {_text(told, 'defect')}")
        if "shown" in told and not self._host.json_errors:
            raise _Shown(_text(told, "shown"), told.get("code"))
        raise self._error(told)

    def _error(self, told: object) -> BtplugError:
        found = told if isinstance(told, dict) else {}
        code = found.get("code")
        error = _ERRORS.get(code if isinstance(code, int) else 1, PluginFailed)(
            _text(found, "what") or f"{self._manifest.name} failed",
            where=_text(found, "where") or None,
            fix=_text(found, "fix") or None,
            plugin=self._manifest.name,
        )
        return error


class _Shown(click.ClickException):
    """What the plugin's parser said, usage and all."""

    def __init__(self, text: str, code: object) -> None:
        super().__init__(text)
        self._code = 2 if code == 2 else 1

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # Click has it on the class
        return self._code

    def show(self, file: Any = None) -> None:
        print(self.message, file=file)


def _fields(frame: Frame) -> dict[str, Any]:
    try:
        found = loads(frame.body)
    except BadJSON as exc:
        raise BadFrame(f"no JSON in a frame {frame.kind.name} ({exc})") from exc
    if not isinstance(found, dict):
        raise BadFrame(f"no mapping in a frame {frame.kind.name}")
    return found


def _text(told: dict[str, Any], key: str) -> str:
    value = told.get(key)
    return value if isinstance(value, str) else ""
