"""``--json``: stdout is valid JSON or nothing, errors are one object a line."""

import json
import sys

import pytest

KEYS = ["level", "what", "where", "fix", "plugin", "exit_code"]


def objects(text):
    """Return what each line holds; a line that is no JSON fails the test."""
    lines = text.split("\n")[:-1]
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("return None", []),
        ("return 'text'", ["text"]),
        ("return {'a': [1, None, True, 2.5, {'b': 'x'}]}", [{"a": [1, None, True, 2.5, {"b": "x"}]}]),
        ("return {}", [{}]),
        ("return []", []),
        ("return [{'a': 1}, {'a': 2}]", [{"a": 1}, {"a": 2}]),
        ("yield {'a': 1}\nyield {'b': 2}", [{"a": 1}, {"b": 2}]),
        ("yield 'a'\nyield 'b'", ["a", "b"]),
        ("async def execute(self, data=None):\n    return {'a': 1}", [{"a": 1}]),
        ("async def execute(self, data=None):\n    yield {'a': 1}", [{"a": 1}]),
        ("return {'a': 'line\\nbreak \\x1b[31m \\u2028'}", [{"a": "line\nbreak \x1b[31m \u2028"}]),
        ("return {'a': '\u65e5\U0001f600'}", [{"a": "\u65e5\U0001f600"}]),
        ("return {1: 'a', None: 'b', True: 'c'}", [{"1": "c", "null": "b"}]),
        ("return {'a': 'lone \\udcff'}", [{"a": "lone \udcff"}]),
        ("import types\nreturn types.MappingProxyType({'a': 1})", [{"a": 1}]),
        ("import types\nreturn [types.MappingProxyType({'a': 1})]", [{"a": 1}]),
    ],
)  # fmt: skip
def test_a_result_is_json_line_by_line(body, shown, btplug, command):
    command("it", body)

    done = btplug("run", "--json", "it")

    assert (done.returncode, done.stderr) == (0, "")
    assert objects(done.stdout) == shown
    assert done.stdout == "" or done.stdout.endswith("\n")


def test_json_may_be_asked_for_before_and_behind_the_name(btplug, command):
    command("it", "return {'a': 1}")

    for words in ("run --json it", "run it --json", "it --json"):
        assert btplug(*words.split()).stdout == '{"a": 1}\n'


@pytest.mark.parametrize(
    "body", ["return {TEXT: TEXT}", "yield TEXT", "raise ValueError(TEXT)"]
)
def test_no_character_inside_json_steers_the_terminal(body, shell, command):
    """JSON itself escapes those below 32 only; 0x9b begins a sequence too."""
    text = "".join(map(chr, [*range(32), *range(127, 160), 0x202E, 0x2028, 0x2066]))
    command("it", body, top=f"TEXT = {text!r}")

    done = shell("$B run it --json || true", binary=True, LC_ALL="C.UTF-8")

    shown = (done.stdout + done.stderr).decode()
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    (value,) = objects(shown)
    found = {"y": lambda: value, "r": lambda: value[text], "a": lambda: value["what"]}
    assert text in found[body[0] if "raise" not in body else "a"]()


UNFIT = {
    "return {'a': float('nan')}": ("result.a", "the number nan", 0),
    "return {'a': float('-inf')}": ("result.a", "the number -inf", 0),
    "return {'a': {1, 2}}": ("result.a", "a value of type set", 0),
    "return {'a': b'x'}": ("result.a", "a value of type bytes", 0),
    "return {'a': [1, {'b': object()}]}": ("result.a[1].b", "a value of type object", 0),
    "return {('t',): 1}": ("result", "a key of type tuple", 0),
    "return {'a': {b'k': 1}}": ("result.a", "a key of type bytes", 0),
    "return {'a': 10 ** 5000}": ("result.a", "a number of more than 4,300 digits", 0),
    "return [{'a': 1}, {'a': {2}}]": ("result[1].a", "a value of type set", 1),
    "yield {'a': 1}\nyield {'a': 2}\nyield {'a': 1j}": ("result[2].a", "a value of type complex", 2),
    "return (n for n in [{}, {'a': float('nan')}])": ("result[1].a", "the number nan", 1),
}  # fmt: skip


