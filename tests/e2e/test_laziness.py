"""No code of a plugin runs before somebody calls that plugin."""

import json
import os
import subprocess

import pytest

MINE = """
mark("imported")
raise AssertionError("imported too early")
"""

ANSWERS = {
    "--help": 0,
    "--version": 0,
    "list": 0,
    "list --json": 0,
    "list --kind transport": 0,
    "info mine": 0,
    "info mine --json": 0,
    "info mined": 0,
    "config show mine": 0,
    "config show mine --json": 0,
    "config path": 0,
    "config set mine.word 1": 0,
    "disable mine": 0,
    "enable mine": 0,
    "run --help": 0,
    "run": 2,
    "run mnie": 3,
    "run --set": 2,
    "mnie": 2,
    "disable mnie": 3,
    "info mnie": 3,
    "lst": 2,
    "run other": 0,
    "other": 0,
    "run other --help": 0,
    "run other --typo": 2,
}


@pytest.fixture
def mines(command, transport, settled):
    """A command and a transport that must not be imported, and a good command."""
    command("mine", top=MINE, config="word: 5")
    transport("mined", top=MINE)
    command("other")
    settled()


@pytest.mark.parametrize("words", ANSWERS)
def test_no_plugin_is_imported_by(words, btplug, mines, marks):
    done = btplug(*words.split())

    assert done.returncode == ANSWERS[words], done.stderr
    assert marks() == []


@pytest.mark.parametrize("words", ["run mine", "mine", "run mine --help"])
def test_the_trap_of_a_command_is_armed(words, btplug, mines, marks):
    done = btplug(*words.split())

    assert done.returncode == 4
    assert "mine failed to load: AssertionError: imported too early" in done.stderr
    assert marks() == ["imported"]


def test_the_trap_of_a_transport_is_armed(btplug, command, mines, marks):
    command("sender", transports=None)

    done = btplug("run", "sender")

    assert done.returncode == 0
    assert "mined failed to load: AssertionError: imported too early" in done.stderr
    assert marks() == ["imported"]


@pytest.mark.parametrize("flag", ["--options", "--schema"])
def test_info_loads_the_one_plugin_whose_code_it_was_asked_for(
    flag, btplug, mines, marks
):
    assert btplug("info", "other", flag).returncode == 0
    assert marks() == []

    assert btplug("info", "mine", flag).returncode == 4
    assert marks() == ["imported"]


def test_a_plugin_that_is_disabled_is_not_imported_when_called(btplug, mines, marks):
    assert btplug("disable", "mine").returncode == 0

    done = btplug("run", "mine")

    assert done.returncode == 4
    assert "'mine' is disabled" in done.stderr
    assert "fix:   enable it with: btplug enable mine" in done.stderr
    assert marks() == []


@pytest.mark.parametrize("words", ["--help", "run --help"])
def test_a_help_page_shows_the_summary_of_every_command(words, btplug, mines):
    done = btplug(*words.split())

    rows = [line.split() for line in done.lines]
    assert ["mine", "Do", "mine"] in rows
    assert ["other", "Do", "other"] in rows
    assert ["mined", "Do", "mined"] not in rows


def test_listing_says_nothing_of_what_only_the_import_would_tell(btplug, mines):
    rows = {row["name"]: row for row in json.loads(btplug("list", "--json").stdout)}

    assert rows["mine"]["state"] == rows["mined"]["state"] == "ready"


@pytest.fixture
def distribution(make_plugin, tmp_path, monkeypatch):
    """An installed distribution with a plugin in a package below its own."""
    site = tmp_path / "site"
    package = site / "vendor" / "inner"
    folder = make_plugin("offered", where=site / "built")
    package.parent.mkdir(parents=True)
    folder.rename(package)
    mark = 'import os\nopen(os.environ["MARKS"], "a").write(f"{__name__}\\n")\n'
    for init in (package.parent, package):
        (init / "__init__.py").write_text(mark)
    (package / "plugin.py").write_text(mark + (package / "plugin.py").read_text())
    info = site / "vendor-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[btplug.cli_plugins]\noffered = vendor.inner\n"
    )
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def test_an_installed_plugin_is_found_without_importing_its_package(
    btplug, distribution, marks
):
    for words in ("list", "--help", "info offered", "run --help", "offere"):
        btplug(*words.split())
    row = next(
        row
        for row in json.loads(btplug("list", "--json").stdout)
        if row["name"] == "offered"
    )

    assert marks() == []
    assert (row["source"], row["state"], row["error"]) == (
        "installed",
        "untrusted",
        "accept it with: btplug trust offered",
    )


