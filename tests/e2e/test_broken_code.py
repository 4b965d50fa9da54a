"""Code that cannot be loaded costs one line, and nothing else."""

import json
import time

import pytest

GOOD = 'return [{"all": "well"}]'


@pytest.fixture
def good(command):
    command("good", GOOD)


def rows(btplug):
    done = btplug("list", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {row["name"]: row for row in json.loads(done.stdout)}


# -- code that cannot be imported: known when it is called, and not before

CODE = {
    "missing dependency": (
        b"import btplug\nimport not_installed.at_all\n",
        "bad failed to load: ModuleNotFoundError: No module named 'not_installed'",
        ":2",
        "install what it needs, perhaps: pip install not_installed",
    ),
    "name that a module has not": (
        b"\nfrom json import nothing_like_it\n",
        "bad failed to load: ImportError: cannot import name 'nothing_like_it'",
        ":2",
        None,
    ),
    "syntax error": (
        b"import btplug\n\nclass Plugin(:\n",
        "bad failed to load: SyntaxError: invalid syntax",
        ":3",
        None,
    ),
    "NUL byte": (
        b"import btplug\nx = '\0'\n",
        "bad failed to load: SyntaxError: source code string cannot contain null bytes",
        "",
        None,
    ),
    "source that is not UTF-8": (
        b"x = 1\ny = '\xff'\n",
        "bad failed to load: SyntaxError: (unicode error) 'utf-8' codec can't decode",
        "",
        None,
    ),
    "exit with 0": (
        b"import sys\nsys.exit(0)\n",
        "bad called exit during load (code 0)",
        ":2",
        "remove the exit from the plugin's top level",
    ),
    "exit with a text": (
        b"raise SystemExit('bye')\n",
        "bad called exit during load (code 'bye')",
        ":1",
        None,
    ),
    "own kind of BaseException": (
        b"class Odd(BaseException): pass\nraise Odd('hm')\n",
        "bad failed to load: Odd: hm",
        ":2",
        None,
    ),
    "endless recursion": (
        b"def f(): f()\nf()\n",
        "bad failed to load: RecursionError: maximum recursion depth exceeded",
        ":1",
        None,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CODE)
def test_code_that_cannot_be_imported_is_exit_4_and_says_where(
    case, btplug, make_plugin, home
):
    code, what, line, fix = CODE[case]
    folder = make_plugin("bad", where=home / "cli_plugins")
    (folder / "plugin.py").write_bytes(code)

    done = btplug("run", "bad", "--json")

    assert done.returncode == 4
    assert done.stdout == ""
    error = json.loads(done.stderr)
    assert error["what"].startswith(what)
    assert error["where"].startswith(f"{folder / 'plugin.py'}{line}")
    assert fix is None or error["fix"] == fix
    assert error["plugin"] == "bad"


@pytest.mark.slow
def test_code_that_cannot_be_imported_is_no_matter_to_all_others(
    btplug, make_plugin, good, home
):
    for number, (code, *_) in enumerate(CODE.values()):
        folder = make_plugin(f"bad-{number}", where=home / "cli_plugins")
        (folder / "plugin.py").write_bytes(code)

    done = btplug("run", "good")

    assert (done.returncode, done.stdout, done.stderr) == (0, "all\nwell\n", "")
    assert {row["state"] for row in rows(btplug).values()} == {"ready"}
    assert btplug("--help").returncode == 0


CLASSES = {
    "no such object": (
        "x = 1",
        "found no Plugin in the plugin's module, expected a class",
        "correct 'entry:' in its config.yaml",
    ),
    "no class": (
        "Plugin = 5",
        "found Plugin that is no CLIPlugin, expected a subclass of it",
        "write: class Plugin(CLIPlugin)",
    ),
    "another base": (
        "class Plugin: pass",
        "found Plugin that is no CLIPlugin, expected a subclass of it",
        "write: class Plugin(CLIPlugin)",
    ),
    "methods left out": (
        "import btplug\nclass Plugin(btplug.CLIPlugin):\n    def execute(self): ...",
        "found Plugin without initialize, shutdown, expected all of the methods",
        "write initialize, if only with a docstring as its body",
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_code_without_a_whole_plugin_is_exit_4_and_says_what_is_missing(
    case, btplug, make_plugin, home
):
    code, what, fix = CLASSES[case]
    folder = make_plugin("bad", code, where=home / "cli_plugins")

    file = "config.yaml" if "entry" in fix else "plugin.py"

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert done.stderr == (
        f"btplug: error: {what}\n  where: {folder / file}\n  fix:   {fix}\n"
    )


def test_a_plugin_without_its_file_is_told_which_file_is_missing(btplug, command):
    """Not to install a module whose name only btplug knows."""
    folder = command("bad")
    (folder / "plugin.py").unlink()

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert str(folder / "plugin.py") in done.stderr
    assert "pip install" not in done.stderr
    assert "_btplug_" not in done.stderr


def test_a_plugin_that_exits_in_initialize_is_broken_too(btplug, command, marks):
    command("bad", initialize="raise SystemExit(0)", shutdown='mark("never")')

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert "bad failed to initialise: it called exit with 0" in done.stderr
    assert marks() == []


# -- code that does not come to an end


BUSY = "mark(time.monotonic())\nwhile True: pass"
LATE = "mark(time.monotonic())\ntime.sleep(60)"
LATE_ASYNC = """
async def initialize(self, config):
    mark(time.monotonic())
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hang", "verb"),
    [
        ({"top": BUSY}, "load"),
        ({"top": LATE}, "load"),
        ({"initialize": BUSY}, "initialise"),
        ({"initialize": LATE_ASYNC}, "initialise"),
    ],
)
def test_code_that_hangs_is_exit_7_within_the_start_limit(
    hang, verb, btplug, command, marks
):
    command("bad", **hang)

    done = btplug("run", "bad", BTPLUG_START_LIMIT="0.5")

    # Half a second is allowed for the end; the rest is for a busy machine.
    assert time.monotonic() - float(marks()[0]) < 0.5 + 0.5 + 0.5
    assert done.returncode == 7
    assert f"btplug: error: bad did not {verb} in 0.5 s\n" in done.stderr
    assert "wait longer: btplug config set start_limit 30" in done.stderr


@pytest.mark.slow
def test_loading_and_initialising_share_one_start_limit(btplug, command, marks):
    command("bad", top="time.sleep(1.2)", initialize=LATE)

    done = btplug("run", "bad", BTPLUG_START_LIMIT="1.5")

    assert done.returncode == 7
    assert time.monotonic() - float(marks()[0]) < 1.2


@pytest.mark.slow
def test_options_of_info_wait_no_longer_than_the_start_limit(btplug, command):
    command("bad", top="time.sleep(60)")

    assert btplug("info", "bad", "--options", BTPLUG_START_LIMIT="0.5").returncode == 7


@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise KeyboardInterrupt"])
def test_an_exit_in_an_async_method_is_that_plugins_failure_and_stops_no_other(
    leave, btplug, command, transport
):
    """An exit inside a task ends asyncio's loop, which all async plugins share."""
    leave = f"import sys\n    {leave}"
    send = """
    async def asend(self, peer, message, *, timeout=None):
        return btplug.Reply(status=200, body=message.body)
    """
    transport("good", members=send, initialize="async def initialize(self, c): ...")
    transport("bad", initialize=f"async def initialize(self, c):\n    {leave}")
    call = """
    import asyncio
    wire = self.context.transport_for("good://x")
    sent = wire.asend(btplug.Peer("good://x"), btplug.Message(body=b"hi"))
    return asyncio.run(sent).body
    """
    command("it", call, transports=None)
    command("worse", f"async def execute(self, data=None):\n    {leave}")

    done = btplug("run", "it")
    worse = btplug("run", "worse")

    assert (done.returncode, done.stdout) == (0, "hi"), done.stderr
    assert done.stderr.startswith("btplug: warning: bad failed to initialise: ")
    assert worse.returncode in (1, 130)
    assert "Traceback" not in worse.stderr
