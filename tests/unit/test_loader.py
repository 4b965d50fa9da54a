"""Manifest -> plugin class."""

import importlib.util
import os
import sys

import pytest

from btplug import CLIPlugin, CLIPluginRegistry, PluginExit, TransportPlugin, UsageError
from btplug._loader import check_class, load, manifest_of, place, unload
from btplug.errors import PluginLoadError
from btplug.manifest import read_manifest

PLUGIN = """
class Plugin(CLIPlugin):
    def initialize(self, config): pass
    def execute(self, data=None): return TEXT
    def shutdown(self): pass
"""


@pytest.fixture
def loaded(make_plugin):
    """Write a plugin and load it; its modules are forgotten with the test."""
    manifests = []

    def loaded(code, name="greet", **keywords):
        manifest = read_manifest(str(make_plugin(name, code, **keywords)))
        manifests.append(manifest)
        return load(manifest)

    yield loaded
    for manifest in manifests:
        unload(manifest)


def refusal(loaded, code, **keywords):
    with pytest.raises(PluginLoadError) as caught:
        loaded(code, **keywords)
    return caught.value


def test_the_class_that_the_entry_names_is_loaded(loaded):
    cls = loaded("from btplug import CLIPlugin\nTEXT = 'x'\n" + PLUGIN)

    assert issubclass(cls, CLIPlugin)
    assert cls().execute() == "x"


def test_files_beside_the_entry_are_reached_by_relative_imports(loaded):
    cls = loaded(
        "from btplug import CLIPlugin\nfrom .text import TEXT\n" + PLUGIN,
        files={
            "text.py": "from .deep.er import TEXT\n",
            "deep/__init__.py": "",
            "deep/er.py": "from ..word import WORD\nTEXT = WORD\n",
            "word.py": "WORD = 'deep'\n",
        },
    )

    assert cls().execute() == "deep"


def test_the_entry_may_lie_in_a_package_of_the_plugin(loaded):
    cls = loaded(
        "raise AssertionError('not this one')",
        entry="inner.main:Plugin",
        files={"inner/main.py": "from btplug import CLIPlugin\nTEXT = 1\n" + PLUGIN},
    )

    assert cls().execute() == 1


def test_a_plugins_folder_is_never_on_sys_path(loaded, tmp_path):
    before = list(sys.path)

    loaded("import sys\nfrom btplug import CLIPlugin\nTEXT = list(sys.path)\n" + PLUGIN)

    assert sys.path == before
    assert not any(str(tmp_path) in entry for entry in sys.path)


def test_a_file_of_the_plugin_does_not_replace_a_module_of_the_same_name(loaded):
    code = "import json\nfrom btplug import CLIPlugin\nTEXT = json.dumps(1)\n" + PLUGIN

    cls = loaded(code, files={"json.py": "raise AssertionError('shadowed')"})

    assert cls().execute() == "1"


def test_the_same_plugin_in_two_folders_is_two_plugins(loaded, tmp_path):
    head = "from btplug import CLIPlugin\nfrom .text import TEXT\n"
    one = loaded(head + PLUGIN, where=tmp_path / "a", files={"text.py": "TEXT = 1"})
    two = loaded(head + PLUGIN, where=tmp_path / "b", files={"text.py": "TEXT = 2"})

    assert (one().execute(), two().execute()) == (1, 2)


def test_loading_twice_runs_the_code_once(make_plugin):
    code = "import btplug\nbtplug.count = getattr(btplug, 'count', 0) + 1\nfrom btplug import CLIPlugin\nTEXT = 1\n"
    manifest = read_manifest(str(make_plugin("greet", code + PLUGIN)))
    import btplug

    try:
        assert load(manifest) is load(manifest)
        assert btplug.count == 1
    finally:
        unload(manifest)
        del btplug.count


def test_a_plugin_that_was_unloaded_is_read_again(make_plugin):
    before = set(sys.modules)
    folder = make_plugin("greet", "from btplug import CLIPlugin\nTEXT = 1\n" + PLUGIN)
    manifest = read_manifest(str(folder))
    assert load(manifest)().execute() == 1
    unload(manifest)
    text = (folder / "plugin.py").read_text()
    (folder / "plugin.py").write_text(text.replace("TEXT = 1", "TEXT = 'longer'"))

    assert load(manifest)().execute() == "longer"
    unload(manifest)
    later = set(sys.modules) - before
    assert not [name for name in later if name.startswith("_btplug_cli_greet")]


