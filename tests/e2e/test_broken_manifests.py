"""A manifest that says nothing good costs one row of a listing."""

import json
import os
import shutil
import subprocess

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


@pytest.mark.slow
def test_a_manifest_of_a_gigabyte_costs_neither_time_nor_memory(btplug, command):
    """Sparse: it takes no room on the disk."""
    folder = command("bad")
    os.truncate(folder / "config.yaml", 2**30)

    # 700 MiB of addresses: no room for the file.
    line = f"ulimit -v 700000; exec {btplug.script} list"
    process = subprocess.Popen(["sh", "-c", line], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)

    assert process.returncode == 0
    assert used.ru_utime + used.ru_stime < 2
    assert btplug("run", "bad").returncode == 4


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
