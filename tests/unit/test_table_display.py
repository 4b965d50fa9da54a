# ruff: noqa: RUF001 - an en dash stands for a missing key
"""Tables of records that a caller or a configuration gives: TableDisplayPlugin."""

from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from btplug import BtplugError, CLIPluginRegistry, UsageError

PLUGINS = Path(__file__).resolve().parents[2] / "cli_plugins"

ROWS = [
    {"uid": 0, "name": "alice", "stake": 1250.5, "active": True},
    {"uid": 11, "name": "小明", "stake": 7, "active": False},
]


def new_registry():
    found = CLIPluginRegistry()
    assert list(found.discover_plugins(PLUGINS)) == []
    return found


@pytest.fixture
def show():
    """Run the plugin on data and return the text it makes."""
    registry = new_registry()
    yield partial(registry.execute_plugin, "table-display")
    assert registry.shut_down() == []


def table(text):
    return dedent(text).strip()


def test_records_become_a_table_with_a_column_for_each_key(show):
    assert show(ROWS) == table("""
        ╭─────┬───────┬────────┬────────╮
        │ uid │ name  │  stake │ active │
        ├─────┼───────┼────────┼────────┤
        │   0 │ alice │ 1250.5 │ true   │
        │  11 │ 小明  │      7 │ false  │
        ╰─────┴───────┴────────┴────────╯
    """)


def test_one_mapping_is_one_row(show):
    assert show(ROWS[0]) == show(ROWS[:1])


def test_a_generator_of_mappings_is_read_to_its_end(show):
    assert show(row for row in ROWS) == show(ROWS)


def test_keys_are_columns_in_the_order_of_their_first_appearance(show):
    text = show([{"b": 1}, {"a": 2, "b": 3}, {"c": 4}])

    assert text.splitlines()[1].split() == ["│", "b", "│", "a", "│", "c", "│"]


def test_a_missing_key_is_a_dash_and_null_and_empty_text_are_not(show):
    assert show([{"a": None}, {"a": ""}, {"b": "x"}], output="markdown") == table("""
        | a | b |
        | --- | --- |
        | null | – |
        |  | – |
        | – | x |
    """)


def test_values_are_spelled_as_json_spells_them(show):
    row = {"t": True, "f": False, "n": None, "i": 10**30, "x": 1e22, "s": "1.10"}

    (line,) = show([row], output="markdown").splitlines()[2:]

    assert line == f"| true | false | null | {10**30} | 1e+22 | 1.10 |"


def test_nested_values_are_compact_json(show):
    text = show([{"a": {"b": [1, "é", None]}, "l": []}])

    assert '│ {"b":[1,"é",null]} │ []' in text


def test_a_nested_value_that_json_has_not_is_shown_all_the_same(show):
    cycle = []
    cycle.append(cycle)

    text = show([{"set": {"s": {1}}, "cycle": cycle, "keys": {(1, 2): 3}}])

    assert '{"s":"{1}"}' in text
    assert "<list>" in text
    assert "<dict>" in text


def test_an_integer_too_long_for_decimals_is_shown_in_hexadecimal(show):
    assert f"│ {hex(10**5000)[:20]}" in show([{"a": 10**5000}], columns="a::::,d")


def test_two_hundred_columns_are_all_there(show):
    record = {f"column{i}": i for i in range(200)}

    text = show([record])

    assert all(f" column{i} " in text for i in range(200))
    assert len({len(line) for line in text.splitlines()}) == 1


def test_more_than_a_thousand_different_keys_are_refused(show):
    with pytest.raises(BtplugError, match=r"^found more than 1,000 different keys"):
        show([{f"k{i}": i} for i in range(2000)])


def test_named_columns_of_a_thousand_keys_are_shown(show):
    assert "│ k7 │" in show([{f"k{i}": i} for i in range(2000)], columns="k7")


