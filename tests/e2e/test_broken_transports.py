"""Transports that do not start: a warning where nobody needs them, else an error."""

import json
import time

import pytest

LATE = "time.sleep(60)"


@pytest.fixture
def one(transport):
    transport("one", 'mark("one started")', shutdown='mark("one stopped")')


# -- transports that do not start


@pytest.fixture
def bad(transport, one):
    """A transport that cannot start, beside a good one."""
    transport("bad", 'raise RuntimeError("no wire")')


WARNING = (
    "btplug: warning: bad failed to initialise: RuntimeError: no wire "
    "(see the traceback with BTPLUG_DEBUG=1)\n"
)


def test_a_transport_that_is_not_lent_says_why_and_what_to_do(
    btplug, command, transport, tmp_path
):
    transport("wire")
    execute = """
    try:
        self.context.transports["wire"].health()
    except btplug.TransportError as exc:
        print(exc.what)
    peer = btplug.Peer("wire://x")
    return self.context.transport_for(peer).send(peer, btplug.Message()).text()
    """
    network = "{network: any}"
    command(
        "it",
        execute,
        where=tmp_path / "there",
        transports="[wire]",
        permissions=network,
    )

    done = btplug("--plugin-dir", "there", "run", "it")

    why = "the transport 'wire' is not lent to a confined plugin: wire does not check addresses"
    assert (done.returncode, done.stdout) == (5, f"{why}\n")
    assert done.stderr.startswith(f"btplug: error: {why}\n")
    assert done.stderr.endswith(
        "  fix:   use a transport that can check addresses, or let the plugin run in "
        "btplug's own process, unconfined: btplug trust --in-process it\n"
    )


def test_a_transport_that_fails_is_one_warning_with_its_cause_where_it_is_not_needed(
    btplug, command, bad
):
    command("it", 'return "done"', transports=None)

    done = btplug("run", "it")

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", WARNING)


def test_a_transport_that_fails_raises_its_cause_when_it_is_used(btplug, command, bad):
    command("it", 'self.context.transports["bad"]', transports=None)

    done = btplug("run", "it")

    assert done.returncode == 4
    assert done.stderr.startswith(WARNING)
    error = done.stderr.splitlines()[1]
    assert error == "btplug: error: bad failed to initialise: RuntimeError: no wire"


def test_a_transport_that_fails_raises_its_cause_when_its_scheme_is_asked_for(
    btplug, command, bad
):
    command("it", 'self.context.transport_for("bad://x")', transports=None)

    done = btplug("run", "it")

    assert done.returncode == 4
    error = done.stderr.splitlines()[1]
    assert error.startswith("btplug: error: ")
    assert error.endswith("bad failed to initialise: RuntimeError: no wire")


def test_a_scheme_that_no_transport_serves_is_told_so_though_another_is_broken(
    btplug, command, bad
):
    """The broken one may be what was meant; but that is no more than a guess."""
    command("it", 'self.context.transport_for("gopher://x")', transports=None)

    done = btplug("run", "it")

    assert "no transport for the scheme 'gopher'" in done.stderr


def test_a_transport_that_fails_ends_the_run_with_4_where_the_manifest_names_it(
    btplug, command, bad, marks
):
    command("it", 'mark("executing")', top='mark("imported")', transports="[one, bad]")

    done = btplug("run", "it")

    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        "btplug: error: bad failed to initialise: RuntimeError: no wire"
    )
    assert marks() == ["one started", "one stopped"]


@pytest.mark.slow
def test_a_transport_that_hangs_costs_one_warning_and_its_start_limit(
    btplug, command, transport, one
):
    transport("bad", LATE)
    command("it", 'return str("one" in self.context.transports)', transports=None)

    begun = time.monotonic()
    done = btplug("run", "it", BTPLUG_START_LIMIT="0.5")

    assert time.monotonic() - begun < 0.5 + 2.5
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert done.stderr == (
        "btplug: warning: bad did not initialise in 0.5 s (mend it, or wait "
        "longer: btplug config set start_limit 30)\n"
    )


@pytest.mark.slow
def test_a_transport_that_hangs_ends_the_run_with_7_where_the_manifest_names_it(
    btplug, command, transport, one, marks
):
    transport("bad", LATE, shutdown='mark("never")')
    command("it", 'mark("executing")', transports="[bad, one]")

    done = btplug("run", "it", BTPLUG_START_LIMIT="0.5")

    assert done.returncode == 7
    assert "btplug: error: bad did not initialise in 0.5 s" in done.stderr
    assert marks() == ["one started", "one stopped"]


