"""JSON, JSON Lines, CSV, TSV and YAML: what each accepts, and what is wrong."""

from functools import partial

import pytest
from test_table_display import new_registry, table
from test_table_display_source import complaint, shown

from btplug import BtplugError


@pytest.fixture
def show():
    """Run the plugin on data and return the text it makes."""
    registry = new_registry()
    yield partial(registry.execute_plugin, "table-display")
    assert registry.shut_down() == []


@pytest.fixture
def opened(tmp_path, show):
    return lambda name, content, **options: shown(
        show, tmp_path / name, content, **options
    )


@pytest.fixture
def refused(tmp_path, show):
    return lambda name, content, **options: complaint(
        show, tmp_path / name, content, **options
    )


# -- JSON

BROKEN_JSON = [
    ("", "data.json: found nothing, expected a list of objects, or one object"),
    (" \n", "data.json: found nothing, expected a list of objects, or one object"),
    ("3", "data.json: found a number, expected a list of objects, or one object"),
    ("null", "data.json: found null, expected a list of objects, or one object"),
    ('"a"', "data.json: found a text, expected a list of objects, or one object"),
    ('[{"a":1},[1]]', "data.json: record 2: found a list, expected an object"),
    ("[true]", "data.json: record 1: found true or false, expected an object"),
    ('[{"a":NaN}]', "data.json: found NaN, expected a number that JSON has, or null"),
    ('[{"a":-Infinity}]', "data.json: found -Infinity, expected a number that JSON has, or null"),
    ('[{"a":1e999}]', "data.json: found the number 1e999, expected one of at most 1.8e308"),
    ('[{"a":1,"b":2,"a":3}]', "data.json: found the key 'a' twice, expected each key once in an object"),
    ('[{"a":' + "9" * 5000 + "}]", "data.json: found a number of more than 4,300 digits, expected a shorter one"),
    ('[\n{"a" 1}]', "data.json:2: found broken JSON (Expecting ':' delimiter at column 6)"),
    ('{"a":1}\n{"a":2}', "data.json:2: found broken JSON (Extra data at column 1)"),
    (b'[{"a":"\n\xe9"}]', "data.json:2: found byte 0xe9, expected UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN_JSON)
def test_broken_json_says_what_and_where(refused, content, message):
    assert refused("data.json", content) == message


def test_numbers_of_json_keep_their_kind(opened):
    content = '[{"a": 1, "b": 1.0, "c": -2.5e-7, "d": 123456789012345678901234567890}]'

    assert opened("a.json", content, output="json") == (
        '{"a": 1, "b": 1.0, "c": -2.5e-07, "d": 123456789012345678901234567890}'
    )


def test_json_of_many_records_is_not_taken_for_deep(opened):
    content = "[" + ",".join(['{"a": [1, {"b": []}]}'] * 100) + "]"

    assert opened("a.json", content).count('[1,{"b":[]}]') == 100


def test_json_lines_in_a_json_file_are_recognised(opened):
    with pytest.raises(BtplugError) as caught:
        opened("data.json", '{"a":1}\n{"a":2}')

    assert caught.value.fix == "if every line is a record, pass --format jsonl"


@pytest.mark.parametrize("depth", [23, 900, 200_000])
def test_deep_json_is_refused_whatever_python_makes_of_it(refused, depth):
    content = '[{"a":%s}]' % ("[" * depth + "]" * depth)

    assert refused("data.json", content) == (
        "data.json: found deeper nesting, expected at most 24 levels"
    )


def test_twenty_four_levels_are_accepted_and_one_more_is_not(opened, refused):
    for name, own in (("a.json", 2), ("a.jsonl", 1), ("a.yaml", 2)):
        inner = "[" * (24 - own) + "]" * (24 - own)
        record = '{"a": %s, "b": [[], []]}'
        whole = "%s" if name.endswith("jsonl") else "[%s]"

        assert inner in opened(name, whole % (record % inner))
        assert refused(name, whole % (record % f"[{inner}]")).startswith(
            (f"{name}: found deeper nesting", f"{name}:1: found deeper nesting")
        )


# -- JSON Lines


def test_a_broken_line_comes_after_the_rows_before_it(show, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n{"a": \n{"a": 4}\n')
    pieces = []

    with pytest.raises(BtplugError) as caught:
        pieces.extend(show(source=str(path)))

    assert "".join(pieces) == show([{"a": 1}, {"a": 2}]) + "\n"
    assert caught.value.what == (
        f"{path}:4: found broken JSON (Expecting value at column 6)"
    )


@pytest.mark.parametrize("count", [3, 120])
@pytest.mark.parametrize("output", ["table", "markdown", "csv", "json"])
def test_whatever_the_output_a_broken_line_comes_after_the_rows_before_it(
    show, tmp_path, output, count
):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * count + "[1]\n")
    pieces = []

    with pytest.raises(
        BtplugError, match=rf":{count + 1}: found a list, expected an obj"
    ):
        pieces.extend(show(source=str(path), output=output))

    text = "".join(pieces)
    if output == "table":
        assert text.splitlines()[-1] == "╰───╯"
    assert text.count("1") == count


def test_a_broken_first_line_shows_no_table(show, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("3\n")

    with pytest.raises(BtplugError, match=r":1: found a number, expected an object"):
        next(show(source=str(path)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a":NaN}', "found NaN, expected a number that JSON has, or null"),
        ('{"a":1,"a":2}', "found the key 'a' twice, expected each key once"),
        ('{"a":"\udcff"}', "found byte 0xff, expected UTF-8"),
        ("{" * 5000, "found broken JSON"),
        ("[" * 200_000, "found deeper nesting, expected at most 24 levels"),
    ],
)
def test_a_wrong_value_in_json_lines_has_its_line(refused, line, message):
    content = f'{{"a":0}}\n{line}\n'.encode(errors="surrogateescape")

    assert refused("a.jsonl", content).startswith(f"a.jsonl:2: {message}")


def test_keys_that_appear_late_in_a_stream_are_named_once(show, tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 60 + '{"a": 1, "b": 2}\n{"c": 3}\n')

    text = "".join(show(source=str(path)))

    assert text.count("│ 1 │") == 61
    (record,) = caplog.records
    assert record.getMessage() == (
        "the key 'b' appears after the first 50 records and is not shown: "
        "name the columns with --columns"
    )


def test_json_output_of_a_stream_loses_no_late_key(show, tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 60 + '{"b": 2}\n')

    assert '{"b": 2}' in "".join(show(source=str(path), output="json"))
    assert caplog.records == []


# -- CSV and TSV

BROKEN_CSV = [
    ("a,b,a\n1,2,3\n", "data.csv:1: found the column 'a' twice in the header, expected each name once"),
    ("\n\na,a\n", "data.csv:3: found the column 'a' twice in the header, expected each name once"),
    ("a,b\n1,2\n1,2,3\n", "data.csv:3: found a row of 3 fields, expected 2 as in the header"),
    ("a,b\n1\n", "data.csv:2: found a row of 1 field, expected 2 as in the header"),
    ('a,b\n"x\ny",2\n1\n', "data.csv:4: found a row of 1 field, expected 2 as in the header"),
    ('a,b\n1,"x\n2,y\n', "data.csv:2: found a broken row (unexpected end of data)"),
    ('a,b\n1,"x"y\n', "data.csv:2: found a broken row (',' expected after '\"')"),
    (b"a\n1\n\xff\n", "data.csv:3: found byte 0xff, expected UTF-8"),
    ("a,b\n".encode("utf-16"), "data.csv:1: found byte 0xff, expected UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN_CSV)
def test_broken_csv_says_what_and_where(refused, content, message):
    assert refused("data.csv", content) == message


def test_csv_fields_may_hold_separators_quotes_and_line_breaks(opened):
    content = 'a,b\n"x, ""y""","1\r\n2"\n'

    assert opened("a.csv", content).splitlines()[3] == '│ x, "y" │ 1\\r\\n2 │'


def test_a_csv_file_with_a_header_only_has_no_rows(opened):
    assert opened("a.csv", "a,b\n") == table("""
        ╭───┬───╮
        │ a │ b │
        ├───┼───┤
        ╰───┴───╯
        (no rows)
    """)
    assert opened("a.csv", "a,b\n", output="csv") == "a,b"
    assert opened("a.csv", "a,b\n", output="markdown") == (
        "| a | b |\n| --- | --- |\n\n(no rows)"
    )
    assert opened("a.csv", "a,b\n", output="json") == ""


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_an_empty_file_that_streams_has_no_rows(opened, name):
    assert opened(name, "") == "(no rows)"


def test_csv_output_reads_back_as_it_was(opened, show):
    rows = [{"a": 'x, "y"', "b": ""}, {"a": " 1 ", "b": "é"}]

    assert opened("a.csv", show(rows, output="csv")) == show(rows)


# -- YAML

BROKEN_YAML = [
    ("", "a.yaml: found null, expected a list of objects, or one object"),
    ("- 3", "a.yaml: record 1: found a number, expected an object"),
    ("a: &x 1\nb: *x\n", "a.yaml:1: found an anchor (&), expected the value itself"),
    ("a: *x\n", "a.yaml:1: found an alias, expected the value itself"),
    ("- !!python/name:os.system {}\n", "a.yaml:1: found the tag 'tag:yaml.org,2002:python/name:os.system', expected a value without a tag"),
    ("a: 1\n---\nb: 2\n", "a.yaml:2: found a second document, expected one document"),
    ("a: 1\na: 2\n", "a.yaml:2: found the key 'a' twice, expected each key once"),
    ("[" * 30, "a.yaml:1: found deeper nesting, expected 24 levels"),
    ("[" * 30_000, "a.yaml:1: found deeper nesting, expected 24 levels"),
    (b"a: \xff\n", "a.yaml:1: found byte 0xff, expected UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN_YAML)
def test_yaml_data_has_the_rules_of_configuration(refused, content, message):
    assert refused("a.yaml", content) == message


@pytest.mark.slow
def test_yaml_data_may_be_larger_than_a_configuration(opened):
    content = "".join(f"- {{uid: {i}, name: neuron}}\n" for i in range(6000))

    assert len(opened("a.yaml", content, output="csv").splitlines()) == 6001
