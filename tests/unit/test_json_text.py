"""JSON text that is valid everywhere and steers no terminal."""

import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._json import BadJSON, NoJSON, crowded, dumps, encode, loads

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(VALUES)
def test_what_json_has_is_read_back_from_one_printable_line(value):
    text = dumps(value)

    assert json.loads(text) == value
    assert text.isprintable()
    text.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("表é", '"表é"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\x9b\u202e\u2028", '"\\u009b\\u202e\\u2028"'),
        ("\udcff", '"\\udcff"'),
        ("\U000e0001", '"\\udb40\\udc01"'),
        ("a\nb", '"a\\nb"'),
        ({"\x7f": 1}, '{"\\u007f": 1}'),
        ((1, 2), "[1, 2]"),
        ({1: 2, None: 3}, '{"1": 2, "null": 3}'),
    ],
)
def test_every_character_can_be_seen(value, text):
    assert dumps(value) == text


LOOP: list = []
LOOP.append(LOOP)
DEEP: list = []
for _ in range(20_000):
    DEEP = [DEEP]
BIG = 10**5000


@pytest.mark.parametrize(
    ("value", "at", "found"),
    [
        (math.nan, "rows", "the number nan"),
        (math.inf, "rows", "the number inf"),
        ([1, -math.inf], "rows[1]", "the number -inf"),
        ({"a": [{"b": math.nan}]}, "rows.a[0].b", "the number nan"),
        ({1, 2}, "rows", "a value of type set"),
        (b"x", "rows", "a value of type bytes"),
        ([object()], "rows[0]", "a value of type object"),
        ({(1, 2): 3}, "rows", "a key of type tuple"),
        ({"a": {b"x": 1}}, "rows.a", "a key of type bytes"),
        ([{"a": 1}, {"a": {1}}, {"a": b""}], "rows[1].a", "a value of type set"),
        ([1, 1.5, None, True, "x", [], {}, b""], "rows[7]", "a value of type bytes"),
        (BIG, "rows", "a number of more than 4,300 digits"),
        (LOOP, "rows", "a value inside itself, or nested too deep"),
        (DEEP, "rows", "a value inside itself, or nested too deep"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_what_json_has_not_is_refused_with_its_place(value, at, found):
    with pytest.raises(NoJSON) as caught:
        dumps(value, name="rows")

    assert (caught.value.at, caught.value.found) == (at, found)
    assert str(caught.value) == f"{at}: found {found}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "nan (float)"),
        ({"a": {1}}, {"a": "{1} (set)"}),
        ([b"x", 1], ["b'x' (bytes)", 1]),
        ({(1, 2): 3}, {"(1, 2)": 3}),
        (BIG, "a number"),
        ([1.5, None, True, "x", [2]], [1.5, None, True, "x", [2]]),
        ([1.5, None, True, "x", {2}], [1.5, None, True, "x", "{2} (set)"]),
    ],
    ids=["nan", "set", "bytes", "key", "big", "good", "mixed"],
)
def test_a_lenient_caller_gets_it_as_text(value, shown):
    found = json.loads(dumps(value, lenient=True))

    assert found == shown or shown == "a number"


@pytest.mark.parametrize("value", [LOOP, DEEP], ids=["loop", "deep"])
def test_a_lenient_caller_gets_even_a_loop_as_text(value):
    found = json.loads(dumps(value, lenient=True))

    assert isinstance(found, list)


class Rude:
    def __repr__(self):
        raise ValueError("no text")


def test_a_lenient_caller_gets_what_cannot_be_shown_too():
    assert isinstance(json.loads(dumps([Rude()], lenient=True)), list)


@given(VALUES)
def test_good_values_are_the_same_for_a_lenient_caller(value):
    assert dumps(value, lenient=True) == dumps(value)


@pytest.mark.parametrize("where", [0, 2**20 - 1, 2**20, 3 * 2**20])
@pytest.mark.parametrize("sign", [b",", b"[", b"{"])
def test_commas_and_opening_brackets_are_counted_wherever_they_stand(sign, where):
    data = b"x" * where + sign * 3 + b"}]: x"

    assert crowded(data, 2)
    assert not crowded(data, 3)


def nested(levels, opening, closing):
    return opening * levels + "1" + closing * levels


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("beside", ["[],{}", "[[[]]]", "1"])
def test_levels_are_counted_as_deep_as_the_deepest(opening, closing, beside):
    def text(levels):
        return f"[{beside},{nested(levels, opening, closing)},{beside}]"

    assert encode(loads(text(127).encode())) == text(127).encode()
    with pytest.raises(BadJSON, match="more than 128 levels"):
        loads(text(128).encode())
    with pytest.raises(NoJSON, match="nested too deep"):
        encode(json.loads(text(128)))


def test_an_empty_list_is_a_level_too():
    with pytest.raises(BadJSON, match="more than 2 levels"):
        loads(b"[[[]]]", depth=2)


def test_levels_are_counted_without_a_copy_of_what_is_wide():
    value = [[]] * 300_000
    text = json.dumps(value).encode()
    tracemalloc.start()
    try:
        encode(value)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * len(text)
    finally:
        tracemalloc.stop()
