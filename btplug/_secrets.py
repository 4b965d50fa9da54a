"""Which settings may be shown, told from a plugin's source without running it."""

from __future__ import annotations

import ast
import os
from typing import NamedTuple

_MOST_FILES = 200
_MOST_BYTES = 1_000_000


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
    fields: dict[str, set[str]] = {}  # class to the names its annotations mention
    annotations: list[tuple[str, set[str]]] = []
    secret = {"Secret"}
    has_config = False
    try:
        trees = [ast.parse(source) for source in _sources(root)]
    except (SyntaxError, ValueError, OSError, RecursionError):
        return Visibility(frozenset(), free=False)
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, (ast.Name, ast.alias)):
            name = node.id if isinstance(node, ast.Name) else node.asname or node.name
            has_config = has_config or name.endswith("Config")
        if isinstance(node, ast.alias) and node.name == "Secret" and node.asname:
            secret.add(node.asname)
        if isinstance(node, ast.ClassDef):
            has_config = has_config or node.name.endswith("Config")
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(
                    line.target, ast.Name
                ):
                    names = _names(line.annotation)
                    annotations.append((line.target.id, names))
                    fields.setdefault(node.name, set()).update(names)
    # A field may hold a class that holds a Secret, and so on.
    grown = True
    while grown:
        new = {cls for cls, names in fields.items() if names & secret} - secret
        secret |= new
        grown = bool(new)
    hidden = {field for field, names in annotations if names & secret}
    shown = frozenset(field for field, _ in annotations) - hidden
    return Visibility(shown, free=not has_config)


def _sources(root: str) -> list[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if f[0] != "." and f != "__pycache__"]
        for file in sorted(files):
            path = os.path.join(folder, file)
            if file.endswith(".py") and not os.path.islink(path):
                if len(found) >= _MOST_FILES or os.path.getsize(path) > _MOST_BYTES:
                    raise OSError("more code than is read for a listing")
                with open(path, encoding="utf-8") as source:
                    found.append(source.read())
    return found


def _names(annotation: ast.expr) -> set[str]:
    """Return the names that stand in an annotation, quoted ones too."""
    names: set[str] = set()
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                names |= _names(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                names.add("Secret")  # not understood: better hidden
    return names
