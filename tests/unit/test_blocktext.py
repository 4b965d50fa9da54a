"""Text of blocks: what is written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._trust import blocktext
from btplug._trust.blocktext import BadBlocks

KEYS = frozenset({"one", "two"})
WORDS = st.lists(st.text() | st.sampled_from(["", " ", "%", "a b", "ä%20", "\n", "\udcff", "#"]), max_size=3)  # fmt: skip
BLOCK = st.dictionaries(
    st.sampled_from(sorted(KEYS)),
    st.lists(WORDS.map(tuple), min_size=1, max_size=3),
    min_size=1,
)


def encodable(block):
    """Half a surrogate pair that stands for no byte is no path of any system."""
    try:
        for lines in block.values():
            for words in lines:
                for word in words:
                    word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


@given(
    st.lists(BLOCK.filter(encodable), max_size=4), st.sampled_from(["", "for people"])
)
def test_what_was_written_is_read(blocks, comment):
    text = blocktext.write("head: 1", blocks, comment=comment)

    text.encode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert blocktext.read(text, "head: 1", KEYS) == blocks


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["head: 1", "one: a", "two:", "one: a  b", "three: x", "one:a", "%zz", "one: %zz",
             "one: %2", "# note", "", " ", "one", "one: %", "\r", "one: a\r"]
        )
    ).map("\n".join)
)  # fmt: skip
def test_any_other_text_is_refused_in_words_or_read_whole(text):
    try:
        blocks = blocktext.read(text, "head: 1", KEYS)
    except BadBlocks:
        return  # what it says is held below
    assert blocktext.read(blocktext.write("head: 1", blocks), "head: 1", KEYS) == blocks


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: found '', expected 'head: 1'"),
        ("head: 2\n", "line 1: found 'head: 2', expected 'head: 1'"),
        ("head: 1\n\nthree: x\n", "line 3: found 'three: x', expected one of one, two and a colon"),
        ("head: 1\n\none:x\n", "line 3: found 'one:x', expected one of one, two and a colon"),
        ("head: 1\n\none: %2\n", "line 3: found 'one: %2', expected words as btplug writes them"),
        ("head: 1\n\none: a  b\n", "line 3: found 'one: a  b', expected words as btplug writes them"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(text, told):
    with pytest.raises(BadBlocks) as caught:
        blocktext.read(text, "head: 1", KEYS)

    assert str(caught.value) == told


def test_a_key_that_stands_once_is_asked_for():
    block = {"one": [("a",), ("b",)], "two": [("a", "b")]}

    with pytest.raises(
        BadBlocks, match=r"^found 2 lines 'one' in a block, expected one$"
    ):
        blocktext.one(block, "one")
    with pytest.raises(
        BadBlocks, match=r"^found 0 lines 'x' in a block, expected one$"
    ):
        blocktext.one(block, "x")
    with pytest.raises(BadBlocks, match=r"^two: found 2 words, expected one$"):
        blocktext.word(block, "two")
