"""Transports start before a plugin's code runs, and only where one will run."""

import json

import pytest


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


@pytest.mark.slow
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


@pytest.mark.slow
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


COLLECTED = "import gc; return f'{gc.isenabled()} {gc.get_freeze_count() > 1000}'"


@pytest.mark.parametrize("place", [None, "there"])
def test_python_looks_for_garbage_once_a_plugin_is_loaded(
    place, btplug, command, tmp_path
):
    where = place and tmp_path / place
    command("it", COLLECTED, where=where, top="import gc\nassert gc.isenabled()")

    done = btplug(*(("--plugin-dir", place) if place else ()), "run", "it")

    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_python_looks_for_none_while_transports_start(
    btplug, command, transport, marks
):
    transport("one", "mark(gc.isenabled())", top="import gc")
    command("it", transports=None)

    btplug("run", "it")

    assert marks() == ["False"]


@pytest.mark.parametrize("place", [None, "there"])
def test_a_plugin_that_wants_no_garbage_collected_is_heard(
    place, btplug, command, tmp_path
):
    where = place and tmp_path / place
    execute = "return str(gc.isenabled())"
    command("it", execute, where=where, top="import gc\ngc.disable()")

    done = btplug(*(("--plugin-dir", place) if place else ()), "run", "it")

    assert done.stdout == "False\n", done.stderr
