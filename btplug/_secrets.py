"""Which settings may be shown, told from a plugin's source without running it.

A value is shown only where the source proves that its field cannot hold a Secret:
what is not understood stays hidden.
"""

from __future__ import annotations

import ast
import os
import warnings
from typing import NamedTuple

from btplug.config import read_bounded
from btplug.errors import ConfigError

_MOST_FILES = 200
_MOST_BYTES = 1_000_000
_PLAIN = frozenset({"Any", "bool", "float", "int", "None", "object", "Path", "str"})
_HOLDERS = frozenset(
    {
        "dict", "frozenset", "Iterable", "list", "List", "Dict", "Mapping", "Optional",
        "Sequence", "set", "Set", "tuple", "Tuple", "Union",
    }
)  # fmt: skip
# Where these come from; the same name from elsewhere means something else.
_SOURCES = ("builtins", "collections.abc", "pathlib", "typing", "typing_extensions")


class Visibility(NamedTuple):
    """What the source says of a plugin's settings.

    Attributes:
        known: Names of annotated fields that cannot hold a Secret.
        free: The plugin has no Config class: nothing in it can be a Secret.
    """

    known: frozenset[str]
    free: bool

    def shows(self, key: str) -> bool:
        """Tell whether the value of *key* may be shown; unknown types may not."""
        return self.free or key in self.known


def visibility(root: str) -> Visibility:
    """Read the annotations in a plugin's folder; what cannot be read shows nothing."""
    try:
        with warnings.catch_warnings(action="ignore"):
            trees = [ast.parse(source) for source in _sources(root)]
            return _Annotations(trees).visibility()
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError, ConfigError):
        return Visibility(frozenset(), free=False)


class _Annotations:
    """Grows the set of names that are safe, from the built-in types upwards."""

    def __init__(self, trees: list[ast.Module]) -> None:
        self.fields: list[tuple[str, ast.expr]] = []
        self.classes: dict[str, list[ast.ClassDef]] = {}
        self.has_config = False
        rebound: set[str] = set()
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, ast.ImportFrom) and node.module in _SOURCES:
                rebound |= {a.asname for a in node.names if a.asname}
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                rebound |= {a.asname or a.name for a in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                rebound.add(node.id)
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(node.name, []).append(node)
                self.fields += _fields(node)
            elif isinstance(node, ast.Attribute):
                self.has_config |= node.attr.endswith("Config")
        names = {n.id for t in trees for n in ast.walk(t) if isinstance(n, ast.Name)}
        named = rebound | self.classes.keys() | names
        self.has_config |= any(name.endswith("Config") for name in named)
        self.safe = (_PLAIN | _HOLDERS) - rebound - self.classes.keys()
        self.ours = self.classes.keys() - rebound

    def visibility(self) -> Visibility:
        grown = True
        while grown:
            new = {n for n in self.ours - self.safe if self._is_safe_class(n)}
            self.safe |= new
            grown = bool(new)
        hidden = {name for name, kind in self.fields if not self._is_safe(kind)}
        shown = frozenset(name for name, _ in self.fields) - hidden
        return Visibility(shown, free=not self.has_config)

    def _is_safe_class(self, name: str) -> bool:
        return all(
            all(_last(base) in ("Struct", "object") for base in node.bases)
            and all(self._is_safe(kind) for _, kind in _fields(node))
            for node in self.classes[name]
        )

    def _is_safe(self, kind: ast.expr) -> bool:
        if isinstance(kind, ast.Name):
            return kind.id in self.safe
        if isinstance(kind, ast.Attribute):
            return kind.attr in (_PLAIN | _HOLDERS)
        if isinstance(kind, ast.Constant):
            if isinstance(kind.value, str):
                return self._is_safe(_quoted(kind.value))
            return kind.value in (None, ...)
        if isinstance(kind, ast.BinOp):
            return self._is_safe(kind.left) and self._is_safe(kind.right)
        if isinstance(kind, ast.Subscript):
            return self._is_safe_subscript(kind)
        return False

    def _is_safe_subscript(self, kind: ast.Subscript) -> bool:
        name = _last(kind.value)
        inside = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        if name == "Literal":
            return True
        if name == "Annotated":
            inside = inside[:1]
        elif not self._is_safe(kind.value):
            return False
        return all(self._is_safe(part) for part in inside)


def _fields(node: ast.ClassDef) -> list[tuple[str, ast.expr]]:
    return [
        (line.target.id, line.annotation)
        for line in ast.walk(node)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    ]


def _quoted(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return ast.Constant(False)  # not understood


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _sources(root: str) -> list[bytes]:
    found: list[bytes] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f[0] != "." and f != "__pycache__"]
        for file in sorted(files):
            path = os.path.join(folder, file)
            if file.endswith(".py") and not os.path.islink(path):
                if len(found) >= _MOST_FILES:
                    raise OSError("more code than is read for a listing")
                if os.path.isfile(path):
                    source = read_bounded(path, _MOST_BYTES, ConfigError)
                    if len(source) > _MOST_BYTES:
                        raise OSError("more code than is read for a listing")
                    found.append(source)
    return found
