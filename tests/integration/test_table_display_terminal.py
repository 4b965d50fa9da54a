"""`btplug run table-display`: terminals, memory, and what a start imports."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest
from test_table_display_cli import ROWS, WIDTHS, lines_of


@pytest.fixture
def write(tmp_path):
    """Write a file below the working directory and return its name."""

    def run(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return name

    return run


# -- terminals


@pytest.fixture
def run(btplug):
    return partial(btplug, "run", "table-display")


@pytest.fixture
def on_terminal(btplug, tmp_path):
    return partial(seen_on_terminal, btplug.script, tmp_path)


def seen_on_terminal(script, folder, *words, columns=80, **env):
    """Run with stdout on a terminal of that many columns, return what it got."""
    pty = pytest.importorskip("pty")
    fcntl = pytest.importorskip("fcntl")
    import struct
    import termios

    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", 24, columns, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        [script, "run", "table-display", *words],
        stdout=theirs,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
        cwd=folder,
    )
    os.close(theirs)
    got = b""
    try:
        while piece := os.read(ours, 65536):
            got += piece
    except OSError:
        pass  # Linux: the other end was closed
    os.close(ours)
    assert process.wait(10) == 0
    return got.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_bold_header_and_nothing_is_folded_that_fits(
    on_terminal, write
):
    text = on_terminal(write("a.json", json.dumps(ROWS[:1])))

    assert "\x1b[1m uid \x1b[0m" in text
    assert len(text.splitlines()) == 5


@pytest.mark.slow
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_and_a_dumb_terminal_get_plain_text(on_terminal, run, write, env):
    name = write("a.json", json.dumps(ROWS[:2]))

    assert on_terminal(name, **env) == run(name).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_long_cell_is_folded_on_a_terminal_and_whole_in_a_pipe(
    on_terminal, run, write, name
):
    cell = "[red]markup[/red]:smile:" + "".join(map(str, range(100)))
    write(name, json.dumps({"uid": 1, "text": cell}))

    folded = on_terminal(name, columns=40, NO_COLOR="1").splitlines()

    assert {len(line) for line in folded} == {40}
    assert "".join(line[8:-1].strip() for line in folded[3:-1]) == cell
    assert f"│ {cell} │" in run(name).stdout


@pytest.mark.slow
def test_two_hundred_columns_stay_readable_on_a_terminal(on_terminal, write):
    name = write("a.json", json.dumps([{f"column{i:03}": "abc" for i in range(200)}]))

    lines = on_terminal(name, NO_COLOR="1").splitlines()

    assert {len(line) for line in lines} == {200 * (8 + 3) + 1}
    assert lines[-2].count(" abc ") == 200


@pytest.mark.slow
def test_rows_of_a_stream_have_the_styles_of_a_table_in_memory(on_terminal, write):
    write("a.json", json.dumps(ROWS))
    write("a.jsonl", lines_of(ROWS))

    in_memory = on_terminal("a.json", "--columns", WIDTHS)

    assert on_terminal("a.jsonl", "--columns", WIDTHS) == in_memory


# -- cost


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture
def peak_of(btplug, tmp_path):
    return partial(peak_memory, btplug.script, tmp_path)


def peak_memory(script, folder, *words):
    """Return the MiB that a run takes at most."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, script, "run", "table-display", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    code, peak = map(int, done.stdout.split())
    assert code == 0
    return peak / 1024  # KiB on Linux


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts bytes elsewhere")
@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("output", ["table", "csv", "json"])
def test_memory_does_not_grow_with_the_rows_of_a_stream(peak_of, write, format, output):
    head, rows = "", lines_of(ROWS)
    if format == "csv":
        head = ",".join(ROWS[0]) + "\n"
        rows = "".join(",".join(map(str, row.values())) + "\n" for row in ROWS)
    few = write(f"few.{format}", head + rows * 100)
    many = write(f"many.{format}", head + rows * 2500)
    words = ("--columns", WIDTHS, "--output", output)

    peaks = [peak_of(name, *words) for name in (few, many)]

    assert peaks[1] - peaks[0] < 4
    assert peaks[1] < 60


@pytest.mark.slow
def test_a_small_json_file_imports_no_more_than_it_needs(btplug, write, tmp_path):
    name = write("a.json", json.dumps(ROWS))
    btplug("run", "table-display", name)  # the next one finds a manifest in the cache

    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime"),
            *(btplug.script, "run", "table-display", name),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    needless = {
        "asyncio", "csv", "difflib", "hashlib", "httpx", "importlib.metadata",
        "logging", "msgspec", "pathlib", "platformdirs", "rich", "shutil", "subprocess",
        "tempfile", "yaml",
    }  # fmt: skip
    own = {name.rpartition(".")[2] for name in loaded if "table_display" in name}
    assert loaded & needless == set()
    assert own & {"exports", "query", "streams"} == set()
