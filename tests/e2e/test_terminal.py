"""What the host asks and draws for a plugin: on a terminal, and without one."""

import signal
import subprocess

import pytest

ASK = "return f\"hello {self.context.ask('Who are you?')}\""
ASK_DEFAULT = "return f\"hello {self.context.ask('Who?', default='Ann')}\""
SECRET = "return str(len(self.context.ask('Password?', secret=True)))"
CONFIRM = "return str(self.context.confirm('Really?'))"
CONFIRM_DEFAULT = "return str(self.context.confirm('Really?', default=True))"


def test_ask_shows_a_question_and_takes_the_answer(terminal, command):
    command("it", ASK)
    term = terminal("run", "it")
    term.wait_for("Who are you?")

    term.type("Bob\n")

    assert term.end() == 0
    assert term.text.endswith("hello Bob\n")


def test_ask_shows_its_default_and_takes_an_empty_answer_for_it(terminal, command):
    command("it", ASK_DEFAULT)
    term = terminal("run", "it")
    term.wait_for("Who? [Ann]")

    term.type("\n")

    assert term.end() == 0
    assert term.text.endswith("hello Ann\n")


def test_a_secret_answer_is_not_shown(terminal, command):
    command("it", SECRET)
    term = terminal("run", "it")
    term.wait_for("Password?")

    term.type("hunter2\n")

    assert term.end() == 0
    assert term.text.endswith("7\n")
    assert "hunter2" not in term.text


@pytest.mark.parametrize(("typed", "answer"), [("y\n", "True"), ("n\n", "False")])
def test_confirm_takes_yes_or_no(typed, answer, terminal, command):
    command("it", CONFIRM)
    term = terminal("run", "it")
    term.wait_for("Really?")

    term.type(typed)

    assert term.end() == 0
    assert term.text.endswith(f"{answer}\n")


def test_a_question_goes_to_stderr_so_that_a_pipe_stays_clean(terminal, command):
    command("it", ASK)
    term = terminal("run", "it", "--json", streams={"stdout": subprocess.PIPE})
    term.wait_for("Who are you?")

    term.type("Bob\n")

    assert term.end() == 0
    assert term.process.stdout.read() == b'"hello Bob"\n'
    term.process.stdout.close()


def test_a_question_cannot_steer_the_terminal(terminal, command):
    command("it", r"return self.context.ask('red \x1b[31m?')")
    term = terminal("run", "it")
    term.wait_for(r"red \x1b[31m?")

    term.type("x\n")

    assert term.end() == 0
    assert "\x1b[31m" not in term.text


QUESTIONS = {"ask": ASK, "secret": SECRET, "confirm": CONFIRM}


@pytest.mark.parametrize("kind", QUESTIONS)
def test_ctrl_c_at_a_question_ends_with_130_and_shuts_down(
    kind, terminal, command, marks
):
    command("it", QUESTIONS[kind], shutdown='mark("stopped")')
    term = terminal("run", "it")
    term.wait_for("?")
    term.wait_until_it_reads()

    term.process.send_signal(signal.SIGINT)

    assert term.end() == 130
    assert marks() == ["stopped"]
    assert "failed" not in term.text


def test_ctrl_c_typed_on_the_terminal_is_the_same(terminal, command, marks):
    command("it", 'mark("executing")\nidle()', shutdown='mark("stopped")')
    term = terminal("run", "it")
    marks.wait_for("executing")

    term.type("\x03")

    assert term.end() == 130
    assert marks() == ["executing", "stopped"]


@pytest.mark.parametrize("kind", QUESTIONS)
def test_the_end_of_input_at_a_question_is_no_answer(kind, terminal, command, marks):
    command("it", QUESTIONS[kind], shutdown='mark("stopped")')
    term = terminal("run", "it")
    term.wait_for("?")

    term.type("\x04")

    assert term.end() == 2
    assert marks() == ["stopped"]
    assert "nobody can be asked" in term.text


