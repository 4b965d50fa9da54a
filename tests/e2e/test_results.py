"""What a plugin returns, as text on stdout."""

import json
import re

import pytest

RED = "\x1b[31mred\x1b[0m"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("return None", b""),
        ("pass", b""),
        ("return 'text'", b"text\n"),
        ("return 'text\\n'", b"text\n"),
        ("return ''", b"\n"),
        ("return '\u00e9\u65e5\U0001f600'", "\u00e9\u65e5\U0001f600\n".encode()),
        ("return b'raw \\xff\\x00'", b"raw \xff\x00"),
        ("return bytearray(b'raw')", b"raw"),
        ("return memoryview(b'raw')", b"raw"),
        ("return {'a': 1, 'long name': 'two'}", b"a          1\nlong name  two\n"),
        ("return {}", b""),
        ("return []", b""),
        ("return iter([])", b""),
        ("return [{'a': 1, 'b': 'x'}, {'a': 20}]", b" a  b\n 1  x\n20\n"),
        ("return ({'a': n} for n in (1, 20))", b"a\n1\n20\n"),
        ("yield {'name': 'Ann', 'age': 5}\nyield {'age': 60}", b"name  age\nAnn   5\n      60\n"),
        ("yield {}\nyield {'a': 1}", b"a\n1\n"),
        ("yield 'a'\nyield 'b\\n'\nyield 'c'", b"ab\nc"),
        ("yield b'a'\nyield b'\\xff'", b"a\xff"),
        ("return ['a', 'b']", b"ab"),
        ("return map(str, [1, 2])", b"12"),
        ("async def execute(self, data=None):\n    return 'later'", b"later\n"),
        ("async def execute(self, data=None):\n    return [{'a': 1}]", b"a\n1\n"),
        ("async def execute(self, data=None):\n    yield {'a': 1}\n    yield {'a': 2}", b"a\n1\n2\n"),
        ("return [{'a': None, 'b': True, 'c': [1, {'d': 'x'}]}]", b'a  b     c\n   True  [1, {"d": "x"}]\n'),
        ("return [{1: 'int', 2.5: 'float'}]", b"1    2.5\nint  float\n"),
        ("yield {1: 'int', 2.5: 'float'}", b"1    2.5\nint  float\n"),
        ("import types\nreturn types.MappingProxyType({'a': 1})", b"a  1\n"),
    ],
)  # fmt: skip
def test_a_result_is_drawn_as_what_it_is(body, shown, shell, command):
    command("it", body)

    done = shell("$B run it", binary=True, LC_ALL="C.UTF-8")

    assert (done.returncode, done.stdout, done.stderr) == (0, shown, b"")


RESULT = "expected None, text, bytes, a mapping, or an iterable of mappings or of text"
ROW = "found a row of type int, expected a mapping, text or bytes"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("return 5", f"found a result of type int, {RESULT}"),
        ("return object()", f"found a result of type object, {RESULT}"),
        ("return [1]", ROW),
        ("yield {'a': 1}\nyield 5", ROW),
    ],
)
def test_a_result_that_is_no_data_is_exit_1_and_names_type_and_plugin(
    body, what, btplug, command
):
    command("it", body)

    done = btplug("run", "it")

    assert done.returncode == 1
    assert what in done.stderr
    assert "/it/config.yaml" in done.stderr


# -- characters that could steer a terminal


@pytest.mark.parametrize(
    "character",
    ["\x1b[2J", "\x1b]0;title\x07", "\r", "\b", "\x9b31m", "\u202e", "\x00"],
)
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
def test_no_character_of_a_plugin_steers_the_terminal(character, body, shell, command):
    command("it", body, top=f"TEXT = {character!r}")

    done = shell("$B run it || true", binary=True, LC_ALL="C.UTF-8")

    shown = (done.stdout + done.stderr).decode()
    escaped = character.encode("unicode_escape").decode()
    # A list inside a cell is JSON, which has escapes of its own.
    assert escaped in shown or json.dumps(character)[1:-1] in shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []


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


# -- as they arrive


ONE_BY_ONE = """
yield {"row": "first"}
wait_for("go")
yield {"row": "second"}
"""


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("form", ["def", "async def"])
def test_the_first_row_is_there_before_the_second_is_made(
    flags, form, start, command, marks
):
    body = ONE_BY_ONE
    if form == "async def":
        lines = body.strip().replace("\n", "\n    ")
        body = f"async def execute(self, data=None):\n    {lines}"
    command("it", body)
    running = start("run", *flags, "it")

    if not flags:
        assert running.line() == "row"
    assert "first" in running.line()
    marks.add("go")
    assert "second" in running.line()
    assert running.end() == 0


def test_the_first_piece_of_text_is_there_before_the_second_is_made(
    start, command, marks
):
    command("it", 'yield "first\\n"\nwait_for("go")\nyield "second\\n"')
    running = start("run", "it")

    assert running.line() == "first"
    marks.add("go")
    assert running.line() == "second"
    assert running.end() == 0


def test_a_plugin_stays_live_until_its_rows_are_used_up(start, command, marks):
    command("it", ONE_BY_ONE, shutdown='mark("stopped")')
    running = start("run", "it")
    running.line(), running.line()

    assert marks() == []
    marks.add("go")
    assert running.end() == 0
    assert marks() == ["go", "stopped"]


@pytest.mark.slow
def test_a_hundred_thousand_rows_need_no_memory_of_their_own(shell, command):
    body = """
    import resource
    for n in range(100_000):
        yield {"n": n}
    mark(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    command("it", body)
    command("few", body.replace("100_000", "10"))

    assert shell("$B run few | tail -1; $B run it | tail -1").stdout == "9\n99999\n"
    few, many = (int(line) for line in shell("cat $MARKS").stdout.split())
    assert many - few < 8


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


# -- what a plugin prints

PRINTS = """
import os, subprocess, sys
print("printed")
os.write(1, b"written\\n")
subprocess.run([sys.executable, "-c", "print('a child')"])
return [{"a": 1}]
"""


def test_what_a_plugin_prints_is_on_stdout_where_the_result_is_text(btplug, command):
    command("it", PRINTS)

    done = btplug("run", "it")

    assert sorted(done.lines) == ["1", "a", "a child", "printed", "written"]


def test_data_that_is_drawn_comes_after_what_was_printed(btplug, command):
    command("it", 'print("first")\nreturn [{"a": 1}]')

    assert btplug("run", "it").lines == ["first", "a", "1"]


def test_text_that_the_locale_cannot_write_is_escaped_and_no_defect(btplug, command):
    command("it", "return 'caf\u00e9'")
    command("row", "return [{'a': 'caf\u00e9'}]")
    command("odd", r"return 'lone \udcff'")

    assert btplug("run", "it", PYTHONIOENCODING="ascii").stdout == "caf\\xe9\n"
    assert btplug("run", "row", PYTHONIOENCODING="ascii").stdout == "a\ncaf\\xe9\n"
    assert btplug("run", "odd", PYTHONIOENCODING="utf-8").stdout == "lone \\udcff\n"
