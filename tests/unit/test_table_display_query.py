"""--where, --sort and --limit."""

import operator
import re
import time
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_table_display import new_registry

from btplug import UsageError

fast = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def registry():
    found = new_registry()
    yield found
    assert found.shut_down() == []


@pytest.fixture
def show(registry):
    """Run the plugin on data and return the text it makes."""
    return partial(registry.execute_plugin, "table-display")


@pytest.fixture
def chosen(registry):
    """Return the values of ``v`` in the records that are shown, in their order."""
    registry.context.wants_json = True

    def run(values, **options):
        rows = [{} if value is ... else {"v": value} for value in values]
        found = registry.execute_plugin("table-display", rows, **options)
        return [row.get("v", ...) for row in found]

    return run


VALUES = [5, 10, 7.5, "7.50", "007", "abc", "ab", True, None, ..., [1], ""]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("v = 7.5", [7.5, "7.50"]),
        ("v = '7.50'", ["7.50"]),
        ('v="007"', ["007"]),
        ("v = 7", ["007"]),
        ("v != 7.5", [5, 10, "007", "abc", "ab", True, None, ..., [1], ""]),
        ("v < 7.5", [5, "007", ""]),
        ("v <= 7.5", [5, 7.5, "7.50", "007", ""]),
        ("v > 7.5", [10, "abc", "ab", True, [1]]),
        ("v >= 10", [10, "abc", "ab", True, [1]]),
        ("v > abb", ["abc", True]),
        ("v ~ b", ["abc", "ab"]),
        ("v ~ .5", [7.5, "7.50"]),
        ("v = true", [True]),
        ("v = null", [None]),
        ("v != null", [5, 10, 7.5, "7.50", "007", "abc", "ab", True, ..., [1], ""]),
        ("v = [1]", [[1]]),
        ("v =", [""]),
        ("w != 1", VALUES),
        ("w = 1", []),
        ("w ~ ", []),
    ],
)
def test_a_condition_chooses_records(chosen, where, expected):
    assert chosen(VALUES, where=where) == expected


@pytest.mark.parametrize(
    ("value", "where"),
    [("1_000", "v = 1000"), ("inf", "v = 1e999"), ("1e998", "v = 1e999"),
     ("٣", "v = 3"), ("0x10", "v = 16"), ("1e", "v = 1"), ("1-2", "v = 1")],
)  # fmt: skip
def test_only_plain_decimals_in_a_text_are_numbers(chosen, value, where):
    assert chosen([value], where=where) == []


def test_all_of_several_conditions_must_be_true(chosen):
    assert chosen([1, 2, 3, 4], where=("v > 1", "v < 4")) == [2, 3]


def test_dots_in_a_condition_reach_into_nested_values(show):
    rows = [{"axon": {"port": 80}, "n": "a"}, {"axon": {"port": 9}, "n": "b"}]

    assert show(rows, where="axon.port > 9", columns="n", output="csv") == "n\na"


def test_a_key_in_quotes_may_hold_operators_and_quotes(show):
    rows = [{"a = b": 1, 'say "x"': 2}]

    assert show(rows, where="'a = b' = 1", output="json") != ""
    assert show(rows, where="'say \"x\"' = 2", output="json") != ""
    assert show(rows, where='"a = b" = 2', output="json") == ""


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", "KEY OP VALUE with one of = != < <= > >= ~"),
        ("v", "KEY OP VALUE with one of = != < <= > >= ~"),
        ("v 5", "KEY OP VALUE with one of = != < <= > >= ~"),
        ("= 5", "KEY OP VALUE with one of = != < <= > >= ~"),
        (" \t= 5", "KEY OP VALUE with one of = != < <= > >= ~"),
        ("'' = 5", "the quotes around KEY closed before the operator"),
        ("v == 5", "one of the operators = != < <= > >= ~"),
        ("v => 5", "one of the operators = != < <= > >= ~"),
        ("v <> 5", "one of the operators = != < <= > >= ~"),
        ("v !~ 5", "one of the operators = != < <= > >= ~"),
        ("v ! 5", "one of the operators = != < <= > >= ~"),
        ("'v = 5", "the quotes around KEY closed before the operator"),
        ("v = 'x", "VALUE to end with the quote it begins with, '"),
        ("v = \"x'", 'VALUE to end with the quote it begins with, "'),
        ("v = '", "VALUE to end with the quote it begins with, '"),
    ],
)
def test_a_wrong_condition_says_what_was_found_and_expected(show, where, expected):
    with pytest.raises(UsageError) as caught:
        show([{"v": 1}], where=(where,))

    assert caught.value.what == f"--where: found {where!r}, expected {expected}"
    assert caught.value.fix == (
        "write for example --where 'stake >= 100' or --where 'name = \"a = b\"'"
    )


