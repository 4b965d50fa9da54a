# ruff: noqa: RUF001 - an en dash stands for a missing key
"""--columns, and what stands in a cell: width, alignment, format, escapes."""

import json
import unicodedata
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from test_table_display import new_registry, table

from btplug import UsageError

fast = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def show():
    """Run the plugin on data and return the text it makes."""
    registry = new_registry()
    yield partial(registry.execute_plugin, "table-display")
    assert registry.shut_down() == []


def test_every_part_of_a_column_is_optional_but_the_key(show):
    rows = [{"uid": 7, "name": "alice", "stake": 1250.5, "ok": "y"}]

    text = show(rows, columns="uid,name:Name,stake:Stake:12:right:,.2f,ok:::center")

    assert text == table("""
        ╭─────┬───────┬──────────────┬────╮
        │ uid │ Name  │        Stake │ ok │
        ├─────┼───────┼──────────────┼────┤
        │   7 │ alice │     1,250.50 │ y  │
        ╰─────┴───────┴──────────────┴────╯
    """)


@pytest.mark.parametrize(
    "columns",
    [
        [{"key": "uid", "title": "U"}, {"key": "name", "width": 3}],
        ["uid:U", "name::3"],
        ["uid:U,name::3"],
        " uid : U , name : : 3 ",
    ],
)
def test_a_library_may_give_columns_as_text_or_as_mappings(show, columns):
    rows = [{"uid": 7, "name": "alice"}]

    assert show(rows, columns=columns) == show(rows, columns="uid:U,name::3")


def test_one_mapping_is_one_column(show):
    assert show([{"a": 1}], columns={"key": "a"}) == show([{"a": 1}], columns="a")


def test_dots_reach_into_nested_values(show):
    rows = [{"axon": {"port": 80, "ips": ["a", "b"]}, "x.y": 1, "x": {"y": 2}}]

    text = show(rows, columns="axon.port,axon.ips.1,x.y,axon.ips.2,axon.q,axon.port.z")

    assert text.splitlines()[3].split(" │ ")[:3] == ["│        80", "b         ", "  1"]
    assert text.splitlines()[3].count("–") == 3


@pytest.mark.parametrize("index", ["2", "-1", "²", "9" * 5000, "1.0", ""])
def test_an_index_that_a_list_does_not_have_is_a_missing_key(show, index):
    text = show([{"a": [1, 2]}], columns=f"a.{index}:x")

    assert text.splitlines()[3] == "│ – │"


def test_backslashes_take_separators_into_a_key(show):
    assert show([{"a:b,c": 1}], columns=r"a\:b\,c:x\\y") == table(r"""
        ╭─────╮
        │ x\y │
        ├─────┤
        │   1 │
        ╰─────╯
    """)


@pytest.mark.parametrize(
    ("columns", "found", "expected"),
    [
        ("uid,,name", "", "a key in front: key[:title"),
        (":Title", ":Title", "a key in front: key[:title"),
        ("uid:U:wide", "uid:U:wide", "a width of 1 to 1000 cells"),
        ("uid:U:0", "uid:U:0", "a width of 1 to 1000 cells"),
        ("uid:U:1001", "uid:U:1001", "a width of 1 to 1000 cells"),
        ("uid:U:²", "uid:U:²", "a width of 1 to 1000 cells"),
        ("uid:U:5:middle", "uid:U:5:middle", "one of left, right, center as align"),
        ("uid::::.2d", "uid::::.2d", "a number format such as d"),
        ("uid::::>9", "uid::::>9", "a number format such as d"),
        ("uid::::.999f", "uid::::.999f", "a number format such as d"),
        ("uid::::{0.__class__}", "uid::::{0.__class__}", "a number format such as d"),
        ("uid:U:5:left:d:x", "uid:U:5:left:d:x", "key[:title[:width[:align[:format"),
        ("uid\\", "uid\\", "key[:title[:width[:align[:format"),
        ([3], "3", "key[:title[:width[:align[:format]]]] or a mapping with these keys"),
        (3, "3", "key[:title[:width[:align[:format]]]] separated by commas, or a list"),
        ([{"width": 3}], "{'width': 3}", "a mapping with 'key' and perhaps title"),
        ([{"key": "a", "width": True}], "{'key': 'a', 'width': True}", "a width of 1"),
        ([{"key": 1}], "{'key': 1}", "texts as key, title, align and format"),
    ],
)
def test_a_wrong_column_says_what_was_found_and_expected(
    show, columns, found, expected
):
    with pytest.raises(UsageError) as caught:
        show([{"uid": 1}], columns=columns)

    assert caught.value.what.startswith(
        f"--columns: found {found!r}, expected {expected}"
    )
    assert caught.value.fix == (
        "write for example --columns 'uid,stake:Stake:12:right:,.2f'"
    )


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (".2f", 3.14159, "3.14"),
        (",.2f", "1234567.891", "1,234,567.89"),
        (",d", 1234567, "1,234,567"),
        (",", 1234567.5, "1,234,567.5"),
        ("_d", 1234567, "1_234_567"),
        ("+d", 5, "+5"),
        ("d", 2.5001, "3"),
        (".1%", 0.1234, "12.3%"),
        (".1e", 12345, "1.2e+04"),
        ("g", 1e9, "1e+09"),
        (".2f", "n/a", "n/a"),
        (".2f", True, "true"),
        (".2f", None, "null"),
        (".2f", [1], "[1]"),
        (".2f", "nan", "nan"),
        ("d", float("inf"), "inf"),
    ],
)
def test_a_format_is_for_numbers_and_texts_that_spell_one(show, form, value, text):
    lines = show([{"a": value}], columns=f"a::::{form}").splitlines()

    assert lines[3].strip("│ ") == text


