"""A working directory is listed, and inert until the operator accepts it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import THOROUGH
from operating import COMMAND, MARK, accept, row_of

CONFIGURED = COMMAND.replace(
    'return "hello"', "return self.config.word"
).replace(
    "class Plugin(CLIPlugin):",
    "from dataclasses import dataclass\n\n@dataclass\nclass Config:\n    word: str = 'default'\n\n"
    "class Plugin(CLIPlugin):\n    Config = Config\n",
)  # fmt: skip
INERT = (
    "btplug: warning: btplug.yaml is not trusted: what it sets has no effect "
    "(look at it, and accept it with: btplug trust .)\n"
)


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


@pytest.fixture
def project(make_plugin, tmp_path, monkeypatch):
    """A clone with settings, a command and a transport."""
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    (tmp_path / "marks").touch()
    (tmp_path / "btplug.yaml").write_text("plugins:\n  it: {word: project}\n")
    make_plugin("it", MARK + CONFIGURED, where=tmp_path / "cli_plugins")
    make_plugin("wire", MARK, kind="transport", where=tmp_path / "transport_plugins")
    return tmp_path


def marks(project):
    return (project / "marks").read_text().splitlines()


def test_a_clone_is_listed_and_nothing_of_it_runs(btplug, project):
    rows = {row["name"]: row for row in json.loads(btplug("list", "--json").stdout)}

    for name, words in (("it", ""), ("wire", "--in-process ")):
        row = rows[name]
        assert (row["source"], row["state"], row["trust"]) == ("project", "untrusted", "untrusted")  # fmt: skip
        assert row["error"] == f"accept it with: btplug trust {words}{name}"
    for words in ("--help", "run --help", "info it", "doctor", "config show it", "run table-display x"):  # fmt: skip
        btplug(*words.split())
    assert btplug("run", "it").returncode == 6
    assert marks(project) == []


def test_settings_of_an_untrusted_project_have_no_effect_and_one_line(
    btplug, project, make_plugin, home
):
    make_plugin("mine", CONFIGURED, where=home / "cli_plugins")
    (project / "btplug.yaml").write_text("plugins: {mine: {word: project}}\n")
    accept(btplug, "mine")

    before = btplug("run", "mine")
    assert (before.stdout, before.stderr) == ("default\n", INERT)

    accept(btplug, ".")
    after = btplug("run", "mine")
    assert (after.stdout, after.stderr) == ("project\n", "")
    shown = json.loads(btplug("config", "show", "mine", "--json").stdout)
    assert shown[0]["origin"] == f"{project / 'btplug.yaml'}:1"

    (project / "btplug.yaml").write_text("plugins: {mine: {word: evil}}\n")
    changed = btplug("run", "mine")
    assert changed.stdout == "default\n"
    assert "btplug.yaml has changed since it was trusted" in changed.stderr


def test_trust_of_a_folder_covers_its_settings_and_plugins(btplug, project):
    shown = accept(btplug, "--in-process", ".")

    assert "btplug.yaml" in shown
    listed = json.loads(btplug("trust", "--list", "--json").stdout)
    assert [(row["name"], row["kind"], row["in_process"]) for row in listed] == [
        (project.name, "settings", False), ("it", "cli", False), ("wire", "transport", True),
    ]  # fmt: skip
    assert btplug("run", "it").stdout == "project\n"
    assert btplug("untrust", ".").returncode == 0
    assert btplug("run", "it").returncode == 6


def test_the_settings_come_before_the_users_and_behind_the_environment(btplug, project, home):  # fmt: skip
    accept(btplug, "--in-process", ".")
    btplug("config", "set", "it.word", "user")

    assert btplug("run", "it").stdout == "project\n"
    assert btplug("run", "it", BTPLUG_IT__WORD="env").stdout == "env\n"
    assert btplug("run", "--set", "word=set", "it").stdout == "set\n"


def test_an_author_changes_a_plugin_many_times(btplug, project, home):
    """Without a question for each change, and nothing piles up."""
    (project / "btplug.yaml").unlink()
    path = project / "cli_plugins" / "it" / "plugin.py"
    accept(btplug, "it")
    times = 50 if THOROUGH else 5
    for n in range(times):
        path.write_text(COMMAND.replace("hello", f"number {n}"))
        refused = btplug("run", "it")
        assert (refused.returncode, refused.stdout) == (6, "")
        words = shlex.split(refused.stderr.rpartition("run it with: btplug ")[2])
        done = btplug(*words)
        assert (done.stdout, done.stderr) == (f"number {n}\n", "")
        if n % 5 == 4:
            accept(btplug, "it")
            assert btplug("run", "it").stdout == f"number {n}\n"

    assert len([*(home / "trust" / "code").iterdir()]) == 1
    assert len([*(home / "trust" / "files").iterdir()]) == 1
    found = [json.loads(run) for run in btplug("log", "--json").stdout.splitlines()]
    assert len({run["digest"] for run in found if run["result"] == "done"}) == times
    assert [run["result"] for run in found].count("refused") == times


def test_settings_of_a_folder_above_are_none(btplug, project, run_in):
    (project / "inner").mkdir()
    accept(btplug, "--in-process", ".")

    done = run_in(project / "inner", "config", "show", "it")

    assert done.returncode == 3
    assert "btplug.yaml" not in done.stderr


@pytest.fixture
def run_in(btplug):
    import subprocess

    def run(folder, *words):
        return subprocess.run(
            [str(btplug.script), *words], cwd=folder, capture_output=True, text=True, check=False
        )  # fmt: skip

    return run


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_settings_that_are_no_file_are_left_alone(
    kind, btplug, project, make_plugin, home
):
    import os

    make_plugin("mine", where=home / "cli_plugins")
    accept(btplug, "mine")
    path = project / "btplug.yaml"
    path.unlink()
    {"pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("/etc/passwd"), "folder": path.mkdir}[kind]()  # fmt: skip

    done = btplug("run", "mine", timeout=20)

    assert (done.returncode, done.stderr) == (0, INERT)
    assert btplug("trust", ".", timeout=20).returncode == 6


def test_what_lies_beside_is_not_imported(btplug, project, make_plugin, home):
    """P35: modules that would be found first, were the working directory a place."""
    make_plugin("mine", "import json\n" + COMMAND, where=home / "cli_plugins")
    accept(btplug, "mine")
    for name in (
        "json.py",
        "btplug/__init__.py",
        "sitecustomize.py",
        "_btplug.py",
        "plugin.py",
    ):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(MARK)
    (project / ".env").write_text("BTPLUG_TRUST=1\n")

    assert btplug("run", "mine").stdout == "hello\n"
    assert marks(project) == []
    assert sys.executable
    assert row_of(btplug, "mine")["source"] == "user"


def test_the_form_of_the_command_that_is_documented_runs_no_module_of_a_clone(project):
    """Python puts the working directory first, before btplug has a say."""
    import btplug.__main__ as main

    (project / "click.py").write_text(MARK)
    root = Path(__file__).parents[2]
    texts = [
        main.__doc__,
        *(p.read_text() for p in (root / "README.md", root / "docs/security.md")),
    ]

    for text in texts:
        form = re.search(
            r"python (.*-m btplug)`", text.replace("`python -m btplug` runs", "")
        )
        words = [sys.executable, *form[1].split(), "--help"]
        done = subprocess.run(words, capture_output=True, cwd=project, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    assert marks(project) == []


def test_a_clone_does_not_get_the_state_of_what_is_called_like_its_plugin(
    btplug, make_plugin, tmp_path
):
    keeps = COMMAND.replace('"hello"', "self.context.state_dir")
    for name in ("one", "two"):
        where = tmp_path / "cli_plugins"
        make_plugin(name, keeps, where=where, permissions="{write: [state]}")
        accept(btplug, name)

    names = [Path(btplug("run", name).stdout.strip()).name for name in ("one", "two")]

    assert re.fullmatch("one@[0-9a-f]{16} two@[0-9a-f]{16}", " ".join(names))
    assert names[0][-16:] != names[1][-16:]
