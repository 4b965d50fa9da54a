"""Settings in layers: who wins, where a value came from, what is refused."""

import itertools
import logging
import os
import re
import sys
import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._folders import folders, load_cached, store_cached
from btplug.errors import BtplugError, ConfigError, UsageError
from btplug.manifest import Manifest, Permissions
from btplug.schema import resolve
from btplug.settings import HOST, Setting, Settings, read_user_file, write_setting


def manifest(name="greet", **config):
    return Manifest(
        name=name,
        kind="cli",
        entry="plugin:P",
        summary="s",
        version="1",
        api=1,
        transports=None,
        permissions=Permissions(),
        config=config,
        root=f"/plugins/{name}",
    )


@pytest.fixture
def user(home):
    """Write the user's config.yaml and return its path."""

    def write(text):
        home.mkdir(exist_ok=True)
        path = home / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


def refusal(work):
    with pytest.raises(BtplugError) as caught:
        work()
    return str(caught.value)


# -- layers


@dataclass(frozen=True)
class Config:
    level: str = "default"


LAYERS = ["manifest", "user", "written", "environment", "set"]


@pytest.mark.parametrize(
    "present",
    [set(c) for n in range(6) for c in itertools.combinations(LAYERS, n)],
    ids=lambda present: "+".join(sorted(present)) or "none",
)
def test_the_highest_layer_wins_and_is_named_as_the_origin(
    user, home, monkeypatch, present
):
    origins = {"manifest": "/plugins/greet/config.yaml"}
    overrides = {}
    if "user" in present:
        path = user("plugins:\n  greet:\n    level: user\n")
        origins["user"] = f"{path}:3"
    if "written" in present:
        origins["written"] = write_setting(folders(), "greet.level", "written")
    if "environment" in present:
        monkeypatch.setenv("BTPLUG_GREET__LEVEL", "environment")
        origins["environment"] = "BTPLUG_GREET__LEVEL"
    if "set" in present:
        overrides = {"greet": {"level": "set"}}
        origins["set"] = "--set level"
    plugin = manifest(**({"level": "manifest"} if "manifest" in present else {}))

    found = Settings(overrides=overrides).of(plugin)

    config = resolve(Config, found, plugin="greet", known=frozenset())
    highest = max(present, key=LAYERS.index, default="default")
    assert config == Config(highest)
    if present:
        assert found["level"].origin == origins[highest]
        assert found["level"].is_text == (highest in LAYERS[2:])
    else:
        assert found == {}


def test_layers_are_merged_key_by_key(user, monkeypatch):
    path = user("plugins:\n  greet:\n    b: 2\n    c: 2\n")
    monkeypatch.setenv("BTPLUG_GREET__C", "3")

    found = Settings().of(manifest(a=1, b=1, c=1))

    assert found == {
        "a": Setting(1, "/plugins/greet/config.yaml"),
        "b": Setting(2, f"{path}:3"),
        "c": Setting("3", "BTPLUG_GREET__C", is_text=True),
    }


def test_a_plugin_sees_only_its_own_settings(user, monkeypatch):
    user("plugins:\n  greet: {a: 1}\n  greet-all: {b: 1}\n")
    write_setting(folders(), "other.c", "1")
    monkeypatch.setenv("BTPLUG_GREET_ALL__D", "1")
    settings = Settings(overrides={"other": {"e": "1"}})

    assert set(settings.of(manifest("greet"))) == {"a"}
    assert set(settings.of(manifest("greet-all"))) == {"b", "d"}
    assert set(settings.of(manifest("other"))) == {"c", "e"}


def test_names_that_differ_in_a_second_hyphen_keep_their_environments_apart(
    monkeypatch,
):
    monkeypatch.setenv("BTPLUG_A__B__KEY", "1")

    assert set(Settings().of(manifest("a--b"))) == {"key"}
    assert set(Settings().of(manifest("a"))) <= {"b__key"}


def test_an_empty_variable_is_an_empty_text(monkeypatch):
    monkeypatch.setenv("BTPLUG_GREET__LEVEL", "")

    assert Settings().of(manifest())["level"].value == ""


