"""Transports start before a plugin's code runs, and only where one will run."""

import json
import time

import pytest

LATE = "time.sleep(60)"


@pytest.fixture
def one(transport):
    transport("one", 'mark("one started")', shutdown='mark("one stopped")')


NOBODY = [
    "",
    "--help",
    "list",
    "info it",
    "info it --options",
    "config show it",
    "run",
    "run --help",
    "run --set",
    "run --nope it",
    "run tpyo",
    "run it --help",
    "run it word --help",
    "it --help",
    "tpyo",
    "run one",
    "one",
]


@pytest.mark.parametrize("words", NOBODY)
def test_no_transport_starts_for(words, btplug, command, one, marks):
    command(transports=None)

    btplug(*words.split())

    assert marks() == []


@pytest.mark.parametrize(
    "words",
    ["it", "run it", "run --json it", "run --set x=2 it", "run -- it", "-q it"],
)
def test_every_enabled_transport_starts_for(words, btplug, command, one, marks):
    command("it", 'mark("executing")', transports=None, config="x: 1")

    btplug(*words.split())

    assert "executing" in marks()
    assert marks()[0] == "one started"


def test_help_behind_two_dashes_is_an_argument_and_no_call_for_help(
    btplug, command, one, marks
):
    execute = """
    @click.argument("word")
    def execute(self, data=None, *, word):
        return word
    """
    command("it", execute, top="import click", transports=None)

    done = btplug("run", "it", "--", "--help")

    assert done.stdout == "--help\n"
    assert marks() == ["one started", "one stopped"]


def test_help_that_is_the_value_of_an_option_is_no_call_for_help(
    btplug, command, one, marks
):
    execute = """
    @click.option("--word")
    def execute(self, data=None, *, word):
        return word
    """
    command("it", execute, top="import click", transports=None)

    done = btplug("run", "it", "--word=--help")

    assert done.stdout == "--help\n"
    assert marks() == ["one started", "one stopped"]


def test_transports_start_before_the_code_of_the_plugin_runs(
    btplug, command, one, marks
):
    command(
        "it", 'mark("executing")', top='mark("imported")',
        initialize='mark("initialised")', shutdown='mark("plugin stopped")',
        transports=None,
    )  # fmt: skip

    assert btplug("run", "it").returncode == 0
    assert marks() == [
        "one started",
        "imported",
        "initialised",
        "executing",
        "plugin stopped",
        "one stopped",
    ]


def test_a_plugin_finds_the_started_transports_in_the_shared_context(
    btplug, command, one
):
    execute = """
    transport = self.context.transport_for("one://somewhere")
    assert transport is self.context.transports["one"]
    reply = transport.send(btplug.Peer("one://somewhere"), btplug.Message(body=b"hello"))
    return {"names": sorted(self.context.transports), "reply": reply.text()}
    """
    command("it", execute, transports="[one]")

    done = btplug("run", "--json", "it")

    assert json.loads(done.stdout) == {"names": ["one"], "reply": "hello"}


def test_a_manifest_that_names_transports_gets_only_those(
    btplug, command, transport, one, marks
):
    transport("two", 'mark("two started")')
    command("it", "return list(self.context.transports)[0]", transports="[two]")

    assert btplug("run", "it").stdout == "two\n"
    assert marks() == ["two started"]


def test_a_manifest_with_an_empty_list_gets_none(btplug, command, one, marks):
    command("it", "return str(len(self.context.transports))", transports="[]")

    assert btplug("run", "it").stdout == "0\n"
    assert marks() == []


def test_a_transport_that_is_disabled_is_not_started(btplug, command, one, marks):
    command("it", 'return str("one" in self.context.transports)', transports=None)
    btplug("disable", "one")

    assert btplug("run", "it").stdout == "False\n"
    assert marks() == []


def test_transports_start_side_by_side(btplug, command, transport, marks):
    names = ("one", "two", "three")
    for name in names:
        met = "\n".join(f"wait_for({other!r}, 4)" for other in names)
        transport(name, f"mark({name!r})\n{met}")
    command(
        "it",
        'return str({*self.context.transports} >= {"one", "two", "three"})',
        transports=None,
    )

    done = btplug("run", "it")

    assert done.stderr == ""
    assert done.stdout == "True\n"


def test_a_transport_of_plugin_dir_starts_only_with_in_process(
    btplug, command, transport, marks, tmp_path
):
    transport("guest", 'mark("guest started")', where=tmp_path / "their")
    command("it", 'return str("guest" in self.context.transports)', transports=None)

    assert btplug("--plugin-dir", "their", "run", "it").stdout == "False\n"
    assert marks() == []

    done = btplug("--plugin-dir", "their", "--in-process", "run", "it")

    assert done.stdout == "True\n"
    assert marks() == ["guest started"]


def test_a_plugin_that_needs_a_transport_of_plugin_dir_says_how_to_allow_it(
    btplug, command, transport, marks, tmp_path
):
    transport("guest", 'mark("guest started")', where=tmp_path / "their")
    command("it", transports="[guest]", where=tmp_path / "their")

    done = btplug("--plugin-dir", "their", "run", "it")

    assert done.returncode == 4
    assert "the transport 'guest' " in done.stderr
    assert "add --in-process, in front of the command" in done.stderr
    assert marks() == []


# -- transports that do not start


@pytest.fixture
def bad(transport, one):
    """A transport that cannot start, beside a good one."""
    transport("bad", 'raise RuntimeError("no wire")')


WARNING = (
    "btplug: warning: bad: bad failed to initialise: RuntimeError: no wire "
    "(see the traceback with BTPLUG_DEBUG=1)\n"
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

    assert time.monotonic() - begun < 0.5 + 1.5
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert done.stderr == (
        "btplug: warning: bad: bad did not initialise in 0.5 s (mend it, or wait "
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
    assert done.stderr.startswith("btplug: warning: bad: ")
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
