"""What btplug tells of plugins and settings, and how it is changed."""

import json
import os
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
    assert lines[0] == ["name", "kind", "version", "state", "source", "summary"]
    assert [line[:5] for line in mine[:2]] == [
        ["a", "transport", "1.0.0", "ready", "user"],
        ["b", "cli", "2.1", "ready", "user"],
    ]
    assert mine[2][:4] == ["c", "cli", "broken", "user"]
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


def test_nothing_in_the_working_directory_is_found(
    btplug, command, transport, tmp_path
):
    """Walking into a cloned repository must not run its code."""
    command("clone", where=tmp_path / "cli_plugins")
    transport("wire", where=tmp_path / "transport_plugins")

    assert btplug("run", "clone").returncode == 3
    names = {row["name"] for row in rows(btplug("list", "--json"))}
    assert not names & {"clone", "wire"}


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
        "error": None,
        "path": f"{folder}/config.yaml",
        "config": {
            "count": {"value": 5, "origin": f"{folder}/config.yaml"},
            "word": {"value": "hello", "origin": f"{folder}/config.yaml"},
        },
    }


def test_info_shows_the_same_as_text(btplug, it):
    text = btplug("info", "it").stdout

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


# -- config


def test_config_path_shows_every_place(btplug, home):
    assert rows(btplug("config", "path", "--json")) == {
        "config": f"{home}/config.yaml",
        "settings": f"{home}/settings/",
        "plugins": str(home),
        "cache": f"{home}/cache",
        "state": f"{home}/state",
    }


def test_config_show_names_the_origin_of_each_value(btplug, it, home):
    (home / "config.yaml").write_text("plugins:\n  it:\n    word: user\n")
    btplug("config", "set", "it.count", "7")

    shown = rows(btplug("config", "show", "it", "--json", BTPLUG_IT__EXTRA="env"))

    assert shown == [
        {"key": "count", "value": "7", "origin": f"{home}/settings/it/count"},
        {"key": "extra", "value": "env", "origin": "BTPLUG_IT__EXTRA"},
        {"key": "word", "value": "user", "origin": f"{home}/config.yaml:3"},
    ]


def test_config_show_without_a_name_shows_btplug_s_own(btplug, home):
    btplug("config", "set", "stop_limit", "3")

    shown = {
        r["key"]: r
        for r in rows(btplug("config", "show", "--json", BTPLUG_LOG_LEVEL="info"))
    }

    assert shown["start_limit"] == {
        "key": "start_limit",
        "value": 5.0,
        "origin": "default",
    }
    assert shown["stop_limit"]["value"] == "3"
    assert shown["stop_limit"]["origin"] == f"{home}/settings/_btplug/stop_limit"
    assert shown["log_level"]["origin"] == "BTPLUG_LOG_LEVEL"


def test_config_set_and_unset_are_undone_by_one_another(btplug, home, command):
    command(
        "it",
        "return self.word",
        initialize='self.word = config["word"]',
        config="word: mine",
    )

    done = btplug("config", "set", "it.word", "new")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"set: {home}/settings/it/word\n"
    assert btplug("run", "it").stdout == "new\n"

    done = btplug("config", "unset", "it.word")
    assert done.stderr == f"removed: {home}/settings/it/word\n"
    assert btplug("run", "it").stdout == "mine\n"


def test_config_set_never_rewrites_the_user_s_file(btplug, it, home):
    text = "# mine\nplugins:\n  it: {word: user}  # keep\n"
    (home / "config.yaml").write_text(text)

    btplug("config", "set", "it.word", "new")

    assert (home / "config.yaml").read_text() == text


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("secret words\n", "secret words"),
        ("a\nb\n", "a\nb"),
        ("", ""),
        ("caf\u00e9", "caf\u00e9"),
    ],
)
def test_config_set_reads_a_value_from_stdin(typed, kept, btplug, it, home):
    done = btplug("config", "set", "it.word", "-", input=typed)

    assert done.returncode == 0
    assert (home / "settings" / "it" / "word").read_text() == kept


def test_config_set_refuses_what_is_no_text(shell, it, home):
    done = shell(r"printf 'a\377' | $B config set it.word -")

    assert done.returncode == 2
    assert "UTF-8" in done.stderr
    assert not (home / "settings").exists()


def test_config_set_with_a_closed_stdin_is_a_usage_error(shell, it, home):
    done = shell("$B config set it.word - <&-")

    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.parametrize(
    "key",
    [
        "word",
        "it",
        "it.",
        ".word",
        "it.a-b",
        "../x.y",
        "it.../x",
        "it./x",
        "it.\udcff",
        "no such.word",
    ],
)
def test_config_set_refuses_a_key_that_is_none_and_writes_nothing(
    key, btplug, it, home
):
    done = btplug("config", "set", key, "x")

    assert done.returncode == 2
    assert "expected PLUGIN.KEY or one of log_file, log_level" in done.stderr
    assert not (home / "settings").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("start_limit", "soon"),
        ("start_limit", "-1"),
        ("stop_limit", "0"),
        ("start_limit", "inf"),
        ("start_limit", "nan"),
        ("log_level", "loud"),
    ],
)
def test_config_set_refuses_a_wrong_value_of_btplug_s_own(key, value, btplug, home):
    done = btplug("config", "set", key, "--", value)

    assert done.returncode in (2, 4)
    assert value in done.stderr
    assert not (home / "settings").exists()


