"""What configuration is made of: YAML with line numbers, `Secret`, bounded files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from btplug._yaml import Document, Limits, parse_yaml, shown
from btplug.errors import BtplugError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Document",
    "Limits",
    "Secret",
    "nearest",
    "parse_yaml",
    "read_bounded",
    "shown",
]


class Secret:
    """A text that is never shown: keys, passwords, mnemonics.

    Use it as the type of a field of a plugin's Config. Only `reveal` gives the text.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself: pass it on, never print or log it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: it would leave the process readable")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?`` for the closest of *known*, or an empty text."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def read_bounded(path: str, size: int, error: type[BtplugError]) -> bytes:
    """Read a regular file of at most *size* bytes (one more is read to tell).

    Raises:
        error: *path* is a link, a folder, a pipe or a device, or cannot be read.
            FileNotFoundError stays what it is.
    """
    import os
    import stat

    flags = os.O_RDONLY
    # A pipe must not block, a link must not lead elsewhere; Windows has neither.
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    expected = "expected a regular file"
    try:
        fd = os.open(path, flags)
    except NotADirectoryError as exc:
        raise FileNotFoundError(exc.errno, exc.strerror, path) from exc
    except FileNotFoundError:
        raise
    except OSError as exc:
        kind = "a link" if os.path.islink(path) else str(exc.strerror)
        raise error(
            f"{path}: found {kind}, {expected}", fix="replace it by a file you may read"
        ) from exc
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise error(
            f"{path}: found a {_kind(mode)}, {expected}", fix="replace it by a file"
        )
    with os.fdopen(fd, "rb") as file:
        return file.read(size + 1)


def _kind(mode: int) -> str:
    import stat

    if stat.S_ISDIR(mode):
        return "folder"
    return "pipe" if stat.S_ISFIFO(mode) else "socket or device"