def test_a_number_too_large_for_its_format_is_shown_as_it_is(show):
    assert f" {10**400} " in show([{"a": 10**400}], columns="a::::.2f")


def test_a_column_after_a_format_with_a_comma_is_found(show):
    rows = [{"a": 1000, "b": 2}]

    assert "│ 1,000 │ 2 │" in show(rows, columns="a::::,d,b")
    assert "│ 1000 │ 2 │" in show(rows, columns="a::::,b")


def test_numbers_stand_right_and_everything_else_left(show):
    rows = [{"n": "1.5", "t": 10}, {"n": 20, "t": "x"}, {"n": None}]

    assert show(rows, columns="n::6,t::4").splitlines()[3:6] == [
        "│    1.5 │ 10   │",
        "│     20 │ x    │",
        "│   null │ –    │",
    ]


def test_a_longer_text_is_cut_where_its_column_has_a_width(show):
    rows = [{"a": "a long text", "b": "小明小明"}]

    assert show(rows, columns="a:A title:6,b::4").splitlines()[1:4] == [
        "│ A tit… │ b    │",
        "├────────┼──────┤",
        "│ a lon… │ 小 … │",
    ]


def test_a_text_is_full_where_its_column_has_no_width(show):
    long = "x" * 5000

    assert f"│ {long} │" in show([{"a": long}, {"a": "y"}])


def test_one_long_text_does_not_widen_the_other_rows_without_end(show):
    text = show([{"a": "x" * 100_000}, *[{"a": "y"}] * 1000])

    assert len(text) < 2_000_000


def test_markup_and_emoji_codes_in_a_cell_are_shown_as_they_are(show):
    assert "│ [red]x[/red] :smile: │" in show([{"a": "[red]x[/red] :smile:"}])


def test_combining_characters_do_not_shift_the_bars(show):
    decomposed = unicodedata.normalize("NFD", "éàü")

    lines = show([{"a": decomposed}, {"a": "abc"}]).splitlines()

    assert {cell_len(line) for line in lines} == {7}


# Characters that break tables, steer terminals or hide: st.text() finds few of them,
# and joined with st.characters() they would be as rare as any other.
NASTY = (
    "\x00\x07\x1b\r\n\t\x7f\x85\x9b\u200b\u200d\u2028\u202e\u2066\ufeff\U000e0041"
    "\ud800|`\\\"',=[:<&é小👨\u0301\ufe0f\u3000 aZ09-"
)
nasty = st.text(st.sampled_from(NASTY), max_size=30) | st.text(max_size=30)


@fast
@given(st.lists(nasty, min_size=1, max_size=3), nasty, st.integers(1, 8))
@pytest.mark.parametrize("output", ["table", "markdown", "csv"])
def test_no_cell_steers_a_terminal_and_each_record_is_one_line(
    show, output, texts, title, width
):
    columns = [{"key": "a", "title": title, "width": width}, {"key": "b"}]
    rows = [{"a": text, "b": text} for text in texts]

    text = show(rows, columns=columns, output=output)

    lines = text.split("\n")
    head = {"table": 4, "markdown": 2, "csv": 1}[output]
    assert len(lines) == head + len(texts)
    for line in lines:
        assert all(c.isprintable() or c in "\u00a0\u202f\u3000" for c in line), line
    if output == "table":
        assert len({cell_len(line) for line in lines}) == 1


@fast
@given(st.dictionaries(nasty, nasty | st.integers() | st.none(), min_size=1))
def test_json_output_is_one_printable_line_that_reads_back_as_the_record(show, record):
    text = show([record], output="json")

    assert text.isprintable()
    assert json.loads(text) == record


part = st.text(st.sampled_from("ab:,\\ .é"), max_size=4)


def escaped(text):
    return "".join(f"\\{c}" if c in ":,\\" else c for c in text)


column = st.fixed_dictionaries(
    {
        "key": part.filter(str.strip),
        "title": part,
        "width": st.none() | st.integers(1, 1000),
        "align": st.sampled_from(["", "left", "right", "center"]),
        "format": st.sampled_from(
            ["", "d", ",d", ".2f", ",.2f", "+.1%", "e", "g", ","]
        ),
    }
)


@fast
@given(st.lists(column, min_size=1, max_size=4))
def test_what_is_written_by_the_grammar_of_columns_is_read_back(show, columns):
    spec = ",".join(
        f"{escaped(c['key'])}:{escaped(c['title'])}:{c['width'] or ''}:{c['align']}"
        f":{c['format']}"
        for c in columns
    )
    stripped = [
        {**c, "key": c["key"].strip(), "title": c["title"].strip()} for c in columns
    ]
    record = {c["key"]: 1234.5 for c in stripped}

    assert show([record], columns=spec) == show([record], columns=stripped)


@fast
@given(st.text(st.sampled_from("ab:,\\.,d%f25left")))
def test_any_text_is_columns_or_a_usage_error(show, spec):
    said = "--columns: found"
    try:
        show([{"a": 1}], columns=spec)
    except UsageError as exc:
        said = exc.what

    assert said.startswith("--columns: found")