def test_what_config_set_wrote_is_the_operator_s_alone(shell, btplug, it, home):
    for umask in ("000", "022"):
        shell(f"umask {umask}; $B config set it.word x; $B disable it; $B enable it")

    open_to_others = [
        p for p in [home, *home.rglob("*")]
        if p.stat().st_mode & 0o022 and "cli_plugins" not in p.parts
    ]  # fmt: skip
    assert open_to_others == []


def test_a_new_home_is_closed_to_others_whatever_the_umask(shell, tmp_path):
    """Whoever may write into it can put plugins there that the operator then runs."""
    home = tmp_path / "new" / "btplug"

    done = shell(
        "umask 000; $B config set start_limit 5; $B list", BTPLUG_HOME=str(home)
    )

    assert done.returncode == 0
    assert {oct(p.stat().st_mode & 0o022) for p in [home, *home.rglob("*")]} == {"0o0"}


# -- enable and disable


def test_disable_and_enable_work_for_a_broken_plugin_too(btplug, command):
    command("bad", api=9)
    command("worse", top="raise SystemExit")

    for name in ("bad", "worse"):
        assert btplug("disable", name).stderr == f"{name} is disabled\n"
    assert btplug("run", "worse").returncode == 4
    assert "'worse' is disabled" in btplug("run", "worse").stderr
    for name in ("bad", "worse"):
        assert btplug("enable", name).stderr == f"{name} is enabled\n"
    assert "called exit during load" in btplug("run", "worse").stderr


def test_a_plugin_that_is_gone_can_still_be_enabled(btplug, it):
    """Else its mark stays for a plugin that comes later under the same name."""
    btplug("disable", "it")
    it.rename(it.parent.parent / "gone")

    assert btplug("enable", "it").stderr == "it is enabled\n"


def test_enable_of_what_is_enabled_is_no_error(btplug, it):
    done = btplug("enable", "it")

    assert (done.returncode, done.stderr) == (0, "it is not disabled\n")


def test_a_disabled_plugin_is_listed_and_offered_by_no_help(btplug, it):
    btplug("disable", "it")

    row = next(r for r in rows(btplug("list", "--json")) if r["name"] == "it")
    assert (row["state"], row["error"]) == (
        "disabled",
        "enable it with: btplug enable it",
    )
    assert "Do it" not in btplug("--help").stdout
    assert btplug("it").returncode == 4


# -- doctor


def test_doctor_finds_nothing_wrong_where_nothing_is(btplug, it, transport):
    transport("wire", "time.sleep(0.05)")

    done = btplug("doctor", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(found) == ["versions", "places", "index", "settings", "plugins"]
    versions = {row["name"]: row["version"] for row in found["versions"]}
    assert versions["btplug"] == "0.1.0"
    assert versions["click"]
    assert "user" in {place["source"] for place in found["places"]}
    plugins = {row["name"]: row for row in found["plugins"]}
    assert plugins["it"]["milliseconds"] is None
    assert 50 <= plugins["wire"]["milliseconds"] < 2000
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


# -- recovery: what must work though the operator's own files are broken


@pytest.mark.parametrize(
    "content",
    [
        b"plugins: [",
        b"nope: 1\n",
        b"\xff",
        b"- x\n",
        b"plugins: 5\n",
        b"log_level: 5\nstart_limit: soon\n",
    ],
)
def test_recovery_works_with_a_broken_user_file(content, btplug, it, home):
    (home / "config.yaml").write_bytes(content)

    for words in (
        ["list"], ["--help"], ["config", "path"], ["config", "set", "it.word", "x"],
        ["disable", "it"], ["enable", "it"], ["info", "it"], ["--version"],
    ):  # fmt: skip
        assert btplug(*words).returncode == 0, words


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: 1\nb: c: d\n", ":2: found broken YAML"),
        (b"\nnope: 1\n", ":2: nope: found an unknown key, expected one of log_file"),
        (b"plugins:\n  it: 5\n", ":2: plugins.it: found 5 (int), expected a mapping"),
        (b"start_limit: soon\n", ":1: start_limit: found 'soon', expected a number"),
        (b"plugins: 5\n", ":1: plugins: found 5"),
    ],
)
def test_a_broken_user_file_is_exit_4_with_its_line_when_a_plugin_runs(
    content, what, btplug, it, home
):
    (home / "config.yaml").write_bytes(content)

    done = btplug("run", "it")

    assert done.returncode == 4
    assert f"{home}/config.yaml{what}" in done.stderr


def test_a_user_file_that_is_a_folder_is_told_so(btplug, it, home):
    (home / "config.yaml").mkdir()

    done = btplug("run", "it")

    assert done.returncode == 4
    assert f"{home}/config.yaml: found a folder, expected a regular file" in done.stderr
