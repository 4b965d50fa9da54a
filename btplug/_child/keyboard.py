"""What a plugin in a confined child reads where somebody sits at the host's terminal.

Its own input is empty. What reads a terminal, `input`, `getpass` and Click, reads here
what the host was typed.
"""

from __future__ import annotations

import getpass
import io
import sys
from typing import TYPE_CHECKING, Any

import click

from btplug._child.screen import flush_prints, shortened

if TYPE_CHECKING:
    from btplug._child.link import Link


def take_keyboard(link: Link) -> None:
    """Have all that reads a terminal ask the host."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(_Typed(link)), "utf-8")

    def hidden(prompt: object = "Password: ", *_: object, **__: object) -> str:
        return _got(_typed(link, "hidden", question=shortened(str(prompt))))

    def key(echo: bool) -> str:
        return _got(_typed(link, "key", echo=bool(echo)))

    changed: Any = getpass
    changed.getpass = hidden
    changed = click.termui
    changed._getchar = key
    # For `pause`. `clear` asks as well: what it prints, a stream here drops.
    changed.isatty = lambda stream: stream in (sys.stdin, sys.stdout)


def _typed(link: Link, what: str, **more: object) -> str | None:
    flush_prints()  # the question is there
    found = link.asked({"read": what, **more}).get("answer")
    return found if isinstance(found, str) else None


def _got(answer: str | None) -> str:
    if answer is None:
        raise EOFError
    return answer


class _Typed(io.RawIOBase):
    """Lines of the host's terminal, each asked for when it is wanted."""

    def __init__(self, link: Link) -> None:
        self._link, self._rest = link, b""

    def readable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def readinto(self, buffer: Any) -> int:  # any buffer
        if not self._rest:
            line = _typed(self._link, "line") or ""
            self._rest = line.encode(errors="surrogateescape")
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)