@pytest.mark.parametrize("key", sorted(HOST))
def test_btplugs_own_settings_have_layers_too(user, monkeypatch, key):
    number = isinstance(HOST[key], float)
    written, variable, file = (
        ("3", "2.5", "1") if number else ("error", "info", "debug")
    )
    assert Settings().host_setting(key) == Setting(HOST[key], "default")

    path = user(f"{key}: {file}\n")
    assert Settings().host_setting(key).origin == f"{path}:1"
    assert Settings().host(key) == (1.0 if number else "debug")

    where = write_setting(folders(), key, written)
    assert Settings().host_setting(key).origin == where
    assert Settings().host(key) == (3.0 if number else "error")

    monkeypatch.setenv(f"BTPLUG_{key.upper()}", variable)
    assert Settings().host_setting(key).origin == f"BTPLUG_{key.upper()}"
    assert Settings().host(key) == (2.5 if number else "info")


def test_the_command_line_comes_before_the_environment_for_logs(monkeypatch):
    monkeypatch.setenv("BTPLUG_LOG_LEVEL", "info")
    monkeypatch.setenv("BTPLUG_LOG_FILE", "/a")

    settings = Settings(log_level="debug", log_file="/b")

    assert settings.host_setting("log_level")[:2] == ("debug", "--log-level")
    assert settings.host_setting("log_file")[:2] == ("/b", "--log-file")


SECONDS = "expected a number of seconds above 0"


@pytest.mark.parametrize(
    "value", ["0", "-1", "x", "", "nan", "inf", "1000000", "1e400", "9" * 400]
)
def test_a_limit_that_is_no_number_of_seconds_is_refused(monkeypatch, value):
    monkeypatch.setenv("BTPLUG_START_LIMIT", value)
    shown = repr(value) if len(value) < 58 else f"'{value[:56]}..."

    assert refusal(lambda: Settings().host("start_limit")) == (
        f"BTPLUG_START_LIMIT: start_limit: found {shown}, {SECONDS}\n"
        "  fix:   change it, for example to 5.0"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("yes", "True (bool)"), ("[1]", "[1] (list)"), ("'x'", "'x'"),
        ("", "None (NoneType)"), (".nan", "nan (float)"), (".inf", "inf (float)"),
        ("0", "0 (int)"), ("9" * 400, "9" * 57 + "... (int)"),
    ],
)  # fmt: skip
def test_a_limit_of_the_users_file_is_refused_with_its_line(user, value, shown):
    path = user(f"# mine\nstop_limit: {value}\n")

    assert refusal(lambda: Settings().host("stop_limit")) == (
        f"{path}:2: stop_limit: found {shown}, {SECONDS}\n"
        "  fix:   change it, for example to 2.0"
    )


def test_a_limit_that_cannot_be_printed_is_refused_like_any_other(user):
    path = user(f"stop_limit: 0x{'f' * 5000}\n")

    assert refusal(lambda: Settings().host("stop_limit")).startswith(f"{path}:1: ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("7", "7 (int)"), ("yes", "True (bool)"), ("[]", "[] (list)")],
)
def test_a_log_level_that_is_no_text_is_refused_with_its_line(user, value, shown):
    path = user(f"log_level: {value}\n")

    assert refusal(lambda: Settings().host("log_level")).startswith(
        f"{path}:1: log_level: found {shown}, expected "
    )


def test_an_unknown_log_level_is_refused_with_its_line(user):
    path = user("\nlog_level: loud\n")

    with pytest.raises(ConfigError) as caught:
        Settings().host("log_level")

    assert caught.value.what == (
        f"{path}:2: log_level: found 'loud', "
        "expected one of debug, info, warning, error, critical"
    )


# -- the user's config.yaml


def test_a_missing_file_and_an_empty_one_say_nothing(user, home):
    assert read_user_file(str(home / "config.yaml")) == {}
    assert read_user_file(user("# nothing yet\n")) == {}


def test_a_users_file_is_read_by_owner_with_lines(user):
    path = user(
        "log_level: info\nplugins:\n  greet:\n    a: [1, {b: 2}]\n    c:\n  other: {}\n"
    )

    assert read_user_file(path) == {
        "": {"log_level": Setting("info", f"{path}:1")},
        "greet": {
            "a": Setting([1, {"b": 2}], f"{path}:4"),
            "c": Setting(None, f"{path}:5"),
        },
        "other": {},
    }