def test_csv_output_has_keys_and_values_without_titles_formats_or_widths(show):
    rows = [{"a,b": 1.5, "c": None, "d": True}, {"a,b": "x\x1b", "c": [1], "e\x1b": ""}]

    assert show(rows, output="csv") == ('"a,b",c,d,e\\x1b\n1.5,,true,\nx\\x1b,[1],,')
    assert show(rows[:1], output="csv", columns=r"a\,b:Title:1::\,d") == '"a,b"\n1.5'


def test_markdown_output_has_titles_and_formats_and_no_markup_of_the_data(show):
    rows = [{"a": 1234.5, "b": "*x* | <b> `y` [z](u) _w_ ~~v~~ &lt; \\"}]

    assert show(rows, output="markdown", columns="a:A|A:2::,.2f,b:::center") == (
        "| A\\|A | b |\n| ---: | :---: |\n| 1,234.50 | "
        r"\*x\* \| \<b\> \`y\` \[z\](u) \_w\_ \~\~v\~\~ \&lt; \\ |"
    )


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("nan"), "'nan' (float)"),
        (float("-inf"), "'-inf' (float)"),
        ({1}, "'{1}' (set)"),
        ({"x": [{1}]}, """'{"x":["{1}"]}' (dict)"""),
    ],
)
def test_a_value_json_has_not_is_named_in_json_output(show, value, found):
    with pytest.raises(BtplugError) as caught:
        show([{"a": 1}, {"a": 1, "b": value}], output="json")

    assert caught.value.what == (
        f"record 2: b: found {found}, expected a value that JSON has"
    )
    assert show([{"a": 1, "b": value}], output="json", columns="a") == '{"a": 1}'


def test_a_key_json_has_not_is_refused_in_json_output(show):
    with pytest.raises(
        BtplugError, match=r"^record 1: found TypeError, expected a val"
    ):
        show([{(1, 2): 3}], output="json")


def test_no_rows_show_the_header_if_columns_are_named(show):
    assert show([], columns="uid,name:Name") == table("""
        ╭─────┬──────╮
        │ uid │ Name │
        ├─────┼──────┤
        ╰─────┴──────╯
        (no rows)
    """)


def test_no_rows_and_no_columns_are_said_in_words(show):
    assert show([]) == "(no rows)"
    assert show([], output="markdown") == "(no rows)"
    assert show([], output="csv") == ""
    assert show([], output="json") == ""


def test_records_without_any_key_are_counted(show):
    assert show([{}, {}]) == "(2 records without keys)"


def test_nothing_at_all_is_a_usage_error_with_the_command_to_write(show):
    with pytest.raises(UsageError) as caught:
        show()

    assert str(caught.value) == (
        "found nothing to show, expected SOURCE, data, or 'data' in the "
        "configuration\n  fix:   write for example: btplug run table-display FILE"
    )


@pytest.mark.parametrize("data", ["a text", b"bytes", 3])
def test_data_that_is_no_list_of_mappings_is_refused(show, data):
    with pytest.raises(UsageError, match=rf"found data of type {type(data).__name__}"):
        show(data)


def test_a_record_that_is_no_mapping_is_named_by_its_number(show):
    with pytest.raises(UsageError, match=r"^record 2: found a list, expected a map"):
        show([{"a": 1}, [1]])


def test_a_key_that_is_no_text_is_refused(show):
    with pytest.raises(UsageError, match=r"key 1, expected texts as keys"):
        show([{1: 2}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "xml"}, "--output: found 'xml', expected one of table, markdown"),
        ({"format": "xls"}, "--format: found 'xls', expected one of json, jsonl, csv"),
        ({"limit": -1}, "--limit: found -1, expected a whole number from 0"),
        ({"limit": True}, "--limit: found True, expected a whole number from 0"),
        ({"max_size": 0}, "--max-size: found 0, expected a whole number from 1"),
    ],
)
def test_a_library_s_wrong_option_says_what_was_expected(show, options, message):
    with pytest.raises(UsageError) as caught:
        show(ROWS, **options)

    assert caught.value.what.startswith(message)
