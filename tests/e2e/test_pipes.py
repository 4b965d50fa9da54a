"""Streams that are full, closed, or read by somebody who leaves."""

import json
import os
import subprocess
import time

import pytest

ENDLESS = """
n = 0
while True:
    yield {"n": n}
    n += 1
"""


@pytest.fixture
def it(command):
    return command("it", "return [{'a': 1}]", config="x: 1")


COMMANDS = [
    "run it", "run --json it", "list", "list --json", "--help", "--version",
    "run --help", "run it --help", "info it", "info it --json", "info it --schema",
    "config path", "config path --json", "config show it", "config show", "doctor",
    "doctor --json",
]  # fmt: skip


def with_stdout(btplug, words, stdout):
    return subprocess.run(
        [str(btplug.script), *words.split()],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_reader_that_went_away_is_silent_and_141(words, btplug, it):
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = with_stdout(btplug, words, theirs)
    finally:
        os.close(theirs)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_disk_is_one_error_and_1(words, btplug, it):
    with open("/dev/full", "w") as full:
        done = with_stdout(btplug, words, full)

    assert done.returncode == 1
    what = "the output could not be written: No space left on device"
    assert done.stderr.count(what) == 1
    if "--json" in words:
        (error,) = map(json.loads, done.stderr.splitlines())
        assert error["what"] == what


@pytest.mark.parametrize("asked", ["source", "complete"])
def test_completion_that_cannot_be_written_is_no_defect(asked, btplug, monkeypatch):
    monkeypatch.setenv("_BTPLUG_COMPLETE", f"bash_{asked}")
    monkeypatch.setenv("COMP_WORDS", "btplug ")
    monkeypatch.setenv("COMP_CWORD", "1")

    test_a_reader_that_went_away_is_silent_and_141("", btplug, None)
    test_a_full_disk_is_one_error_and_1("", btplug, None)


DONE = [
    "$B config set it.x 2; grep 2 $BTPLUG_HOME/settings/it/x",
    "$B config unset it.y; test ! -e $BTPLUG_HOME/settings/it/y",
    "$B config set no.x 2",
    "$B disable it; test -e $BTPLUG_HOME/disabled/it",
    "$B enable off; test ! -e $BTPLUG_HOME/disabled/off",
    "$B enable it",
    "$B lock >shown; grep h1: shown; test -s btplug.lock; $B lock --check",
    "$B untrust it; $B trust --list >shown; ! grep h1: shown",
    "$B untrust it; $B trust --in-process it --digest $DIGEST; $B trust --in-process it",
]


@pytest.mark.parametrize("line", DONE)
def test_what_is_done_is_no_failure_because_stderr_is_full(line, shell, it, command):
    """A script would stop there, or do it again."""
    command("off")
    shell("$B config set it.y 1; $B disable off")
    refused = shell("$B untrust it 2>/dev/null; ! $B trust --in-process it").stderr
    digest = refused.split()[-1]

    done = shell(f"exec 2>/dev/full; {line}", DIGEST=digest)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("flags", ["", "--json"])
@pytest.mark.parametrize(
    "body",
    [
        ENDLESS,
        "while True:\n    yield 'text ' * 99",
        "return [{'n': 'x' * 500} for n in range(400)]",
    ],
)
def test_head_ends_a_long_output_and_the_plugin_is_shut_down(
    body, flags, shell, command, marks
):
    command("it", body, shutdown='mark("stopped")')

    done = shell(f"{{ $B run it {flags} || echo $? >code; }} | head -c 20; cat code")

    assert done.stderr == ""
    assert done.stdout.endswith("141\n")
    assert marks() == ["stopped"]


def test_a_reader_that_went_away_is_noticed_by_the_next_row(start, command, marks):
    command(
        "it",
        'yield {"n": 1}\nwait_for("go")\nyield {"n": 2}\nmark("never")',
        shutdown='mark("stopped")',
    )
    running = start("run", "it")
    running.line(), running.line()
    running.process.stdout.close()

    marks.add("go")

    assert running.process.wait(20) == 141
    assert marks() == ["go", "stopped"]


def test_the_plugin_s_own_exit_code_is_kept_though_nobody_reads(btplug, command):
    command("it", "print('x')\nraise btplug.PluginExit(42)")
    ours, theirs = os.pipe()
    os.close(ours)

    done = with_stdout(btplug, "run it", theirs)
    os.close(theirs)

    assert done.returncode == 42


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "noise", ["print('x' * 99)", "os.write(1, b'x' * 99)", "yield 'x' * 99"]
)
def test_a_plugin_that_prints_ends_in_silence_too_when_its_reader_leaves(
    noise, unbuffered, shell, command, marks
):
    command("it", f"while True:\n    {noise}", shutdown='mark("stopped")')

    done = shell(
        "{ $B run it || echo $? >code; } | head -c 20; cat code",
        PYTHONUNBUFFERED=unbuffered,
    )

    assert done.stderr == ""
    assert done.stdout.endswith("141\n")
    assert marks() == ["stopped"]


