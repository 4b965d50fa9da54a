"""SOURCE: how it is opened, how much is read, and what stays open."""

import io
import os
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from test_table_display import new_registry

from btplug import BtplugError, UsageError

RECORDS = [{"uid": 1, "name": "é"}, {"uid": 2, "name": "b c"}]
CONTENT = {
    "json": '[{"uid": 1, "name": "é"},\n {"uid": 2, "name": "b c"}]',
    "jsonl": '{"uid": 1, "name": "é"}\n\n  \n{"uid": 2, "name": "b c"}\n',
    "csv": 'uid,name\n\n1,é\n2,"b c"\n',
    "tsv": "uid\tname\n1\té\n2\tb c",
    "yaml": "- {uid: 1, name: é}\n- uid: 2\n  name: b c\n",
}


@pytest.fixture
def registry():
    found = new_registry()
    yield found
    assert found.shut_down() == []


@pytest.fixture
def show(registry):
    """Run the plugin on data and return the text it makes."""
    return partial(registry.execute_plugin, "table-display")


def shown(show, path, content, **options):
    """Write a file, show it, and return the text, also where it comes in pieces."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = show(source=str(path), **options)
    return found if isinstance(found, str) else "".join(found).removesuffix("\n")


def complaint(show, path, content, **options):
    """Show a broken file and return what the error says, without the folder."""
    with pytest.raises(BtplugError) as caught:
        shown(show, path, content, **options)
    assert type(caught.value).__name__ == "DataError"
    assert caught.value.exit_code == 1
    assert caught.value.fix
    return caught.value.what.replace(f"{path.parent}{os.sep}", "")


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


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_format_is_told_by_its_ending(opened, show, name, bom, end):
    content = bom + CONTENT[name].replace("\n", end).encode()

    assert opened(f"data.{name}", content) == show(RECORDS)


@pytest.mark.parametrize(
    ("ending", "format"),
    [("ndjson", "jsonl"), ("tab", "tsv"), ("yml", "yaml"), ("JSON", "json")],
)
def test_other_endings_tell_a_format_too(opened, show, ending, format):
    assert opened(f"data.{ending}", CONTENT[format]) == show(RECORDS)


@pytest.mark.parametrize("name", CONTENT)
def test_the_format_that_is_given_wins_over_the_ending(opened, show, name):
    assert opened("data.txt", CONTENT[name], format=name) == show(RECORDS)
    assert opened("data.csv", CONTENT[name], format=name) == show(RECORDS)


@pytest.mark.parametrize(
    ("name", "found"),
    [("data", "no ending"), ("data.xls", "the ending '.xls'"), ("-", "no ending")],
)
def test_an_unknown_ending_asks_for_the_format(show, name, found):
    with pytest.raises(UsageError) as caught:
        show(source=name)

    assert str(caught.value) == (
        f"found {found} in SOURCE {name!r}, expected one of .json, .jsonl, .ndjson, "
        ".csv, .tsv, .tab, .yaml, .yml\n"
        "  fix:   say what it is, with --format and one of json, jsonl, csv, tsv, yaml"
    )


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_one_object_is_one_record(opened, show, name):
    assert opened(f"one.{name}", '{"data": [1, 2]}') == show([{"data": [1, 2]}])


def test_data_in_a_file_goes_before_data_of_the_caller(tmp_path, show):
    (tmp_path / "a.json").write_text('[{"a": 1}]')

    assert show([{"b": 2}], source=str(tmp_path / "a.json")) == show([{"a": 1}])


def test_stdin_is_read_for_a_dash_and_left_open(show, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(CONTENT["csv"].encode()))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert "".join(show(source="-", format="csv")) == show(RECORDS) + "\n"
    assert not stdin.buffer.closed


@pytest.mark.parametrize("stdin", [None, io.StringIO("text only")])
def test_no_stdin_to_read_is_a_usage_error(show, monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)

    with pytest.raises(UsageError, match=r"^found no stdin to read SOURCE '-' from"):
        show(source="-", format="csv")


@pytest.mark.parametrize("name", CONTENT)
def test_a_file_that_is_not_there_is_a_usage_error(show, tmp_path, name):
    path = str(tmp_path / f"none.{name}")

    with pytest.raises(UsageError) as caught:
        show(source=path)

    assert str(caught.value) == (
        f"found that SOURCE {path!r} cannot be opened (No such file or directory), "
        "expected a file that you may read, or - for stdin\n"
        "  fix:   correct the path, or its permissions"
    )


def test_a_folder_and_a_name_with_nul_are_usage_errors(show, tmp_path):
    (tmp_path / "folder.csv").mkdir()

    for path in (str(tmp_path / "folder.csv"), "a\0.csv"):
        with pytest.raises(UsageError, match=r"cannot be opened"):
            show(source=path)


def test_a_file_that_may_not_be_read_is_a_usage_error(show, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # By a patch, because root may read everything.
    monkeypatch.setattr("builtins.open", refuse)

    with pytest.raises(UsageError, match=r"cannot be opened \(Permission denied\)"):
        show(source=str(tmp_path / "a.csv"))


def test_a_file_that_fails_while_it_is_read_is_a_data_error(registry, monkeypatch):
    class Failing(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    stdin = SimpleNamespace(buffer=io.BufferedReader(Failing()))
    monkeypatch.setattr(sys, "stdin", stdin)

    for format in ("json", "csv"):
        with pytest.raises(BtplugError, match=r"^stdin: found that it cannot be read"):
            list(registry.execute_plugin("table-display", source="-", format=format))


# -- limits


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_a_whole_file_is_held_to_the_size(opened, refused, name):
    content = CONTENT[name]
    size = len(content.encode())

    assert "b c" in opened(f"a.{name}", content, max_size=size)
    assert refused(f"a.{name}", content, max_size=size - 1) == (
        f"a.{name}: found more than {size - 1} bytes, expected at most that"
    )


@pytest.mark.parametrize("name", ["csv", "jsonl", "tsv"])
def test_only_a_line_of_a_stream_is_held_to_the_size(opened, refused, name):
    lines = CONTENT[name].splitlines()
    content = "\n".join([*lines, *[lines[-1]] * 100])
    longest = max(len(line.encode()) + 1 for line in lines)

    assert opened(f"a.{name}", content, max_size=longest).count("b c") == 101
    assert refused(f"a.{name}", content, max_size=longest - 1).endswith(
        f"found more than {longest - 1} bytes in one line, expected at most that"
    )


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs an endless file")
@pytest.mark.parametrize("format", ["json", "yaml", "csv", "jsonl", "tsv"])
def test_no_more_is_read_of_an_endless_file_than_the_size(show, format):
    with pytest.raises(BtplugError, match=r"^/dev/zero.*found more than 1,000 bytes"):
        list(show(source="/dev/zero", format=format, max_size=1000))


@pytest.mark.parametrize("name", ["csv", "jsonl", "tsv"])
def test_all_of_a_stream_is_held_to_the_size_where_it_is_sorted(refused, name):
    content = CONTENT[name]
    size = len(content.encode()) - 1

    assert refused(f"a.{name}", content, max_size=size, sort="uid").endswith(
        f": found more than {size} bytes, expected at most that"
    )


def test_the_size_comes_from_the_configuration_if_it_is_not_given(
    opened, refused, monkeypatch
):
    monkeypatch.setenv("BTPLUG_TABLE_DISPLAY__MAX_SIZE", "10")

    assert "found more than 10 bytes" in refused("a.json", CONTENT["json"])


# -- what stays open


def test_a_file_is_closed_however_its_reading_ends(show, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 500)
    begin = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self") else None
    pieces = show(source=str(path), columns="a::3")
    next(pieces)
    pieces.close()
    list(show(source=str(path), limit=1))
    path.write_text("a,b\n1\n")
    with pytest.raises(BtplugError):
        list(show(source=str(path)))

    if begin is not None:
        assert set(os.listdir("/proc/self/fd")) == begin


def test_shutdown_closes_what_nobody_read_to_its_end(registry, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "1\n" * 500_000)
    never = registry.execute_plugin("table-display", source=str(path))
    begun = registry.execute_plugin("table-display", source=str(path), columns="a::3")
    next(begun)
    plugin = registry["table-display"]
    files = [source._file for source in plugin._open]

    assert registry.shut_down() == []

    assert len(files) == 2
    assert all(file.closed for file in files)
    for pieces in (never, begun):
        with pytest.raises(BtplugError, match=r"cannot be read \(it was closed\)"):
            list(pieces)


def test_a_file_is_opened_only_if_the_options_are_right(registry, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")

    for wrong in ({"where": "x"}, {"columns": ":"}, {"sort": ""}, {"output": "x"}):
        with pytest.raises(UsageError):
            registry.execute_plugin("table-display", source=str(path), **wrong)

    assert registry["table-display"]._open == set()
