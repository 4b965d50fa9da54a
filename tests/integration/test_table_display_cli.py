"""`btplug run table-display` as a process: options, exit codes, pipes."""

import json
import subprocess
import threading

import pytest

ROWS = [
    {"uid": i, "hotkey": f"5F{i:06d}", "stake": i * 1000.5, "active": i % 2 == 0}
    for i in range(20)
]
WIDTHS = "uid::7,hotkey::12,stake::12::,.2f,active::6"


@pytest.fixture
def write(tmp_path):
    """Write a file below the working directory and return its name."""

    def run(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return name

    return run


@pytest.fixture
def run(btplug):
    return lambda *words, **rest: btplug("run", "table-display", *words, **rest)


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_file_becomes_a_table(run, write):
    done = run(write("a.json", json.dumps(ROWS[:2])))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.lines == [
        "╭─────┬──────────┬────────┬────────╮",
        "│ uid │ hotkey   │  stake │ active │",
        "├─────┼──────────┼────────┼────────┤",
        "│   0 │ 5F000000 │    0.0 │ true   │",
        "│   1 │ 5F000001 │ 1000.5 │ false  │",
        "╰─────┴──────────┴────────┴────────╯",
    ]


@pytest.mark.slow
def test_a_stream_looks_like_a_table_in_memory(run, write):
    in_memory = run(write("a.json", json.dumps(ROWS)), "--columns", WIDTHS)
    stream = run(write("a.jsonl", lines_of(ROWS)), "--columns", WIDTHS)

    assert in_memory.stdout == stream.stdout
    assert "│    19,009.50 │" in stream.stdout


@pytest.mark.slow
def test_every_option_is_reached_from_the_command_line(run):
    done = run(
        "-",
        *("--format", "jsonl", "--columns", "uid:UID,stake::::,.1f"),
        *("--where", "uid >= 5", "--where", "active = true"),
        *("--sort", "-uid", "--limit", "2", "--output", "markdown"),
        *("--max-size", "100000"),
        input=lines_of(ROWS),
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.lines == [
        "| UID | stake |", "| ---: | ---: |", "| 18 | 18,009.0 |", "| 16 | 16,008.0 |",
    ]  # fmt: skip


@pytest.mark.parametrize("words", [("--json",), ("--output", "json")])
def test_json_is_one_object_a_line_with_the_chosen_keys(run, write, words):
    name = write("a.json", json.dumps(ROWS))

    done = run(name, "--columns", "uid,none", "--limit", "2", *words)

    assert done.stdout == '{"uid": 0}\n{"uid": 1}\n'


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "found nothing to show, expected SOURCE, data, or 'data' in the"),
        (("none.csv",), "found that SOURCE 'none.csv' cannot be opened (No such"),
        (("-",), "found no ending in SOURCE '-', expected one of .json, .jsonl"),
        (("-", "--format", "xls"), "Invalid value for '--format': 'xls' is not one"),
        (("-", "--limit", "-1"), "Invalid value for '--limit': -1 is not in the range"),
        (("-", "--max-size", "0"), "Invalid value for '--max-size': 0 is not in the"),
        (("-", "--columns", "a:b:c"), "--columns: found 'a:b:c', expected a width of"),
        (("-", "--where", "a"), "--where: found 'a', expected KEY OP VALUE with one"),
        (("-", "--sort", "-"), "--sort: found '-', expected KEY or -KEY"),
        (("-", "--ouput", "csv"), "No such option '--ouput'."),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_was_expected(run, words, message):
    done = run(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_broken_data_ends_with_1_after_the_rows_that_were_good(run, write):
    done = run(write("a.jsonl", '{"a":1}\n{"a":2}\nbroken\n'))

    assert done.returncode == 1
    assert done.lines[3:] == ["│ 1 │", "│ 2 │", "╰───╯"]
    assert "a.jsonl:3: found broken JSON (Expecting value at column 1)" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(btplug, write, tmp_path):
    name = write("a.jsonl", lines_of(ROWS) * 5000)
    with subprocess.Popen(
        [btplug.script, "run", "table-display", name, "--columns", WIDTHS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        first = process.stdout.readline().decode()
        process.stdout.close()
        said = process.stderr.read()

    assert first.startswith("╭─────────┬")
    assert said == b""
    assert process.returncode == 141


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv"])
def test_a_row_is_shown_before_the_next_one_has_come(btplug, format):
    head = {"jsonl": "", "csv": "a,b\n", "tsv": "a\tb\n"}[format]
    rows = {
        "jsonl": ('{"a":1,"b":2}\n', '{"a":3,"b":4}\n'),
        "csv": ("1,2\n", "3,4\n"),
        "tsv": ("1\t2\n", "3\t4\n"),
    }[format]
    with subprocess.Popen(
        [
            *(btplug.script, "run", "table-display", "-", "--format", format),
            *("--columns", "a::3,b::3"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        # Rows that are held back would be waited for without end.
        alarm = threading.Timer(10, process.kill)
        alarm.start()
        process.stdin.write((head + rows[0]).encode())
        shown = [process.stdout.readline().decode() for _ in range(4)]
        process.stdin.write(rows[1].encode())
        later = process.stdout.readline().decode()
        process.stdin.close()
        end = process.stdout.read().decode()
        alarm.cancel()

    assert shown[3] == "│   1 │   2 │\n"
    assert later == "│   3 │   4 │\n"
    assert end == "╰─────┴─────╯\n"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--where", "stke > 1"), "stke"),
        (("--sort", "-stke"), "stke"),
        (("--columns", "uid,stke", "--limit", "2"), "stke"),
        (("--columns", "stke", "--json"), "stke"),
    ],
)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_key_that_no_record_has_is_named_with_the_nearest(
    run, write, words, key, ending
):
    content = json.dumps(ROWS) if ending == "json" else lines_of(ROWS)

    done = run(write(f"a.{ending}", content), *words)

    assert done.returncode == 0
    assert f"no record has the key '{key}': did you mean stake?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_key_that_only_some_records_have_is_none_to_warn_of(run, write):
    rows = [{"a": 1}, {"a": 2, "b": 3}]

    done = run(write("a.json", json.dumps(rows)), "--columns", "a,b", "--sort", "b")

    assert (done.returncode, done.stderr) == (0, "")
