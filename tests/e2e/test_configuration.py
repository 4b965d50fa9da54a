"""``config``, ``enable`` and ``disable``; what works though files are broken."""

import json

import pytest

CONFIG = "word: hello\ncount: 5\n"


@pytest.fixture
def it(command):
    return command("it", config=CONFIG)


def rows(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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


@pytest.mark.parametrize("target", ["gone", "config.yaml", "there"])
@pytest.mark.parametrize(
    "path", ["config.yaml", "settings/it/word", "settings/_btplug/run_limit"]
)
def test_settings_behind_a_link_are_refused_wherever_it_leads(
    path, target, btplug, it, home
):
    """A link that led nowhere was as good as no settings: a limit was gone."""
    (home / "there").write_text("run_limit: 1")
    place = home / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(place if target == "config.yaml" else home / target)

    shows = ["config", "show", "it"] if "_btplug" not in path else ["config", "show"]
    for words in (["run", "it"], shows):
        done = btplug(*words)
        assert (done.returncode, done.stdout) == (4, ""), words
        assert f"{place}: found a link, expected a regular file\n" in done.stderr


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
        ("a" * 65_536 + "\n", "a" * 65_536),
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


@pytest.mark.parametrize(
    "line",
    [
        "false | $B config set it.word -",
        "echo | $B config set it.word -",
        "$B config set it.word - </dev/null",
        "$B config set it.word - <&-",
    ],
)
def test_config_set_from_an_empty_stdin_keeps_what_was_there(
    line, shell, btplug, it, home
):
    """What should have written the secret failed: it must not be lost too."""
    btplug("config", "set", "it.word", "good")

    done = shell(line)

    assert done.returncode == 2
    assert done.stderr == (
        "btplug: error: it.word: found nothing on stdin, expected a value\n"
        "  fix:   look at what writes it; an empty value is set with: "
        "btplug config set it.word ''\n"
    )
    assert (home / "settings" / "it" / "word").read_text() == "good"
    assert btplug("config", "set", "it.word", "").returncode == 0
    assert (home / "settings" / "it" / "word").read_text() == ""


def test_config_set_reads_no_more_than_a_value_may_have(shell, it, home):
    """A limit on memory that reading it all would meet."""
    done = shell("ulimit -v 1000000; $B config set it.word - </dev/zero")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "btplug: error: it.word: found a value of more than 65,536 bytes, "
        "expected at most that\n"
    )
    assert not (home / "settings").exists()


def test_config_set_asks_on_a_terminal_and_shows_nothing(terminal, it, home):
    term = terminal("config", "set", "it.word", "-")
    term.wait_for("Value of it.word: ")

    term.type("hunter2\n")

    assert term.end() == 0
    assert "hunter2" not in term.text
    assert (home / "settings" / "it" / "word").read_text() == "hunter2"


@pytest.mark.parametrize(("typed", "code"), [("\x04", 2), ("\x03", 130)])
def test_config_set_that_is_left_at_its_question_writes_nothing(
    typed, code, terminal, it, home
):
    term = terminal("config", "set", "it.word", "-")
    term.wait_for("Value of it.word: ")

    term.type(typed)

    assert term.end() == code
    assert not (home / "settings").exists()


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
        (
            b"plugins:\n  it: 5\n",
            ":2: plugins.it: found a value of type int, expected keys and values",
        ),
        (b"start_limit: soon\n", ":1: start_limit: found 'soon', expected a number"),
        (b"plugins: 5\n", ":1: plugins: found a value of type int"),
        (
            b'log_file: "a\\0b"\n',
            ":1: log_file: found 'a\\x00b', expected the name of a file",
        ),
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


@pytest.mark.parametrize(
    "text",
    [
        "plugins: {it: S3CRET}",
        "plugins:\n  it:\n    token:S3CRET",
        "plugins: {it: [{token: S3CRET}]}",
        "plugins: {it: {token: !S3CRET x}}",
        "plugins: S3CRET",
    ],
)
def test_a_slip_in_a_file_shows_nothing_that_may_be_a_secret(
    text, btplug, command, home
):
    command("it")
    (home / "config.yaml").write_text(text)

    for words in (["run", "it"], ["run", "--json", "it"], ["doctor"]):
        done = btplug(*words)
        assert done.returncode == 4
        assert "S3CRET" not in done.stdout + done.stderr


def test_a_slip_in_a_manifest_reaches_neither_list_nor_cache(btplug, command, home):
    folder = command("it")
    with (folder / "config.yaml").open("a") as file:
        file.write("config:\n  token:S3CRET\n")

    done = btplug("list", "--json")

    assert "S3CRET" not in done.stdout + done.stderr
    assert "expected keys and values" in done.stdout


@pytest.mark.parametrize("setting", ["log_level: loud", "start_limit: soon"])
def test_a_wrong_setting_of_btplug_is_one_error_at_the_start(
    setting, btplug, command, home, marks
):
    command("it", 'import logging\nmark("executing")', transports=None)
    (home / "config.yaml").write_text(setting)

    done = btplug("run", "it")

    assert done.returncode == 4
    assert done.stderr.startswith(f"btplug: error: {home}/config.yaml:1: ")
    assert done.stderr.count("fix:") == 1
    assert marks() == []


def test_a_variable_reaches_a_field_with_capitals(btplug, command):
    top = """
    from dataclasses import dataclass

    @dataclass
    class Config:
        maxSize: int = 3
    """
    command(
        "it",
        "return str(self.config.maxSize)",
        top=top,
        members="Config = Config",
        initialize="self.config = config",
    )

    assert btplug("run", "it", BTPLUG_IT__MAXSIZE="4").stdout == "4\n"


def test_a_choice_that_is_none_names_all_there_are(btplug, command):
    top = """
    from dataclasses import dataclass
    from typing import Literal

    @dataclass
    class Config:
        mode: Literal["a", "b"] = "a"
    """
    command("it", top=top, members="Config = Config")

    done = btplug("run", "--set", "mode=c", "it")

    assert "mode: found 'c', expected one of 'a', 'b'" in done.stderr


def test_a_setting_that_was_taken_back_leaves_no_plugin_behind(btplug, home):
    btplug("config", "set", "gone.x", "1")
    btplug("config", "unset", "gone.x")

    assert btplug("doctor").returncode == 0
