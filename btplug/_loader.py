"""Manifest -> plugin class: the only module that runs plugin code."""

from __future__ import annotations

import os
import re
import sys
import threading
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from btplug._folders import digest
from btplug.errors import PluginLoadError, reason_of
from btplug.manifest import API, Manifest, Permissions, is_name
from btplug.plugin import BasePlugin, CLIPlugin
from btplug.transport import TransportPlugin, has_send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from btplug._folders import Folders
    from btplug._load.codecache import CodeCache
    from btplug._load.modules import Modules

# How many loads of a folder's package have not been undone, and where they came from.
_users: dict[str, int] = {}
_finders: dict[str, Modules] = {}
_lock = threading.Lock()

KINDS: Mapping[str, type] = {"cli": CLIPlugin, "transport": TransportPlugin}


def load(manifest: Manifest, code: CodeCache | None = None) -> type[BasePlugin]:
    """Import the plugin's code and return the class its entry names.

    A folder is imported as a package of its own, so files beside the entry are
    reached by relative imports and nothing is put on `sys.path`.

    Args:
        code: Its bytes, where they were read before; see `pin`.

    Raises:
        PluginLoadError: The code fails, exits, or does not hold that class; the
            message has the file and line where it happened.
    """
    module, _, attribute = manifest.entry.partition(":")
    code = code or pin(manifest)
    _check_file(manifest, code, module)
    package = _enter(manifest, code)
    try:
        found = getattr(import_module(f"{package}.{module}"), attribute, None)
    # Whatever a plugin raises, exits included, is that plugin's failure alone.
    except BaseException as exc:
        raise _failed(manifest, exc) from exc
    if code is not None:
        code.keep()
    try:
        check_class(found, manifest.kind, attribute, "")
    except PluginLoadError as exc:
        exc.where = manifest.path if found is None else _code_file(manifest)
        raise
    assert isinstance(found, type)
    return found


def pin(manifest: Manifest, home: Folders | None = None) -> CodeCache | None:
    """Read the folder of a plugin that nobody was asked about.

    Args:
        home: Where compiled code is kept.

    Returns:
        None for what comes with btplug, or is installed: Python's own import has it.
    """
    if manifest.package or manifest.source == "shipped":
        return None
    # Imported here: what is shipped does without.
    from btplug._load.codecache import CodeCache
    from btplug._load.pinned import read_folder

    # A script of somebody who never uses the command line leaves nothing behind.
    kept = home if home and os.path.isdir(home.trust) else None
    return CodeCache(kept, read_folder(manifest.root, checked=False))


def check_class(found: object, kind: str, name: str, where: str) -> None:
    """Refuse what is no complete plugin class of that kind.

    Raises:
        PluginLoadError: It says which method or base is missing.
    """
    base = KINDS[kind]
    if found is None:
        what = f"found no {name} in the plugin's module, expected a class"
        fix = "correct 'entry:' in its config.yaml"
    elif not (isinstance(found, type) and issubclass(found, base)):
        what = f"found {name} that is no {base.__name__}, expected a subclass of it"
        fix = f"write: class {name}({base.__name__})"
    elif missing := sorted(getattr(found, "__abstractmethods__", ())):
        what = f"found {name} without {', '.join(missing)}, expected all of the methods"
        fix = f"write {missing[0]}, if only with a docstring as its body"
    elif not _is_config(config := getattr(found, "Config", None)):
        what = f"found the Config {config!r}, expected a dataclass or a msgspec.Struct"
        fix = "write @dataclass above it"
    elif type(cast("Any", found).execute).__module__.partition(".")[0] == "click":
        what = f"found {name}.execute as a whole Click command, expected a method"
        fix = "remove @click.command(): options and arguments alone"
    elif issubclass(found, TransportPlugin) and not has_send(found):
        what = f"found {name} with neither send nor asend, expected one of them"
        fix = "write one; the other is derived from it"
    elif issubclass(found, TransportPlugin) and not _are_schemes(found.schemes):
        what = (
            f"found schemes = {found.schemes!r}, expected a tuple of lower-case names"
        )
        fix = "write, for example: schemes = ('http', 'https')"
    else:
        return
    raise PluginLoadError(what, where=where, fix=fix)


def _is_config(config: object) -> bool:
    return config is None or (
        isinstance(config, type)
        and (
            hasattr(config, "__dataclass_fields__")
            or hasattr(config, "__struct_fields__")
        )
    )


def _are_schemes(schemes: object) -> bool:
    return isinstance(schemes, (tuple, list)) and all(
        isinstance(s, str) and s and s == s.lower() for s in schemes
    )


