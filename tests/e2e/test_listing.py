"""What ``list`` and ``info`` tell of plugins."""

import json
import shutil

import pytest

CONFIG = "word: hello\ncount: 5\n"


@pytest.fixture
def it(command):
    return command("it", config=CONFIG)


def rows(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- list


def test_list_has_one_row_a_plugin_in_the_order_of_names(btplug, command, transport):
    command("b", version="'2.1'")
    transport("a")
    command("c", api=7)

    lines = [line.split() for line in btplug("list").lines]

    mine = [line for line in lines if line[0] in ("a", "b", "c")]
    assert lines[0] == [
        "name", "kind", "version", "state", "trust", "source", "summary",
    ]  # fmt: skip
    assert [line[:6] for line in mine[:2]] == [
        ["a", "transport", "1.0.0", "ready", "trusted", "user"],
        ["b", "cli", "2.1", "ready", "trusted", "user"],
    ]
    assert mine[2][:5] == ["c", "cli", "broken", "untrusted", "user"]
    assert sorted(line[0] for line in lines[1:]) == [line[0] for line in lines[1:]]


@pytest.mark.parametrize("kind", ["cli", "transport"])
def test_list_of_one_kind_leaves_the_other_out(kind, btplug, it, transport):
    transport("wire")

    found = {
        row["name"]: row["kind"]
        for row in rows(btplug("list", "--json", "--kind", kind))
    }

    assert set(found.values()) == {kind}
    assert ("it" in found) == (kind == "cli")
    assert ("wire" in found) == (kind == "transport")


def test_list_says_where_a_plugin_comes_from(btplug, command, tmp_path):
    command("mine")
    command("theirs", where=tmp_path / "dir")
    command("found", where=tmp_path / "path" / "cli_plugins")

    done = btplug("--plugin-dir", "dir", "list", "--json", BTPLUG_PLUGIN_PATH="path")

    source = {row["name"]: row["source"] for row in rows(done)}
    assert source["mine"] == "user"
    assert source["theirs"] == "plugin-dir"
    assert source["found"] == "path"
    assert source["table-display"] == "shipped"


def test_the_plugins_of_the_working_directory_are_listed_last(
    btplug, command, transport, tmp_path
):
    command("clone", where=tmp_path / "cli_plugins")
    transport("wire", where=tmp_path / "transport_plugins")
    command("clone")

    found = [
        row for row in rows(btplug("list", "--json")) if row["source"] == "project"
    ]

    assert [(row["name"], row["state"]) for row in found] == [
        ("clone", "shadowed"),
        ("wire", "ready"),
    ]


@pytest.mark.slow
def test_list_and_list_json_are_the_same_from_the_cache(btplug, it, settled, command):
    command("bad", api=7)
    first = btplug("list", "--json").stdout, btplug("list").stdout
    settled()
    btplug("list")
    assert btplug("doctor", "--json").returncode == 4

    assert (btplug("list", "--json").stdout, btplug("list").stdout) == first


@pytest.mark.slow
def test_a_change_of_a_manifest_is_seen_at_once_though_it_is_cached(
    btplug, it, settled
):
    settled()
    btplug("list"), btplug("run", "it")
    assert (it / "config.yaml").read_text().count("Do it") == 1

    def summary():
        return next(r for r in rows(btplug("list", "--json")) if r["name"] == "it")

    for new in ("Be it", "See it"):
        text = (it / "config.yaml").read_text()
        old = summary()["summary"]
        (it / "config.yaml").write_text(text.replace(old, new))
        assert summary()["summary"] == new
    (it / "config.yaml").write_text("broken")
    assert summary()["state"] == "broken"
    shutil.rmtree(it)
    assert "it" not in {row["name"] for row in rows(btplug("list", "--json"))}


def test_a_changed_default_reaches_a_plugin_whose_settings_are_cached(
    btplug, command, settled
):
    folder = command(
        "it",
        "return self.word",
        initialize='self.word = config["word"]',
        config="word: one",
    )
    settled()
    assert btplug("run", "it").stdout == "one\n"
    assert btplug("run", "it").stdout == "one\n"

    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("one", "two"))

    assert btplug("run", "it").stdout == "two\n"


# -- info


def test_info_shows_all_of_the_manifest(btplug, command):
    folder = command(
        "it", transports="[http]", permissions="{network: any, read: [state]}",
        config=CONFIG,
    )  # fmt: skip

    facts = rows(btplug("info", "it", "--json"))

    assert facts == {
        "name": "it",
        "kind": "cli",
        "summary": "Do it",
        "version": "1.0.0",
        "api": 1,
        "entry": "plugin:Plugin",
        "transports": ["http"],
        "permissions": {"network": ["any"], "read": ["state"], "write": []},
        "source": "user",
        "state": "ready",
        "trust": "trusted",
        "error": None,
        "path": f"{folder}/config.yaml",
        "config": {
            "count": {"value": 5, "origin": f"{folder}/config.yaml"},
            "word": {"value": "hello", "origin": f"{folder}/config.yaml"},
        },
    }


def test_info_shows_the_same_as_text(btplug, it):
    text = btplug("info", "it").stdout
    assert "every file and folder that its command line names, when confined" in text

    for fact in ("Do it", "1.0.0", "plugin:Plugin", "user", "ready", "hello", str(it)):
        assert fact in text


def test_info_options_shows_what_can_be_given(btplug, command):
    execute = """
    @click.argument("peer")
    @click.option("--timeout", "-t", type=float, required=True, help="Seconds.")
    def execute(self, data=None, *, peer, timeout):
        return None
    """
    command("it", execute, top="import click")

    assert rows(btplug("info", "it", "--options", "--json")) == [
        {"name": "peer", "kind": "argument", "words": ["peer"], "type": "text", "required": True, "help": None},
        {"name": "timeout", "kind": "option", "words": ["--timeout", "-t"], "type": "float", "required": True, "help": "Seconds."},
    ]  # fmt: skip
    assert "--timeout -t" in btplug("info", "it", "--options").stdout


def test_info_schema_is_the_json_schema_of_the_configuration(btplug, command):
    top = """
    from dataclasses import dataclass

    @dataclass
    class Config:
        timeout: float = 2.0
        key: btplug.Secret | None = None
    """
    command("it", top=top, members="Config = Config")

    text = btplug("info", "it", "--schema").stdout

    schema = json.loads(text)
    assert "http" not in schema.get("$schema", "")
    config = schema["$defs"]["Config"] if "$defs" in schema else schema
    assert config["properties"]["timeout"] == {"type": "number", "default": 2.0}
    assert "key" in config["properties"]


def test_info_of_a_shadowed_or_disabled_plugin_says_so(btplug, it):
    btplug("disable", "it")

    facts = rows(btplug("info", "it", "--json"))

    assert facts["state"] == "disabled"
    assert facts["error"] == "enable it with: btplug enable it"


def test_info_shows_what_it_can_though_a_file_of_the_user_is_broken(btplug, it, home):
    (home / "config.yaml").write_text("plugins: [\n")

    done = btplug("info", "it")

    assert done.returncode == 0
    assert "Do it" in done.stdout
    assert f"btplug: warning: {home}/config.yaml:2: found broken YAML" in done.stderr


@pytest.mark.parametrize(
    "words", [("--plugin-dir", "dev", "--help"), ("--help", "--plugin-dir", "dev")]
)
def test_help_lists_what_lies_in_a_plugin_dir(words, btplug, command, tmp_path):
    command("mine", where=tmp_path / "dev")

    done = btplug(*words)

    assert done.returncode == 0
    assert any(line.split()[:1] == ["mine"] for line in done.lines)