# -- code that fails


def test_a_missing_dependency_is_named_with_file_and_line(loaded, tmp_path):
    error = refusal(loaded, "import os\nimport bittensor_missing.sub\n")

    assert str(error) == (
        "greet failed to load: ModuleNotFoundError: No module named 'bittensor_missing'\n"
        f"  where: {tmp_path}/plugins/greet/plugin.py:2\n"
        "  fix:   install what it needs, perhaps: pip install bittensor_missing"
    )
    assert error.plugin == "greet"
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_a_missing_name_of_a_dependency_is_no_reason_to_install_it(loaded, tmp_path):
    error = refusal(loaded, "\nfrom json import nothing\n")

    assert error.what.startswith(
        "greet failed to load: ImportError: cannot import name 'nothing' from 'json'"
    )
    assert error.where == f"{tmp_path}/plugins/greet/plugin.py:2"
    assert error.fix == "mend the plugin; see the traceback with BTPLUG_DEBUG=1"


def test_a_missing_file_of_the_plugin_itself_is_not_to_be_installed(loaded, tmp_path):
    error = refusal(loaded, "\nfrom .helpers import x\n")

    assert "_btplug_" not in str(error)
    assert "pip install" not in error.fix
    assert "helpers" in error.what
    assert error.where == f"{tmp_path}/plugins/greet/plugin.py:2"


def test_an_entry_whose_file_is_missing_is_told_so(loaded, tmp_path):
    error = refusal(loaded, "", entry="plugn:Plugin")

    assert str(error) == (
        "found no such file for the entry 'plugn', expected the plugin's code\n"
        f"  where: {tmp_path}/plugins/greet/plugn.py\n"
        "  fix:   put the code there, or correct 'entry:' in its config.yaml"
    )
    assert error.plugin == "greet"


def test_an_entry_whose_package_is_empty_is_told_so(loaded, tmp_path):
    error = refusal(loaded, "", entry="inner:Plugin", files={"inner/x.py": ""})

    assert error.what.startswith("found no such file for the entry 'inner'")
    assert error.where == f"{tmp_path}/plugins/greet/inner/__init__.py"


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_an_entry_that_is_no_file_is_not_waited_for(make_plugin, kind):
    folder = make_plugin("greet", "")
    os.unlink(folder / "plugin.py")
    if kind == "pipe":
        os.mkfifo(folder / "plugin.py")
    else:
        os.mkdir(folder / "plugin.py")

    with pytest.raises(PluginLoadError) as caught:
        load(read_manifest(str(folder)))

    assert caught.value.what == (
        "found a pipe in the plugin, expected regular files alone"
        if kind == "pipe"
        else "found no regular file for the entry 'plugin', expected the plugin's code"
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (b"x = 1\nif x\n    y\n", 2),
        (b"x = 1\n\ny = (\n", 3),
        (b"  x = 1\n", 1),
        (b"x = 1\ny = '\xff'\n", 2),
        (b"x = 1\ny = '\0'\n", 2),
        (b"# coding: nothing-like-it\n", 1),
    ],
    ids=["syntax", "open bracket", "indentation", "no utf-8", "null byte", "no codec"],
)
def test_source_that_python_cannot_read_is_named_with_its_line(
    loaded, make_plugin, tmp_path, code, line
):
    manifest = read_manifest(str(make_plugin("greet", "")))
    file = tmp_path / "plugins" / "greet" / "plugin.py"
    file.write_bytes(code)

    with pytest.raises(PluginLoadError) as caught:
        load(manifest)

    assert caught.value.what.startswith("greet failed to load: ")
    # Python tells no line for a null byte, and line 1 for bytes that are no UTF-8.
    assert caught.value.where in (f"{file}:{line}", f"{file}:1", str(file))
    unload(manifest)


def test_a_syntax_error_in_a_file_beside_is_named_there(loaded, tmp_path):
    error = refusal(loaded, "from . import other\n", files={"other.py": "x = 1\nx =\n"})

    assert error.where == f"{tmp_path}/plugins/greet/other.py:2"


def test_an_error_below_the_plugin_is_named_where_the_plugin_called(loaded, tmp_path):
    error = refusal(loaded, "import json\n\njson.loads('{')\n")

    assert error.what.startswith("greet failed to load: JSONDecodeError: ")
    assert error.where == f"{tmp_path}/plugins/greet/plugin.py:3"


