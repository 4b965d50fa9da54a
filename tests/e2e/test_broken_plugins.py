"""One broken plugin costs one line; all others are as if it were not there."""

import json
import os
import shutil
import stat
import time

import pytest

GOOD = 'return [{"all": "well"}]'


@pytest.fixture
def good(command):
    command("good", GOOD)


def rows(btplug):
    done = btplug("list", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {row["name"]: row for row in json.loads(done.stdout)}


# -- code that cannot be imported: known when it is called, and not before

CODE = {
    "missing dependency": (
        b"import btplug\nimport not_installed.at_all\n",
        "bad failed to load: ModuleNotFoundError: No module named 'not_installed'",
        ":2",
        "install what it needs, perhaps: pip install not_installed",
    ),
    "name that a module has not": (
        b"\nfrom json import nothing_like_it\n",
        "bad failed to load: ImportError: cannot import name 'nothing_like_it'",
        ":2",
        None,
    ),
    "syntax error": (
        b"import btplug\n\nclass Plugin(:\n",
        "bad failed to load: SyntaxError: invalid syntax",
        ":3",
        None,
    ),
    "NUL byte": (
        b"import btplug\nx = '\0'\n",
        "bad failed to load: SyntaxError: source code string cannot contain null bytes",
        "",
        None,
    ),
    "source that is not UTF-8": (
        b"x = 1\ny = '\xff'\n",
        "bad failed to load: SyntaxError: (unicode error) 'utf-8' codec can't decode",
        "",
        None,
    ),
    "exit with 0": (
        b"import sys\nsys.exit(0)\n",
        "bad called exit during load (code 0)",
        ":2",
        "remove the exit from the plugin's top level",
    ),
    "exit with a text": (
        b"raise SystemExit('bye')\n",
        "bad called exit during load (code 'bye')",
        ":1",
        None,
    ),
    "own kind of BaseException": (
        b"class Odd(BaseException): pass\nraise Odd('hm')\n",
        "bad failed to load: Odd: hm",
        ":2",
        None,
    ),
    "endless recursion": (
        b"def f(): f()\nf()\n",
        "bad failed to load: RecursionError: maximum recursion depth exceeded",
        ":1",
        None,
    ),
}


@pytest.mark.parametrize("case", CODE)
def test_code_that_cannot_be_imported_is_exit_4_and_says_where(
    case, btplug, make_plugin, home
):
    code, what, line, fix = CODE[case]
    folder = make_plugin("bad", where=home / "cli_plugins")
    (folder / "plugin.py").write_bytes(code)

    done = btplug("run", "bad", "--json")

    assert done.returncode == 4
    assert done.stdout == ""
    error = json.loads(done.stderr)
    assert error["what"].startswith(what)
    assert error["where"].startswith(f"{folder / 'plugin.py'}{line}")
    assert fix is None or error["fix"] == fix
    assert error["plugin"] == "bad"


@pytest.mark.slow
def test_code_that_cannot_be_imported_is_no_matter_to_all_others(
    btplug, make_plugin, good, home
):
    for number, (code, *_) in enumerate(CODE.values()):
        folder = make_plugin(f"bad-{number}", where=home / "cli_plugins")
        (folder / "plugin.py").write_bytes(code)

    done = btplug("run", "good")

    assert (done.returncode, done.stdout, done.stderr) == (0, "all\nwell\n", "")
    assert {row["state"] for row in rows(btplug).values()} == {"ready"}
    assert btplug("--help").returncode == 0


CLASSES = {
    "no such object": (
        "x = 1",
        "found no Plugin in the plugin's module, expected a class",
        "correct 'entry:' in its config.yaml",
    ),
    "no class": (
        "Plugin = 5",
        "found Plugin that is no CLIPlugin, expected a subclass of it",
        "write: class Plugin(CLIPlugin)",
    ),
    "another base": (
        "class Plugin: pass",
        "found Plugin that is no CLIPlugin, expected a subclass of it",
        "write: class Plugin(CLIPlugin)",
    ),
    "methods left out": (
        "import btplug\nclass Plugin(btplug.CLIPlugin):\n    def execute(self): ...",
        "found Plugin without initialize, shutdown, expected all of the methods",
        "write initialize, if only with a docstring as its body",
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_code_without_a_whole_plugin_is_exit_4_and_says_what_is_missing(
    case, btplug, make_plugin, home
):
    code, what, fix = CLASSES[case]
    folder = make_plugin("bad", code, where=home / "cli_plugins")

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert done.stderr == (
        f"btplug: error: {what}\n  where: {folder / 'config.yaml'}\n  fix:   {fix}\n"
    )


def test_a_plugin_without_its_file_is_told_which_file_is_missing(btplug, command):
    """Not to install a module whose name only btplug knows."""
    folder = command("bad")
    (folder / "plugin.py").unlink()

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert str(folder / "plugin.py") in done.stderr
    assert "pip install" not in done.stderr
    assert "_btplug_" not in done.stderr


def test_a_plugin_that_exits_in_initialize_is_broken_too(btplug, command, marks):
    command("bad", initialize="raise SystemExit(0)", shutdown='mark("never")')

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert "bad failed to initialise: it called exit with 0" in done.stderr
    assert marks() == []


# -- code that does not come to an end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hang", "verb"),
    [
        ({"top": "while True: pass"}, "load"),
        ({"top": "time.sleep(60)"}, "load"),
        ({"initialize": "while True: pass"}, "initialise"),
        (
            {"initialize": "async def initialize(self, config):\n    time.sleep(60)"},
            "initialise",
        ),
    ],
)
def test_code_that_hangs_is_exit_7_within_the_start_limit(hang, verb, btplug, command):
    command("bad", **hang)

    begun = time.monotonic()
    done = btplug("run", "bad", BTPLUG_START_LIMIT="0.5")

    # Half a second is allowed; the rest is for a machine with other work.
    assert time.monotonic() - begun < 0.5 + 0.5 + 1
    assert done.returncode == 7
    assert f"btplug: error: bad did not {verb} in 0.5 s\n" in done.stderr
    assert "wait longer: btplug config set start_limit 30" in done.stderr


@pytest.mark.slow
def test_loading_and_initialising_share_one_start_limit(btplug, command):
    command("bad", top="time.sleep(0.4)", initialize="time.sleep(60)")

    begun = time.monotonic()
    done = btplug("run", "bad", BTPLUG_START_LIMIT="0.6")

    assert time.monotonic() - begun < 0.6 + 0.35 + 0.5
    assert done.returncode == 7


@pytest.mark.slow
def test_options_of_info_wait_no_longer_than_the_start_limit(btplug, command):
    command("bad", top="time.sleep(60)")

    assert btplug("info", "bad", "--options", BTPLUG_START_LIMIT="0.5").returncode == 7


# -- manifests that say nothing good

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nplugin: {name: bad}\n"
MANIFESTS = {
    "empty": (b"", ":1: plugin: found nothing, expected the block"),
    "a list": (b"- plugin\n", ":1: plugin: found nothing, expected the block"),
    "not UTF-8": (b"plugin:\n  name: \xff\n", ":2: found byte 0xff, expected UTF-8"),
    "an unclosed bracket": (b"plugin: [1\n", ":2: found broken YAML"),
    "a key twice": (b"plugin:\n  name: a\n  name: b\n", ":3: found the key 'name' twice, expected each key once"),
    "two documents": (b"a: 1\n---\nb: 2\n", ":2: found a second document, expected one document"),
    "anchors": (LAUGHS.encode(), ":1: found an anchor (&), expected the value itself"),
    "a tag": (b"plugin: !!python/object/apply:os.system [id]\n", ":1: found the tag 'tag:yaml.org,2002:python/object/apply:os.system', expected a value without a tag"),
    "a merge key": (b"plugin:\n  <<: {name: x}\n", ":2: found a merge key (<<), expected the keys themselves"),
    "30,000 levels": (b"[" * 30_000, ":1: found deeper nesting, expected 24 levels"),
    "a megabyte": (b"x: " + b"y" * 2**20, ": found more than 65,536 bytes, expected at most that"),
    "a control character": (b"plugin: \x07\n", ": found a character that YAML does not allow"),
}  # fmt: skip


@pytest.mark.slow
def test_a_bad_manifest_is_one_row_of_the_list_with_file_line_and_reason(
    btplug, command, good
):
    folders = {}
    for number, case in enumerate(MANIFESTS):
        folders[case] = command(f"bad-{number}")
        (folders[case] / "config.yaml").write_bytes(MANIFESTS[case][0])

    found = rows(btplug)

    for case, folder in folders.items():
        row = found[folder.name.replace("_", "-")]
        assert row["state"] == "broken"
        assert row["error"].startswith(f"{row['path']}{MANIFESTS[case][1]}"), case
        assert "\n" not in row["error"]
    assert found["good"]["state"] == "ready"
    assert len(btplug("list").lines) == 1 + len(found)
    assert btplug("run", "good").returncode == 0


def test_a_bad_manifest_is_exit_4_when_its_plugin_is_called(btplug, command):
    folder = command("bad", api=9)

    for words in (["run", "bad"], ["bad"], ["info", "bad"], ["config", "show", "bad"]):
        done = btplug(*words)
        assert done.returncode == 4
        assert done.stderr == (
            f"btplug: error: {folder}/config.yaml:7: plugin.api: found 9 (int), "
            "expected 1, the plugin API of this btplug\n"
            "  fix:   install a version of the plugin, or of btplug, that fits\n"
        )


@pytest.mark.parametrize(
    "key", ["trust", "paths", "sandbox", "env", "command", "in_process", "source"]
)
def test_a_manifest_cannot_give_itself_what_only_the_operator_gives(
    key, btplug, command
):
    folder = command("bad", **{key: "all"})

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert f"{folder}/config.yaml" in done.stderr
    assert f"plugin.{key}: found an unknown key, expected one of name" in done.stderr


NAMES = ["../x", "/abs", ".", "..", "a/b", "", "CON ", "Upper", "-x", "a" * 41, "é"]


@pytest.mark.slow
def test_a_name_that_is_no_name_is_refused_with_what_a_name_is(btplug, command, home):
    for number, name in enumerate(NAMES):
        folder = command(f"bad-{number}")
        config = folder / "config.yaml"
        text = config.read_text().replace(f"name: bad-{number}", f"name: {name!r}")
        config.write_text(text)

    found = rows(btplug)

    for number, name in enumerate(NAMES):
        error = found[f"bad-{number}"]["error"]
        assert "plugin.name: found " in error, name
        assert "expected [a-z0-9][a-z0-9-]{0,39}" in error, name


def test_a_folder_with_another_name_is_refused_and_told_which_it_should_have(
    btplug, command
):
    folder = command("table-display")
    folder.rename(folder.with_name("other"))

    done = btplug("run", "other")

    assert done.returncode == 4
    assert (
        "plugin.name: found 'table-display' in the folder 'other', "
        "expected the folder to be called like the plugin\n"
        "  fix:   rename the folder to table_display\n"
    ) in done.stderr


def test_two_plugins_of_one_name_in_one_place_are_both_broken(btplug, command, home):
    first = command("twin-a")
    second = first.with_name("twin-a")
    shutil.copytree(first, second)

    done = btplug("run", "twin-a")
    listed = json.loads(btplug("list", "--json").stdout)

    assert done.returncode == 4
    assert "two plugins are named 'twin-a' in the same place" in done.stderr
    assert str(first) in done.stderr
    assert str(second) in done.stderr
    assert [r["state"] for r in listed if r["name"] == "twin-a"] == ["broken"] * 2


def test_the_earlier_place_wins_and_the_later_is_listed_as_shadowed(
    btplug, command, tmp_path
):
    command("it", 'return "the user\'s"')
    command("it", 'return "the path\'s"', where=tmp_path / "more")
    env = {"BTPLUG_PLUGIN_PATH": str(tmp_path / "more")}

    assert btplug("run", "it", **env).stdout == "the user's\n"
    listed = json.loads(btplug("list", "--json", **env).stdout)
    assert [(r["source"], r["state"]) for r in listed if r["name"] == "it"] == [
        ("user", "ready"),
        ("path", "shadowed"),
    ]


def test_a_plugin_called_like_a_built_in_command_is_reached_by_run(btplug, command):
    command("list", 'return "the plugin"')

    assert btplug("run", "list").stdout == "the plugin\n"
    assert "the plugin" not in btplug("list").stdout
    assert btplug("run", "run").returncode == 3


# -- folders that hold what is no file


def obstacle(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "root":
        path.symlink_to("/")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("pipe", "found a pipe, expected a regular file"),
        ("loop", "found a link, expected a regular file"),
        ("link", "found a link, expected a regular file"),
        ("root", "found a link, expected a regular file"),
        ("folder", "found a folder, expected a regular file"),
        ("socket", ", expected a regular file"),
    ],
)
def test_a_config_yaml_that_is_no_file_is_not_opened(kind, found, btplug, command):
    folder = command("bad")
    (folder / "config.yaml").unlink()
    obstacle(kind, folder / "config.yaml")

    done = btplug("run", "bad", timeout=5)
    row = rows(btplug)["bad"]

    assert done.returncode == 4
    assert f"btplug: error: {folder}/config.yaml: found " in done.stderr
    assert found in done.stderr
    assert row["state"] == "broken"
    assert found in row["error"]


@pytest.mark.parametrize("kind", ["pipe", "loop", "link", "root", "folder", "socket"])
@pytest.mark.parametrize("words", ["run it", "info it", "config show it", "list"])
def test_what_is_no_file_beside_the_code_is_never_opened(kind, words, btplug, command):
    """`info` and `config show` read the source, to tell which values are secret."""
    folder = command("it", 'return "fine"', config="x: 1")
    obstacle(kind, folder / "trap.py")

    done = btplug(*words.split(), timeout=5)

    assert done.returncode == 0, done.stderr


def test_a_plugin_whose_code_is_a_pipe_does_not_hang(btplug, command):
    folder = command("bad")
    (folder / "plugin.py").unlink()
    os.mkfifo(folder / "plugin.py")

    begun = time.monotonic()
    done = btplug("run", "bad", timeout=8)

    assert time.monotonic() - begun < 3
    assert done.returncode == 4
    assert str(folder / "plugin.py") in done.stderr


def test_a_plugin_folder_without_config_yaml_says_what_to_write(btplug, command):
    folder = command("bad")
    (folder / "config.yaml").unlink()

    row = rows(btplug)["bad"]
    done = btplug("run", "bad")

    assert row["state"] == "broken"
    assert "found no such file, expected one beside the plugin's code" in row["error"]
    assert done.returncode == 4
    assert "add this at the top and adapt it:\nplugin:\n  name: bad\n" in done.stderr


@pytest.mark.parametrize("name", [b"caf\xe9", b"Big", b"a b", b"\x1b[31mred", b"-x"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_folder_with_an_odd_name_costs_one_row(
    name, locale, shell, btplug, command, good
):
    folder = command("bad")
    os.rename(folder, os.path.join(os.fsencode(folder.parent), name))

    done = shell("$B list", binary=True, LC_ALL=locale)
    again = shell("$B list --json", binary=True, LC_ALL=locale)

    assert (done.returncode, done.stderr) == (0, b"")
    assert sum("broken" in line for line in done.stdout.decode().splitlines()) == 1
    assert b"\x1b" not in done.stdout + again.stdout
    assert again.returncode == 0
    listed = json.loads(again.stdout.decode())
    assert [row["state"] for row in listed].count("broken") == 1
    assert btplug("run", "good").returncode == 0
