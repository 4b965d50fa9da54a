"""A confined plugin looks on a terminal as it does in btplug's own process."""

import re
import signal
import subprocess
import sys

import pytest

from btplug.cli.drawing import Drawing
from btplug.context import Context

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="nothing is confined here"),
]
CLICK = "import click, getpass, sys"
KEY = "ü"
CONFINED, OWN = [], ["--in-process"]


@pytest.fixture
def there(command, tmp_path):
    """Write a command where nothing but the command line consents to it."""

    def write(execute, **more):
        command("it", execute, where=tmp_path / "there", top=CLICK, **more)

    return write


@pytest.fixture
def on_terminal(terminal, tmp_path):
    """Run it in either mode, typing each answer at its question."""

    def run(mode, *words, asked=(), **more):
        where = ["--plugin-dir", tmp_path / "there"]
        term = terminal(*mode, *where, "run", "it", *words, **more)
        for question, answer in asked:
            term.wait_for(question)
            if answer == KEY:
                term.wait_for_keys()
            else:
                term.wait_until_it_reads()
            term.type(answer)
        return term.end(), term.text

    return run


@pytest.fixture
def in_pipe(btplug, tmp_path):
    """Run it in either mode without a terminal."""

    def run(mode, *words, **more):
        where = ["--plugin-dir", tmp_path / "there"]
        done = btplug(*mode, *where, "run", "it", *words, **more)
        return done.returncode, done.stdout, done.stderr

    return run


