"""What a confined child is told to do: a plugin's bytes, its words, its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from btplug._confine.frames import CHUNK, Frame, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from btplug._load.codecache import CodeCache

    Bytes: TypeAlias = tuple[str, dict[str, bytes], dict[str, str] | None, str]


class Order:
    """Plain values, so that marshal carries them; made by the host alone.

    Attributes:
        manifest: Of the plugin, its permissions as a tuple.
        pinned: Its bytes: root, files, hashes where some content was not kept, digest.
        codes: What was compiled of them before.
        words: Of the command line, behind the plugin's name.
        program: What stands before the name in a help page.
        settings: Key to value, origin, and whether it is a text.
        own: Settings of btplug itself.
        schemes: Transport to the schemes it serves.
        broken: Transport to what, where, fix and exit code of its error, and schemes.
        withheld: What to do for those that were not asked to start.
        state: Folder that holds the states of all plugins.
        asks: Somebody sits at a terminal.
        columns: Of the terminal that results go to, 0 where it is none.
        kept: Prints are kept away from the results.
        debug: Errors are wanted with their tracebacks.
    """

    manifest: tuple[object, ...]
    pinned: Bytes
    codes: dict[str, bytes]
    words: list[str]
    program: str
    json: bool
    settings: dict[str, tuple[object, str, bool]]
    own: dict[str, float | str]
    schemes: dict[str, tuple[str, ...]]
    broken: dict[str, tuple[str, str | None, str | None, int, tuple[str, ...]]]
    withheld: list[str]
    state: str
    asks: bool
    columns: int
    kept: bool
    debug: bool

    def __init__(self, **values: Any) -> None:  # those above
        vars(self).update(values)

    def frames(self) -> Iterator[Frame]:
        """Yield what carries it."""
        import marshal

        data = marshal.dumps(vars(self))
        for start in range(0, len(data), CHUNK):
            more = start + CHUNK < len(data)
            yield Frame(Kind.GO, data[start : start + CHUNK], more=more)

    @classmethod
    def received(cls, receive: Callable[[], Frame | None]) -> Order | None:
        """Return what the host sent; None: it is gone."""
        import marshal

        data = b""
        while (frame := receive()) is not None:
            data += frame.body
            if not frame.more:
                return cls(**marshal.loads(data))
        return None


def pinned_of(code: CodeCache) -> Bytes:
    """Return the bytes of a plugin as plain values."""
    pinned = code.pinned
    hashes = None if pinned.whole else pinned.hashes
    return pinned.root, pinned.files, hashes, pinned.digest
