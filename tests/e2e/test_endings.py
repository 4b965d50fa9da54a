"""However a run ends, what was started is shut down, in time and in order."""

import json
import signal
import time

import pytest

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WAITING = 'mark("executing")\ntime.sleep(60)'
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
time.sleep(60)
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
        time.sleep(60)
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


@pytest.mark.parametrize(
    "ending",
    [
        ("return 'fine'", 0),
        ("raise ValueError", 1),
        ("raise btplug.PluginExit(9)", 9),
        ("raise SystemExit(0)", 1),
        ("raise KeyboardInterrupt", 130),
    ],
    ids=["return", "error", "exit code", "exit", "interrupt"],
)
def test_transports_are_shut_down_once_in_reverse_order_after_the_plugin(
    ending, btplug, command, transport, marks
):
    names = ["one", "two", "three"]
    for before, name in zip(["go", *names], names, strict=False):
        # They start side by side: the pause is for the one before to be live.
        transport(
            name,
            f"wait_for({before!r})\ntime.sleep(0.1)\nmark({name!r})",
            shutdown=f'mark("{name} stopped")',
        )
    body, code = ending
    command("it", body, shutdown='mark("stopped")', transports="[one, two, three]")
    marks.add("go")

    assert btplug("run", "it").returncode == code
    assert marks() == [
        "go", "one", "two", "three",
        "stopped", "three stopped", "two stopped", "one stopped",
    ]  # fmt: skip


def test_a_shutdown_that_fails_is_a_warning_and_stops_no_other(
    btplug, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    transport(
        "two", 'wait_for("go")', shutdown='mark("two stopped"); raise OSError("stuck")'
    )
    command("it", 'return "fine"', transports="[one, two]")
    marks.add("go")

    done = btplug("run", "it")

    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert done.stderr == (
        "btplug: warning: two: two failed to shut down: OSError: stuck "
        "(see the traceback with BTPLUG_DEBUG=1)\n"
    )
    assert sorted(marks()) == ["go", "one stopped", "two stopped"]


def test_a_shutdown_of_the_plugin_itself_that_fails_is_exit_1(btplug, command):
    command("it", 'return "fine"', shutdown='raise OSError("stuck")')

    done = btplug("run", "it")

    assert (done.returncode, done.stdout) == (1, "fine\n")
    assert "it failed to shut down: OSError: stuck" in done.stderr


@pytest.mark.parametrize(
    ("body", "code", "first"),
    [
        ("raise ValueError('first')", 1, "it failed: ValueError: first"),
        ("raise btplug.PluginExit(42, 'first')", 42, "first"),
        ("raise btplug.TransportError('first')", 5, "first"),
    ],
)
def test_a_shutdown_that_fails_never_hides_the_first_error(
    body, code, first, btplug, command, transport, marks
):
    transport("one", shutdown='mark("one stopped"); raise OSError("also stuck")')
    command("it", body, shutdown='raise OSError("stuck")', transports="[one]")

    done = btplug("run", "it")

    assert done.returncode == code
    assert first in done.stderr
    assert "it failed to shut down: OSError: stuck" in done.stderr
    assert "one failed to shut down: OSError: also stuck" in done.stderr
    assert marks() == ["one stopped"]


@pytest.mark.parametrize(
    "stop",
    [
        "raise SystemExit(0)",
        "raise KeyboardInterrupt",
        "class Odd(BaseException): pass\n\nraise Odd",
    ],
)
def test_a_shutdown_that_raises_anything_at_all_stops_no_other(
    stop, btplug, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    command("it", "raise btplug.PluginExit(42)", shutdown=stop, transports="[one]")

    done = btplug("run", "it")

    assert done.returncode == 42
    assert "Traceback" not in done.stderr
    assert marks() == ["one stopped"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "hang",
    [
        "time.sleep(60)",
        "while True: pass",
        "async def shutdown(self):\n    import asyncio\n    await asyncio.sleep(60)",
    ],
)
def test_a_shutdown_that_hangs_costs_the_stop_limit_and_stops_no_other(
    hang, btplug, command, transport, marks
):
    transport("one", shutdown='mark("one stopped")')
    command("it", "raise ValueError('first')", shutdown=hang, transports="[one]")

    begun = time.monotonic()
    done = btplug("run", "it", BTPLUG_STOP_LIMIT="0.4")

    assert time.monotonic() - begun < 0.4 + 1.5
    assert done.returncode == 1
    assert "it did not shut down in 0.4 s" in done.stderr
    assert "it failed: ValueError: first" in done.stderr
    assert marks() == ["one stopped"]


@pytest.mark.slow
def test_the_stop_limit_is_two_seconds_if_nobody_says_otherwise(btplug, command):
    command("it", shutdown="time.sleep(60)")

    begun = time.monotonic()
    done = btplug("run", "it")

    assert 1.9 < time.monotonic() - begun < 3.5
    assert done.returncode == 7
    assert "it did not shut down in 2 s" in done.stderr


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


# -- threads and processes that a plugin leaves behind

LEAVE = """
import threading
threading.Thread(target=lambda: wait_for("go", 60), name="lost").start()
return "done"
"""


@pytest.mark.slow
def test_a_thread_left_running_is_named_and_costs_its_grace(btplug, command):
    command("it", LEAVE)

    begun = time.monotonic()
    done = btplug("run", "it")

    assert time.monotonic() - begun < 2 + 1.5
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == (
        "btplug: warning: the thread 'lost' was left running (join it in shutdown)\n"
    )


@pytest.mark.slow
def test_a_warning_about_a_thread_is_json_where_warnings_are(btplug, command):
    command("it", LEAVE)

    done = btplug("run", "it", "--json")

    warning = json.loads(done.stderr)
    assert warning["level"] == "warning"
    assert warning["what"] == "the thread 'lost' was left running"


def test_a_thread_that_ends_within_its_grace_is_waited_for(start, command, marks):
    body = LEAVE.replace('wait_for("go", 60)', '(wait_for("go"), mark("finished"))')
    command("it", body)
    running = start("run", "it")
    assert running.line() == "done"

    marks.add("go")

    assert running.end() == 0
    assert marks() == ["go", "finished"]
    assert running.errors == ""


def test_ctrl_c_while_threads_have_their_grace_ends_at_once(start, command, marks):
    command("it", LEAVE, shutdown='mark("stopped")')
    running = start("run", "it")
    assert running.line() == "done"
    marks.wait_for("stopped")
    time.sleep(0.2)  # the run is over: nothing it does can be seen any more

    begun = time.monotonic()
    running.signal(signal.SIGINT)

    assert running.end() == 130
    assert time.monotonic() - begun < 1
    assert "Traceback" not in running.errors


def test_what_a_plugin_registered_with_atexit_still_runs(btplug, command, marks):
    command("it", 'import atexit\natexit.register(mark, "at exit")')

    assert btplug("run", "it").returncode == 0
    assert marks() == ["at exit"]


def test_shutdown_runs_once_and_after_the_last_row_was_taken(btplug, command, marks):
    command(
        "it",
        'for n in range(3):\n    mark(n)\n    yield {"n": n}',
        shutdown='mark("stopped")',
    )

    assert btplug("run", "it").returncode == 0
    assert marks() == ["0", "1", "2", "stopped"]


def test_hooks_see_what_goes_in_and_replace_what_comes_out(btplug, command):
    members = """
    def before_execute(self, data):
        return [*(data or []), "before"]

    async def after_execute(self, result):
        return [*result, {"word": "after"}]
    """
    command("it", 'return [{"word": word} for word in data]', members=members)

    assert btplug("run", "it").stdout == "word\nbefore\nafter\n"