@pytest.mark.parametrize("body", UNFIT)
def test_a_value_that_json_has_not_is_named_by_path_and_type(body, btplug, command):
    path, kind, earlier = UNFIT[body]
    folder = command("it", body)

    done = btplug("run", "it", "--json")

    assert done.returncode == 1
    assert len(objects(done.stdout)) == earlier
    (error,) = objects(done.stderr)
    assert error["what"] == (
        f"{path}: found {kind}, expected what JSON has "
        "(text, numbers, true, false, null, lists, mappings with text keys)"
    )
    assert error["plugin"] == "it"
    assert error["where"] == f"{folder}/config.yaml"


@pytest.mark.parametrize(
    "make",
    [
        "a = {}; a['a'] = a",
        "a = {'a': []}; a['a'].append(a)",
        "a = {}; b = a\nfor _ in range(100_000):\n    b['a'] = {}; b = b['a']",
    ],
    ids=["cycle", "cycle through a list", "100,000 levels"],
)
def test_a_value_inside_itself_or_too_deep_is_told_so(make, btplug, command):
    command("it", f"{make}\nreturn a")

    done = btplug("run", "it", "--json")
    text = btplug("run", "it")

    assert done.returncode == 1
    assert done.stdout == ""
    (error,) = objects(done.stderr)
    assert "found a value inside itself, or nested too deep" in error["what"]
    assert text.returncode in (0, 1)
    assert text.stdout.count("\n") <= 1


@pytest.mark.parametrize(
    "body",
    [
        "return {'a': float('nan')}",
        "return [{'a': {1}}]",
        "return {'a': 10 ** 5000}",
        "yield {'a': b'x'}",
    ],
)
def test_what_json_has_not_can_still_be_drawn_as_text(body, btplug, command):
    command("it", body)

    done = btplug("run", "it")

    assert done.returncode == 0, done.stderr
    assert done.stdout


# -- errors and warnings

ERRORS = {
    "run its --json": (3, "no plugin named 'its'", None),
    "its --json": (2, "No such command 'its'. Did you mean 'it'?", None),
    "run --json": (2, "Missing command.", None),
    "run --json --nope it": (2, "No such option '--nope'.", None),
    "run it --json --nope": (2, "No such option '--nope'.", "it"),
    "run it --json word": (2, "Got unexpected extra argument (word)", "it"),
    "list --json --kind x": (2, "Invalid value for '--kind': 'x' is not one of 'cli', 'transport'.", None),
    "info its --json": (3, "no plugin named 'its'", None),
    "config show its --json": (3, "no plugin named 'its'", None),
    "run fails --json": (1, "fails failed: ValueError: three", "fails"),
    "run broken --json": (4, "broken failed to load: RuntimeError: four", "broken"),
    "run wire --json": (2, "'wire' is a transport, expected a command", "wire"),
    "run --json --set x=1 it": (4, "--set x: x: found an unknown key, expected no settings", "it"),
}  # fmt: skip


@pytest.mark.parametrize("words", ERRORS)
def test_an_error_is_one_object_on_stderr(words, btplug, command, transport):
    code, what, plugin = ERRORS[words]
    command("it")
    command("fails", "raise ValueError('three')")
    command("broken", top="raise RuntimeError('four')")
    transport("wire")

    done = btplug(*words.split())

    assert (done.returncode, done.stdout) == (code, "")
    (error,) = objects(done.stderr)
    assert list(error) == KEYS
    assert error["level"] == "error"
    assert error["what"] == what
    assert error["exit_code"] == code
    assert error["plugin"] == plugin


def test_an_error_has_where_and_fix(btplug, command):
    folder = command("bad", top="raise RuntimeError('four')")

    (error,) = objects(btplug("run", "bad", "--json").stderr)

    line = (folder / "plugin.py").read_text().splitlines().index(
        "raise RuntimeError('four')"
    ) + 1
    assert error == {
        "level": "error",
        "what": "bad failed to load: RuntimeError: four",
        "where": f"{folder}/plugin.py:{line}",
        "fix": "mend the plugin; see the traceback with BTPLUG_DEBUG=1",
        "plugin": "bad",
        "exit_code": 4,
    }


