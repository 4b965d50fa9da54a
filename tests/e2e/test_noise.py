"""What plugins print never gets into the JSON of a result."""

import json

import pytest


def objects(text):
    """Return what each line holds; a line that is no JSON fails the test."""
    lines = text.split("\n")[:-1]
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


# -- noise

NOISE = 'print("NOISE"); os.write(1, b"NOISE\\n"); os.system("echo NOISE")'
PLACES = {
    "at import": {"top": NOISE},
    "in initialize": {"initialize": NOISE},
    "while executing": {"execute": f'{NOISE}\nreturn {{"a": 1}}'},
    "between rows": {"execute": f'{NOISE}\nyield {{"a": 1}}\n{NOISE}'},
    "in shutdown": {"shutdown": NOISE},
    "at exit": {"top": f"import atexit\n@atexit.register\ndef last():\n    {NOISE}"},
}


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("words", ["run --json it", "it --json"])
def test_what_a_plugin_prints_never_gets_into_the_json(where, words, btplug, command):
    command("it", **{"execute": 'return {"a": 1}', **PLACES[where]})

    done = btplug(*words.split())

    assert done.returncode == 0
    assert done.stdout == '{"a": 1}\n'
    assert done.stderr.count("NOISE") in (3, 6)


@pytest.mark.parametrize("mode", [[], ["--in-process"]])
def test_each_line_that_is_printed_says_so(mode, btplug, command, tmp_path):
    command(
        "it", 'print("é\\nb")\nprint("c", end="")\nreturn {"a": 1}', top="print('x')",
        shutdown='print("last")', where=tmp_path / "there",
    )  # fmt: skip

    done = btplug(*mode, "--plugin-dir", "there", "run", "it", "--json")

    assert done.stdout == '{"a": 1}\n'
    lines = ["x", "é", "b", "clast"]
    assert done.stderr == "".join(f"btplug: printed: {line}\n" for line in lines)


@pytest.mark.parametrize(
    "parts", [{"top": NOISE}, {"initialize": NOISE}, {"shutdown": NOISE}]
)
def test_what_a_transport_prints_never_gets_into_the_json(
    parts, btplug, command, transport
):
    transport("wire", **parts)
    command("it", 'return {"a": 1}', transports="[wire]")

    done = btplug("run", "--json", "it")

    assert done.stdout == '{"a": 1}\n'
    assert done.stderr.count("NOISE") == 3


@pytest.mark.parametrize(
    "words", ["info it --options --json", "info it --schema", "doctor --json"]
)
def test_no_built_in_command_lets_noise_into_its_json(
    words, btplug, command, transport
):
    command("it", top=NOISE)
    transport("wire", NOISE, shutdown=NOISE)

    done = btplug(*words.split())

    json.loads(done.stdout)


def test_stdout_is_back_after_the_result(btplug, command):
    """For whatever comes after: here the text of the exit code's table."""
    command("it", 'yield {"a": 1}\nraise ValueError("later")')

    done = btplug("run", "it", "--json")

    assert done.returncode == 1
    assert done.stdout == '{"a": 1}\n'
    assert objects(done.stderr)[0]["what"] == "it failed: ValueError: later"
