"""The public names: what `btplug` promises, and what importing it costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import btplug

SOURCE = Path(btplug.__file__)
NEVER = [
    "click", "yaml", "msgspec", "asyncio", "httpx", "rich", "logging", "dataclasses",
    "platformdirs", "importlib.metadata", "ssl", "concurrent.futures", "pathlib",
    "subprocess", "hashlib", "tempfile", "ctypes", "json", "inspect", "re", "typing",
    "threading",
]  # fmt: skip
# What the interpreter or a plugin of it (an editable install, say) loads by itself.
ALREADY = "import sys; before = set(sys.modules)\n"


def fresh(code):
    """Run code in an interpreter of its own and return what it printed, evaluated."""
    done = subprocess.run(
        [sys.executable, "-c", ALREADY + code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


def test_the_public_names_are_sorted_and_few():
    assert list(btplug.__all__) == sorted(btplug.__all__)
    assert len(btplug.__all__) == len(set(btplug.__all__)) <= 25


@pytest.mark.parametrize("name", btplug.__all__)
def test_a_public_name_is_what_its_home_defines(name):
    home = next(module for module, names in btplug._HOMES.items() if name in names)

    assert getattr(btplug, name) is getattr(
        importlib.import_module(f"btplug.{home}"), name
    )


@pytest.mark.parametrize("name", btplug.__all__)
def test_a_public_name_is_documented(name):
    assert getattr(btplug, name).__doc__


def test_each_public_name_has_one_home_and_no_other_name_has_one():
    homes = [name for names in btplug._HOMES.values() for name in names]

    assert sorted(homes) == list(btplug.__all__)


def test_type_checkers_see_the_same_homes():
    tree = ast.parse(SOURCE.read_text())
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {
        node.module.removeprefix("btplug."): tuple(sorted(a.name for a in node.names))
        for node in block.body
    }

    assert seen == {home: tuple(sorted(names)) for home, names in btplug._HOMES.items()}


def test_all_public_names_are_offered():
    assert set(btplug.__all__) <= set(dir(btplug))
    assert dir(btplug) == sorted(dir(btplug))


def test_a_name_that_is_not_public_is_not_there():
    with pytest.raises(AttributeError, match=r"^module 'btplug' has no attribute 'x'$"):
        btplug.x  # noqa: B018 - the look-up is what fails
    assert not hasattr(btplug, "Manifst")


def test_the_public_names_are_offered_before_they_are_loaded():
    assert (
        fresh("import btplug; print(set(btplug.__all__) <= set(dir(btplug)))") is True
    )


def test_all_public_names_are_imported_by_a_star():
    assert fresh(
        "names = {}; exec('from btplug import *', names); import btplug;"
        "print(set(btplug.__all__) <= set(names))"
    )


def test_a_public_name_is_looked_up_once():
    code = "import btplug; btplug.Peer; print('Peer' in vars(btplug))"

    assert fresh(code) is True


def test_importing_btplug_loads_btplug_only():
    loaded = fresh("import btplug\nprint(sorted(set(sys.modules) - before))")

    assert set(loaded) <= {"__future__", "btplug", "typing"} | typing_needs()
    assert [name for name in loaded if name.startswith("btplug")] == ["btplug"]


def typing_needs():
    """Return what `from typing import TYPE_CHECKING` brings, on this interpreter."""
    return set(fresh("import typing\nprint(sorted(set(sys.modules) - before))"))


def test_importing_btplug_loads_nothing_heavy():
    loaded = set(fresh("import btplug\nprint(sorted(set(sys.modules) - before))"))

    assert not loaded & (set(NEVER) - typing_needs() - {"typing"})


# What the first use of a public name may load of btplug: its own layer and those below.
LOADS = {
    "Secret": {"config", "_yaml", "errors"},
    "UsageError": {"errors"},
    "get_logger": {"logs", "errors"},
    "Manifest": {"manifest", "config", "_yaml", "errors"},
    "CLIPlugin": {"plugin"},
    "TransportPlugin": {"transport", "_forms", "_streams", "plugin", "errors"},
    "Outcome": {"outcome", "errors"},
    "Peer": {"message", "network", "errors"},
    "Context": {"context", "_lending", "_reached", "_loop", "errors"},
    "CLIPluginRegistry": {
        "registry", "_life", "_calls", "_loader", "_loop", "context", "_lending", "_reached",
        "plugin", "transport", "_forms", "_streams", "_options", "_folders",
        "manifest", "config", "_yaml", "errors",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LOADS)
def test_the_first_use_of_a_name_loads_no_more_than_it_needs(name):
    loaded = fresh(
        f"from btplug import {name}\nprint(sorted(set(sys.modules) - before))"
    )

    own = {m.removeprefix("btplug.") for m in loaded if m.startswith("btplug.")}
    assert own == LOADS[name]
    heavy = {"click", "yaml", "msgspec", "asyncio", "httpx", "rich", "logging", "ssl"}
    assert not set(loaded) & (heavy | {"platformdirs", "importlib.metadata"})
    assert name in ("Peer", "Outcome") or "dataclasses" not in loaded


def test_a_plugin_author_pays_for_no_message_types():
    """A frozen dataclass costs 1.8 ms where it is defined; commands need none."""
    loaded = fresh("from btplug import CLIPlugin\nprint(sorted(sys.modules))")

    assert "btplug.message" not in loaded


def test_the_version_is_text():
    assert btplug.__version__.count(".") == 2
