"""Every exit code of the table, with what it says and leaves."""

import json
import subprocess
import sys

import pytest

STOPPED = 'mark("stopped")'


def said(done):
    """Return the first line of the error."""
    return done.stderr.splitlines()[0]


def test_0_is_for_what_is_done(btplug, command, marks):
    command("it", 'return "done"', shutdown=STOPPED)

    done = btplug("run", "it")

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert marks() == ["stopped"]


FAILURES = {
    "raise ValueError('three is wrong')": "it failed: ValueError: three is wrong",
    "raise ValueError": "it failed: ValueError",
    "import sys; sys.exit('bye')": "it failed: it called exit with 'bye'",
    "import sys; sys.exit(3)": "it failed: it called exit with 3",
    "import sys; sys.exit(0)": "it failed: it called exit with 0",
    "raise BrokenPipeError(32, 'of a peer')": "it failed: BrokenPipeError: [Errno 32] of a peer",
    "raise OSError(28, 'full')": "it failed: OSError: [Errno 28] full",
    "raise MemoryError": "it failed: MemoryError",
    "def f(): f()\n\nf()": "it failed: RecursionError: maximum recursion depth exceeded",
    "raise StopIteration(5)": "it failed: StopIteration: 5",
    "raise EOFError": "it failed: EOFError",
    "raise GeneratorExit": "it failed: GeneratorExit",
    "class Odd(BaseException): pass\n\nraise Odd('hm')": "it failed: Odd: hm",
    "yield {'a': 1}\nraise ValueError('later')": "it failed: ValueError: later",
    "yield {'a': 1}\nimport sys; sys.exit(3)": "it failed: it called exit with 3",
}  # fmt: skip


@pytest.mark.parametrize("body", FAILURES)
def test_1_is_for_a_plugin_that_ran_and_failed(body, btplug, command, marks):
    folder = command("it", body, shutdown=STOPPED)

    done = btplug("run", "it")

    assert done.returncode == 1
    assert said(done) == f"btplug: error: {FAILURES[body]}"
    assert f"\n  where: {folder / 'plugin.py'}:" in done.stderr
    assert "Traceback" not in done.stderr
    assert marks() == ["stopped"]


@pytest.mark.parametrize(
    "body",
    [
        "async def execute(self, data=None):\n    raise ValueError('late')",
        "async def execute(self, data=None):\n    yield 'x'\n    raise ValueError('late')",
        "class Rows:\n    def __iter__(self): raise ValueError('late')\n\nreturn Rows()",
        "class Rows:\n    def __iter__(self): yield {}; raise ValueError('late')\n\nreturn Rows()",
        "class Odd:\n    def __str__(self): raise ValueError('late')\n\nreturn [{'a': Odd()}]",
        "class Odd:\n    def __str__(self): raise ValueError('late')\n\nreturn iter([{'a': Odd()}])",
        "return map(lambda n: 1 // n, [0])",
    ],
)
def test_1_also_for_what_fails_only_while_the_result_is_drawn(
    body, btplug, command, marks
):
    """Not 70: that is for defects of btplug itself."""
    command("it", body, shutdown=STOPPED)

    done = btplug("run", "it", "--json") if "Odd" not in body else btplug("run", "it")

    assert done.returncode == 1, done.stderr
    assert "it failed: " in done.stderr
    assert "late" in done.stderr or "ZeroDivisionError" in done.stderr
    assert marks() == ["stopped"]


@pytest.mark.parametrize("code", [0, 1, 42, 63])
def test_a_plugin_chooses_its_own_code_by_plugin_exit(code, btplug, command, marks):
    command("it", f"raise btplug.PluginExit({code})", shutdown=STOPPED)

    done = btplug("run", "it")

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert marks() == ["stopped"]


@pytest.mark.parametrize(
    "body",
    [
        "raise btplug.PluginExit(42, 'two of five peers are late')",
        "yield {'a': 1}\nraise btplug.PluginExit(42, 'two of five peers are late')",
        "async def execute(self, data=None):\n    raise btplug.PluginExit(42, 'two of five peers are late')",
    ],
)
def test_the_text_of_plugin_exit_is_shown_on_stderr(body, btplug, command):
    command("it", body)

    done = btplug("run", "it")

    assert done.returncode == 42
    assert done.stderr == "two of five peers are late\n"


def test_the_text_of_plugin_exit_cannot_steer_the_terminal(btplug, command):
    command("it", "raise btplug.PluginExit(42, 'red: \\x1b[31m')")

    assert btplug("run", "it").stderr == "red: \\x1b[31m\n"


