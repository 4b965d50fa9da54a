"""``doctor`` starts the transports and tells what is broken."""

import json
import os

import pytest

CONFIG = "word: hello\ncount: 5\n"


@pytest.fixture
def it(command):
    return command("it", config=CONFIG)


# -- doctor


def test_doctor_finds_nothing_wrong_where_nothing_is(btplug, it, transport):
    transport("wire", "time.sleep(0.05)")

    done = btplug("doctor", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(found) == [
        "versions", "trust", "confinement", "places", "index", "settings", "plugins",
    ]  # fmt: skip
    versions = {row["name"]: row["version"] for row in found["versions"]}
    assert versions["btplug"] == "0.1.0"
    assert versions["click"]
    assert "user" in {place["source"] for place in found["places"]}
    plugins = {row["name"]: row for row in found["plugins"]}
    assert plugins["it"]["milliseconds"] is None
    assert 50 <= plugins["wire"]["milliseconds"] < 10_000
    assert {row["state"] for row in found["plugins"]} == {"ready"}


def test_doctor_says_the_same_as_text(btplug, it, transport):
    transport("wire")

    done = btplug("doctor")

    assert done.returncode == 0
    for word in ("versions:", "places:", "index:", "plugins:", "wire", "milliseconds"):
        assert word in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({"initialize": 'raise RuntimeError("no wire")'}, "wire failed to initialise: RuntimeError: no wire"),
        ({"top": "raise SystemExit"}, "wire called exit during load"),
        ({"initialize": "time.sleep(60)"}, "wire did not initialise in 0.3 s"),
        ({"api": 8}, "plugin.api: found 8 (int), expected 1"),
    ],
)  # fmt: skip
def test_doctor_ends_with_4_where_a_transport_is_broken(
    broken, what, btplug, transport
):
    transport("wire", **broken)
    transport("good", shutdown='mark("stopped")')

    done = btplug("doctor", "--json", BTPLUG_START_LIMIT="0.3")
    text = btplug("doctor", BTPLUG_START_LIMIT="0.3")

    assert done.returncode == text.returncode == 4
    plugins = {row["name"]: row for row in json.loads(done.stdout)["plugins"]}
    assert plugins["wire"]["state"] == "broken"
    assert what in plugins["wire"]["error"]
    assert what in text.stdout
    assert plugins["good"]["state"] == "ready"


def test_doctor_ends_with_4_where_a_manifest_is_broken_and_runs_no_command(
    btplug, command, marks
):
    command("bad", api=8)
    command("it", top='mark("imported")')

    assert btplug("doctor").returncode == 4
    assert marks() == []


def test_doctor_ends_with_4_where_a_file_of_the_user_is_broken(btplug, home):
    home.mkdir()
    (home / "config.yaml").write_text("strat_limit: 5\n")

    done = btplug("doctor", "--json")

    assert done.returncode == 4
    (problem,) = json.loads(done.stdout)["settings"]
    assert problem["error"].startswith(
        f"{home}/config.yaml:1: strat_limit: found an unknown key"
    )
    assert problem["fix"] == "did you mean start_limit?"


def test_doctor_says_of_a_disabled_transport_nothing_but_that(btplug, transport, marks):
    transport("wire", 'mark("started")')
    btplug("disable", "wire")

    done = btplug("doctor", "--json")

    row = next(r for r in json.loads(done.stdout)["plugins"] if r["name"] == "wire")
    assert (row["state"], row["milliseconds"]) == ("disabled", None)
    assert done.returncode == 0
    assert marks() == []


def test_doctor_tells_a_missing_from_a_fresh_from_a_stale_index(btplug, it, settled):
    def index():
        (row,) = json.loads(btplug("doctor", "--json").stdout)["index"]
        return row["state"]

    assert index() == "missing"
    settled()
    btplug("list")
    assert index() == "fresh"
    os.utime(it / "config.yaml")
    assert index() == "stale"


def test_doctor_ends_with_4_where_a_place_cannot_be_looked_into(btplug, tmp_path):
    (tmp_path / "file").write_text("")
    path = f"{tmp_path / 'nowhere'}{os.pathsep}{tmp_path / 'file'}"

    done = btplug("doctor", "--json", BTPLUG_PLUGIN_PATH=path)

    assert done.returncode == 4
    places = json.loads(done.stdout)["places"]
    errors = {os.path.basename(place["path"]): place["error"] for place in places}
    assert errors.pop("nowhere") == "No such file or directory"
    assert errors.pop("file") == "Not a directory"
    assert set(errors.values()) == {None}


def test_doctor_finds_a_transport_that_is_needed_and_not_there(btplug, command):
    command("it", transports="[htttp]")

    done = btplug("doctor", "--json")

    assert done.returncode == 4
    (problem,) = json.loads(done.stdout)["settings"]
    assert problem["error"] == "it needs the transport 'htttp', and there is none"
    assert problem["fix"] == "did you mean http?"