def test_a_broken_pipe_that_is_not_stdout_is_the_plugin_s_failure(btplug, command):
    body = """
    ours, theirs = os.pipe()
    os.close(ours)
    os.write(theirs, b"x")
    """
    command("it", body)

    done = btplug("run", "it")

    assert done.returncode == 1
    assert "it failed: BrokenPipeError: [Errno 32] Broken pipe" in done.stderr


def test_a_full_disk_in_the_middle_shuts_the_plugin_down(shell, command, marks):
    command("it", ENDLESS, shutdown='mark("stopped")')

    done = shell("$B run it >/dev/full")

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert done.stderr.count("btplug: error:") == 1
    assert marks() == ["stopped"]


CODES = {
    "run it": 0, "run it --json": 0, "list --json": 0, "--help": 0, "run wrong": 1,
    "run its --json": 3, "tpyo": 2, "run printing": 0, "run printing --json": 0,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail(closed, shell, it, command):
    command("wrong", "raise ValueError")
    command("printing", 'print("x"); os.system("echo y"); return "z"')

    for words, code in CODES.items():
        done = shell(f"$B {words} {closed}")
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr, words


@pytest.mark.parametrize("closed", ["0 1 2", "1 2", "2", "1"])
@pytest.mark.parametrize("flags", ["", "--json"])
def test_no_file_takes_the_place_of_a_closed_stream(closed, flags, shell, command):
    """A file that is opened gets the lowest number; noise meant for 2 would go there."""
    body = """
    import subprocess
    with open("precious", "w") as file:
        for fd in (1, 2):
            try:
                os.write(fd, b"noise")
            except OSError:
                pass
        subprocess.run("echo noise; echo noise >&2", shell=True)
        file.write("kept")
    self.context.logger.warning("logged")
    return {"a": 1}
    """
    command("it", body)
    redirect = " ".join(f"{fd}>&-" if fd != "0" else "0<&-" for fd in closed.split())

    shell(f"$B --log-file log run it {flags} {redirect}")

    assert shell("cat precious").stdout == "kept"
    assert "noise" not in shell("cat log").stdout
    assert "logged" in shell("cat log").stdout


def test_a_plugin_reads_what_is_piped_into_it(btplug, command):
    command("it", "import sys\nreturn sys.stdin.read().upper()")

    assert btplug("run", "it", input="hello").stdout == "HELLO\n"
    assert btplug("run", "--json", "it", input="hello").stdout == '"HELLO"\n'


def test_a_slow_reader_gets_everything(btplug, command):
    command("it", "for n in range(30_000):\n    yield {'n': n, 'text': 'x' * 20}")

    process = subprocess.Popen(
        [str(btplug.script), "run", "--json", "it"], stdout=subprocess.PIPE
    )
    time.sleep(0.2)  # let the pipe fill up before the first read
    lines = process.stdout.read().splitlines()

    assert process.wait(20) == 0
    process.stdout.close()
    assert len(lines) == 30_000
    assert json.loads(lines[-1])["n"] == 29_999


@pytest.mark.slow
def test_it_works_in_a_strict_shell_script_in_every_usual_way(shell, it):
    script = """
    set -eu
    $B run it | cat | grep -q 1
    out=$($B run --json it)
    [ "$out" = '{"a": 1}' ]
    $B run it >file 2>&1 </dev/null
    [ "$(tail -1 file)" = 1 ]
    if $B run its 2>/dev/null; then exit 9; fi
    $B run its 2>/dev/null && exit 8 || [ $? = 3 ]
    echo '{"x": 1}' | $B run it >/dev/null
    $B run it >/dev/null & wait $!
    echo fine
    """
    done = shell(script)

    assert (done.returncode, done.stdout) == (0, "fine\n")
