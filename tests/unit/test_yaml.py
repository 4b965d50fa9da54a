"""YAML that is looked over before it is believed."""

import math
import os
import socket
import stat

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from btplug.config import Limits, nearest, parse_yaml, read_bounded
from btplug.errors import ConfigError, ManifestError

HEX = b"0x" + b"f" * 5000  # an int that has no decimal text: Python refuses to print it


def parse(source, **keywords):
    return parse_yaml(source, where="f.yaml", **keywords)


def refusal(source, **keywords):
    with pytest.raises(ConfigError) as caught:
        parse(source, **keywords)
    return str(caught.value)


# -- what is accepted


@pytest.mark.parametrize("source", [b"", b"# nothing\n", b"---\n", b"---\n...\n", b"~"])
def test_an_empty_document_is_none(source):
    assert parse(source).data is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e5", "1e5"),  # YAML 1.1 asks for a dot
        ("1.0e+5", 1e5),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("12:30", "12:30"),
        ("1:2:3.5", "1:2:3.5"),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("=", "="),
        ("'<<'", "<<"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("[1, [a]]", [1, ["a"]]),
        ("{b: {c: 2}}", {"b": {"c": 2}}),
    ],
)
def test_a_value_is_read_as_people_mean_it(text, value):
    found = parse(f"a: {text}".encode()).data

    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_not_a_number_is_read():
    assert math.isnan(parse(b"a: .nan").data["a"])


def test_a_byte_order_mark_is_no_part_of_the_first_key():
    assert parse(b"\xef\xbb\xbfa: 1").data == {"a": 1}


def test_lines_are_known_for_every_key_and_item():
    source = b"a:\n  - x\n  - {b: 1,\n     c: 2}\nd:\n\n  e: |\n    t\n    t\n  f: 1\n"

    assert parse(source).lines == {
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 3,
        ("a", 1, "b"): 3,
        ("a", 1, "c"): 4,
        ("d",): 5,
        ("d", "e"): 7,
        ("d", "f"): 10,
    }


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12
    )
    | st.sampled_from(
        ["on", "12:30", "0x1", "<<", "=", "~", "- a", "a: b", "#", "1_0", ""]
    )
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abxy-_ <:~", max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREES, st.sampled_from([True, False, None]))
def test_what_a_yaml_writer_writes_is_read_back(tree, flow):
    written = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=flow)

    assert parse(written.encode()).data == tree


@given(TREES)
def test_every_key_and_item_has_a_line_inside_the_file(tree):
    written = yaml.safe_dump(tree, allow_unicode=True).encode()
    document = parse(written)

    def paths(value, at=()):
        if isinstance(value, list):
            value = dict(enumerate(value))
        for key, item in value.items() if isinstance(value, dict) else ():
            yield (*at, key)
            yield from paths(item, (*at, key))

    assert set(document.lines) == set(paths(document.data))
    assert all(1 <= n <= written.count(b"\n") + 1 for n in document.lines.values())


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "a: ", "b", "- ", "\n", "  ", "\t", "[", "]", "{", "}", ",", ": ", "? ", "&x ",
            "*x", "!!str ", "!t ", "<<: ", "|\n", ">\n", "'", '"', "#", "---\n", "...\n",
            "%YAML 1.1\n", "0x", "_", "1", "\0", "\x7f", "\ufeff", "\\", "~", "é", "\u2028",
            "0b", "0o7", ".", "e", "-", "+", "1:", "60", "\r",
        ]
    ),
    max_size=30,
)  # fmt: skip


@given(FRAGMENTS)
def test_any_mixture_of_yaml_pieces_is_read_or_refused_with_a_place(pieces):
    """Whoever reads a folder of plugins relies on it."""
    error = outcome("".join(pieces).encode())

    assert error is None or error.what.startswith("f.yaml:")
    assert error is None or error.fix


def outcome(source):
    """Return the error that the source makes, if any; nothing else may come out."""
    try:
        parse(source)
    except ConfigError as exc:
        return exc


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_with_a_place(source):
    error = outcome(source)

    assert error is None or error.what.startswith("f.yaml:")


# -- what is refused


