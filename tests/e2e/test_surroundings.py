"""Locales, limits, working directories, and plugins that change their process."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import FEW, READING, check_reading, settle


@pytest.fixture
def it(command):
    return command(
        "it",
        "return self.word",
        initialize='self.word = config["word"]',
        config="word: hello",
    )


@pytest.mark.slow
def test_a_thousand_plugins_are_listed_with_64_descriptors(run, command, home):
    command("it", "return 'fine'")
    first = home / "cli_plugins" / "it"
    for n in range(999):
        folder = first.with_name(f"p{n}")
        folder.mkdir()
        text = (first / "config.yaml").read_text().replace("it", f"p{n}", 1)
        (folder / "config.yaml").write_text(text)
        (folder / "plugin.py").touch()
    settle(home)
    prefix = ["sh", "-c", 'ulimit -n 64; exec "$0" "$@"']

    begun = time.monotonic()
    first_time = run("list", "--json", prefix=prefix)
    assert time.monotonic() - begun < 60  # accepting them all is part of it
    again = run("list", "--json", prefix=prefix)

    assert first_time.returncode == 0, first_time.stderr
    rows = [row for row in json.loads(first_time.stdout) if row["source"] == "user"]
    assert len(rows) == 1000
    assert {row["state"] for row in rows} == {"ready"}
    assert again.stdout == first_time.stdout
    assert run("run", "it", prefix=prefix).stdout == "fine\n"
    assert "did you mean" in run("run", "itt", prefix=prefix).stderr
    assert run("--help", prefix=prefix).stdout.count("\n") > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "no_SUCH.locale"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_any_locale_will_do(locale, run, command):
    command("it", "return [{'caf\u00e9': '\u65e5\u672c'}]", summary="Ein Caf\u00e9")

    for words in (
        "list",
        "--help",
        "info it",
        "run it",
        "run it --json",
        "run it --help",
    ):
        done = run(*words.split(), **locale)
        assert done.returncode == 0, (words, done.stderr)
        assert done.stderr == ""


@pytest.mark.slow
def test_a_working_directory_that_is_gone_is_no_reason_to_fail(shell, it):
    for words in ("list", "run it", "--help", "info it", "config show it", "doctor"):
        done = shell(f"mkdir d; cd d; rmdir ../d; $B {words}")
        assert (done.returncode, done.stderr) == (0, ""), words


@pytest.mark.parametrize("words", ["trust .", "untrust ."])
def test_a_working_directory_that_is_gone_is_said_where_it_is_meant(words, shell):
    done = shell(f"mkdir d; cd d; rmdir ../d; $B {words}")

    assert done.returncode == 1
    assert done.stderr == (
        "btplug: error: the working directory is gone\n"
        "  fix:   change into one that is there\n"
    )


def test_folders_may_go_while_a_plugin_runs(btplug, command, home, marks):
    body = """
    import shutil
    shutil.rmtree(os.environ["BTPLUG_HOME"])
    os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")
    return [{"a": 1}]
    """
    command("it", body, shutdown='mark("stopped")')

    done = btplug("run", "it")

    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n1\n", "")
    assert marks() == ["stopped"]


STRANGE = {
    "chdir": "os.chdir('/')",
    "umask": "os.umask(0o777)",
    "environ": "m = os.environ['MARKS']; os.environ.clear(); os.environ['MARKS'] = m",
    "recursion limit": "import sys; sys.setrecursionlimit(len(__import__('inspect').stack()) + 60)",
    "warnings": "import warnings; warnings.simplefilter('error')",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
    "stdout": "import io, sys; sys.stdout = io.StringIO()",
    "stderr": "import sys; sys.stderr = None",
    "modules": "import sys; sys.modules.pop('json', None); sys.modules.pop('rich', None)",
    "handlers": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", STRANGE)
def test_what_a_plugin_does_to_its_process_does_not_spoil_the_ending(
    what, btplug, command, marks
):
    command("it", f"{STRANGE[what]}\nreturn [{{'a': 1}}]", shutdown='mark("stopped")')

    done = btplug("run", "it")
    as_json = btplug("run", "it", "--json")

    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n1\n", "")
    assert (as_json.returncode, as_json.stdout) == (0, '{"a": 1}\n')
    assert marks() == ["stopped", "stopped"]


# -- what lies in the working directory

TRAP = """
import os
with open(os.environ["MARKS"], "a") as file:
    file.write(__file__ + "\\n")
"""
TRAPS = [
    "json.py", "click.py", "yaml.py", "rich.py", "signal.py", "sitecustomize.py",
    "usercustomize.py", "btplug/__init__.py", "btplug/cli/__init__.py", "plugin.py",
    "cli_plugins/evil/plugin.py", "transport_plugins/evil/plugin.py", "plugins/evil.py",
]  # fmt: skip


@pytest.fixture
def clone(tmp_path):
    """A working directory full of code that must not run."""
    folder = tmp_path / "clone"
    for name in TRAPS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TRAP)
    (folder / ".env").write_text("BTPLUG_LOG_LEVEL=loud\nPYTHONSTARTUP=plugin.py\n")
    (folder / "btplug.yaml").write_text("log_level: loud\n")
    return folder


@pytest.mark.slow
def test_nothing_in_the_working_directory_runs_or_counts(run, it, clone, marks):
    told = (
        "btplug: warning: btplug.yaml is not trusted: what it sets has no effect "
        "(look at it, and accept it with: btplug trust .)\n"
    )
    # A folder with code and no config.yaml is a plugin too, a broken one.
    check_reading(run, READING | {"doctor": 4}, told, cwd=clone)

    assert marks() == []
    assert run("run", "evil", cwd=clone).returncode == 4


def test_what_lies_there_would_have_left_its_mark(clone, marks):
    subprocess.run([sys.executable, "-c", "import json, btplug"], cwd=clone, check=True)

    assert [Path(mark).name for mark in marks()] == ["json.py", "__init__.py"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONDEVMODE": "1"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONDONTWRITEBYTECODE": "1"},
    ],
)
def test_python_s_own_switches_bring_up_nothing(env, run, it):
    for words, code in FEW.items():
        done = run(*words.split(), **env)
        assert done.returncode == code, (words, done.stderr)
        assert "Warning" not in done.stderr, words


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.slow
def test_the_working_directory_is_not_even_looked_at_for_code(
    btplug, it, clone, tmp_path
):
    log = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-e", "trace=open,openat", "-o", str(log), str(btplug.script), "run", "it"],
        cwd=clone, capture_output=True, check=True,
    )  # fmt: skip

    opened = [line for line in log.read_text().splitlines() if "clone" in line]
    assert "plugin.py" in log.read_text()
    assert opened == []


def test_a_signal_that_comes_before_python_is_up_leaves_nothing_behind(
    btplug, it, home
):
    process = subprocess.Popen(
        [str(btplug.script), "list"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) in (-signal.SIGTERM, 143, 0)
    assert not [p for p in home.rglob("*") if ".tmp" in p.name]