def test_the_text_of_plugin_exit_is_json_where_errors_are(btplug, command):
    command("it", "raise btplug.PluginExit(42, 'two of five')")

    done = btplug("run", "it", "--json")

    assert done.returncode == 42
    error = json.loads(done.stderr)
    assert (error["what"], error["plugin"]) == ("two of five", "it")
    assert error["exit_code"] == 42


@pytest.mark.parametrize("code", [64, 130, -1])
def test_a_code_that_is_not_the_plugin_s_to_choose_is_its_failure(
    code, btplug, command
):
    command("it", f"raise btplug.PluginExit({code})")

    done = btplug("run", "it")

    assert done.returncode == 1
    assert said(done) == (
        "btplug: error: it failed: ValueError: "
        f"an exit code of a plugin is 0 to 63, not {code}"
    )


def test_4_is_for_a_plugin_that_cannot_be_initialised(btplug, command, marks):
    command("it", initialize='raise OSError("no such device")', shutdown=STOPPED)

    done = btplug("run", "it")

    assert done.returncode == 4
    assert said(done) == (
        "btplug: error: it failed to initialise: OSError: no such device"
    )
    assert marks() == []


@pytest.mark.parametrize(
    "raised",
    [
        "raise btplug.TransportError('no answer')",
        "from btplug.errors import Late\nraise Late('no answer')",
    ],
)
def test_5_is_for_a_transport_that_could_not_deliver(
    raised, btplug, command, transport, marks
):
    transport("wire", send=raised)
    execute = """
    peer = btplug.Peer("wire://x")
    self.context.transport_for(peer).send(peer, btplug.Message())
    """
    command("it", execute, transports="[wire]", shutdown=STOPPED)

    done = btplug("run", "it")

    assert done.returncode == 5
    assert said(done) == "btplug: error: no answer"
    assert marks() == ["stopped"]


@pytest.mark.slow
def test_7_is_for_a_time_limit(btplug, command):
    command("it", initialize="time.sleep(60)")

    assert btplug("run", "it", BTPLUG_START_LIMIT="0.3").returncode == 7


@pytest.fixture
def defect(tmp_path):
    """Plant a defect in btplug itself, for processes that get this PYTHONPATH."""
    (tmp_path / "defect").mkdir()
    (tmp_path / "defect" / "sitecustomize.py").write_text(
        "from btplug.cli import list\n"
        "def fail(**_): return 1 // 0\n"
        "list.command.callback = fail\n"
    )
    return {"PYTHONPATH": str(tmp_path / "defect")}


def test_7_is_for_a_time_limit_that_a_confined_plugin_meets_itself(
    btplug, command, tmp_path
):
    """Of its loading both sides keep the time, and either may be first."""
    execute = "from btplug.errors import PluginTimeout\nraise PluginTimeout('too slow')"
    command("it", execute, where=tmp_path / "there")

    done = btplug("--plugin-dir", "there", "run", "it")

    assert done.returncode == 7
    assert said(done) == "btplug: error: too slow"


def test_70_is_for_a_defect_of_btplug_itself_and_says_how_to_report_it(btplug, defect):
    done = btplug("list", **defect)

    assert done.returncode == 70
    assert done.stderr == (
        "btplug: error: a defect in btplug: ZeroDivisionError: integer division or "
        "modulo by zero\n"
        "  fix:   report it, with the command and what BTPLUG_DEBUG=1 shows\n"
    )


def test_70_shows_its_traceback_only_with_btplug_debug(btplug, defect):
    done = btplug("list", "--json", BTPLUG_DEBUG="1", **defect)

    assert done.returncode == 70
    assert "Traceback (most recent call last)" in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == 70


@pytest.mark.parametrize("words", [["run", "it"], ["run", "it", "--json"]])
def test_a_traceback_is_shown_only_with_btplug_debug(words, btplug, command):
    folder = command("it", "raise ValueError('three')")

    plain = btplug(*words)
    debug = btplug(*words, BTPLUG_DEBUG="1")

    assert "Traceback" not in plain.stderr
    assert "Traceback (most recent call last)" in debug.stderr
    assert f'File "{folder / "plugin.py"}", line' in debug.stderr
    assert "ValueError: three" in debug.stderr
    assert debug.returncode == plain.returncode == 1
    assert debug.stderr.endswith(plain.stderr)


@pytest.mark.slow
def test_python_m_btplug_ends_with_the_same_codes(btplug, command, tmp_path):
    command("it", "raise btplug.PluginExit(42)")

    def run(*words):
        line = [sys.executable, "-P", "-m", "btplug", *words]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, check=False)

    assert run("run", "it").returncode == 42
    assert run("run", "its").returncode == 3
    assert run("tyop").returncode == 2
    assert run("--version").stdout == b"btplug 0.1.0\n"