@pytest.mark.parametrize(
    ("code", "shown"),
    [("0", "0"), ("", "None"), ("3", "3"), ("'bye'", "'bye'"), ("None", "None")],
)
def test_a_plugin_that_exits_at_import_is_broken_and_says_so(loaded, code, shown):
    error = refusal(loaded, f"import sys\n\nsys.exit({code})\n")

    assert error.what == f"greet called exit during load (code {shown})"
    assert error.where.endswith("plugin.py:3")
    assert error.fix == "remove the exit from the plugin's top level"
    assert error.exit_code == 4


@pytest.mark.parametrize(
    "raised",
    [
        "KeyboardInterrupt()",
        "GeneratorExit()",
        "MemoryError()",
        "RecursionError()",
        "BaseException('odd')",
        "type('Odd', (BaseException,), {})()",
        "PluginExit(3)",
    ],
)
def test_whatever_a_plugin_raises_at_import_is_that_plugins_failure(loaded, raised):
    """Plugins are loaded in a thread, which no Ctrl-C of the operator reaches."""
    error = refusal(loaded, f"from btplug import PluginExit\nraise {raised}\n")

    assert error.what.startswith("greet failed to load: ")
    assert error.exit_code == 4


def test_one_of_our_own_errors_at_import_does_not_choose_the_exit_code(loaded):
    """A usage error of the plugin's own making is none of the operator's."""
    with pytest.raises((PluginLoadError, UsageError)) as caught:
        loaded("from btplug import UsageError\nraise UsageError('mine')\n")

    assert caught.value.exit_code == 4
    assert "mine" in str(caught.value)


def test_an_error_that_cannot_be_shown_is_reported_all_the_same(loaded):
    code = """
    class Odd(Exception):
        def __str__(self):
            raise ValueError("no text")
    raise Odd
    """

    assert refusal(loaded, code).what.startswith("greet failed to load: Odd")


def test_a_module_that_answers_for_missing_names_may_fail(loaded):
    code = "def __getattr__(name):\n    raise RuntimeError('no ' + name)\n"

    assert refusal(loaded, code).what.startswith("greet failed to load: RuntimeError: ")


# -- classes that are none


@pytest.mark.parametrize(
    ("code", "what", "fix"),
    [
        (
            "",
            "found no Plugin in the plugin's module, expected a class",
            "correct 'entry:' in its config.yaml",
        ),
        (
            "Plugin = None",
            "found no Plugin in the plugin's module, expected a class",
            "correct 'entry:' in its config.yaml",
        ),
        (
            "Plugin = 3",
            "found Plugin that is no CLIPlugin, expected a subclass of it",
            "write: class Plugin(CLIPlugin)",
        ),
        (
            "class Plugin: pass",
            "found Plugin that is no CLIPlugin, expected a subclass of it",
            "write: class Plugin(CLIPlugin)",
        ),
        (
            "from btplug import TransportPlugin as Plugin",
            "found Plugin that is no CLIPlugin, expected a subclass of it",
            "write: class Plugin(CLIPlugin)",
        ),
        (
            "from btplug import CLIPlugin\nclass Plugin(CLIPlugin): pass",
            "found Plugin without execute, initialize, shutdown, expected all of the methods",
            "write execute, if only with a docstring as its body",
        ),
        (
            "from btplug import CLIPlugin\nclass Plugin(CLIPlugin):\n    def execute(self): pass\n    def initialize(self, c): pass",
            "found Plugin without shutdown, expected all of the methods",
            "write shutdown, if only with a docstring as its body",
        ),
    ],
)
def test_a_class_that_is_no_plugin_is_refused_saying_what_is_missing(
    loaded, tmp_path, code, what, fix
):
    error = refusal(loaded, code)

    assert (error.what, error.fix) == (what, fix)
    file = "config.yaml" if "entry" in fix else "plugin.py"
    assert error.where == f"{tmp_path}/plugins/greet/{file}"


SENDER = """
from btplug import TransportPlugin
class Plugin(TransportPlugin):
    def initialize(self, config): pass
    def shutdown(self): pass
    {}
"""