@pytest.mark.parametrize(
    ("source", "message", "fix"),
    [
        (b"a: &x 1", "f.yaml:1: found an anchor (&), expected the value itself", "change that line"),
        (b"a: *x", "f.yaml:1: found an alias, expected the value itself", "change that line"),
        (
            b"a: 1\nb: !!python/object/apply:os.system [ls]",
            (
                "f.yaml:2: found the tag 'tag:yaml.org,2002:python/object/apply:os.system', "
                "expected a value without a tag"
            ),
            "change that line",
        ),
        (b"a: !!str 1", "f.yaml:1: found the tag 'tag:yaml.org,2002:str', expected a value without a tag", "change that line"),
        (b"a: !secret 1", "f.yaml:1: found a tag of its own, expected a value without a tag", "change that line"),
        (b"a: 1\n<<: {b: 1}", "f.yaml:2: found a merge key (<<), expected the keys themselves", "change that line"),
        (b"a: 1\nb: 2\na: 3", "f.yaml:3: found the key 'a' twice, expected each key once", "change that line"),
        (b"a: {b: 1,\n b: 2}", "f.yaml:2: found the key 'b' twice, expected each key once", "change that line"),
        (b"on: 1", "f.yaml:1: found the key True (bool), expected a text: put it in quotes", "change that line"),
        (b"1: 1", "f.yaml:1: found the key 1 (int), expected a text: put it in quotes", "change that line"),
        (b"[a]: 1", "f.yaml:1: found a list or mapping as a key, expected a text", "change that line"),
        (b"? {a: 1}\n: 1", "f.yaml:1: found a list or mapping as a key, expected a text", "change that line"),
        (b"a: 1\n---\nb: 1", "f.yaml:2: found a second document, expected one document", "change that line"),
        (b"a: " + b"1" * 5000, "f.yaml:1: found a number too long, expected a shorter one", "change that line"),
        (b"a: 1\nb: \xff", "f.yaml:2: found byte 0xff, expected UTF-8", "save the file as UTF-8"),
        (b"\xff\xfea\x00:\x00", "f.yaml:1: found byte 0xff, expected UTF-8", "save the file as UTF-8"),
        (
            b"a: 1\nb: \0",
            "f.yaml: found a character that YAML does not allow",
            "save the file as plain text without control characters",
        ),
        (
            b"a: \x1b[31m",
            "f.yaml: found a character that YAML does not allow",
            "save the file as plain text without control characters",
        ),
        (
            b"a:\n\tb: 1",
            "f.yaml:2: found broken YAML (found character that cannot start any token)",
            "mend the line, or the quotes, brackets and indentation before it",
        ),
        (
            b"a: 1\n  b: 2",
            "f.yaml:2: found broken YAML (mapping values are not allowed in this context)",
            "mend the line, or the quotes, brackets and indentation before it",
        ),
        (
            b"a: 'open",
            "f.yaml:1: found broken YAML (found unexpected end of stream)",
            "mend the line, or the quotes, brackets and indentation before it",
        ),
    ],
)  # fmt: skip
def test_what_yaml_can_do_beyond_data_is_refused_with_its_line(source, message, fix):
    assert refusal(source) == f"{message}\n  fix:   {fix}"


def test_a_byte_that_is_no_utf8_is_named_also_behind_a_byte_order_mark():
    assert refusal(b"\xef\xbb\xbfa: \xff") == (
        "f.yaml:1: found byte 0xff, expected UTF-8\n  fix:   save the file as UTF-8"
    )


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? ", b"[{a: ["])
def test_thirty_thousand_levels_are_refused_at_the_25th(opening):
    source = opening * (30_000 // len(opening))

    message = refusal(source).splitlines()[0]

    assert message in (
        "f.yaml:1: found deeper nesting, expected 24 levels",
        "f.yaml:1: found a list or mapping as a key, expected a text",
    )


def test_24_levels_are_accepted_and_one_more_is_not():
    assert parse(b"[" * 24 + b"]" * 24).data is not None
    assert refusal(b"[" * 25 + b"]" * 25).splitlines()[0] == (
        "f.yaml:1: found deeper nesting, expected 24 levels"
    )


def test_5000_values_are_accepted_and_one_more_is_not():
    assert len(parse(b"[" + b"1," * 4999 + b"]").data) == 4999
    assert refusal(b"[" + b"1," * 4999 + b"\n1]").splitlines()[0] == (
        "f.yaml:2: found more values, expected at most 5,000"
    )


def test_64_kib_are_accepted_and_one_byte_more_is_not():
    comment = b"#" * (64 * 1024 - 5)

    assert parse(b"a: 1\n" + comment).data == {"a": 1}
    assert refusal(b"a: 1\n#" + comment) == (
        "f.yaml: found more than 65,536 bytes, expected at most that\n"
        "  fix:   make the file smaller"
    )


def test_limits_are_the_callers_to_set():
    limits = Limits(size=10**6, depth=2, nodes=10)

    assert parse(b"#" * 70_000, limits=limits).data is None
    assert "expected 2 levels" in refusal(b"[[[1]]]", limits=limits)
    assert "expected at most 10" in refusal(b"[1,2,3,4,5,6,7,8,9,0]", limits=limits)


def test_billion_laughs_are_refused_at_their_first_anchor():
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30)]

    assert refusal("\n".join(lines).encode()).splitlines()[0] == (
        "f.yaml:1: found an anchor (&), expected the value itself"
    )


def test_a_merge_bomb_is_refused_at_its_first_anchor():
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join(['*a0'] * 200)}]}}" for n in range(30)]

    assert refusal("\n".join(lines).encode()).splitlines()[0] == (
        "f.yaml:1: found an anchor (&), expected the value itself"
    )