KNOWN = "log_file, log_level, run_limit, start_limit, stop_limit, plugins"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "1: found a list, expected keys and values\n  fix:   write lines such as 'log_level: info'"),
        ("text\n", "1: found a str, expected keys and values\n  fix:   write lines such as 'log_level: info'"),
        ("\nloglevel: x\n", f"2: loglevel: found an unknown key, expected one of {KNOWN}\n  fix:   did you mean log_level?"),
        ("greet:\n  a: 1\n", f"1: greet: found an unknown key, expected one of {KNOWN}\n  fix:   put a plugin's settings below 'plugins:'"),
        ("plugins: [greet]\n", "1: plugins: found a value of type list, expected a mapping\n  fix:   write a plugin's name below it, and its settings below that"),
        ("plugins: greet\n", "1: plugins: found a value of type str, expected a mapping\n  fix:   write a plugin's name below it, and its settings below that"),
        ("plugins:\n  greet: 1\n", "2: plugins.greet: found a value of type int, expected keys and values, as in 'key: value'\n  fix:   indent the plugin's settings below its name"),
        ("plugins:\n  greet:\n  - a\n", "2: plugins.greet: found a value of type list, expected keys and values, as in 'key: value'\n  fix:   indent the plugin's settings below its name"),
        ("a: 1\na: 2\n", "2: found the key 'a' twice, expected each key once\n  fix:   change that line"),
        ("a: &x 1\n", "1: found an anchor (&), expected the value itself\n  fix:   change that line"),
        ("a: [\n", "2: found broken YAML (did not find expected node content)\n  fix:   mend the line, or the quotes, brackets and indentation before it"),
    ],
)  # fmt: skip
def test_a_broken_users_file_is_refused_with_file_and_line(user, text, message):
    path = user(text)

    assert refusal(lambda: Settings().of(manifest())) == f"{path}:{message}"
    with pytest.raises(ConfigError):
        Settings().host("log_level")


@pytest.mark.parametrize("name", ["''", "Greet", "../x", "a/b", "_btplug"])
def test_settings_of_what_can_be_no_plugin_are_refused(user, name):
    """An empty name would stand for btplug itself."""
    path = user(f"start_limit: 3\nplugins:\n  {name}: {{start_limit: 9}}\n")
    shown = repr(name.strip("'"))

    assert refusal(lambda: Settings().host("start_limit")) == (
        f"{path}:3: plugins: found {shown}, expected the name of a plugin\n"
        "  fix:   write a plugin's name, and its settings below that"
    )


def test_a_long_value_in_the_wrong_place_is_shown_in_part(user):
    user(f"plugins:\n  greet: {'x' * 60_000}\n")

    assert len(refusal(lambda: Settings().of(manifest()))) < 600


def test_a_number_in_the_wrong_place_that_cannot_be_printed_is_refused(user):
    path = user(f"plugins:\n  greet: 0x{'f' * 5000}\n")

    assert refusal(lambda: Settings().of(manifest())).startswith(f"{path}:2: ")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_a_users_file_that_is_no_file_is_refused(home, kind):
    home.mkdir()
    path = home / "config.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)

    assert refusal(lambda: Settings().of(manifest())).splitlines()[0] == (
        f"{path}: found a {kind}, expected a regular file"
    )


# -- config set


def test_config_set_writes_a_file_of_its_own_and_leaves_the_users_alone(user, home):
    path = user("# my comment\nlog_level: info\n")

    where = write_setting(folders(), "log_level", "debug")

    assert where == str(home / "settings" / "_btplug" / "log_level")
    assert Settings().host("log_level") == "debug"
    with open(path) as file:
        assert file.read() == "# my comment\nlog_level: info\n"


def test_config_set_twice_keeps_the_second(home):
    write_setting(folders(), "greet.a", "1")
    write_setting(folders(), "greet.a", "2")

    assert Settings().of(manifest())["a"].value == "2"
    assert os.listdir(home / "settings" / "greet") == ["a"]


def test_config_unset_takes_it_back(home):
    where = write_setting(folders(), "greet.a", "1")

    assert write_setting(folders(), "greet.a", None) == where
    assert Settings().of(manifest()) == {}


def test_config_unset_of_what_was_not_set_says_so():
    assert refusal(lambda: write_setting(folders(), "greet.a", None)) == (
        "the key 'greet.a' was not set by 'btplug config set'\n"
        "  fix:   see where its value comes from with: btplug config show PLUGIN"
    )


