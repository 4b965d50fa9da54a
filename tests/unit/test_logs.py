"""Logging: set up by the command line only, and never a way to steer a terminal."""

import logging
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug.errors import UsageError
from btplug.logs import LEVELS, escape, get_logger, on_import, set_up


@pytest.fixture
def logs():
    """Set logging up as a command line would, and put all of it back."""
    root, own = logging.getLogger(), logging.getLogger("btplug")
    before = root.handlers[:], root.level, own.level
    loud = logging.raiseExceptions
    yield set_up
    logging.raiseExceptions = loud
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:], root.level, own.level = before


def test_a_plugins_logger_is_called_like_the_plugin():
    assert get_logger("table-display").name == "btplug.plugin.table-display"
    assert get_logger().name == "btplug"


def test_a_library_adds_no_handler():
    code = "import btplug; btplug.get_logger('x'); import logging as l; print([len(l.getLogger(n).handlers) for n in ('', 'btplug', 'btplug.plugin.x')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[0, 0, 0]\n", done.stderr


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", {"own debug", "own info", "own warning", "own error", "other debug", "other info", "other warning", "other error"}),
        ("info", {"own info", "own warning", "own error", "other warning", "other error"}),
        ("warning", {"own warning", "own error", "other warning", "other error"}),
        ("error", {"own error", "other error"}),
        ("critical", set()),
    ],
)  # fmt: skip
def test_a_level_holds_for_btplug_and_from_warning_on_for_everybody(
    logs, capsys, level, shown
):
    logs(level)

    for name in ("btplug.plugin.x", "httpx"):
        for each in ("debug", "info", "warning", "error"):
            word = "own" if name.startswith("btplug") else "other"
            getattr(logging.getLogger(name), each)("%s %s", word, each)

    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert {line.split(": ", 1)[1] for line in lines} == shown
    assert captured.out == ""


def test_a_record_goes_to_stderr_with_time_level_and_name(logs, capsys):
    logs("info")

    get_logger("greet").info("hello %s", "you")

    line = capsys.readouterr().err
    assert line.endswith(" INFO    btplug.plugin.greet: hello you\n")


def test_a_record_goes_to_the_end_of_the_file_instead(logs, tmp_path, capsys):
    file = tmp_path / "log"
    file.write_text("before\n")
    logs("info", str(file))

    get_logger("greet").info("hello é")

    before, line = file.read_text(encoding="utf-8").splitlines()
    assert before == "before"
    assert line.endswith("btplug.plugin.greet: hello é")
    assert capsys.readouterr().err == ""


def test_an_unknown_level_is_refused():
    with pytest.raises(UsageError) as caught:
        set_up("loud")

    assert caught.value.what == (
        "found the log level 'loud', expected one of debug, info, warning, error, critical"
    )
    assert caught.value.fix == "choose one of them"
    assert LEVELS == ("debug", "info", "warning", "error", "critical")


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        set_up("info", str(tmp_path))

    assert str(caught.value) == (
        "found that the log file cannot be written (Is a directory)\n"
        f"  where: {tmp_path}\n"
        "  fix:   give --log-file a path you may write to"
    )


def test_what_a_peer_sent_does_not_steer_the_terminal(logs, capsys):
    logs("info")

    get_logger("greet").info("got %s", "\x1b[2J\r\u202eevil\x9b1m\u2066")

    line = capsys.readouterr().err
    assert "got \\x1b[2J\\r\\u202eevil\\x9b1m\\u2066\n" in line


def test_a_traceback_in_the_log_keeps_its_lines(logs, capsys):
    logs("info")
    try:
        raise ValueError("\x1b[31m")
    except ValueError:
        get_logger().exception("failed")

    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: \\x1b[31m"


@given(st.text())
def test_an_escaped_text_steers_nothing(text):
    shown = escape(text)

    assert not any(
        unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown
    )
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]) | st.just(" ")))
def test_text_that_is_plain_stays_as_it_is(text):
    if not any(unicodedata.category(c) == "Cn" for c in text):
        assert escape(text) == text


def test_characters_that_are_asked_for_are_kept():
    assert escape("a\n\tb\x07", keep="\n\t") == "a\n\tb\\x07"
    assert escape("a\n\tb\x07") == "a\\n\\tb\\x07"


# -- set up when somebody imports logging, and not before

WATCH = """
import sys
from btplug.logs import on_import

calls = []
on_import(lambda: calls.append(sys.modules["logging"].INFO))
before = list(calls)
import json
between = list(calls)
import logging
print(before, between, calls)
import logging.handlers, importlib
importlib.reload(logging)
print(calls, [type(f).__name__ for f in sys.meta_path if "Watch" in type(f).__name__])
"""


def test_setting_up_waits_for_the_import_of_logging():
    done = subprocess.run([sys.executable, "-c", WATCH], capture_output=True, text=True)

    assert done.stdout == "[] [] [20]\n[20] []\n", done.stderr


def test_setting_up_does_not_wait_where_logging_is_imported():
    calls = []
    before = list(sys.meta_path)

    on_import(lambda: calls.append(1))

    assert calls == [1]
    assert sys.meta_path == before


def test_a_log_record_that_cannot_be_written_is_no_failure(logs, monkeypatch):
    class Gone:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Gone())
    logs("info")

    get_logger().warning("lost")


def test_a_wait_that_was_stopped_sets_nothing_up():
    code = "import sys; from btplug.logs import on_import; calls = []; on_import(lambda: calls.append(1))(); import logging; print(calls)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


def test_what_was_set_up_is_taken_back():
    root, own = logging.getLogger(), logging.getLogger("btplug")
    before = root.handlers[:], root.level, own.level, logging.raiseExceptions

    set_up("debug")()

    assert (root.handlers[:], root.level, own.level, logging.raiseExceptions) == before


def test_waiting_for_logging_changes_no_list_that_an_import_goes_through():
    """An import in another thread goes through it, and would pass over a finder."""
    code = """
import sys
from btplug.logs import on_import

before = sys.meta_path
content = [*before]
stop = on_import(lambda: None)
waiting = sys.meta_path
assert waiting is not before and len(waiting) == len(content) + 1
stop()
assert before == content and sys.meta_path == content
assert len(waiting) == len(content) + 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)