@pytest.mark.parametrize(
    "where",
    ["__import__('os').abort() = 1", "v.__class__ ~ dict", "{v.__class__} != x"],
)
def test_a_condition_is_never_code(chosen, where):
    assert chosen([1], where=where) in ([], [1])


def test_a_condition_has_no_pattern_that_could_run_away(chosen):
    begin = time.perf_counter()

    assert chosen(["a" * 5000 + "b"] * 10, where="v ~ (a+)+$") == []
    assert time.perf_counter() - begin < 1


COMPARE = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
space = st.sampled_from(["", " ", "\t "])


@fast
@given(numbers, st.sampled_from(list(COMPARE)), numbers, space, space)
def test_two_numbers_compare_as_python_compares_them(
    chosen, value, op, other, before, after
):
    where = f"v{before}{op}{after}{other!r}"

    for shown in (value, repr(value)):
        expected = [shown] if COMPARE[op](value, other) else []
        assert chosen([shown], where=where) == expected


words = st.text(st.sampled_from("ab=<>!~ é'."), max_size=8) | st.text(max_size=8)


@fast
@given(words, st.sampled_from(list(COMPARE)), words.filter(lambda t: '"' not in t))
def test_a_quoted_value_compares_as_text(chosen, value, op, other):
    expected = [value] if COMPARE[op](value, other) else []

    assert chosen([value], where=f'v {op} "{other}"') == expected


@fast
@given(words.filter(lambda t: t and '"' not in t), words)
def test_any_key_can_be_asked_for_in_quotes(show, key, value):
    found = show([{key: value}], where=f'"{key}" != "x{value}"', output="json")

    assert found != ""


@fast
@given(st.text(st.sampled_from("ab \"'=<>!~.1")))
def test_any_text_is_a_condition_or_a_usage_error(chosen, where):
    said = expected = f"--where: found {where!r}, expected"
    try:
        chosen([1, "a", None, ...], where=(where,))
    except UsageError as exc:
        said = exc.what

    assert said.startswith(expected)


# -- order


def test_sorting_puts_numbers_before_texts_before_null_before_missing(chosen):
    nan = float("nan")
    values = [..., "b", None, 10, "9", nan, "a", 1.5, True, [2]]

    up = chosen(values, sort="v")
    down = chosen(values, sort="-v")

    assert up == [1.5, "9", 10, [2], "a", "b", True, None, nan, ...]
    assert down == [10, "9", 1.5, True, "b", "a", [2], None, nan, ...]


@pytest.mark.parametrize("sort", ["v", "-v"])
def test_equal_ones_keep_their_order(show, sort):
    rows = [{"v": 1, "n": n} for n in "abc"] + [{"v": "1.0", "n": "d"}]

    text = show(rows, sort=sort, columns="n", output="csv")

    assert text.split() == ["n", "a", "b", "c", "d"]


def test_sorting_reaches_into_nested_values(show):
    rows = [{"a": {"b": 2}, "n": "x"}, {"a": {"b": 1}, "n": "y"}]

    assert show(rows, sort="a.b", columns="n", output="csv").split() == ["n", "y", "x"]


@pytest.mark.parametrize("sort", ["", "-", "- "])
def test_sorting_by_no_key_is_refused(show, sort):
    with pytest.raises(UsageError) as caught:
        show([{"v": 1}], sort=sort)

    assert caught.value.what == f"--sort: found {sort!r}, expected KEY or -KEY"


@fast
@given(st.lists(numbers), st.booleans())
def test_numbers_are_sorted_as_python_sorts_them(chosen, values, down):
    expected = sorted(values, reverse=down)

    assert chosen(values, sort="-v" if down else "v") == expected


# -- limit


def test_filtering_comes_first_then_sorting_then_the_limit(chosen):
    assert chosen([3, 9, 1, 7, 5], where="v < 9", sort="-v", limit=2) == [7, 5]


@pytest.mark.parametrize(("limit", "expected"), [(0, []), (2, [1, 2]), (9, [1, 2, 3])])
def test_the_limit_is_the_most_that_is_shown(chosen, limit, expected):
    assert chosen([1, 2, 3], limit=limit) == expected


def test_no_more_records_are_taken_than_the_limit(registry, chosen):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield {"v": 1}

    found = registry.execute_plugin("table-display", endless(), limit=3)

    assert list(found) == [{"v": 1}] * 3
    assert len(taken) == 3


@pytest.mark.slow
def test_the_first_of_many_are_found_without_keeping_the_others(chosen):
    values = [i * 7919 % 50_021 for i in range(50_021)]

    assert chosen(values, sort="-v", limit=3) == [50_020, 50_019, 50_018]


def test_the_operators_in_the_help_are_those_there_are(registry):
    cls = registry.load_plugin("table-display")
    (option,) = [p for p in cls.execute.__click_params__ if p.name == "where"]

    assert re.findall(r"[!=<>~]+", option.help) == [
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "~",
    ]