def manifest_of(cls: type, kind: str) -> Manifest:
    """Make a manifest for a class that was registered without a folder."""
    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        words = cls.__name__.removesuffix("Plugin")
        # A word begins at a capital, and at the last of several in a row.
        border = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
        name = re.sub(border, "-", words).lower()
    if not is_name(name):
        raise PluginLoadError(
            f"found the name {name!r}, expected [a-z0-9][a-z0-9-]{{0,39}}",
            where=cls.__module__,
            fix="give the class an attribute 'name'",
        )
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    doc = (cls.__doc__ or "").strip() or name
    return Manifest(
        name=name,
        kind=kind,
        entry=f"{cls.__module__.rpartition('.')[2]}:{cls.__name__}",
        summary=doc.splitlines()[0][:60],
        version="0",
        api=API,
        transports=None,
        permissions=Permissions(),
        config={},
        root=os.path.dirname(file) if file else cls.__module__,
        package=cls.__module__.rpartition(".")[0] or cls.__module__,
    )


def _enter(manifest: Manifest, code: CodeCache | None) -> str:
    """Make the plugin's package importable and return its name."""
    if code is None and manifest.package:
        return manifest.package
    name = _package_name(manifest, code)
    with _lock:
        _users[name] = _users.get(name, 0) + 1
        if code is not None:
            if name not in _finders:
                from btplug._load.modules import Modules

                finder = Modules(code, "" if manifest.package else f"{name}.")
                _finders[name] = finder
                sys.meta_path.insert(0, cast("Any", finder))
            if manifest.package:
                return manifest.package
        if name not in sys.modules:
            package = ModuleType(name)
            package.__path__ = [] if code else [manifest.root]
            package.__file__ = os.path.join(manifest.root, "__init__.py")
            sys.modules[name] = package
    return name


def _package_name(manifest: Manifest, code: CodeCache | None) -> str:
    # Folder and content are part of the name: the same plugin in two folders is two
    # plugins, and so it is after it was changed.
    own = manifest.name.replace("-", "_")
    name = f"_btplug_{manifest.kind}_{own}_{digest(manifest.root)}"
    return f"{name}_{code.pinned.digest[3:11]}" if code else name


def unload(manifest: Manifest, code: CodeCache | None = None) -> None:
    """Undo one `load`; after the last, the next reads the plugin's folder again.

    Args:
        code: What that load was given; None: whatever was read of the folder.
    """
    name = _package_name(manifest, code)
    with _lock:
        if code is None:
            name = next((n for n in _finders if n.startswith(f"{name}_")), name)
        # Registries share the modules: another may import one as late as it likes.
        _users[name] = _users.get(name, 1) - 1
        if _users[name] > 0:
            return
        # What is installed stays: others may use it.
        if manifest.package:
            return
        if finder := _finders.pop(name, None):
            # Not taken out of the list: an import of another thread, which goes through
            # it, would leave out whoever comes next.
            sys.meta_path = [one for one in sys.meta_path if one is not finder]
        for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
            del sys.modules[module]


def _code_file(manifest: Manifest) -> str:
    """Return where the code of the entry is expected."""
    module = manifest.entry.partition(":")[0]
    path = os.path.join(manifest.root, *module.split("."))
    package = os.path.join(path, "__init__.py")
    return package if os.path.isdir(path) else f"{path}.py"


def _check_file(manifest: Manifest, code: CodeCache | None, module: str) -> None:
    """Refuse an entry without a file."""
    if manifest.package:
        return
    if code is not None:
        inside = module.replace(".", "/")
        if {f"{inside}.py", f"{inside}/__init__.py"} & code.pinned.files.keys():
            return
    path = _code_file(manifest)
    if code is not None or not os.path.isfile(path):
        found = "no regular file" if os.path.lexists(path) else "no such file"
        raise PluginLoadError(
            f"found {found} for the entry {module!r}, expected the plugin's code",
            where=path,
            fix="put the code there, or correct 'entry:' in its config.yaml",
            plugin=manifest.name,
        )


def _failed(manifest: Manifest, exc: BaseException) -> PluginLoadError:
    if isinstance(exc, SystemExit):
        what = f"{manifest.name} called exit during load (code {exc.code!r})"
        fix = "remove the exit from the plugin's top level"
    else:
        what = f"{manifest.name} failed to load: {reason_of(exc)}"
        fix = "mend the plugin; see the traceback with BTPLUG_DEBUG=1"
        if isinstance(exc, ModuleNotFoundError) and exc.name:
            if exc.name.startswith("_btplug_"):
                own = exc.name.partition(".")[2]
                what = f"{manifest.name} failed to load: no file of it is {own!r}"
                fix = "add the file, or correct the import"
            else:
                fix = f"install what it needs, perhaps: pip install {exc.name}"
    where = place(exc, manifest.root, _code_file(manifest))
    return PluginLoadError(what, where=where, fix=fix, plugin=manifest.name)


def place(exc: BaseException, root: str, otherwise: str = "") -> str:
    """Return ``file:line`` of the innermost frame of *exc* that lies in *root*."""
    inside = os.path.join(root, "")
    if isinstance(exc, SyntaxError) and (exc.filename or "").startswith(inside):
        return f"{exc.filename}:{exc.lineno or 1}"
    found = otherwise or os.path.join(root, "config.yaml")
    trace = exc.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(inside):
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