def test_warnings_are_objects_too_and_their_exit_code_is_0(btplug, command, transport):
    transport("wire", 'raise RuntimeError("no wire")', shutdown="pass")
    command("it", 'return {"a": 1}', transports=None, shutdown='raise OSError("stuck")')

    done = btplug("run", "it", "--json")

    assert done.stdout == '{"a": 1}\n'
    first, last = objects(done.stderr)
    assert list(first) == list(last) == KEYS
    assert first["level"] == "warning"
    assert first["what"] == "wire failed to initialise: RuntimeError: no wire"
    assert first["plugin"] == "wire"
    assert first["exit_code"] == 0
    assert last["what"] == "it failed to shut down: OSError: stuck"


def test_json_behind_two_dashes_is_an_argument(btplug, command):
    execute = """
    @click.argument("word")
    def execute(self, data=None, *, word):
        raise ValueError(word)
    """
    command("it", execute, top="import click")

    done = btplug("run", "it", "--", "--json")

    assert done.stderr.startswith("btplug: error: it failed: ValueError: --json\n")


@pytest.mark.parametrize(
    "words",
    [
        "list",
        "info it",
        "config show it",
        "config show",
        "config path",
        "doctor",
        "info it --options",
    ],
)
def test_every_command_that_prints_data_prints_json(words, btplug, command):
    command("it", config="x: 1\nnot: .nan\n")

    done = btplug(*words.split(), "--json")

    assert done.returncode == 0, done.stderr
    json.loads(done.stdout, parse_constant=pytest.fail)


@pytest.mark.parametrize("where", ["context", "parameter"])
def test_a_plugin_can_know_that_json_is_wanted(where, btplug, command):
    command("it", "return str(self.context.wants_json)")

    assert btplug("run", "it", "--json").stdout == '"True"\n'
    assert btplug("run", "--json", "it").stdout == '"True"\n'
    assert btplug("run", "it").stdout == "False\n"


def test_bytes_are_text_or_base64(btplug, command):
    command("text", r"return b'gr\xc3\xbc\xc3\x9fe'")
    command("other", r"return b'\xff\x00'")

    assert json.loads(btplug("run", "--json", "text").stdout) == "gr\u00fc\u00dfe"
    assert json.loads(btplug("run", "--json", "other").stdout) == {"base64": "/wA="}


@pytest.mark.parametrize("body", ["return [1, 2]", "yield {'a': 1}\nyield 5"])
def test_a_row_that_is_none_fails_with_json_as_without(body, btplug, command):
    command("it", body)

    for words in (["run", "it"], ["run", "--json", "it"]):
        done = btplug(*words)
        assert done.returncode == 1
        assert (
            "found a row of type int, expected a mapping, text or bytes" in done.stderr
        )


def test_what_a_plugin_logs_is_json_too(btplug, command):
    command("it", "self.context.logger.warning('two\\nlines')")

    done = btplug("run", "--json", "it")

    assert json.loads(done.stderr) == {
        "level": "warning", "what": "two\nlines", "where": None, "fix": None,
        "plugin": "it", "exit_code": 0,
    }  # fmt: skip


def test_a_shutdown_that_fails_alone_is_an_error_with_the_code_of_the_run(
    btplug, command
):
    command("it", "return {'a': 1}", shutdown="raise OSError('stuck')")

    done = btplug("run", "--json", "it")

    assert done.returncode == 1
    error = json.loads(done.stderr)
    assert (error["level"], error["exit_code"]) == ("error", 1)
    assert error["what"] == "it failed to shut down: OSError: stuck"


@pytest.mark.skipif(sys.platform != "linux", reason="nothing confines a plugin here")
def test_a_line_of_a_confined_plugin_is_bounded(btplug, command, tmp_path):
    """To check it takes the host many times its length."""
    command("it", "return 'x' * (8 * 1024 * 1024 - 2)", where=tmp_path / "most")
    command("it", "return {'a': [{}] * 3_000_000}", where=tmp_path / "more")

    most = btplug("--plugin-dir", "most", "run", "--json", "it")
    more = btplug("--plugin-dir", "more", "run", "--json", "it")

    assert (most.returncode, len(most.stdout)) == (0, 8 * 1024 * 1024 + 1)
    assert (more.returncode, more.stdout) == (1, "")
    error = json.loads(more.stderr)
    assert error["what"] == "found a result of more than 8,388,608 bytes in one line of JSON"  # fmt: skip
    assert error["fix"] == "yield it in rows, or write it into a file"
