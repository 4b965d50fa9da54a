"""Machines on which something is missing, full, strange, or done twice at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import settle, tree

# root reads and writes everywhere; without these it is as bound as anybody.
BOUND = "--bounding-set=-dac_override,-dac_read_search,-fowner"


@pytest.fixture
def ordinary(tmp_path):
    """Words before a command that make file modes count, also for root."""
    words = ["setpriv", BOUND] if os.geteuid() == 0 else []
    probe = tmp_path / "probe"
    probe.mkdir(mode=0o555)
    try:
        done = subprocess.run([*words, "touch", str(probe / "x")], capture_output=True)
    except FileNotFoundError:
        pytest.skip("root, and no setpriv")
    if done.returncode == 0:
        pytest.skip("file modes do not count here")
    return words


@pytest.fixture
def run(btplug, tmp_path):
    """Run btplug behind other words, with variables changed (None: not set)."""

    def call(*words, prefix=(), cwd=None, timeout=60, **env):
        environment = {**os.environ, **env}
        return subprocess.run(
            [*prefix, str(btplug.script), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd or tmp_path,
            env={k: v for k, v in environment.items() if v is not None},
            check=False,
        )

    return call


@pytest.fixture
def it(command):
    return command(
        "it",
        "return self.word",
        initialize='self.word = config["word"]',
        config="word: hello",
    )


READING = {
    "--help": 0, "list": 0, "list --json": 0, "run it": 0, "it": 0, "info it": 0,
    "config show it": 0, "config path": 0, "run it --help": 0, "run its": 3,
    "doctor": 0,
}  # fmt: skip
WRITING = ["config set it.word new", "disable it"]


def check_reading(run, **more):
    for words, code in READING.items():
        done = run(*words.split(), **more)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
        if code == 0:
            assert done.stderr == "", words
    assert run("run", "it", **more).stdout == "hello\n"


def check_writing_is_refused(run, reason, **more):
    for words in WRITING:
        done = run(*words.split(), **more)
        assert done.returncode == 1, words
        assert reason in done.stderr
        assert "could not be written" in done.stderr
        assert (
            "fix:   make the folder writable, or choose another with BTPLUG_HOME"
            in (done.stderr)
        )


@pytest.mark.slow
def test_a_read_only_home_is_enough_for_everything_that_only_reads(
    run, it, home, ordinary, tmp_path
):
    for path in [*home.rglob("*"), home, home.parent]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        check_reading(run, prefix=ordinary)
        check_writing_is_refused(run, "Permission denied", prefix=ordinary)
        assert not (home / "cache").exists()
    finally:
        for path in [home.parent, home, *home.rglob("*")]:
            path.chmod(0o755)


@pytest.mark.slow
def test_a_home_that_cannot_be_is_enough_for_everything_that_only_reads(
    run, it, home, tmp_path
):
    """HOME lies below a regular file; the plugin comes by the environment."""
    (tmp_path / "file").write_text("")
    env = {
        "HOME": str(tmp_path / "file" / "home"),
        "BTPLUG_HOME": None,
        "BTPLUG_PLUGIN_PATH": str(home),
    }

    check_reading(run, **env)
    check_writing_is_refused(run, "Not a directory", **env)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody unknown")
def test_without_any_home_the_working_directory_is_not_taken_for_one(
    run, command, tmp_path, marks, btplug
):
    """As in a container that runs under a number: no HOME, no entry in passwd."""
    keep = "dac_override,dac_read_search"
    prefix = [
        "setpriv", "--reuid=54321", "--clear-groups",
        f"--inh-caps=+{keep.replace(',', ',+')}",
        f"--ambient-caps=+{keep.replace(',', ',+')}",
    ]  # fmt: skip
    clone = tmp_path / "clone"
    command("evil", 'mark("ran")', where=clone / "~/.local/share/btplug/cli_plugins")
    command("bad", 'mark("ran")', where=clone / ".local/share/btplug/cli_plugins")
    before = tree(clone)
    more = {"HOME": None, "BTPLUG_HOME": None, "cwd": clone, "prefix": prefix}

    assert run("list", **more).returncode == 0
    assert run("run", "evil", **more).returncode == 3
    assert run("run", "bad", **more).returncode == 3
    assert run("run", "bad", **{**more, "HOME": ""}).returncode == 3
    assert run("--help", **more).returncode == 0
    assert marks() == []
    assert tree(clone) == before


# -- caches


def every_cache(home):
    return [path for path in (home / "cache").rglob("*") if path.is_file()]


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


SPOILERS = {
    "empty": lambda p: replace(p, b""),
    "cut": lambda p: replace(p, p.read_bytes()[: p.stat().st_size // 2]),
    "one bit": lambda p: replace(p, p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1])),
    "noise": lambda p: replace(p, os.urandom(500)),
    "noise behind a good head": lambda p: replace(p, p.read_bytes()[:60] + os.urandom(500)),
    "a lie of the same length": lambda p: replace(p, p.read_bytes().replace(b"Do it", b"Lies!")),
    "another version": lambda p: replace(p, p.read_bytes().replace(b"btplug 0", b"btplug 9")),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
    "a link to nowhere": lambda p: (p.unlink(), p.symlink_to("nowhere")),
    "a link to itself": lambda p: (p.unlink(), p.symlink_to(p.name)),
    "a pipe": lambda p: (p.unlink(), os.mkfifo(p)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_spoiled_cache_is_rebuilt_in_silence(spoiler, run, it, home):
    (home / "config.yaml").write_text("plugins: {it: {word: user}}\n")
    settle(home)
    words = [["list", "--json"], ["run", "it"], ["--help"]]
    before = [run(*line).stdout for line in words]
    assert len(every_cache(home)) >= 3
    assert before[1] == "user\n"

    for path in every_cache(home):
        SPOILERS[spoiler](path)

    for line, stdout in zip(words, before, strict=True):
        done = run(*line, timeout=10)
        assert (done.returncode, done.stdout, done.stderr) == (0, stdout, "")


def test_a_cache_folder_that_is_a_file_is_done_without(run, it, home):
    (home / "cache").write_text("")
    settle(home)

    check = [run(*words.split()) for words in ("list", "run it", "--help")]

    assert [(done.returncode, done.stderr) for done in check] == [(0, "")] * 3


@pytest.mark.slow
def test_twenty_runs_at_once_on_one_cache_disturb_nobody(btplug, it, home, tmp_path):
    settle(home)
    lines = [["run", "it"], ["list", "--json"], ["--help"], ["info", "it", "--json"]]

    started = [
        (line, subprocess.Popen([str(btplug.script), *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        for line in lines * 5
    ]  # fmt: skip
    done = [
        (line[0], *process.communicate(timeout=60), process.returncode)
        for line, process in started
    ]

    assert {(code, error) for _, _, error, code in done} == {(0, "")}
    for line in lines:
        assert len({out for word, out, _, _ in done if word == line[0]}) == 1
    assert not [p for p in home.rglob("*") if ".tmp" in p.name]


@pytest.mark.slow
def test_twenty_who_set_one_key_at_once_leave_one_whole_value(btplug, it, home):
    values = [str(n) * 5000 for n in range(10, 30)]

    started = [
        subprocess.Popen([str(btplug.script), "config", "set", "it.word", value], stderr=subprocess.DEVNULL)
        for value in values
    ]  # fmt: skip
    codes = [process.wait(60) for process in started]

    assert codes == [0] * 20
    assert (home / "settings/it/word").read_text() in values
    assert os.listdir(home / "settings/it") == ["word"]


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_old_or_new_and_nothing_half(btplug, it, home):
    """Spread over the time that a whole run takes."""
    settle(home)
    words = [str(btplug.script), "config", "set", "it.word"]
    begun = time.monotonic()
    subprocess.run([*words, "x" * 9000], stderr=subprocess.DEVNULL, check=True)
    whole = time.monotonic() - begun
    values = {"x" * 9000}
    written = home / "settings/it/word"

    for n in range(16):
        values.add(value := str(n % 10) * 9000)
        process = subprocess.Popen([*words, value], stderr=subprocess.DEVNULL)
        reader = subprocess.Popen(
            [str(btplug.script), "list"], stdout=subprocess.DEVNULL
        )
        time.sleep(whole * n / 16)
        process.kill(), reader.kill()
        process.wait(), reader.wait()
        assert written.read_text() in values

    assert btplug("run", "it").returncode == 0
    assert btplug("list").returncode == 0


def test_what_a_killed_process_left_is_swept_up(btplug, it, home):
    btplug("config", "set", "it.word", "x")
    stray = home / "settings/it/.tmp-1-word-abc"
    stray.write_text("half")
    then = time.time() - 3600
    os.utime(stray, (then, then))
    assert btplug("run", "it").stdout == "x\n"

    btplug("config", "set", "it.word", "y")

    assert os.listdir(home / "settings/it") == ["word"]


@pytest.mark.slow
@pytest.mark.parametrize("days", [-1, 1, 3650])
def test_a_clock_that_was_changed_makes_no_old_answer_a_new_one(days, btplug, it, home):
    """Seen from now, what was written then is so many days off."""
    then = time.time() + days * 86400
    for path in [*home.rglob("*"), home]:
        os.utime(path, (then, then))
    assert [btplug("run", "it").stdout for _ in range(2)] == ["hello\n"] * 2
    assert "Do it" in btplug("list").stdout

    path = it / "config.yaml"
    path.write_text(
        path.read_text().replace("hello", "later").replace("Do it", "Be it")
    )

    assert btplug("run", "it").stdout == "later\n"
    assert "Be it" in btplug("list").stdout


# -- limits and environments


@pytest.mark.slow
@pytest.mark.parametrize("umask", ["000", "777"])
def test_any_umask_will_do(umask, run, it, home, ordinary):
    settle(home)
    prefix = [*ordinary, "sh", "-c", f'umask {umask}; exec "$0" "$@"']

    check_reading(run, prefix=prefix)
    check_reading(run, prefix=prefix)

    done = run("config", "set", "it.word", "new", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert run("run", "it", prefix=ordinary).stdout == "new\n"


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
    assert time.monotonic() - begun < 20
    again = run("list", "--json", prefix=prefix)

    assert first_time.returncode == 0, first_time.stderr
    rows = [row for row in json.loads(first_time.stdout) if row["source"] == "user"]
    assert len(rows) == 1000
    assert {row["state"] for row in rows} == {"ready"}
    assert again.stdout == first_time.stdout
    assert run("run", "it", prefix=prefix).stdout == "fine\n"
    assert "did you mean" in run("run", "itt", prefix=prefix).stderr
    assert run("--help", prefix=prefix).stdout.count("\n") > 1000


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


def test_a_working_directory_that_is_gone_is_no_reason_to_fail(shell, it):
    for words in ("list", "run it", "--help", "info it", "config show it", "doctor"):
        done = shell(f"mkdir d; cd d; rmdir ../d; $B {words}")
        assert (done.returncode, done.stderr) == (0, ""), words


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


def test_nothing_in_the_working_directory_runs_or_counts(run, it, clone, marks):
    check_reading(run, cwd=clone)

    assert marks() == []
    assert run("run", "evil", cwd=clone).returncode == 3


def test_what_lies_there_would_have_left_its_mark(clone, marks):
    subprocess.run([sys.executable, "-c", "import json, btplug"], cwd=clone, check=True)

    assert [Path(mark).name for mark in marks()] == ["json.py", "__init__.py"]


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
    for words, code in READING.items():
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
