"""What a start may import: each module more is paid at every call."""

import shutil
import subprocess
import sys

import pytest
from conftest import settle

# Prints what was imported after Click itself, which every command needs.
WATCH = """
import sys, click
before = set(sys.modules)
from btplug.cli.app import root
sys.argv = ["btplug", *sys.argv[1:]]
try:
    root.main()
except SystemExit as exc:
    assert not exc.code, exc.code
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
# Small, and used by everything.
BASE = {
    "atexit", "_locale", "locale", "signal", "binascii", "zlib", "fcntl", "select", "gc",
}  # fmt: skip
# What the plugin itself imports here.
DATACLASS = {"dataclasses", "copy"}
# What a run is logged with, and a plugin that is not shipped is checked with.
LOGGED = {"_json"}
CHECKED = {"_sha256", "_sha2", "_blake2"}
# Click draws help pages with these.
HELP = BASE | {
    "click", "textwrap", "shutil", "fnmatch", "bz2", "_bz2", "lzma", "_lzma",
    "_compression",
}  # fmt: skip
# rich draws tables, and imports these for itself.
TABLE = BASE | {
    "rich", "dataclasses", "copy", "decimal", "_decimal", "numbers", "fractions",
    "random", "bisect", "_bisect", "_random", "_sha512", "colorsys", "pickle",
    "_pickle", "_compat_pickle", "struct", "_struct", "unicodedata", "textwrap",
    "getpass", "configparser",
}  # fmt: skip

ALLOWED = {
    "--version": BASE,
    "--help": HELP,
    "run --help": HELP,
    "list --json": BASE,
    "list --json --kind cli": BASE | {"json", "_json"},
    "list": TABLE,
    "run noop": BASE | DATACLASS | LOGGED | CHECKED,
    "noop": BASE | DATACLASS | LOGGED | CHECKED,
    "run noop --help": HELP | DATACLASS | CHECKED,
    "run --set word=x noop": BASE | DATACLASS | CHECKED | {"json", "_json"},
    "disable other": BASE,
    "config path --json": BASE | {"json", "_json"},
    "config show noop --json": BASE | {"json", "_json", "_ast", "ast"},
}

# Of btplug itself: what is for running a plugin, drawing a table or reading YAML.
RUNNING = {
    "_calls", "_life", "_loader", "_loop", "_secrets", "cli.command", "cli.output",
    "cli.settings", "context", "message", "network", "plugin", "registry", "schema",
    "settings", "transport", "_forms", "_streams", "_options",
}  # fmt: skip


@pytest.fixture
def warm(command, home, tmp_path):
    """A plugin that does nothing, and caches that know all there is."""
    members = """
    @dataclass
    class Config:
        word: str = "z"
    """
    top = "from dataclasses import dataclass"
    command("noop", "pass", config="word: y", top=top, members=members)
    command("other")
    (home / "config.yaml").write_text("plugins: {noop: {word: x}}\n")
    settle(home)

    def imported(words):
        for line in ("run noop", words, words):
            done = subprocess.run(
                [sys.executable, "-c", WATCH, *line.split()],
                capture_output=True, text=True, timeout=30, cwd=tmp_path, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        return set(done.stderr.splitlines()[-1].split())

    return imported


@pytest.mark.slow
@pytest.mark.parametrize("words", ALLOWED)
def test_a_warm_start_imports_nothing_that_is_not_on_its_list(words, warm):
    found = warm(words)

    others = {name.partition(".")[0] for name in found if not name.startswith("btplug")}
    assert {n for n in others if not n.startswith("_btplug")} - ALLOWED[words] == set()


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--help", "run --help", "list --json", "--version"])
def test_a_listing_imports_nothing_that_runs_plugins(words, warm):
    found = warm(words)

    assert {name.removeprefix("btplug.") for name in found} & RUNNING == set()


# Of btplug itself: what checks plugins that are not shipped.
TRUST = {
    "_load.codecache", "_load.modules", "_load.pinned", "_trust.blocktext",
    "_trust.consent", "_trust.distfiles", "_trust.hashes", "_trust.lockfile",
    "_trust.owners", "cli.subjects", "cli.trust", "trust",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["run table-display rows.json", "list --json", "--help", "--version"]
)
def test_what_is_shipped_pays_nothing_for_trust(words, warm, tmp_path):
    (tmp_path / "rows.json").write_text('[{"a": 1}]')

    found = warm(words)

    own = {name.removeprefix("btplug.") for name in found}
    assert own & TRUST == set()
    assert not {n.partition(".")[0] for n in found} & CHECKED


@pytest.mark.slow
def test_what_is_not_shipped_is_checked(warm):
    """The test above says something: elsewhere these modules are imported."""
    own = {name.removeprefix("btplug.") for name in warm("run noop")}

    assert own >= {"_load.pinned", "_load.codecache", "_trust.consent", "trust"}


@pytest.mark.slow
def test_a_cold_start_would_be_noticed(warm, home, tmp_path):
    """The lists say something: what they leave out is imported where it is needed."""
    warm("list --json")
    (home / "cli_plugins" / "noop" / "config.yaml").touch()

    done = subprocess.run(
        [sys.executable, "-c", WATCH, "list", "--json"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip

    assert {"yaml", "json"} <= set(done.stderr.split())


def test_import_btplug_imports_nothing_else(tmp_path):
    code = (
        "import sys, typing, __future__; before = {*sys.modules}; import btplug; "
        "print(*sorted({*sys.modules} - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )

    assert done.stdout.split() == ["btplug"]


@pytest.mark.slow
def test_the_cost_of_a_run_does_not_grow_with_what_is_installed(command, home, btplug):
    """Time is for the benchmark; here: which plugin folders are looked into."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    command("noop", "pass")
    for n in range(30):
        command(f"other-{n}")
    settle(home)
    log = home.parent / "trace"

    for _ in range(2):
        subprocess.run(
            ["strace", "-f", "-e", "trace=file", "-o", str(log), str(btplug.script), "run", "noop"],
            check=True,
        )  # fmt: skip

    touched = [line for line in log.read_text().splitlines() if "other_" in line]
    assert "cli_plugins/noop" in log.read_text()
    assert touched == []
