"""Where the values of options come from, and how help shows it."""

import json
import re

import pytest

TOP = """
import click
from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class Config:
    timeout: float = 2.0
    word: str = "hello"
    loud: bool = False
    names: tuple[str, ...] = ()
"""
EXECUTE = """
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS")
@click.option("--word", help="What to say.", show_default=True)
@click.option("--loud", is_flag=True)
@click.option("--names", multiple=True)
@click.option("--level", type=click.IntRange(1, 5), default=3)
def execute(self, data=None, *, timeout, word, loud, names, level):
    return {"timeout": timeout, "word": word, "loud": loud,
            "names": list(names), "level": level}
"""
DEFAULTS = {"timeout": 2.0, "word": "hello", "loud": False, "names": [], "level": 3}


@pytest.fixture
def it(command):
    """A plugin whose options have the names of fields of its Config."""
    return command(
        "it", EXECUTE, top=TOP, members="Config = Config", config="word: mine"
    )


def result(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_option_has_the_default_of_the_field_with_its_name(btplug, it):
    assert result(btplug("run", "--json", "it")) == {**DEFAULTS, "word": "mine"}


def test_a_word_on_the_command_line_wins_over_every_layer(btplug, it, home):
    (home / "config.yaml").write_text("plugins: {it: {word: user}}")
    btplug("config", "set", "it.word", "written")
    words = ["run", "--json", "--set", "word=set", "it"]

    done = btplug(*words, "--word", "given", BTPLUG_IT__WORD="env")

    assert result(done)["word"] == "given"


@pytest.mark.slow
def test_each_layer_wins_over_those_below_it(btplug, it, home):
    """--set, environment, config set, the user's file, the plugin's, the class."""

    def word(*settings, **env):
        words = [part for setting in settings for part in ("--set", setting)]
        return result(btplug("run", "--json", *words, "it", **env))["word"]

    assert word() == "mine"
    (home / "config.yaml").write_text("plugins: {it: {word: user}}")
    assert word() == "user"
    btplug("config", "set", "it.word", "written")
    assert word() == "written"
    assert word(BTPLUG_IT__WORD="env") == "env"
    assert word("word=set", BTPLUG_IT__WORD="env") == "set"
    assert word("word=set", "word=twice") == "twice"
    assert word("it.word=named") == "named"
    btplug("config", "unset", "it.word")
    (home / "config.yaml").unlink()
    assert word() == "mine"


def test_a_setting_of_another_plugin_is_not_this_plugin_s(btplug, it, command):
    command("other")

    done = btplug("run", "--json", "--set", "other.word=theirs", "it")

    assert result(done)["word"] == "mine"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("htttp.timeout=1", "did you mean http? "), ("zzz.key=1", "")],
)
def test_a_setting_of_a_plugin_that_is_not_there_is_exit_2(btplug, it, word, hint):
    owner = word.split(".")[0]

    done = btplug("run", "--set", word, "it")

    assert done.returncode == 2
    assert f"found no plugin named {owner!r}" in done.stderr
    assert done.stderr.endswith(
        f"  fix:   {hint}a nested value is set whole: --set '{owner}={{key: value}}'\n"
    )


def test_a_set_on_run_reaches_the_transport_it_names(btplug, command, transport, marks):
    folder = transport("wire", 'mark(config["speed"])')
    with (folder / "config.yaml").open("a") as file:
        file.write("config:\n  speed: slow\n")
    command("it", transports="[wire]")

    btplug("run", "it")
    btplug("run", "--set", "wire.speed=fast", "it")

    assert marks() == ["slow", "fast"]


def test_a_configured_value_that_the_option_refuses_is_an_error_and_not_used(
    btplug, it
):
    done = btplug("run", "--set", "timeout=-1", "it")

    assert done.returncode in (2, 4)
    assert "-1.0 is not in the range x>0" in done.stderr


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        (["--set", "timeout=soon"], "--set timeout: timeout: found 'soon', expected float", "see the types with: btplug info it --schema"),
        (["--set", "wrod=x"], "--set wrod: wrod: found an unknown key, expected one of loud, names, timeout, word", "did you mean word?"),
        (["--set", "loud=maybe"], "--set loud: loud: found 'maybe', expected bool", "see the types with: btplug info it --schema"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_exit_4_with_its_origin(settings, what, fix, btplug, it):
    done = btplug("run", *settings, "it")

    assert done.returncode == 4
    assert done.stderr == f"btplug: error: {what}\n  fix:   {fix}\n"


def test_a_wrong_setting_in_a_file_is_told_with_its_line(btplug, it, home):
    (home / "config.yaml").write_text("plugins:\n  it:\n    word: x\n    loud: 5\n")

    done = btplug("run", "it")

    assert done.returncode == 4
    assert done.stderr.startswith(
        f"btplug: error: {home}/config.yaml:4: loud: found 5 (int), expected bool\n"
    )


def test_help_is_shown_though_the_configuration_is_wrong(btplug, it):
    done = btplug("run", "--set", "loud=maybe", "it", "--help")

    assert done.returncode == 0
    assert "maybe (--set loud)" in done.stdout


def test_help_shows_each_key_with_value_and_origin(btplug, it, home):
    (home / "config.yaml").write_text("plugins:\n  it:\n    loud: true\n")
    btplug("config", "set", "it.timeout", "9")

    done = btplug("run", "--set", "names=[a]", "it", "--help")

    lines = [" ".join(line.split()) for line in done.lines]
    start = lines.index("Configuration:")
    shown = " ".join(lines[start + 1 :])
    # Paths may be shortened to what is shorter from here.
    for key, value, origin in (
        ("timeout", "9", "btplug/settings/it/timeout"),
        ("word", "mine", "btplug/cli_plugins/it/config.yaml"),
        ("loud", "True", "btplug/config.yaml:3"),
        ("names", "[a]", "--set names"),
    ):
        assert re.search(rf"\b{key} {re.escape(value)} \([^ ]*{origin}\)", shown), key


def test_help_tells_a_required_key_from_one_with_a_default(btplug, command):
    top = """
    from dataclasses import dataclass

    @dataclass
    class Config:
        token: str
        size: int = 3
    """
    command("it", top=top, members="Config = Config")

    lines = [" ".join(x.split()) for x in btplug("run", "it", "--help").lines]

    assert "token (required)" in lines
    assert "size 3 (default)" in lines


def test_help_shows_the_configured_default_of_an_option(btplug, it):
    done = btplug("run", "it", "--help")

    line = next(line for line in done.lines if "--word" in line)
    assert line.split() == [
        "--word",
        "TEXT",
        "What",
        "to",
        "say.",
        "[default:",
        "mine]",
    ]


def test_help_shows_the_docstring_of_the_plugin(btplug, command):
    command("it", doc="Do it well.\n\n    With care.\n    ")

    done = btplug("run", "it", "--help")

    assert done.stdout.startswith(
        "Usage: btplug run it [OPTIONS]\n\n  Do it well.\n\n  With care.\n\nOptions:\n"
    )


def test_a_plugin_without_docstring_shows_its_summary(btplug, command):
    command("it", doc="")

    assert "\n  Do it\n" in btplug("run", "it", "--help").stdout


@pytest.mark.slow
def test_the_value_of_a_setting_may_be_any_text(btplug, it):
    for text in ("a=b", "null", "5", "[", "- x", "caf\u00e9", " spaced ", "\udcff"):
        done = btplug("run", "--json", "--set", f"word={text}", "it")
        assert result(done)["word"] == text
