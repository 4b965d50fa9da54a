"""Options and arguments of a plugin, as its author declares them."""

import json

import pytest

from btplug import CLIPluginRegistry

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


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--timeout", "0.5"], "timeout", 0.5),
        (["--loud"], "loud", True),
        (["--names", "a", "--names", "b"], "names", ["a", "b"]),
        (["--level", "5"], "level", 5),
        (["--word", ""], "word", ""),
        (["--word", "-"], "word", "-"),
        (["--word=--help"], "word", "--help"),
        (["--word", "caf\u00e9"], "word", "caf\u00e9"),
    ],
)
def test_a_word_is_converted_by_the_type_of_its_option(words, key, value, btplug, it):
    assert result(btplug("run", "--json", "it", *words)) == {
        **DEFAULTS,
        "word": "mine",
        key: value,
    }


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--timeout", "0"], "Invalid value for '--timeout': 0.0 is not in the range x>0."),
        (["--timeout", "soon"], "Invalid value for '--timeout': 'soon' is not a valid float range."),
        (["--level", "6"], "Invalid value for '--level': 6 is not in the range 1<=x<=5."),
        (["--word"], "Option '--word' requires an argument."),
        (["--loud=1"], "Option '--loud' does not take a value."),
        (["--wrod", "x"], "'--word'?"),
        (["more"], "Got unexpected extra argument (more)"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_exit_2_and_says_what_is_right(words, what, btplug, it, marks):
    done = btplug("run", "it", *words)

    assert done.returncode == 2
    assert done.stdout == ""
    assert what in done.stderr
    assert "Error: " in done.stderr


def test_the_short_form_names_itself_in_its_usage(btplug, it):
    assert btplug("it", "--nope").stderr.startswith("Usage: btplug it [OPTIONS]\n")


def test_a_required_option_that_is_missing_is_exit_2(btplug, command):
    execute = """
    @click.argument("peer")
    @click.option("--key", required=True)
    def execute(self, data=None, *, peer, key):
        return [peer, key]
    """
    command("it", execute, top="import click")

    assert "Missing option '--key'." in btplug("run", "it", "x").stderr
    assert "Missing argument 'PEER'." in btplug("run", "it", "--key", "x").stderr
    assert btplug("run", "it", "x").returncode == 2
    assert btplug("run", "it", "one", "--key", "two").stdout == "onetwo"


def test_a_required_option_is_satisfied_by_the_configuration(btplug, command):
    execute = """
    @click.argument("peer")
    @click.option("--key", required=True)
    def execute(self, data=None, *, peer, key):
        return f"{peer} {key}"
    """
    command("it", execute, top="import click", config="key: one\npeer: two")

    assert btplug("run", "it").stdout == "two one\n"


def test_an_own_json_flag_is_kept(btplug, command):
    execute = """
    @click.option("--json", "style", is_flag=True)
    def execute(self, data=None, *, style):
        return {"style": style}
    """
    command("it", execute, top="import click")

    assert btplug("run", "it", "--json").stdout == "style  True\n"
    assert btplug("run", "it").stdout == "style  False\n"
    assert btplug("run", "--json", "it").stdout == '{"style": false}\n'
    assert btplug("run", "it", "--help").stdout.count("--json") == 1


@pytest.mark.parametrize("declared", ["--as-json", "--json-file"])
def test_an_option_or_argument_called_json_does_not_clash_with_the_flag(
    declared, btplug, command
):
    execute = f"""
    @click.argument("json", required=False)
    @click.option({declared!r}, "json_file")
    def execute(self, data=None, *, json, json_file):
        return {{"argument": json, "option": json_file}}
    """
    command("it", execute, top="import click")

    done = btplug("run", "it", "word", declared, "file", "--json")

    assert result(done) == {"argument": "word", "option": "file"}
    assert btplug("run", "it").stdout == "argument\noption\n"


@pytest.mark.parametrize("kind", ["option", "argument"])
def test_a_parameter_called_data_fills_data(kind, btplug, command):
    name = "--data" if kind == "option" else "data"
    execute = f"""
    @click.{kind}({name!r})
    def execute(self, data=None):
        return f"got {{data!r}}"
    """
    members = """
    def before_execute(self, data):
        return data + "!"
    """
    command("it", execute, top="import click", members=members)
    words = ["--data", "x"] if kind == "option" else ["x"]

    assert btplug("run", "it", *words).stdout == "got 'x!'\n"


def test_a_configured_data_is_what_execute_gets(btplug, command):
    execute = """
    @click.option("--data")
    def execute(self, data=None):
        return f"got {data!r}"
    """
    command("it", execute, top="import click", config="data: configured")

    assert btplug("run", "it").stdout == "got 'configured'\n"
    assert btplug("run", "it", "--data", "given").stdout == "got 'given'\n"


def test_an_option_without_a_parameter_is_refused_with_the_line_to_write(
    btplug, command, marks
):
    execute = """
    @click.option("--speed")
    def execute(self, data=None):
        mark("executing")
    """
    folder = command("it", execute, top="import click")

    done = btplug("run", "it", "--speed", "5")

    assert done.returncode == 4
    assert done.stderr == (
        "btplug: error: found the option 'speed' that execute has no parameter for\n"
        f"  where: {folder}/config.yaml\n"
        "  fix:   add a parameter: def execute(self, data=None, *, speed)\n"
    )
    assert marks() == []


def test_a_parameter_that_nothing_fills_is_named(btplug, command):
    command("it", "def execute(self, data=None, *, speed):\n    return speed")

    done = btplug("run", "it")

    assert done.returncode == 4
    assert done.stderr.startswith(
        "btplug: error: found the parameter 'speed' of execute without an option, "
        "expected one, or a default\n"
    )
    assert done.stderr.endswith(
        "  fix:   add above execute: @click.option('--speed')\n"
    )


@pytest.mark.parametrize(
    ("option", "config", "what"),
    [
        ("default='x', type=int", None, "the default of the option 'speed' is wrong: "),
        (
            "type=int",
            "speed: x",
            "the setting 'speed' of it is no value for its option",
        ),
    ],
)
def test_a_default_that_its_option_refuses_is_exit_4(
    option, config, what, btplug, command, marks
):
    execute = f"""
    @click.option("--speed", {option})
    def execute(self, data=None, *, speed):
        mark("executing")
    """
    command("it", execute, top="import click", config=config)

    done = btplug("run", "it")

    assert done.returncode == 4
    assert done.stderr.startswith(f"btplug: error: {what}")
    assert "'x' is not a valid integer" in done.stderr
    assert marks() == []
    assert btplug("run", "it", "--speed", "x").returncode == 2
    assert btplug("run", "it", "--speed", "1").returncode == 0


def test_options_may_be_taken_as_keywords(btplug, command):
    execute = """
    @click.argument("name")
    @click.option("--speed", type=int)
    def execute(self, data=None, **options):
        return options
    """
    command("it", execute, top="import click")

    done = btplug("run", "--json", "it", "x", "--speed", "5")

    assert result(done) == {"name": "x", "speed": 5}


@pytest.mark.parametrize("name", ["name", "self_", "help_text", "settings", "json_"])
def test_an_option_may_have_a_name_that_btplug_uses_itself(name, btplug, command):
    execute = f"""
    @click.option("--x", {name!r})
    def execute(self, data=None, *, {name}):
        return {name}
    """
    command("it", execute, top="import click")

    assert btplug("run", "it", "--x", "value").stdout == "value\n"


def test_an_async_plugin_with_options_and_lifecycle(btplug, command, marks):
    command(
        "it",
        """
        @click.option("--times", type=int, default=2)
        async def execute(self, data=None, *, times):
            for n in range(times):
                yield {"n": n}
        """,
        top="import click",
        initialize='async def initialize(self, config):\n    mark("initialised")',
        shutdown='async def shutdown(self):\n    mark("stopped")',
    )

    assert btplug("run", "it", "--times", "3").stdout == "n\n0\n1\n2\n"
    assert marks() == ["initialised", "stopped"]


def test_eager_options_of_a_plugin_end_with_the_code_they_choose(
    btplug, command, marks
):
    top = """
    import click

    def leave(ctx, parameter, value):
        if value:
            click.echo("9.9")
            ctx.exit(3)
    """
    execute = """
    @click.option("--number", is_flag=True, is_eager=True, expose_value=False, callback=leave)
    def execute(self, data=None):
        mark("executing")
    """
    command("it", execute, top=top)

    done = btplug("run", "it", "--number")

    assert (done.returncode, done.stdout, marks()) == (3, "9.9\n", [])


def test_a_usage_error_of_execute_is_exit_2_and_shuts_down(btplug, command, marks):
    execute = "raise btplug.UsageError('two of them', fix='give one')"
    command("it", execute, shutdown='mark("stopped")')

    done = btplug("run", "it")

    assert done.returncode == 2
    assert done.stderr == "btplug: error: two of them\n  fix:   give one\n"
    assert marks() == ["stopped"]


CLICK_ENDINGS = {
    "raise click.UsageError('two of them')": (2, "Error: two of them\n"),
    "raise click.ClickException('no luck')": (1, "Error: no luck\n"),
    "click.get_current_context().exit(3)": (3, ""),
    "raise click.Abort": (130, ""),
    "yield 'a'\nraise click.UsageError('late')": (2, "Error: late\n"),
}


@pytest.mark.parametrize("body", CLICK_ENDINGS)
def test_what_click_raises_in_execute_means_what_it_means_in_any_command(
    body, btplug, command, marks
):
    command("it", body, top="import click", shutdown='mark("stopped")')
    code, text = CLICK_ENDINGS[body]

    done = btplug("run", "it")

    assert done.returncode == code
    assert done.stderr.endswith(text)
    assert "Traceback" not in done.stderr
    assert marks() == ["stopped"]


@pytest.mark.parametrize(
    "option",
    ['@click.option("--x", prompt=True)', "@click.confirmation_option()"],
)
def test_nothing_is_asked_where_stdin_is_no_terminal(option, btplug, command, marks):
    """The answer that lies there is not taken either: it may be meant as data."""
    execute = f"""
    {option}
    def execute(self, data=None, **options):
        mark("executing")
    """
    command("it", execute, top="import click")

    done = btplug("run", "it", input="y\n")

    assert done.returncode == 2
    assert "Missing option" in done.stderr
    assert marks() == []


def test_a_prompt_with_a_default_takes_it_where_stdin_is_no_terminal(btplug, command):
    execute = """
    @click.option("--x", prompt="Which", default="that")
    def execute(self, data=None, *, x):
        return x
    """
    command("it", execute, top="import click")

    assert btplug("run", "it").stdout == "that\n"


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_flags_for_one_parameter_the_default_is_the_one_that_says_so(
    swapped, btplug, command, home
):
    flags = [
        '@click.option("--up", "case", flag_value="upper", default=True)',
        '@click.option("--low", "case", flag_value="lower")',
    ]
    lines = "\n".join(reversed(flags) if swapped else flags)
    body = f"{lines}\ndef execute(self, data=None, *, case):\n    return case"
    folder = command("it", body, top="import click")
    registry = CLIPluginRegistry()
    assert not registry.discover_plugins(folder.parent)

    assert btplug("run", "it").stdout == "upper\n"
    assert btplug("run", "it", "--low").stdout == "lower\n"
    assert registry.execute_plugin("it") == "upper"
