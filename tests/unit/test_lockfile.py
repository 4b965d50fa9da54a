"""btplug.lock as text: what is written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._trust.blocktext import BadBlocks
from btplug._trust.lockfile import (
    Entry,
    difference,
    fingerprint,
    lock_text,
    merged,
    parse_lock,
)
from btplug.manifest import Permissions

ONE, TWO = "h1:" + "1" * 64, "h1:" + "2" * 64
ENTRY = Entry("it", "cli", ("user",), "1.0", Permissions(), (("", ONE),))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda d: f"h1:{d}")
ENTRIES = st.lists(
    st.builds(
        Entry,
        st.from_regex(r"[a-z0-9][a-z0-9-]{0,9}", fullmatch=True),
        st.sampled_from(["cli", "transport"]),
        st.lists(TEXT, min_size=1, max_size=3).map(tuple),
        TEXT,
        st.builds(Permissions, *[st.lists(TEXT, max_size=2).map(tuple)] * 3),
        st.dictionaries(TEXT, DIGESTS, min_size=1, max_size=3).map(
            lambda digests: tuple(sorted(digests.items()))
        ),
    ),
    unique_by=lambda entry: entry.name,
    max_size=4,
)


@given(ENTRIES)
def test_what_was_written_is_read(entries):
    text = lock_text(entries)

    assert parse_lock(text) == {entry.name: entry for entry in entries}
    assert text == lock_text(reversed(entries))
    assert parse_lock(text.replace("\n", "\r\n")) == parse_lock(text)


@given(ENTRIES.filter(bool), st.data())
def test_a_changed_text_is_refused_or_says_the_same(entries, data):
    """One character more, less, or another, anywhere."""
    text = lock_text(entries)
    at = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(
        st.sampled_from(["", "x", "0", "\n", " ", "%", "#", ":", text[at] * 2])
    )

    try:
        found = parse_lock(text[:at] + new + text[at + 1 :])
    except BadBlocks:
        return
    # Digests of one system are in no fingerprint: see `fingerprint`.
    without = {name: e._replace(digests=()) for name, e in found.items()}
    assert without == {e.name: e._replace(digests=()) for e in entries}


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_other_text_is_refused_in_words(text):
    with pytest.raises(BadBlocks):
        parse_lock(text)


def test_a_plugin_that_stands_there_twice_is_refused():
    text = lock_text([ENTRY])

    with pytest.raises(BadBlocks, match=r"^found a plugin twice, expected each once$"):
        parse_lock(text + "\n" + text.partition("\n\n")[2].partition("\n\n")[2])


def test_an_edited_lock_is_told_by_its_fingerprint():
    text = lock_text([ENTRY])

    with pytest.raises(BadBlocks, match=r"^fingerprint: found 'h1:"):
        parse_lock(text.replace("network: none", "network: any"))


def test_the_fingerprint_is_the_same_on_every_system():
    here = ENTRY._replace(digests=(("cp311-linux", ONE),))
    there = ENTRY._replace(digests=(("cp312-macos", TWO),))

    assert fingerprint([here]) == fingerprint([there]) != fingerprint([ENTRY])


def test_what_another_system_pinned_is_kept_for_the_same_version():
    here = ENTRY._replace(digests=(("cp311-linux", ONE),))
    there = ENTRY._replace(digests=(("cp312-macos", TWO),))

    (both,) = merged([here], {"it": there})
    assert both.digests == (("cp311-linux", ONE), ("cp312-macos", TWO))
    (new,) = merged([here._replace(version="2")], {"it": there})
    assert new.digests == (("cp311-linux", ONE),)
    (pure,) = merged([ENTRY], {"it": ENTRY._replace(digests=(("", TWO),))})
    assert pure.digests == (("", ONE),)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (ENTRY, None),
        (None, "is in the lock, and there is none"),
        (ENTRY._replace(version="2"), "version 1.0 -> 2"),
        (
            ENTRY._replace(source=("installed", "a", "1")),
            "source user -> installed a 1",
        ),
        (ENTRY._replace(kind="transport"), "kind cli -> transport"),
        (ENTRY._replace(digests=(("", TWO),)), f"digest {ONE} -> {TWO}"),
        (ENTRY._replace(digests=(("cp311", ONE),)), "no digest for cp311"),
        (
            ENTRY._replace(permissions=Permissions(("any",), ("state",), ())),
            "network none -> any, read none -> state",
        ),
    ],
)
def test_a_difference_is_told_in_words(now, told):
    assert difference(ENTRY, now) == told


def test_a_plugin_in_use_that_the_lock_has_not_is_told():
    assert difference(None, ENTRY) == "is in use, and not in the lock"