@pytest.mark.slow
def test_several_transports_that_hang_cost_the_start_limit_once(
    btplug, command, transport
):
    for name in ("one", "two", "three", "four"):
        transport(name, LATE)
    command("it", 'return "done"', transports=None)

    begun = time.monotonic()
    done = btplug("run", "it", BTPLUG_START_LIMIT="0.8")

    assert time.monotonic() - begun < 2 * 0.8 + 0.7
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.count("btplug: warning:") == 4


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({"top": "import nowhere"}, "ModuleNotFoundError: No module named 'nowhere'"),
        ({"top": "raise SystemExit(0)"}, "bad called exit during load (code 0)"),
        ({"api": 7}, "plugin.api: found 7 (int), expected 1"),
        ({"summary": "''"}, "plugin.summary: found '', expected one line"),
    ],
)
def test_a_broken_transport_is_one_warning_or_exit_4_where_it_is_named(
    broken, what, btplug, command, transport, one, marks
):
    transport("bad", **broken)
    command("it", 'return "done"', transports=None)
    command("needy", 'mark("executing")', transports="[bad]")

    done = btplug("run", "it")
    refused = btplug("run", "needy")

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.startswith(("btplug: warning: bad: ", "btplug: warning: bad "))
    assert done.stderr.count("\n") == 1
    assert what in done.stderr
    assert refused.returncode == 4
    assert what in refused.stderr
    assert "executing" not in marks()


@pytest.mark.parametrize("named", ["nowhere", "other"])
def test_a_manifest_that_names_what_is_no_transport_is_a_broken_plugin(
    named, btplug, command, marks
):
    """Not 3: the plugin that was asked for is there."""
    command("other")
    command("it", 'mark("executing")', transports=f"[{named}]")

    done = btplug("run", "it", "--json")

    assert done.returncode == 4
    error = json.loads(done.stderr)
    assert named in error["what"]
    assert error["plugin"] == "it"
    assert error["exit_code"] == 4
    assert marks() == []


def test_a_disabled_transport_that_a_manifest_names_says_how_to_enable_it(
    btplug, command, one, marks
):
    command("it", 'mark("executing")', transports="[one]")
    btplug("disable", "one")

    done = btplug("run", "it")

    assert done.returncode == 4
    assert "the transport 'one' " in done.stderr
    assert "fix:   enable it with: btplug enable one" in done.stderr
    assert marks() == []


def test_a_start_limit_that_is_no_number_is_refused_before_anything_starts(
    btplug, command, one, marks
):
    command("it", 'mark("executing")', transports="[one]")

    done = btplug("run", "it", BTPLUG_START_LIMIT="soon")

    assert done.returncode == 4
    assert "BTPLUG_START_LIMIT: start_limit: found 'soon', expected a number" in (
        done.stderr
    )
    assert marks() == []


def test_a_stop_limit_that_is_no_number_leaves_nothing_without_its_shutdown(
    btplug, command, one, marks
):
    command("it", 'mark("executing")', shutdown='mark("stopped")', transports="[one]")

    done = btplug("run", "it", BTPLUG_STOP_LIMIT="soon")

    assert done.returncode == 4
    assert "BTPLUG_STOP_LIMIT: stop_limit: found 'soon', expected a number" in (
        done.stderr
    )
    started = [word for word in marks() if word in ("executing", "one started")]
    stopped = [word for word in marks() if word in ("stopped", "one stopped")]
    assert len(started) == len(stopped)


@pytest.mark.slow
def test_of_five_transports_each_is_stopped_once_whatever_the_others_do(
    btplug, command, transport, marks
):
    for n, (start, stop) in enumerate(
        [
            ("pass", "pass"),
            ("pass", 'raise OSError("stuck")'),
            ('raise RuntimeError("no wire")', 'mark("never")'),
            ("pass", "time.sleep(60)"),
            ("pass", "pass"),
        ]
    ):
        transport(f"t{n}", start, shutdown=f'mark("t{n} stopped")\n{stop}')
    command("it", "return sorted(self.context.transports)", transports=None)
    named = "[t0, t1, t2, t3, t4]"
    command("needy", 'mark("executing")', transports=named)

    begun = time.monotonic()
    done = btplug("run", "it", "--json", BTPLUG_STOP_LIMIT="0.5")
    lasted = time.monotonic() - begun
    stopped = marks()
    refused = btplug("run", "needy", BTPLUG_STOP_LIMIT="0.5")

    assert lasted < 0.5 + 2
    assert done.returncode == 0
    assert {"t0", "t1", "t3", "t4"} <= set(json.loads(f"[{','.join(done.lines)}]"))
    assert sorted(stopped) == [f"t{n} stopped" for n in (0, 1, 3, 4)]
    said = [json.loads(line)["what"] for line in done.stderr.splitlines()]
    assert "t2 failed to initialise: RuntimeError: no wire" in said
    assert "t1 failed to shut down: OSError: stuck" in said
    assert "t3 did not shut down in 0.5 s" in said
    assert refused.returncode == 4
    assert "error: t2 failed to initialise: RuntimeError: no wire" in refused.stderr
    assert "t1 failed to shut down: OSError: stuck" in refused.stderr
    assert "executing" not in marks()
