"""Width, colour and escapes: on a terminal and in a pipe."""

import json
import re

import pytest

RED = "\x1b[31mred\x1b[0m"


# -- characters that could steer a terminal


BAD = ["\x1b[2J", "\x1b]0;title\x07", "\r", "\b", "\x9b31m", "\u202e", "\x00", "\x7f"]


@pytest.mark.parametrize(
    "body",
    [
        "return [{'k': TEXT}]",
        "return [{TEXT: 'v'}]",
        "return {TEXT: 'v'}",
        "return {'k': TEXT}",
        "return {'k': [TEXT]}",
        "yield {'k': TEXT}",
        "yield {TEXT: 'v'}",
        "yield {'k': [TEXT]}",
        "raise ValueError(TEXT)",
    ],
)
def test_no_character_of_a_plugin_steers_the_terminal(body, shell, command):
    command("it", body, top=f"TEXT = {'|'.join(BAD)!r}")

    done = shell("$B run it || true", binary=True, LC_ALL="C.UTF-8")

    shown = (done.stdout + done.stderr).decode()
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    for bad in BAD:
        escaped = bad.encode("unicode_escape").decode()
        # A list inside a cell is JSON, which has escapes of its own.
        assert escaped in shown or json.dumps(bad)[1:-1] in shown


def test_one_record_is_one_line_whatever_it_holds(btplug, command):
    command("it", r"return [{'a': 'x\ny\u2028z', 'b': 'w'}]")

    wide = r"x\ny\u2028z"
    assert btplug("run", "it").lines == ["a".ljust(len(wide)) + "  b", f"{wide}  w"]


def test_bytes_on_a_terminal_cannot_steer_it(terminal, command):
    command("it", f"return {RED.encode()!r} + b'\\xff\\tok\\n'")
    term = terminal("run", "it")

    assert term.end() == 0
    assert term.text == "\\x1b[31mred\\x1b[0m\\xff\tok\n"


def shown_by(terminal, *words):
    term = terminal(*words)
    code = term.end()
    return code, term.text


def test_help_shows_no_control_character_of_a_plugin(terminal, command):
    execute = f"""
    @click.option("--word", help={RED!r}, metavar={RED!r})
    def execute(self, data=None, *, word):
        return word
    """
    command("it", execute, top="import click", doc=f"Do {RED} it.\rAgain.")

    code, text = shown_by(terminal, "run", "it", "--help")

    assert code == 0
    assert text.count("\\x1b[31mred") == 3
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_usage_error_of_a_plugin_shows_no_control_character(terminal, command):
    execute = """
    @click.option("--word", callback=no)
    def execute(self, data=None, *, word):
        return word
    """
    top = f"""
    import click

    def no(ctx, parameter, value):
        raise click.BadParameter({RED!r})
    """
    command("it", execute, top=top)

    code, text = shown_by(terminal, "run", "it", "--word", "x")

    assert code == 2
    assert "\\x1b[31mred" in text
    assert "\x1b" not in text


# -- width and colour


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


WIDE = "return [{'a': 'x' * 300, 'b': 'y' * 300, 'c': 5}]"


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"COLUMNS": "40"},
        {"TERM": "dumb"},
        {"CI": "1"},
        {"FORCE_COLOR": "1"},
        {"TTY_COMPATIBLE": "1"},
    ],
)
def test_nothing_is_cut_or_folded_in_a_pipe(env, btplug, command):
    command("it", WIDE)

    lines = btplug("run", "it", **env).lines

    assert len(lines) == 2
    assert "x" * 300 in lines[1]
    assert "y" * 300 in lines[1]


def test_200_columns_are_one_line_in_a_pipe(btplug, command):
    command("it", "return [{f'column-{n}': n for n in range(200)}]")

    head, row = btplug("run", "it").lines

    assert head.split() == [f"column-{n}" for n in range(200)]
    assert row.split() == [str(n) for n in range(200)]


def test_wide_rows_are_folded_and_never_cut_on_a_terminal(terminal, command):
    command("it", WIDE)
    term = terminal("run", "it")

    assert term.end() == 0
    text = plain(term.text)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("x") == 300
    assert text.count("y") == 300


@pytest.mark.parametrize("columns", ["0", "1", "30", "80"])
def test_no_value_is_lost_on_a_terminal_that_is_too_narrow(columns, terminal, command):
    command("it", "return [{f'c{n}': f'value-{n}' for n in range(60)}]")
    term = terminal("run", "it", COLUMNS=columns)

    assert term.end() == 0
    assert [n for n in range(60) if f"value-{n}" not in plain(term.text)] == []


def test_wide_characters_keep_their_columns_straight(btplug, command):
    rows = "[{'a': '日本', 'b': 1}, {'a': 'abcd', 'b': 2}]"
    command("it", f"return {rows}")
    command("stream", f"yield from {rows}")

    assert btplug("run", "it").lines == ["a     b", "日本  1", "abcd  2"]
    assert btplug("run", "stream").lines == ["a     b", "日本  1", "abcd  2"]


COLOUR = ("\x1b[3", "\x1b[4", "\x1b[9", "\x1b[1;3")
LOOKS = ["list", "run it", "run wrong", "tpyo", "--help", "info it", "doctor"]


@pytest.fixture
def plugins(command):
    command("it", "return [{'a': 1, 'b': 'x'}]")
    command("wrong", "raise ValueError")


@pytest.mark.slow
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_pipe_gets_no_escape_sequence(env, btplug, plugins):
    for words in LOOKS:
        done = btplug(*words.split(), **env)
        assert "\x1b" not in done.stdout + done.stderr, words


@pytest.mark.slow
def test_a_dumb_terminal_gets_no_escape_sequence(terminal, plugins):
    for words in LOOKS:
        term = terminal(*words.split(), TERM="dumb")
        term.end()
        assert "\x1b" not in term.text, words


@pytest.mark.slow
def test_no_color_turns_colour_off_on_a_terminal(terminal, plugins):
    for words in LOOKS:
        term = terminal(*words.split(), NO_COLOR="1")
        term.end()
        assert not [code for code in COLOUR if code in term.text], words


def test_a_terminal_shows_the_head_of_a_table_in_bold(terminal, plugins):
    """The three tests above look at something: here there are escape sequences."""
    term = terminal("run", "it")
    term.end()

    assert "\x1b[1m" in term.text


def test_a_table_means_the_same_with_and_without_a_terminal(terminal, btplug, plugins):
    term = terminal("run", "it")
    term.end()

    assert plain(term.text) == btplug("run", "it").stdout