def test_a_number_that_cannot_be_printed_is_refused():
    assert refusal(b"a: 1\nb: " + HEX).splitlines()[0] == (
        "f.yaml:2: found a number too long, expected a shorter one"
    )


def test_a_key_that_is_a_number_too_long_is_refused():
    assert refusal(b"? " + HEX + b"\n: 1").splitlines()[0] == (
        "f.yaml:1: found a number too long, expected a shorter one"
    )


@pytest.mark.parametrize("text", [b"0b_", b"0x_", b"-0b_"])
def test_a_prefix_of_a_number_without_digits_is_text(text):
    assert parse(b"a: " + text).data == {"a": text.decode()}


def test_a_message_shows_a_long_key_only_in_part():
    key = b'? "' + b"k" * 5000 + b'"\n: 1\n'

    message = refusal(key + key)

    assert message.startswith("f.yaml:3: found the key 'kkk")
    assert len(message) < 300


def test_a_tag_that_may_be_a_secret_is_not_shown():
    message = refusal(b"a: !" + b"t" * 5000 + b" 1")

    assert message.startswith("f.yaml:1: found a tag of its own, expected a value")
    assert "ttt" not in message


def test_the_callers_error_class_is_raised():
    with pytest.raises(ManifestError):
        parse(b"a: *x", error=ManifestError)


# -- files


def test_a_file_is_read_with_one_byte_more_than_the_limit(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"12345")

    assert read_bounded(str(file), 5, ConfigError) == b"12345"
    assert read_bounded(str(file), 3, ConfigError) == b"1234"


def test_a_gigabyte_is_not_read(tmp_path):
    file = tmp_path / "f"
    with file.open("wb") as out:
        out.truncate(2**30)

    assert len(read_bounded(str(file), 65536, ConfigError)) == 65537


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bounded(str(tmp_path / "f"), 5, ConfigError)


def test_a_file_below_a_file_is_a_missing_file(tmp_path):
    (tmp_path / "f").touch()

    with pytest.raises(FileNotFoundError):
        read_bounded(str(tmp_path / "f" / "config.yaml"), 5, ConfigError)


def special(path, kind):
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        # A path of a socket has at most 107 bytes.
        folder = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        server.close()
    else:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("link", "a link"),
        ("dangling link", "a link"),
        ("loop", "a link"),
        ("folder", "a folder"),
        ("pipe", "a pipe"),
        pytest.param(
            "device",
            "a socket or device",
            marks=pytest.mark.skipif(
                os.getuid() != 0, reason="only root makes devices"
            ),
        ),
    ],
)
def test_what_is_no_regular_file_is_refused_unread(tmp_path, kind, found):
    path = tmp_path / "f"
    special(path, kind)

    with pytest.raises(ConfigError) as caught:
        read_bounded(str(path), 5, ConfigError)

    assert caught.value.what == f"{path}: found {found}, expected a regular file"
    assert caught.value.fix.startswith("replace it by a file")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_socket_is_refused(tmp_path):
    path = tmp_path / "f"
    special(path, "socket")

    with pytest.raises(ConfigError, match=r": found .*, expected a regular file"):
        read_bounded(str(path), 5, ConfigError)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "f"
    path.touch(mode=0)

    with pytest.raises(ConfigError) as caught:
        read_bounded(str(path), 5, ConfigError)

    assert caught.value.what == (
        f"{path}: found Permission denied, expected a regular file"
    )


# -- the nearest word


def test_the_nearest_known_word_is_offered():
    assert nearest("sumary", ["name", "summary"]) == "did you mean summary?"


def test_nothing_is_offered_where_nothing_is_near():
    assert nearest("zzz", ["name", "summary"]) == ""
    assert nearest("zzz", []) == ""