@pytest.mark.parametrize(
    ("body", "question"),
    [(ASK, "Who are you?"), (SECRET, "Password?"), (CONFIRM, "Really?")],
)
def test_without_a_terminal_a_question_is_exit_2_at_once(
    body, question, btplug, command
):
    command("it", body)

    done = btplug("run", "it", timeout=10)

    assert done.returncode == 2
    assert done.stderr == (
        f"btplug: error: nobody can be asked: {question}\n"
        "  fix:   give the answer as an option or in the configuration\n"
    )


@pytest.mark.parametrize(
    ("body", "answer"), [(ASK_DEFAULT, "hello Ann\n"), (CONFIRM_DEFAULT, "True\n")]
)
def test_without_a_terminal_a_question_gets_its_default(body, answer, btplug, command):
    command("it", body)

    done = btplug("run", "it", input="Bob\n", timeout=10)

    assert (done.stdout, done.stderr) == (answer, "")


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_half_a_terminal_is_none_to_ask_on(stream, terminal, command):
    """Where nobody would see the question, or nobody could answer it."""
    command("it", ASK)
    # A pipe on which nothing ever comes: whoever asks there waits for ever.
    term = terminal("run", "it", streams={stream: subprocess.PIPE})

    assert term.end(seconds=10) == 2
    (term.process.stdin or term.process.stderr).close()
    assert "Who are you?:" not in term.text


def test_nothing_is_asked_where_stdin_is_closed(shell, command):
    command("it", ASK)

    assert shell("$B run it <&-", timeout=10).returncode == 2


# -- drawing

DRAW = """
with self.context.status("Looking \\x1b[31m around"):
    mark("status")
    wait_for("go")
for item in self.context.progress(range(3), label="Counting [x]"):
    mark(item)
return "done"
"""


def test_status_and_progress_are_drawn_on_a_terminal(terminal, command, marks):
    command("it", DRAW)
    term = terminal("run", "it")
    term.wait_for("Looking")
    marks.add("go")

    assert term.end() == 0
    assert "Looking \\x1b[31m around" in term.text
    assert "Counting [x]" in term.text
    assert term.text.rstrip().endswith("done")
    assert marks() == ["status", "go", "0", "1", "2"]


def test_status_and_progress_are_drawn_on_stderr(terminal, command, marks):
    command("it", DRAW)
    marks.add("go")
    term = terminal("run", "it", streams={"stdout": subprocess.PIPE})

    assert term.end() == 0
    assert "Counting" in term.text
    assert term.process.stdout.read() == b"done\n"
    term.process.stdout.close()


def test_nothing_is_drawn_without_a_terminal(btplug, command, marks):
    command("it", DRAW)
    marks.add("go")

    done = btplug("run", "it")

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert marks() == ["go", "status", "0", "1", "2"]


def test_nothing_moves_on_a_dumb_terminal(terminal, command, marks):
    command("it", DRAW)
    marks.add("go")
    term = terminal("run", "it", TERM="dumb")

    assert term.end() == 0
    assert "\x1b" not in term.text
    assert "done" in term.text


def test_a_status_left_by_an_error_gives_the_cursor_back(terminal, command):
    command("it", 'with self.context.status("busy"):\n    raise ValueError("three")')
    term = terminal("run", "it")

    assert term.end() == 1
    assert term.text.count("\x1b[?25l") == term.text.count("\x1b[?25h") > 0


def test_a_status_left_by_ctrl_c_gives_the_cursor_back(terminal, command, marks):
    command("it", 'with self.context.status("busy"):\n    mark("x"); idle()')
    term = terminal("run", "it")
    marks.wait_for("x")

    term.process.send_signal(signal.SIGINT)

    assert term.end() == 130
    assert term.text.count("\x1b[?25l") == term.text.count("\x1b[?25h") > 0


def test_progress_may_be_left_early(terminal, command):
    body = 'for n in self.context.progress(range(9), label="Counting"):\n    return f"at {n}"'
    command("it", body)
    term = terminal("run", "it")

    assert term.end() == 0
    assert "at 0" in term.text
    assert term.text.count("\x1b[?25l") == term.text.count("\x1b[?25h")
