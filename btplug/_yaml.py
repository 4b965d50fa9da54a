"""YAML, looked over event by event before it is believed.

`yaml` itself is imported when a file is parsed: a start that finds everything in
the cache never needs it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from btplug.errors import BtplugError, ConfigError

if TYPE_CHECKING:
    import yaml

Path = tuple[str | int, ...]


def shown(value: object) -> str:
    """Return a value as messages show it: on one line, its type, not all of it."""
    try:
        text = repr(without_login(value) if isinstance(value, str) else value)
    except Exception:
        text = "what cannot be shown"
    if not isinstance(value, str):
        text = without_login(text)
    if len(text) > 60:
        text = text[:57] + "..."
    return text if isinstance(value, str) else f"{text} ({type(value).__name__})"


def without_login(text: str) -> str:
    """Return *text*, with stars for user and password of an address in it."""
    # Up to the last @: a password may hold anything.
    return re.sub(r"(?<=://)\S*@|^[^\s:/@]+:(?!//)\S*@", "***@", text)


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
        text = source.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as exc:
        line = source.count(b"\n", 0, exc.start) + 1
        raise error(
            f"{where}:{line}: found byte 0x{exc.object[exc.start]:02x}, expected UTF-8",
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
            # A "!" in front of a password makes a tag of it: only YAML's own are shown.
            public = tag.startswith("tag:yaml.org,")
            found = f"the tag {shown(tag)}" if public else "a tag of its own"
            raise self.fail(event, found, "a value without a tag")
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
            raise self.fail(event, f"the key {shown(name)}", "a text: put it in quotes")
        assert isinstance(self.open[-1], dict)
        if name in self.open[-1]:
            raise self.fail(event, f"the key {shown(name)} twice", "each key once")
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
            if len(text) < 4300:
                return text  # such as 0x_, which YAML 1.1 takes for a number
            raise builder.fail(event, "a number too long", "a shorter one") from exc
        # Python refuses to print more than 4,300 digits: no message could show it.
        if isinstance(value, int) and value.bit_length() > 14_000:
            raise builder.fail(event, "a number too long", "a shorter one")
        return value
