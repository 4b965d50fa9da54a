"""Ctrl-C, SIGTERM and a closed terminal, at every moment of a run."""

import os
import signal
import subprocess
import sys
import time

import pytest

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WAITING = 'mark("executing")\nidle()'
WAITING_ASYNC = """
async def execute(self, data=None):
    import asyncio
    mark("executing")
    try:
        await asyncio.sleep(60)
    finally:
        mark("cancelled")
"""
WAITING_ROWS = """
yield {"row": 1}
mark("executing")
idle()
"""


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
@pytest.mark.parametrize("body", [WAITING, WAITING_ASYNC, WAITING_ROWS])
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_a_signal_while_executing_shuts_down_and_ends_with_its_code(
    number, body, flags, start, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    command("it", body, shutdown='mark("stopped")', transports="[one]")
    running = start("run", "it", *flags)
    marks.wait_for("executing")

    running.signal(number)

    assert running.end() == CODES[number]
    assert [w for w in marks() if w != "cancelled"] == [
        "executing", "stopped", "one stopped",
    ]  # fmt: skip
    assert running.errors.strip() == ""


def test_a_signal_cancels_what_an_async_plugin_was_waiting_for(start, command, marks):
    command("it", WAITING_ASYNC, shutdown='mark("stopped")')
    running = start("run", "it")
    marks.wait_for("executing")

    running.signal(signal.SIGINT)

    assert running.end() == 130
    assert marks() == ["executing", "cancelled", "stopped"]


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_plugin_cannot_catch_the_signal_as_an_exception_of_its_own(
    number, start, command, marks
):
    body = """
    try:
        mark("executing")
        idle()
    except Exception:
        mark("caught")
    """
    command("it", body, shutdown='mark("stopped")')
    running = start("run", "it")
    marks.wait_for("executing")

    running.signal(number)

    assert running.end() == CODES[number]
    assert marks() == ["executing", "stopped"]


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
@pytest.mark.parametrize(
    "parts",
    [
        {"top": 'mark("busy")\ntime.sleep(60)'},
        {"initialize": 'mark("busy")\ntime.sleep(60)'},
        {"initialize": 'async def initialize(self, config):\n    import asyncio\n    mark("busy")\n    await asyncio.sleep(60)'},
    ],
    ids=["import", "initialize", "async initialize"],
)  # fmt: skip
def test_a_signal_while_a_plugin_starts_ends_at_once(
    number, parts, start, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    command("it", shutdown='mark("never")', transports="[one]", **parts)
    running = start("run", "it")
    marks.wait_for("busy")

    begun = time.monotonic()
    running.signal(number)

    assert running.end() == CODES[number]
    assert time.monotonic() - begun < 1.5
    assert marks() == ["busy", "one stopped"]


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_signal_while_transports_start_ends_at_once(
    number, start, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    for name in ("two", "three"):
        transport(name, f'wait_for("go")\nmark("busy-{name}")\ntime.sleep(60)')
    command("it", 'mark("executing")', transports="[two, one, three]")
    running = start("run", "it")
    marks.add("go")
    marks.wait_for("busy-two")
    marks.wait_for("busy-three")

    begun = time.monotonic()
    running.signal(number)

    assert running.end() == CODES[number]
    assert time.monotonic() - begun < 1.5
    assert "executing" not in marks()
    assert running.errors.strip() == ""


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_second_signal_during_a_shutdown_ends_at_once(number, start, command, marks):
    command("it", WAITING, shutdown='mark("stopping")\ntime.sleep(60)')
    running = start("run", "it", BTPLUG_STOP_LIMIT="30")
    marks.wait_for("executing")
    running.signal(signal.SIGINT)
    marks.wait_for("stopping")

    begun = time.monotonic()
    running.signal(number)

    assert running.end() == CODES[number]
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_first_signal_during_a_shutdown_lets_all_others_finish(
    number, start, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    stopping = 'mark("stopping")\nwait_for("go")\nmark("stopped")'
    command("it", 'return "fine"', shutdown=stopping, transports="[one]")
    running = start("run", "it", BTPLUG_STOP_LIMIT="20")
    marks.wait_for("stopping")

    running.signal(number)
    marks.add("go")

    assert running.end() == CODES[number]
    assert marks() == ["stopping", "go", "stopped", "one stopped"]
    assert running.errors.strip() == ""


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_first_signal_during_the_shutdown_of_a_confined_plugin_lets_it_finish(
    number, start, command, tmp_path
):
    go = tmp_path / "go"
    stopping = f"""
    print("stopping", flush=True)
    while not os.path.exists({str(go)!r}):
        time.sleep(0.005)
    print("stopped", flush=True)
    """
    command("it", shutdown=stopping, where=tmp_path / "there")
    running = start(
        "--plugin-dir", tmp_path / "there", "run", "it", BTPLUG_STOP_LIMIT="20"
    )
    assert running.line() == "stopping"

    running.signal(number)
    go.touch()

    assert running.end() == CODES[number]
    assert running.rest() == "stopped\n"
    assert running.errors.strip() == ""


# A signal at the worst moment: the child's folder is there, and nobody owns it yet.
HIT = """
import os, signal, sys

mkdir, number = os.mkdir, int(sys.argv.pop(1))

def hit(path, *rest, **named):
    mkdir(path, *rest, **named)
    if os.path.basename(path).startswith("btplug-"):
        print(path, flush=True)
        os.kill(os.getpid(), number)

os.mkdir = hit
from btplug.__main__ import main
main()
"""


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_signal_at_the_start_of_a_confined_plugin_leaves_no_folder(
    number, command, tmp_path
):
    command("it", where=tmp_path / "there")
    words = [str(int(number)), "--plugin-dir", "there", "run", "it"]

    done = subprocess.run(
        [sys.executable, "-c", HIT, *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=30,
    )  # fmt: skip

    assert done.returncode == CODES[number], done.stderr
    assert not os.path.exists(done.stdout.splitlines()[0])


def test_a_background_job_that_ignores_ctrl_c_ignores_it_during_shutdown_too(
    start, command, marks
):
    """A shell starts ``btplug … &`` in a script with SIGINT ignored."""
    body = 'mark("executing")\nwait_for("go")'
    command("it", body, shutdown='mark("stopping")\nwait_for("end")\nmark("stopped")')
    running = start(
        "run",
        "it",
        prefix=["sh", "-c", "trap '' INT; exec \"$@\"", "-"],
        BTPLUG_STOP_LIMIT="20",
    )
    marks.wait_for("executing")
    running.signal(signal.SIGINT)
    marks.add("go")
    marks.wait_for("stopping")
    running.signal(signal.SIGINT)
    marks.add("end")

    assert running.end() == 0
    assert marks()[-1] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "flags"),
    [
        ("while True:\n    yield {'n': 'x' * 999}", []),
        ("while True:\n    yield {'n': 'x' * 999}", ["--json"]),
        ("while True:\n    print('x' * 999)", []),
        ("return 'x' * 10_000_000", []),
        # The pipe is full, and what is printed waits for the end of the process.
        ("os.write(1, b'x' * 65_536)\nprint('y')", []),
    ],
)
@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_signal_ends_a_run_whose_reader_has_stopped_reading(
    body, flags, number, start, command, marks
):
    """As behind a pager that is left open."""
    command("it", body, shutdown='mark("stopped")')
    running = start("run", "it", *flags)
    running.wait_until_it_blocks()

    begun = time.monotonic()
    running.signal(number)

    assert running.end() == CODES[number]
    assert time.monotonic() - begun < 2
    assert marks() == ["stopped"]
    assert running.errors.strip() == ""


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
@pytest.mark.parametrize(
    "body",
    ["return 'x' * 10_000_000", "print('x' * 10_000_000)\nidle()"],
)
def test_a_signal_ends_a_run_whose_stderr_is_the_same_stuck_pipe(
    body, number, start, command, marks
):
    """As ``btplug run it 2>&1 | less``: a line for the terminal's ^C is too much."""
    command("it", body, shutdown='mark("stopped")')
    running = start("run", "it", prefix=("sh", "-c", 'exec "$@" 2>&1', "sh"))
    running.wait_until_it_blocks()

    running.signal(number)

    assert running.end() == CODES[number]
    assert marks() == ["stopped"]


def test_ctrl_c_where_stderr_is_full_is_no_defect(start, command, marks):
    command("it", WAITING)
    running = start("run", "it", prefix=("sh", "-c", 'exec "$@" 2>/dev/full', "sh"))
    marks.wait_for("executing")

    running.signal(signal.SIGINT)

    assert running.end() == 130


def test_what_was_printed_before_a_signal_is_not_lost(start, command, marks):
    command("it", 'print("precious")\nmark("executing")\nidle()')
    running = start("run", "it")
    marks.wait_for("executing")

    running.signal(signal.SIGINT)

    assert running.end() == 130
    assert running.rest() == "precious\n"


def test_a_run_that_nohup_protects_outlives_its_terminal(start, command, marks):
    command("it", 'mark("executing")\nwait_for("go")\nmark("done")')
    running = start("run", "it", prefix=("nohup",))
    marks.wait_for("executing")

    running.signal(signal.SIGHUP)
    marks.add("go")

    assert running.end() == 0
    assert marks() == ["executing", "go", "done"]


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_second_signal_ends_at_once_a_plugin_that_swallows_the_first(
    number, start, command, marks
):
    body = """
    while True:
        try:
            mark("executing")
            idle()
        except BaseException:
            mark("swallowed")
    """
    command("it", body, shutdown='mark("stopped")')
    running = start("run", "it")
    marks.wait_for("executing")

    running.signal(number)
    marks.wait_for("swallowed")
    running.signal(number)

    assert running.end() == CODES[number]
    assert "stopped" not in marks()


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_signal_that_is_lost_in_a_destructor_still_ends_with_its_code(
    number, start, command, marks
):
    body = """
    class Slow:
        def __del__(self):
            mark("executing")
            wait_for("signalled")
            time.sleep(0.1)

    slow = Slow()
    del slow
    mark("after")
    """
    command("it", body, shutdown='mark("stopped")')
    running = start("run", "it")
    marks.wait_for("executing")

    running.signal(number)
    marks.add("signalled")

    assert running.end() == CODES[number]
    # Some Pythons raise it only after the destructor: then nothing comes after.
    assert "stopped" in marks()


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_a_signal_that_is_lost_in_a_destructor_is_taken_up_after_it(
    number, start, command, marks
):
    """Python's own import has such places: Ctrl-C there was a traceback, and lost."""
    body = """
    class Slow:
        def __del__(self):
            mark("executing")
            wait_for("signalled")
            time.sleep(0.1)

    slow = Slow()
    del slow
    mark("after")
    idle()
    """
    command("it", body, shutdown='mark("stopped")')
    running = start("run", "it")
    marks.wait_for("executing")

    running.signal(number)
    marks.add("signalled")

    assert running.end() == CODES[number]
    assert marks()[-1] == "stopped"
    assert running.errors.strip() == ""


def test_an_interrupt_leaves_no_empty_line_between_objects(start, command, marks):
    command("it", WAITING)
    running = start("run", "--json", "it")
    marks.wait_for("executing")

    running.signal(signal.SIGINT)

    assert running.end() == 130
    assert running.errors == ""