def test_what_config_set_writes_is_private(home):
    path = write_setting(folders(), "greet.token", "s3cret")

    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "key",
    [
        "", ".", "..", "a", "start_limits", "greet.", ".a", "greet..a", "greet.a.b",
        "../x.a", "a/b.c", "/etc.passwd", "greet.../a", "greet.a/b", "greet./etc/passwd",
        "greet.a-b", "greet.0", "gr eet.a", "greet.a b", "greet.a\n", "greet.a\0", "é.a",
        "greet.é", "_btplug.start_limit", "plugins.greet.a", "start_limit.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["1", None])
def test_config_set_refuses_a_key_that_is_none(home, key, text):
    with pytest.raises(UsageError) as caught:
        write_setting(folders(), key, text)

    assert caught.value.what == (
        f"found the key {key!r}, expected PLUGIN.KEY or one of "
        "log_file, log_level, run_limit, start_limit, stop_limit"
    )
    assert caught.value.fix
    assert not home.exists(), "nothing may be written"


@given(st.text("ab._-/\\\0 \n~*é", max_size=12), st.text("ab._-/\\\0 \n", max_size=12))
def test_config_set_writes_only_inside_its_folder(tmp_path_factory, owner, name):
    home = tmp_path_factory.getbasetemp() / "inside"
    own = folders()._replace(config=str(home))
    try:
        path = write_setting(own, f"{owner}.{name}", "x")
    except UsageError:
        return
    assert re.fullmatch(rf"{home}/settings/[a-z0-9-]+/[A-Za-z_]\w*", path)


@pytest.mark.parametrize("key", ["a" * 5000 + ".b", "greet." + "b" * 250])
def test_config_set_refuses_a_key_too_long_for_a_file(home, key):
    with pytest.raises(UsageError):
        write_setting(folders(), key, "1")

    assert not home.exists()


def test_config_set_refuses_a_plugin_name_that_no_plugin_can_have():
    with pytest.raises(UsageError):
        write_setting(folders(), "Greet.a", "1")


@pytest.mark.parametrize("key", ["start_limit", "stop_limit"])
def test_config_set_checks_btplugs_own_values(home, key):
    assert refusal(lambda: write_setting(folders(), key, "soon")) == (
        f"config set: {key}: found 'soon', {SECONDS}\n"
        f"  fix:   change it, for example to {HOST[key]!r}"
    )
    assert not home.exists()


def test_config_set_refuses_a_log_file_that_can_have_no_such_name(home):
    with pytest.raises(UsageError, match=r"'a\\x00b', expected the name of a file"):
        write_setting(folders(), "log_file", "a\0b")

    assert not home.exists()


def test_config_set_refuses_an_unknown_log_level(home):
    with pytest.raises(UsageError, match="found 'loud', expected one of debug, "):
        write_setting(folders(), "log_level", "loud")

    assert not home.exists()


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb\n", "é", "表", "\0", "'", "\r\n", "\x1b[31m", "x" * 65_536]
)
def test_what_config_set_wrote_is_read_back_to_the_letter(text):
    write_setting(folders(), "greet.a", text)

    assert Settings().of(manifest())["a"].value == text


def test_a_value_too_long_to_be_read_back_is_refused_when_it_is_set(home):
    with pytest.raises(UsageError):
        write_setting(folders(), "greet.a", "é" * 65_536)

    assert Settings().of(manifest()) == {}


def test_a_value_that_is_no_unicode_is_refused_when_it_is_set():
    """What a shell passes on that is not UTF-8 arrives as lone surrogates."""
    with pytest.raises(UsageError):
        write_setting(folders(), "greet.a", "\udcff")


def test_a_written_value_that_was_damaged_is_refused_with_its_file():
    path = write_setting(folders(), "greet.a", "1")
    with open(path, "wb") as file:
        file.write(b"\xff\xfe")

    assert refusal(lambda: Settings().of(manifest())).startswith(f"{path}: found ")


def test_a_written_value_that_is_a_folder_is_refused_with_its_path():
    path = write_setting(folders(), "greet.a", "1")
    os.unlink(path)
    os.mkdir(path)

    assert refusal(lambda: Settings().of(manifest())).startswith(
        f"{path}: found a folder, expected a regular file"
    )


def test_what_a_killed_config_set_left_behind_is_no_setting(home):
    write_setting(folders(), "greet.a", "1")
    (home / "settings" / "greet" / ".tmp-1-b-aabbccdd").write_text("half")

    assert set(Settings().of(manifest())) == {"a"}


@pytest.mark.slow
def test_config_unset_while_another_reads_hurts_neither():
    own, stop, raised = folders(), threading.Event(), []

    def change():
        while not stop.is_set():
            write_setting(own, "greet.a", "1")
            write_setting(own, "greet.a", None)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=change)
    sys.setswitchinterval(1e-6)  # change threads between any two steps
    thread.start()
    try:
        for _ in range(8000):
            try:
                found = Settings().of(manifest())
            except Exception as exc:
                raised.append(exc)
            else:
                assert found.get("a", Setting("1", "")).value == "1"
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert raised == []


# -- the cache of files