ASKED = {
    "option": (
        """
        @click.option('--name', prompt=True, default='Ann')
        def execute(self, data=None, *, name):
            return f'hello {name}'""",
        [("Name [Ann]:", "\n")],
        "hello Ann",
    ),
    "hidden option": (
        """
        @click.option('--word', prompt=True, hide_input=True, confirmation_prompt=True)
        def execute(self, data=None, *, word):
            return str(len(word))""",
        [("Word:", "abc\n"), ("confirmation:", "abc\n")],
        "3",
    ),
    "confirmation": (
        """
        @click.confirmation_option(prompt='Sure?')
        def execute(self, data=None):
            return 'done'""",
        [("Sure? [y/N]:", "y\n")],
        "done",
    ),
    "confirmation refused": (
        """
        @click.confirmation_option(prompt='Sure?')
        def execute(self, data=None):
            return 'done'""",
        [("Sure? [y/N]:", "n\n")],
        "",
    ),
    "prompt": (
        "return f\"{click.prompt('How many', type=int) + 1} in all\"",
        [("How many:", "few\n"), ("integer.\nHow many:", "3\n")],
        "4 in all",
    ),
    "prompt on stderr": (
        "return click.prompt('Who', err=True)",
        [("Who:", "Ünal\n")],
        "Ünal",
    ),
    "confirm": (
        "return str(click.confirm('Go on?'))",
        [("Go on? [y/N]:", "perhaps\n"), ("input\nGo on? [y/N]:", "y\n")],
        "True",
    ),
    "pause": ("click.pause()\nreturn 'on'", [("Press any key", KEY)], "on"),
    "key": ("return repr(click.getchar())", [("", KEY)], "'ü'"),
    "input": ("return input('Who? ')", [("Who?", "Bob\n")], "Bob"),
    "getpass": ("return getpass.getpass('Word? ')", [("Word?", "hush\n")], "hush"),
    "lines": (
        "return str([line for line in sys.stdin])",
        [("", "one\n"), ("one", "two\n"), ("two", "\x04")],
        r"['one\n', 'two\n']",
    ),
    "end of input": ("return click.prompt('Who')", [("Who:", "\x04")], ""),
    "end of hidden input": (
        "return click.prompt('Who', hide_input=True)", [("Who:", "\x04")], "",
    ),
    "steering": (
        r"click.prompt('Who\x07')" + "\nreturn 'on'", [("Who", "x\n")], "on",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ASKED)
def test_what_asks_asks_the_same(kind, there, on_terminal):
    body, asked, answer = ASKED[kind]
    there(body)

    code, text = on_terminal(CONFINED, asked=asked)
    own = on_terminal(OWN, asked=asked)

    assert text.rstrip("\n").endswith(answer)
    assert (code, text.replace(r"\x07", "\x07")) == own
    assert "\x07" not in text
    assert code == (0 if answer else 130)


NOBODY = {
    "option": ASKED["option"][0],
    "required option": ASKED["hidden option"][0],
    "confirmation": ASKED["confirmation"][0],
    "prompt": ASKED["prompt"][0],
    "confirm": ASKED["confirm"][0],
    "pause": ASKED["pause"][0],
    "input": ASKED["input"][0],
}


@pytest.mark.parametrize("kind", NOBODY)
@pytest.mark.parametrize("given", ["", "y\n"])
def test_where_nobody_can_be_asked_it_ends_the_same(kind, given, there, in_pipe):
    there(NOBODY[kind])

    found = in_pipe(CONFINED, input=given)

    assert found == in_pipe(OWN, input=given)


QUESTIONS = {
    "prompt": "click.prompt('Who')",
    "hidden": "click.prompt('Who', hide_input=True)",
    "ask": "self.context.ask('Who')",
}


@pytest.mark.parametrize("kind", QUESTIONS)
def test_ctrl_c_at_a_question_ends_the_same(kind, there, on_terminal):
    there(QUESTIONS[kind])

    code, text = on_terminal(CONFINED, asked=[("Who", "\x03")])

    assert (code, text) == on_terminal(OWN, asked=[("Who", "\x03")])
    assert code == 130


def test_a_signal_at_a_question_ends_it_too(there, terminal, tmp_path):
    there(QUESTIONS["prompt"])
    term = terminal("--plugin-dir", tmp_path / "there", "run", "it")
    term.wait_for("Who")
    term.wait_until_it_reads()

    term.process.send_signal(signal.SIGTERM)

    assert term.end() == 143


def test_one_that_is_to_end_asks_nothing_more(there, terminal, tmp_path):
    there("print('ready')\nidle()", shutdown="click.prompt('Really')")
    term = terminal("--plugin-dir", tmp_path / "there", "run", "it")
    term.wait_for("ready")

    term.process.send_signal(signal.SIGTERM)

    assert term.end() == 143


def test_a_question_gets_into_no_json(there, terminal, tmp_path):
    there(ASKED["option"][0])
    where = ["--plugin-dir", tmp_path / "there"]
    term = terminal(*where, "run", "it", "--json", streams={"stdout": subprocess.PIPE})
    term.wait_for("Name")
    term.type("Bob\n")

    assert term.end() == 0
    assert term.process.stdout.read() == b'"hello Bob"\n'
    term.process.stdout.close()


# -- drawing

RECORDS = {
    "rows": r'return [{"n": 1.5, "text": "lorem ipsum " * 12, "evil": "\x1b[31mred"}, {"n": 2}]',
    "wide rows": 'return [{f"column {n}": "x" * 20 for n in range(20)}]',
    "mapping": 'return {"a": 1, "b": "lorem ipsum " * 12, "c": [1, {"d": "[bold]x"}]}',
    "nothing": "return []",
    "stream": 'return iter([{"a": 1}, {"a": "xxx", "b": 2}])',
    "text": "return 'lorem ipsum ' * 12",
    "bytes": r"return b'\x1b[31m\xff' * 12",
    "prints": 'print("one")\nprint("two", file=sys.stderr)\nreturn [{"a": 1}]',
}


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("plain", ["", "1"])
def test_a_result_is_drawn_the_same(kind, plain, there, on_terminal):
    there(RECORDS[kind])

    found = on_terminal(CONFINED, NO_COLOR=plain)

    assert found == on_terminal(OWN, NO_COLOR=plain)
    assert found[0] == 0
    assert ("\x1b[1m" in found[1]) == (kind in ("rows", "prints") and not plain)
    assert "\x1b[31m" not in found[1]


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_result_is_the_same_in_a_pipe(kind, words, there, shell, tmp_path):
    there(RECORDS[kind].replace(r"b'\x1b[31m\xff' * 12", "bytes(range(256))"))
    line = f"$B {{}} --plugin-dir {tmp_path}/there run it {' '.join(words)}"

    found = shell(line.format(""), binary=True)
    own = shell(line.format("--in-process"), binary=True)

    assert (found.stdout, found.stderr) == (own.stdout, own.stderr)
    assert found.returncode == 0


@pytest.mark.parametrize("mode", [CONFINED, OWN])
def test_a_table_of_very_many_cells_is_written_line_by_line(mode, there, on_terminal):
    there("return [{'n': n, 'text': 'x' * 60} for n in range(10001)]")

    code, text = on_terminal(mode)

    assert code == 0
    assert text.startswith("    n  text\n    0  xxx")
    assert text.count("x" * 60) == 10001


def test_a_table_of_very_long_cells_is_written_too(there, on_terminal):
    there("return [{'n': n, 'text': 'x' * 10000} for n in range(200)]")

    code, text = on_terminal(CONFINED)

    assert code == 0
    assert text.count("x" * 10000) == 200


def test_nothing_is_read_for_a_plugin_where_nobody_sits():
    """Whatever it asks for: a hidden answer would be read past a pipe."""
    drawing = Drawing(Context())

    for what in ("line", "hidden", "key", "odd", 3):
        assert drawing.answer({"read": what, "question": "Word?"}) == {}


def test_a_million_rows_stream_in_little_memory(there, shell, tmp_path):
    there("return ({'n': n} for n in range(1000000))")

    # Less than a list of the rows would take, in the host or in the child.
    line = f"ulimit -v 700000; $B --plugin-dir {tmp_path}/there run it --json | tail -1"
    done = shell(line, timeout=120)

    assert done.stdout == '{"n": 999999}\n', done.stderr


def test_prints_are_seen_before_the_end(there, terminal, tmp_path):
    there("print('first')\nclick.pause('second')\nreturn 'third'")
    term = terminal("--plugin-dir", tmp_path / "there", "run", "it")

    term.wait_for("first\n")
    term.wait_for("second")
    term.wait_for_keys()
    term.type("k")

    assert term.end() == 0
    assert term.text.endswith("third\n")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_progress_is_shown_to_its_end(count, there, on_terminal):
    there(f"for _ in self.context.progress(range({count}), label='On'): pass")

    code, text = on_terminal(CONFINED)
    own = on_terminal(OWN)[1]

    assert code == 0
    assert ("100%" in text) == ("100%" in own) == (count > 0)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")


def test_the_width_of_the_terminal_is_known(there, on_terminal):
    there("import shutil\nreturn str(shutil.get_terminal_size().columns)")

    wide = {"columns": 61}

    found = on_terminal(CONFINED, streams=wide)

    assert found == on_terminal(OWN, streams=wide) == (0, "61\n")


@pytest.mark.parametrize("way", ["print(T)", "os.write(1, T.encode())", "return T"])
def test_a_character_at_the_border_of_a_frame_stays_whole(way, there, on_terminal):
    there(f"T = 'a' + 'é' * 200000\n{way}")

    code, text = on_terminal(CONFINED)

    assert code == 0
    assert text.count("é") == 200000
    assert "\\x" not in text


# -- how it ends

ENDS = {
    "usage error": "raise btplug.UsageError('odd', fix='do')",
    "an error of Click's": "raise click.UsageError('odd')",
    "exit": "sys.exit(3)",
    "exit with a text": "sys.exit('text')",
    "exit code": "raise btplug.PluginExit(5, 'leaving')",
    "exit of Click's": "click.get_current_context().exit(3)",
    "interrupt": "raise KeyboardInterrupt",
    "abort": "raise click.Abort",
    "error": "raise ValueError('three')",
    "error between rows": "yield {'a': 1}\nraise ValueError('three')",
    "no result": "return 3",
    "log": "import warnings\nself.context.logger.error('%s', 1)\nwarnings.warn('x')",
}


@pytest.mark.parametrize(
    ("end", "words"),
    [(end, words) for end in ENDS for words in ([], ["--json"])]
    + [("error", [word]) for word in ("--help", "--wrong", "more")],
)
def test_it_ends_the_same(end, words, there, on_terminal, in_pipe):
    there(ENDS[end])

    def untimed(*done):
        return re.sub(r"\d{4}-\d\d-\d\d [\d:,]+", "TIME", repr(done))

    found = untimed(in_pipe(CONFINED, *words), on_terminal(CONFINED, *words))
    assert found == untimed(in_pipe(OWN, *words), on_terminal(OWN, *words))
