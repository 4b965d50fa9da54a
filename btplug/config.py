"""YAML that is looked over before it is believed, and `Secret`.

`yaml` itself is imported when a file is parsed: a start that finds everything in
the cache never needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from btplug.errors import BtplugError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import yaml

Path = tuple[str | int, ...]


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

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled: it would leave the process readable")


class Limits(NamedTuple):
    """How much YAML is accepted: bytes, levels of nesting, values."""

    size: int = 64 * 1024
    depth: int = 24
    nodes: int = 5_000


class Document(NamedTuple):
    """Parsed YAML and the line, counted from 1, of each key and item in it."""

    data: object
    lines: dict[Path, int]


def parse_yaml(
    source: bytes,
    *,
    where: str,
    limits: Limits = Limits(),  # noqa: B008 - an immutable value
    error: type[BtplugError] = ConfigError,
) -> Document:
    """Parse one YAML document, event by event, within *limits*.

    Aliases, anchors, tags and merge keys are refused, so are duplicate keys and keys
    that are not text: a 30 KB file can otherwise crash the interpreter. Dates and
    numbers of base 60 (``12:30``) stay text.

    Args:
        where: Name of the file, for messages.
        error: What is raised, with ``file:line: found X, expected Y``.

    Returns:
        The document; its data is None for an empty file.
    """
    if len(source) > limits.size:
        raise error(
            f"{where}: found more than {limits.size:,} bytes, expected at most that",
            fix="make the file smaller",
        )
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = source.count(b"\n", 0, exc.start) + 1
        raise error(
            f"{where}:{line}: found byte 0x{source[exc.start]:02x}, expected UTF-8",
            fix="save the file as UTF-8",
        ) from exc
    # Imported here: 16 ms that a start from the cache does not pay.
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(where, limits, error)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise error(
            f"{where}:{_line(mark)}: found broken YAML ({exc.problem or exc.context})",
            fix="mend the line, or the quotes, brackets and indentation before it",
        ) from exc
    except yaml.YAMLError as exc:
        raise error(
            f"{where}: found a character that YAML does not allow",
            fix="save the file as plain text without control characters",
        ) from exc
    return Document(builder.data, builder.lines)


class _Builder:
    """Makes data from events: no recursion, nothing kept but the open levels."""

    def __init__(self, where: str, limits: Limits, error: type[BtplugError]) -> None:
        self.where, self.limits, self.error = where, limits, error
        self.data: object = None
        self.lines: dict[Path, int] = {}
        self.nodes = self.documents = 0
        self.open: list[dict[str, object] | list[object]] = []
        self.path: list[str | int] = []  # of the open levels and of the waiting key
        self.waiting = False  # a key was read, its value is next
        self.scalar = _Scalars()

    def fail(self, event: yaml.Event, found: str, expected: str) -> BtplugError:
        line = _line(event.start_mark)
        return self.error(
            f"{self.where}:{line}: found {found}, expected {expected}",
            fix="change that line",
        )

    def take(self, event: yaml.Event) -> None:
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            self.documents += 1
            if self.documents > 1:
                raise self.fail(event, "a second document", "one document")
        elif kind == "AliasEvent":
            raise self.fail(event, "an alias", "the value itself")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self.open.pop()
            if self.path:
                self.path.pop()
        elif kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent"):
            self.value(event, kind)

    def value(self, event: yaml.Event, kind: str) -> None:
        self.nodes += 1
        if self.nodes > self.limits.nodes:
            raise self.fail(event, "more values", f"at most {self.limits.nodes:,}")
        if getattr(event, "anchor", None):
            raise self.fail(event, "an anchor (&)", "the value itself")
        if tag := getattr(event, "tag", None):
            raise self.fail(event, f"the tag {tag!r}", "a value without a tag")
        if kind == "ScalarEvent":
            if self.open and isinstance(self.open[-1], dict) and not self.waiting:
                self.key(event)
            else:
                self.put(
                    event,
                    self.scalar(self, cast("yaml.ScalarEvent", event)),
                    opens=False,
                )
            return
        if len(self.open) >= self.limits.depth:
            raise self.fail(event, "deeper nesting", f"{self.limits.depth} levels")
        new: dict[str, object] | list[object]
        new = {} if kind == "MappingStartEvent" else []
        if self.open and isinstance(self.open[-1], dict) and not self.waiting:
            raise self.fail(event, "a list or mapping as a key", "a text")
        self.put(event, new, opens=True)
        self.open.append(new)

    def key(self, event: yaml.Event) -> None:
        name = self.scalar(self, cast("yaml.ScalarEvent", event))
        if not isinstance(name, str):
            raise self.fail(event, f"the key {name!r}", "a text: put it in quotes")
        assert isinstance(self.open[-1], dict)
        if name in self.open[-1]:
            raise self.fail(event, f"the key {name!r} twice", "each key once")
        self.path.append(name)
        self.lines[tuple(self.path)] = _line(event.start_mark)
        self.waiting = True

    def put(self, event: yaml.Event, value: object, *, opens: bool) -> None:
        if not self.open:
            self.data = value
            return
        inside = self.open[-1]
        if isinstance(inside, dict):
            inside[str(self.path[-1])] = value
            self.waiting = False
        else:
            self.path.append(len(inside))
            self.lines[tuple(self.path)] = _line(event.start_mark)
            inside.append(value)
        if not opens:
            self.path.pop()


def _line(mark: Any) -> int:  # PyYAML has two classes of marks
    return mark.line + 1 if mark else 1


class _Scalars:
    """Reads plain scalars as YAML 1.1 does, short of its two traps."""

    def __init__(self) -> None:
        from yaml import ScalarNode
        from yaml.constructor import SafeConstructor
        from yaml.resolver import Resolver

        self.node, self.resolver = ScalarNode, Resolver()
        make = SafeConstructor()
        self.make = {
            "tag:yaml.org,2002:null": make.construct_yaml_null,
            "tag:yaml.org,2002:bool": make.construct_yaml_bool,
            "tag:yaml.org,2002:int": make.construct_yaml_int,
            "tag:yaml.org,2002:float": make.construct_yaml_float,
        }

    def __call__(self, builder: _Builder, event: yaml.ScalarEvent) -> object:
        text: str = event.value
        # Style is None for plain scalars only: quoted and block ones are text.
        if event.style:
            return text
        tag = self.resolver.resolve(  # type: ignore[no-untyped-call]  # types-PyYAML
            self.node, text, (True, False)
        )
        if tag == "tag:yaml.org,2002:merge":
            raise builder.fail(event, "a merge key (<<)", "the keys themselves")
        # 12:30 is 750 in YAML 1.1, which nobody means.
        if tag not in self.make or ":" in text:
            return text
        try:
            value: object = self.make[tag](self.node(tag, text))
        except (ValueError, OverflowError) as exc:
            raise builder.fail(event, "a number too long", "a shorter one") from exc
        return value


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
    except FileNotFoundError:
        raise
    except OSError as exc:
        kind = "a link" if os.path.islink(path) else str(exc.strerror)
        raise error(
            f"{path}: found {kind}, {expected}", fix="replace it by a file you may read"
        ) from exc
    with os.fdopen(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise error(
                f"{path}: found a {_kind(mode)}, {expected}", fix="replace it by a file"
            )
        return file.read(size + 1)


def _kind(mode: int) -> str:
    import stat

    if stat.S_ISDIR(mode):
        return "folder"
    return "pipe" if stat.S_ISFIFO(mode) else "socket or device"
