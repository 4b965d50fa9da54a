"""The root command inside another program: Click's own test runner."""

import gc
import json
import os
import signal
import sys
import threading

import pytest
from click.testing import CliRunner

from btplug.cli import app

CODE = """
import os
import btplug

class Plugin(btplug.CLIPlugin):
    '''Do it.'''

    def initialize(self, config):
        self.config = config

    def execute(self, data=None):
        BODY

    def shutdown(self):
        with open(os.environ["MARKS"], "a") as file:
            file.write("stopped\\n")
"""


@pytest.fixture
def plugin(make_plugin, home, tmp_path, monkeypatch, consent):
    """Write a command of the user's whose execute is one line."""
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))

    def write(body, name="it", **manifest):
        code = CODE.replace("BODY", body)
        folder = make_plugin(name, code, where=home / "cli_plugins", **manifest)
        consent()
        return folder

    return write


@pytest.fixture
def invoke(monkeypatch):
    """Invoke the root command in this process."""
    # Not one of these tests would notice the end of the process it runs in.
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"_exit({code})"))

    def run(*words, **more):
        return CliRunner().invoke(app.root, [str(word) for word in words], **more)

    return run


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ("return 'fine'", ["run", "it"], 0),
        ("return 'fine'", ["it"], 0),
        ("raise ValueError", ["run", "it"], 1),
        ("raise btplug.PluginExit(42)", ["run", "it"], 42),
        ("raise btplug.PluginExit(0)", ["run", "it"], 0),
        ("raise btplug.UsageError('x')", ["run", "it"], 2),
        ("raise btplug.TransportError('x')", ["run", "it"], 5),
        ("raise KeyboardInterrupt", ["run", "it"], 130),
        ("raise SystemExit(0)", ["run", "it"], 1),
    ],
)
def test_the_runner_sees_the_exit_code_and_the_shutdown(
    body, words, code, plugin, invoke, tmp_path
):
    plugin(body)

    result = invoke(*words)

    assert result.exit_code == code, result.output
    assert (tmp_path / "marks").read_text() == "stopped\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0), (["--version"], 0), (["list"], 0), (["run", "its"], 3),
        (["tpyo"], 2), (["run", "--nope"], 2), (["info", "it"], 0), ([], 2),
        (["config", "set", "nope", "x"], 2), (["run", "bad"], 4),
    ],
)  # fmt: skip
def test_the_runner_sees_what_a_process_would_end_with(words, code, plugin, invoke):
    plugin("return 'fine'")
    plugin("pass", "bad", api=9)

    assert invoke(*words).exit_code == code


def test_output_and_errors_are_kept_apart(plugin, invoke):
    plugin("print('noise'); return [{'a': 1}]")

    text, as_json = invoke("run", "it"), invoke("run", "it", "--json")
    failed = invoke("run", "its", "--json")

    assert (text.stdout, text.stderr) == ("noise\na\n1\n", "")
    assert as_json.stdout == '{"a": 1}\n'
    assert as_json.stderr == "btplug: printed: noise\n"
    assert failed.stdout == ""
    assert json.loads(failed.stderr)["exit_code"] == 3


def test_a_defect_is_70_here_too(invoke, monkeypatch):
    from btplug.cli.host import Host

    monkeypatch.setattr(Host, "listing", lambda self: 1 // 0)

    result = invoke("list")

    assert result.exit_code == 70
    assert "a defect in btplug: ZeroDivisionError" in result.stderr


def test_without_standalone_mode_errors_are_raised_and_values_returned(plugin):
    import btplug

    plugin("raise ValueError('three')")

    with pytest.raises(btplug.PluginFailed, match="it failed: ValueError: three"):
        app.root.main(["run", "it"], standalone_mode=False)
    with pytest.raises(btplug.UnknownPlugin, match="no plugin named 'its'"):
        app.root.main(["run", "its"], standalone_mode=False)


def test_nothing_of_the_process_is_left_changed(plugin, invoke):
    plugin("print('noise'); return 'fine'")
    before = (
        signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
        sys.stdout, sys.stderr, sys.stdin, os.getcwd(), dict(os.environ),
        sys.getrecursionlimit(), list(sys.path),
    )  # fmt: skip
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0

    for _ in range(3):
        invoke("run", "it")
        invoke("run", "it", "--json")
        invoke("run", "its")

    assert before == (
        signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
        sys.stdout, sys.stderr, sys.stdin, os.getcwd(), dict(os.environ),
        sys.getrecursionlimit(), list(sys.path),
    )  # fmt: skip
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_second_run_knows_nothing_of_the_first(plugin, invoke):
    plugin("return self.config.get('x', 'none')", config="x: mine")

    assert invoke("run", "--set", "x=set", "it").stdout == "set\n"
    assert invoke("run", "it").stdout == "mine\n"
    assert invoke("run", "it", "--json").stdout == '"mine"\n'
    assert invoke("run", "it").stdout == "mine\n"
    assert invoke("-vv", "list").exit_code == 0
    assert invoke("lst").exit_code == 2
    assert invoke("run", "it").stdout == "mine\n"


def test_it_runs_in_a_thread_where_no_signal_handler_can_be_set(plugin, invoke):
    plugin("return 'fine'")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(invoke("run", "it")))

    thread.start()
    thread.join(20)

    assert seen[0].exit_code == 0
    assert seen[0].stdout == "fine\n"


def test_a_question_without_a_terminal_is_exit_2(plugin, invoke):
    plugin("return self.context.ask('Who?')")

    result = invoke("run", "it", input="Bob\n")

    assert result.exit_code == 2
    assert "nobody can be asked: Who?" in result.stderr


def test_no_log_handler_is_left_behind(plugin, invoke):
    """A second run would write each record twice, and into a closed stream."""
    import logging

    plugin("self.context.logger.warning('logged')")
    before = list(logging.getLogger().handlers)

    first, second = invoke("run", "it"), invoke("run", "it")

    assert first.stderr.count("logged") == second.stderr.count("logged") == 1
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collection_of_the_program_stays_as_it_is(on, plugin, invoke):
    plugin("import gc; return str(gc.isenabled())")
    frozen = gc.get_freeze_count()
    (gc.enable if on else gc.disable)()
    try:
        done = invoke("run", "it")

        assert done.output == f"{on}\n"
        assert gc.isenabled() == on
        assert gc.get_freeze_count() == frozen
    finally:
        gc.enable()
