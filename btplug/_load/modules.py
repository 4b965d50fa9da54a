"""Modules of a plugin, made from the bytes that were read of it."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from importlib.readers import FileReader
    from types import CodeType, ModuleType

    from btplug._load.codecache import CodeCache


class Modules:
    """Finds and runs the modules of one plugin; nothing is read for it again.

    Args:
        prefix: What the names of its modules begin with, and a dot; empty where its
            files lie as in site-packages.
    """

    def __init__(self, code: CodeCache, prefix: str) -> None:
        self.pinned, self.prefix, self.cache = code.pinned, prefix, code

    @cached_property
    def _folders(self) -> set[str]:
        paths = self.pinned.paths
        return {path[:end] for path in paths for end in _slashes(path)}

    @cached_property
    def _tops(self) -> set[str]:
        paths = self.pinned.paths
        return {path.partition("/")[0].partition(".")[0] for path in paths}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return where the module lies, None where it is none of the plugin's."""
        if self.prefix:
            if not name.startswith(self.prefix):
                return None
        elif name.partition(".")[0] not in self._tops:
            return None
        inside = name[len(self.prefix) :].replace(".", "/")
        files = self.pinned.files
        if (package := f"{inside}/__init__.py") in files:
            return self._spec(name, package, package=True)
        if (module := f"{inside}.py") in files:
            return self._spec(name, module, package=False)
        if not self.prefix and (found := self._compiled(name, inside)):
            return found
        top = inside.partition("/")[0]
        # A folder of modules without an __init__.py; at the top of site-packages it
        # may belong to several distributions.
        if inside in self._folders and (self.prefix or f"{top}/__init__.py" in files):
            return _Spec(name, None, is_package=True)
        return None

    def _spec(self, name: str, path: str, *, package: bool) -> ModuleSpec:
        file = self.pinned.place(path)
        loader = cast("Any", self)  # typeshed asks for a class of its own
        spec = _Spec(name, loader, origin=file, loader_state=path, is_package=package)
        # `__path__` stays empty: nothing else may look into the folder. That it has a
        # location is not said: the import system would name a file in __pycache__.
        return spec

    def _compiled(self, name: str, inside: str) -> ModuleSpec | None:
        from importlib.machinery import EXTENSION_SUFFIXES
        from importlib.util import spec_from_file_location

        for suffix in EXTENSION_SUFFIXES:
            for path in (f"{inside}{suffix}", f"{inside}/__init__{suffix}"):
                if path in self.pinned.paths:
                    return spec_from_file_location(name, self.pinned.place(path))
        return None

    # -- what the import system asks of a loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        module.__file__ = spec.origin
        # In a confined child not those of everybody else.
        module.__dict__["__builtins__"] = sys.modules["builtins"].__dict__
        exec(self.cache.code(spec.loader_state), module.__dict__)

    # -- what tracebacks, debuggers and `inspect` ask

    def get_code(self, name: str) -> CodeType:
        return self.cache.code(self._path(name))

    def get_source(self, name: str) -> str:
        from importlib.util import decode_source

        return decode_source(self.pinned.files[self._path(name)])

    def get_filename(self, name: str) -> str:
        return self.pinned.place(self._path(name))

    def is_package(self, name: str) -> bool:
        return self._path(name).endswith("/__init__.py")

    def get_data(self, path: str) -> bytes:
        """Return a file of the plugin, as it was when it was read."""
        inside = os.path.relpath(path, self.pinned.root).replace(os.sep, "/")
        if inside not in self.pinned.files:
            raise FileNotFoundError(2, os.strerror(2), path)
        return self.pinned.files[inside]

    def get_resource_reader(self, name: str) -> FileReader:
        from importlib.readers import FileReader
        from types import SimpleNamespace

        place = SimpleNamespace(path=self.get_filename(name))
        return FileReader(place)  # type: ignore[arg-type]  # it reads the path alone

    def _path(self, name: str) -> str:
        spec = self.find_spec(name)
        if spec is None or not isinstance(spec.loader, Modules):
            raise ImportError(f"no module of the plugin is called {name}", name=name)
        return str(spec.loader_state)


def _slashes(path: str) -> list[int]:
    if "/" not in path:
        return []
    return [index for index, character in enumerate(path) if character == "/"]


# Importing `importlib.machinery` for it would load more.
_Spec: type[ModuleSpec] = type(sys.__spec__)
