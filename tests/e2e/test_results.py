"""What a plugin returns and prints, as text on stdout."""

import pytest


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("return None", b""),
        ("pass", b""),
        ("return 'text'", b"text\n"),
        ("return 'text\\n'", b"text\n"),
        ("return ''", b""),
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


@pytest.mark.parametrize(
    "ending", ["raise ValueError", "raise btplug.PluginExit(42)", "raise SystemExit"]
)
def test_what_was_printed_before_a_failure_is_not_lost(ending, btplug, command):
    command("it", f'print("precious")\n{ending}')

    done = btplug("run", "it")

    assert done.returncode != 0
    assert done.stdout == "precious\n"


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