def test_a_transport_writes_one_of_send_and_asend(loaded):
    assert loaded(SENDER.format("def send(self, *a, **k): pass"), "a", kind="transport")
    assert loaded(
        SENDER.format("async def asend(self, *a): pass"), "b", kind="transport"
    )

    error = refusal(
        loaded, SENDER.format("def receive(self, *a): pass"), name="c", kind="transport"
    )

    assert (error.what, error.fix) == (
        "found Plugin with neither send nor asend, expected one of them",
        "write one; the other is derived from it",
    )


@pytest.mark.parametrize(
    ("body", "what", "fix"),
    [
        (
            "async def send(self, *a, **k): pass",
            "greet failed to load: TypeError: found send written with async def, expected def, or the name asend",
            "mend the plugin; see the traceback with BTPLUG_DEBUG=1",
        ),
        (
            "schemes = 'http'\n    def send(self, *a, **k): pass",
            "found schemes = 'http', expected a tuple of lower-case names",
            "write, for example: schemes = ('http', 'https')",
        ),
        (
            "schemes = ('HTTP',)\n    def send(self, *a, **k): pass",
            "found schemes = ('HTTP',), expected a tuple of lower-case names",
            "write, for example: schemes = ('http', 'https')",
        ),
        (
            "schemes = ('',)\n    def send(self, *a, **k): pass",
            "found schemes = ('',), expected a tuple of lower-case names",
            "write, for example: schemes = ('http', 'https')",
        ),
        (
            "schemes = (1,)\n    def send(self, *a, **k): pass",
            "found schemes = (1,), expected a tuple of lower-case names",
            "write, for example: schemes = ('http', 'https')",
        ),
    ],
)
def test_what_authors_of_transports_mistake_is_explained(loaded, body, what, fix):
    error = refusal(loaded, SENDER.format(body), kind="transport")

    assert (error.what, error.fix) == (what, fix)


@pytest.mark.parametrize(
    ("body", "what", "fix"),
    [
        (
            "class Config:\n        limit: int = 1",
            "expected a dataclass or a msgspec.Struct",
            "write @dataclass above it",
        ),
        (
            "Config = {'limit': 1}",
            "found the Config {'limit': 1}, expected a dataclass or a msgspec.Struct",
            "write @dataclass above it",
        ),
        (
            "import click\n    @click.command()\n    def execute(self, data=None): pass",
            "found Plugin.execute as a whole Click command, expected a method",
            "remove @click.command(): options and arguments alone",
        ),
    ],
)
def test_what_authors_of_commands_mistake_is_explained(loaded, body, what, fix):
    code = "from btplug import CLIPlugin\nTEXT = 1\n" + PLUGIN + f"    {body}\n"

    error = refusal(loaded, code)

    assert what in error.what
    assert error.fix == fix


@pytest.mark.parametrize(
    "config",
    [
        "Config = None",
        "@__import__('dataclasses').dataclass\n    class Config:\n        a: int = 1",
        "class Config(__import__('msgspec').Struct):\n        a: int = 1",
    ],
)
def test_a_config_is_a_dataclass_or_a_struct_or_none(loaded, config):
    code = "from btplug import CLIPlugin\nTEXT = 1\n" + PLUGIN + f"    {config}\n"

    assert loaded(code)().execute() == 1


def test_two_that_loaded_a_plugin_share_its_modules_until_the_last_lets_go(
    make_plugin,
):
    code = "from btplug import CLIPlugin\nTEXT = 1\n" + PLUGIN.replace(
        "return TEXT", "from .late import WORD; return WORD"
    )
    before = set(sys.modules)
    folder = make_plugin("greet", code, files={"late.py": "WORD = 'late'\n"})
    manifest = read_manifest(str(folder))
    first, second = load(manifest), load(manifest)
    assert first is second

    unload(manifest)
    assert second().execute() == "late"

    unload(manifest)
    assert not [n for n in set(sys.modules) - before if n.startswith("_btplug_")]


def test_a_transport_is_no_command_and_a_command_no_transport(loaded):
    error = refusal(loaded, "from btplug import CLIPlugin as Plugin", kind="transport")

    assert error.what == (
        "found Plugin that is no TransportPlugin, expected a subclass of it"
    )


# -- classes without a folder


