"""Homes that are read-only, impossible, missing, or under an odd umask."""

import os
import subprocess

import pytest
from processes import (
    BOUND,
    FEW,
    READING,
    check_reading,
    check_writing_is_refused,
    settle,
    tree,
)


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
def it(command):
    return command(
        "it",
        "return self.word",
        initialize='self.word = config["word"]',
        config="word: hello",
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

    runs = ("run it", "it", "run it --help")
    reading = {words: code for words, code in READING.items() if words not in runs}
    check_reading(run, reading, **env)
    check_writing_is_refused(run, "Not a directory", **env)
    # Consent can be kept nowhere; for one call it is given on the command line.
    assert run("run", "it", **env).returncode == 6
    assert run("--plugin-dir", str(home), "run", "it", **env).stdout == "hello\n"


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


# -- limits and environments


@pytest.mark.slow
@pytest.mark.parametrize("umask", ["000", "777"])
def test_any_umask_will_do(umask, run, it, home, ordinary):
    settle(home)
    prefix = [*ordinary, "sh", "-c", f'umask {umask}; exec "$0" "$@"']

    for _ in range(2):
        check_reading(run, FEW, prefix=prefix)

    done = run("config", "set", "it.word", "new", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert run("run", "it", prefix=ordinary).stdout == "new\n"
