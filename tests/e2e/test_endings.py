"""However a run ends, what was started is shut down, in time and in order."""

import json
import signal
import time

import pytest


@pytest.mark.slow
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
        "btplug: warning: two failed to shut down: OSError: stuck "
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

    assert time.monotonic() - begun < 0.4 + 2.5
    assert done.returncode == 1
    assert "it did not shut down in 0.4 s" in done.stderr
    assert "it failed: ValueError: first" in done.stderr
    assert marks() == ["one stopped"]


@pytest.mark.slow
def test_the_stop_limit_is_two_seconds_if_nobody_says_otherwise(btplug, command):
    command("it", shutdown="time.sleep(60)")

    begun = time.monotonic()
    done = btplug("run", "it")

    assert 1.9 < time.monotonic() - begun < 5
    assert done.returncode == 7
    assert "it did not shut down in 2 s" in done.stderr


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

    assert time.monotonic() - begun < 2 + 3
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