def cli(class_name, **body):
    methods = dict.fromkeys(
        ("initialize", "execute", "shutdown"), lambda self, *a: None
    )
    return type(class_name, (CLIPlugin,), {**methods, **body})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TableDisplayPlugin", "table-display"),
        ("HTTPTransportPlugin", "http-transport"),
        ("HTTPPlugin", "http"),
        ("Greet", "greet"),
        ("GreetMePlugin", "greet-me"),
        ("ABTest", "ab-test"),
        ("V10Plugin", "v10"),
        ("SendV10Plugin", "send-v10"),
        ("PluginOfPlugins", "plugin-of-plugins"),
    ],
)
def test_a_class_without_a_folder_is_called_after_its_class(name, expected):
    assert manifest_of(cli(name), "cli").name == expected


def test_a_class_may_say_its_name():
    assert manifest_of(cli("X", name="my-own"), "cli").name == "my-own"


@pytest.mark.parametrize("name", ["Plugin", "My_Plugin", "Ünder", "A" * 41])
def test_a_class_whose_name_is_no_plugins_name_is_refused(name):
    with pytest.raises(PluginLoadError) as caught:
        manifest_of(cli(name), "cli")

    assert ", expected [a-z0-9][a-z0-9-]{0,39}" in caught.value.what
    assert caught.value.fix == "give the class an attribute 'name'"


@pytest.mark.parametrize(
    ("doc", "summary"),
    [
        ("Do it.", "Do it."),
        ("\n    Do it.\n\n    More.\n    ", "Do it."),
        ("x" * 80, "x" * 60),
        (None, "greet"),
        ("", "greet"),
        ("   \n ", "greet"),
    ],
)
def test_the_summary_of_a_class_is_its_first_line(doc, summary):
    assert manifest_of(cli("Greet", __doc__=doc), "cli").summary == summary


class Failing(CLIPlugin):
    def initialize(self, config):
        pass

    def execute(self, data=None):
        raise ValueError("here")

    def shutdown(self):
        pass


def test_an_error_of_a_class_without_a_folder_names_its_file():
    registry = CLIPluginRegistry()
    registry.register_plugin(Failing)

    with pytest.raises(Exception, match="here") as caught:
        registry.execute_plugin("failing")

    line = Failing.execute.__code__.co_firstlineno + 1
    assert caught.value.where == f"{__file__}:{line}"


# -- the place of an error


def raised(work):
    try:
        work()
    except Exception as exc:
        return exc


def test_the_innermost_line_inside_the_folder_is_the_place():
    def inner():
        return int("x")

    exc = raised(lambda: inner())

    line = inner.__code__.co_firstlineno + 1
    assert place(exc, os.path.dirname(__file__)) == f"{__file__}:{line}"


def test_an_error_outside_the_folder_has_the_manifest_as_its_place():
    assert place(raised(lambda: int("x")), "/plugins/x") == "/plugins/x/config.yaml"


def test_a_folder_whose_name_only_begins_alike_is_another():
    root = os.path.dirname(__file__)[:-1]

    assert place(raised(lambda: int("x")), root) == f"{root}/config.yaml"


def test_a_syntax_error_in_what_the_plugin_read_is_placed_in_the_plugin():
    def parse():
        compile("(", "<data>", "eval")

    exc = raised(parse)

    line = parse.__code__.co_firstlineno + 1
    assert place(exc, os.path.dirname(__file__)) == f"{__file__}:{line}"


def test_checking_a_class_accepts_a_complete_one():
    check_class(cli("Greet"), "cli", "Greet", "x")
    check_class(
        type("T", (TransportPlugin,), {
            "initialize": print, "shutdown": print, "send": print,
        }), "transport", "T", "x",
    )  # fmt: skip


def test_a_plugin_exit_is_known_to_plugins():
    assert PluginExit(1).code == 1


def test_who_imports_while_a_plugin_is_unloaded_finds_everything(make_plugin):
    """Transports start side by side: one that fails must not break another."""
    manifest = read_manifest(
        str(make_plugin("greet", "from btplug import CLIPlugin\nTEXT = 'x'\n" + PLUGIN))
    )
    load(manifest)

    class Meanwhile:
        """In the place of another thread: between two finders of an import."""

        def find_spec(self, name, path=None, target=None):
            if name == "this":
                unload(manifest)

    before, sys.meta_path = sys.meta_path, [*sys.meta_path]
    sys.meta_path.insert(-1, Meanwhile())
    try:
        sys.modules.pop("colorsys", None)
        assert importlib.util.find_spec("colorsys") is not None
        assert importlib.util.find_spec("this") is not None
    finally:
        sys.meta_path = [one for one in sys.meta_path if one in before]
