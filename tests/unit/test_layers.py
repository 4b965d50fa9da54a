"""Who may import whom: down only, and plugins public names only."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "btplug"

LAYERS = [  # a module may import from earlier lines only
    {"errors"},
    {"_confine.syscalls", "_confine.scratch", "_confine.frames"},
    {"_confine.landlock", "_confine.seccomp"},
    {"_confine.rules", "_confine.offer"},
    {"_confine.process"},
    {"sandbox"},
    {"_jobs", "_reached", "_threads"},
    {"_yaml", "logs", "network", "_folders", "_loop", "_trust.blocktext"},
    {"_trust.hashes", "_trust.owners"},
    {"_json", "_load.pinned", "_load.ahead"},
    {"_load.codecache"},
    {"_load.modules"},
    {"config", "message"},
    {"outcome", "codecs"},
    {"values"},
    {"dialects"},
    {"serving"},
    {"_retry", "_peers", "_sending"},
    {"_fanout"},
    {"_outcomes"},
    {"manifest", "_secrets", "_fields"},
    {"plugin", "_userfile", "_installed", "_forms", "_options"},
    {"_streams"},
    {"transport"},
    {"trust", "_trust.distfiles"},
    {"_broker.flow", "_broker.parcels", "_broker.hosts"},
    {"_broker.carriers", "_broker.line", "_broker.supply"},
    {"_broker.answers"},
    {"_broker.broker"},
    {"_broker.proxies"},
    {"settings", "schema", "_discovery", "_lending", "_loader"},
    {"_trust.consent", "_trust.runs"},
    {"_trust.lockfile"},
    {"context", "_calls", "_index"},
    {"_life"},
    {"registry"},
    {"testing"},
    {"_child.order", "_child.link", "_child.refusal", "_child.screen"},
    {"_child.keyboard"},
    {"cli"},
    {"_child.main"},
    {"__main__"},
]
# Packages whose modules have their own lines.
SPLIT = tuple(
    f"btplug._{name}." for name in ["broker", "child", "confine", "load", "trust"]
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
BARE = {PACKAGE / "__init__.py", *PACKAGE.glob("_*/__init__.py")}  # import nothing
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p not in BARE)
PLUGINS = sorted(
    p
    for shelf in ("cli_plugins", "transport_plugins")
    for p in (ROOT / shelf).rglob("*.py")
)


def short(path):
    return str(path.relative_to(ROOT))


def layer(module):
    """Return the name in LAYERS of a dotted module of btplug."""
    return ".".join(module.split(".")[1 : 3 if module.startswith(SPLIT) else 2])


def imports(path):
    """Yield (module, name, level) of every import that runs, also inside functions."""
    tree = ast.parse(path.read_bytes())
    checked = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If)
        and ast.unparse(branch.test).removeprefix("typing.") == "TYPE_CHECKING"
        for part in branch.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, 0
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module or "", alias.name, node.level


def own_imports(path):
    """Return the layers of btplug that a module imports."""
    found = set()
    for module, name, level in imports(path):
        assert level == 0, f"{path.name}: relative import of {module or name}"
        if module == "btplug":
            # What lies in the package itself needs no other module.
            if name not in ("__version__", None):
                found.add(layer(f"btplug.{name}"))
        elif f"{module}." in SPLIT:
            found.add(layer(f"{module}.{name}"))
        elif module.startswith("btplug."):
            found.add(layer(module))
    return found


def me(path):
    return layer(".".join(path.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_imports_point_down(path):
    upward = {
        name
        for name in own_imports(path)
        if RANK[name] >= RANK[me(path)] and name != me(path)
    }

    assert RANK[me(path)] >= 0, "a new module must be given a place in LAYERS"
    assert not upward, f"{short(path)} may not import {sorted(upward)}: see LAYERS"


def test_every_layer_names_a_module_that_is_there():
    there = {me(path) for path in MODULES}

    assert set(RANK) == there


@pytest.mark.parametrize("path", sorted(BARE), ids=short)
def test_a_package_itself_imports_nothing_of_its_own(path):
    """Its names are imported when they are first used."""
    assert own_imports(path) == set()


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in MODULES
        if me(p) not in ("cli", "_child.main", "_child.keyboard", "__main__")
    ],
    ids=short,
)
def test_click_is_imported_by_the_command_line_only(path):
    assert not {m for m, _, _ in imports(path) if m.split(".")[0] == "click"}


def test_the_command_line_imports_click():
    """The trap is armed: the look-up above finds such imports."""
    found = {m for p in MODULES if me(p) == "cli" for m, _, _ in imports(p)}

    assert "click" in found


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_imports_are_the_standard_library_or_a_dependency(path):
    allowed = {
        "bittensor_core", "btplug", "click", "httpx", "msgspec", "numpy", "platformdirs",
        "rich", "yaml",
        *sys.stdlib_module_names,
        "_sha2", "_sha256",  # of the standard library, from 3.12 on and before
    }  # fmt: skip

    assert {m.split(".")[0] for m, _, level in imports(path) if not level} <= allowed


def test_errors_import_the_standard_library_only():
    assert {m for m, _, _ in imports(PACKAGE / "errors.py")} <= sys.stdlib_module_names


# What a plugin may import of btplug: public names, and the documented helpers.
HELPERS = {
    "codecs",
    "config",
    "dialects",
    "errors",
    "logs",
    "message",
    "network",
    "plugin",
    "serving",
    "transport",
    "values",
}


@pytest.mark.parametrize("path", PLUGINS, ids=short)
def test_a_shipped_plugin_imports_public_names_only(path):
    for module, name, level in imports(path):
        if level:
            continue
        parts = module.split(".")
        if parts[0] == "btplug" and name != "__version__":
            assert not any(part.startswith("_") for part in [*parts, name or ""]), (
                f"{short(path)} imports {module}.{name}"
            )
            assert len(parts) == 1 or parts[1] in HELPERS, module


@pytest.mark.parametrize("path", PLUGINS, ids=short)
def test_a_shipped_plugin_imports_no_other_plugin(path):
    inside = path.relative_to(ROOT).parts
    others = {p.parent.name for p in (ROOT / inside[0]).rglob("config.yaml")}
    for module, name, level in imports(path):
        top = module.split(".")[0] if module else name
        if level:
            # From here up to the plugin's own folder, and not out of it.
            assert level <= len(inside) - 2, f"{short(path)}: {'.' * level}{top}"
        else:
            assert top not in ("cli_plugins", "transport_plugins")
            assert top not in others - set(sys.stdlib_module_names), module


def test_there_are_plugins_to_look_at():
    """The trap is armed: the tests above go through a list that is not empty."""
    assert len(PLUGINS) >= 2


@pytest.mark.parametrize(
    "path", [*MODULES, PACKAGE / "__init__.py", *PLUGINS], ids=short
)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_no_module_is_called_after_nothing(path):
    assert path.stem.strip("_") not in {"utils", "util", "common", "core", "helpers"}


@pytest.mark.parametrize("path", [*MODULES, *PLUGINS], ids=short)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_bytes()))