def test_an_installed_plugin_runs_as_part_of_its_package(btplug, distribution, marks):
    asked = btplug("trust", "--in-process", "offered").stderr
    accept = asked.partition("with: btplug ")[2].split()
    assert btplug(*accept).returncode == 0
    assert marks() == []

    assert btplug("run", "offered").returncode == 0
    assert marks() == ["vendor", "vendor.inner", "vendor.inner.plugin"]


# -- completion, asked for as the scripts of the shells ask


def complete(btplug, shell, line, **env):
    words = line.split(" ")
    position = words[-1] if shell == "fish" else str(len(words) - 1)
    asked = {
        "_BTPLUG_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": position,
    }
    done = btplug(**asked, **env)
    assert done.stderr == ""
    return done


@pytest.mark.parametrize(
    ("shell", "answer"),
    [
        ("bash", "plain,mine\n"),
        ("zsh", "plain\nmine\nDo mine\n"),
        ("fish", "plain,mine\tDo mine\n"),
    ],
)
@pytest.mark.parametrize("line", ["btplug run mi", "btplug mi"])
def test_completion_offers_a_plugin_without_importing_it(
    shell, answer, line, btplug, mines, marks
):
    assert complete(btplug, shell, line).stdout == answer
    assert marks() == []


NO_SCRIPT = {
    "COMP_CWORD": ({"COMP_WORDS": "btplug "}, "none"),
    "COMP_WORDS": ({"COMP_CWORD": "1"}, "none"),
    "a word": ({"COMP_WORDS": "btplug ", "COMP_CWORD": "abc"}, "'abc'"),
    "below 0": ({"COMP_WORDS": "btplug ", "COMP_CWORD": "-1"}, "'-1'"),
}


@pytest.mark.parametrize("what", NO_SCRIPT)
def test_completion_that_no_script_asks_for_is_wrong_usage(what, btplug):
    env, found = NO_SCRIPT[what]

    done = btplug(_BTPLUG_COMPLETE="bash_complete", **env)

    name = what if what in ("COMP_CWORD", "COMP_WORDS") else "COMP_CWORD"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"btplug: error: {name}: found {found}, "
        "expected what a shell's script sets it to\n"
        "  fix:   let the script ask, as made by: _BTPLUG_COMPLETE=bash_source btplug\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    "line", ["btplug run mine ", "btplug mine --", "btplug mine x"]
)
def test_completion_behind_a_plugin_does_not_import_it(
    shell, line, btplug, mines, marks
):
    complete(btplug, shell, line)

    assert marks() == []


def test_completion_in_a_real_bash_fills_in_commands_and_plugins(btplug, mines, marks):
    script = """
    eval "$(_BTPLUG_COMPLETE=bash_source btplug)"
    ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _btplug_completion btplug; echo "${COMPREPLY[*]}"; }
    ask btplug run ot; ask btplug l; ask btplug d; ask btplug config s
    """
    path = f"{btplug.script.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PATH": path},
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout == "other\nlist lock log\ndisable doctor\nset show\n"
    assert marks() == []


def test_completion_offers_names_to_the_commands_that_take_one(btplug, mines, marks):
    for words in ("info", "config show", "disable", "enable"):
        offered = complete(btplug, "bash", f"btplug {words} mi").stdout
        assert offered == "plain,mine\nplain,mined\n", words
    assert marks() == []


def test_completion_offers_the_options_of_run(btplug, mines):
    done = complete(btplug, "bash", "btplug run --")

    assert done.stdout == "plain,--set\nplain,--json\nplain,--help\n"


def test_completion_says_nothing_of_a_broken_plugin(btplug, home, command):
    command("broken", api=9)

    assert complete(btplug, "bash", "btplug run b").stdout == "\n"
    assert "broken" not in complete(btplug, "bash", "btplug run broken ").stdout


def test_a_call_reads_no_other_plugin_of_a_plugin_dir(command, tmp_path, shell):
    """Folders of either kind lie side by side: only their manifests tell them apart."""
    for name in ("it", "other", "third"):
        command(name, 'return "done"', where=tmp_path / "dev", transports=None)
    for name in ("other", "third"):
        manifest = tmp_path / "dev" / name / "config.yaml"
        manifest.unlink()
        os.mkfifo(manifest)  # whoever reads it waits for ever

    done = shell('timeout 10 "$B" --plugin-dir dev run it')

    assert (done.returncode, done.stdout) == (0, "done\n")