def age(*paths):
    """Make files look as if they were written long ago."""
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))


@pytest.fixture
def remembered(user, home):
    """Settings of greet, from a file, that are in the cache."""
    path = user("plugins:\n  greet:\n    a: 1\n")
    age(path)
    settings = Settings()
    settings.of(manifest())
    assert settings.unremembered
    settings.remember("greet", frozenset())
    assert not settings.unremembered
    return path


def test_files_are_read_from_the_cache_where_nothing_changed(remembered):
    settings = Settings()

    assert settings.of(manifest()) == {"a": Setting(1, f"{remembered}:3")}
    assert not settings.unremembered


def test_a_change_of_the_same_size_is_noticed(remembered):
    with open(remembered, "w") as file:
        file.write("plugins:\n  greet:\n    a: 2\n")

    assert Settings().of(manifest())["a"].value == 2


def test_a_new_file_in_its_place_is_noticed_though_its_time_is_old(remembered):
    with open(f"{remembered}.new", "w") as file:
        file.write("plugins:\n  greet:\n    a: 3\n")
    age(f"{remembered}.new")
    os.replace(f"{remembered}.new", remembered)

    assert Settings().of(manifest())["a"].value == 3


def test_a_removed_file_is_noticed(remembered):
    os.unlink(remembered)

    assert Settings().of(manifest()) == {}


def test_config_set_is_noticed(remembered):
    write_setting(folders(), "greet.b", "1")

    assert set(Settings().of(manifest())) == {"a", "b"}


def test_what_changed_just_now_is_not_cached(user, home):
    """A second change within one tick of the clock could not be told from it."""
    user("plugins:\n  greet: {a: 1}\n")
    settings = Settings()
    settings.of(manifest())
    settings.remember("greet", frozenset())

    assert not (home / "cache").exists()


def test_a_file_with_a_value_for_a_secret_field_is_not_cached(user, home):
    path = user("plugins:\n  greet: {token: s3cret}\n")
    age(path)
    settings = Settings()
    settings.of(manifest())
    settings.remember("greet", frozenset({"token"}))

    assert not (home / "cache" / "settings" / "greet").exists()
    assert Settings().of(manifest())["token"].value == "s3cret"


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\0" * 100, b"btplug 0.0.0 cpython-27 1\n1234garbage"],
    ids=["empty", "short", "zeros", "foreign"],
)
def test_a_damaged_cache_is_read_over(remembered, home, content):
    (home / "cache" / "settings" / "greet").write_bytes(content)

    assert Settings().of(manifest()) == {"a": Setting(1, f"{remembered}:3")}


def test_a_cache_of_something_else_is_read_over(remembered, home):
    fits = load_cached(str(home / "cache" / "settings" / "greet"), "settings")[0]
    for kind in ("list", "manifest", "installed"):
        store_cached(str(home / "cache" / "settings" / "greet"), kind, (fits, {}))

        assert Settings().of(manifest()) == {"a": Setting(1, f"{remembered}:3")}


# -- what a doctor looks through, and logs that are given back


def test_the_plugins_for_which_there_are_settings_are_known(user):
    assert Settings().owners() == []

    user("log_level: info\nplugins:\n  greet: {a: 1}\n  other: {}\n")
    write_setting(folders(), "third.a", "1")
    write_setting(folders(), "start_limit", "3")

    assert Settings().owners() == ["greet", "other", "third"]


def test_logs_are_set_up_once_and_given_back(monkeypatch):
    root, own = logging.getLogger(), logging.getLogger("btplug")
    before = root.handlers[:], root.level, own.level, logging.raiseExceptions
    monkeypatch.setenv("BTPLUG_LOG_LEVEL", "info")
    settings = Settings()

    settings.own_logs()
    settings.set_up_logs()
    added = [handler for handler in root.handlers if handler not in before[0]]
    level = own.level
    settings.give_back_logs()

    assert len(added) == 1
    assert level == logging.INFO
    after = root.handlers[:], root.level, own.level, logging.raiseExceptions
    assert after == before


def test_logs_of_a_library_are_never_set_up():
    before = logging.getLogger().handlers[:]

    Settings().set_up_logs()

    assert logging.getLogger().handlers == before


def test_a_log_level_of_the_command_line_is_set_up_at_once(tmp_path):
    settings = Settings(log_level="error", log_file=str(tmp_path / "log"))

    settings.own_logs()
    level = logging.getLogger("btplug").level
    settings.give_back_logs()

    assert level == logging.ERROR
    assert (tmp_path / "log").exists()
