"""Folders that hold what is no file, or have no name to speak of."""

import json
import os
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

    # A folder holds nothing; with anything else in it, the plugin cannot be accepted.
    refused = words == "run it" and kind != "folder"
    assert done.returncode == (4 if refused else 0), done.stderr
    assert not refused or f"where: {folder / 'trap.py'}" in done.stderr


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
