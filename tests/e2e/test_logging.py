"""Logs go to stderr or to a file, as much of them as was asked for."""

import re

import pytest

LEVELS = ("debug", "info", "warning", "error", "critical")
ALL = "\n".join(f"self.context.logger.{level}('own {level} %s', 5)" for level in LEVELS)
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\w+) +([\w.]+): (.*)", re.ASCII
)


@pytest.fixture
def it(command):
    return command("it", f"{ALL}\nreturn 'result'")


def records(text):
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [match.groups() for match in found]


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ([], "warning"),
        (["-v"], "info"),
        (["-vv"], "debug"),
        (["-v", "-v", "-v"], "debug"),
        (["-q"], "error"),
        (["-qq"], "critical"),
        (["-v", "-q"], "warning"),
        (["--log-level", "info"], "info"),
        (["--log-level", "critical", "-vv"], "critical"),
    ],
)
def test_options_of_the_root_choose_the_least_level(options, least, btplug, it):
    done = btplug(*options, "run", "it")

    assert done.stdout == "result\n"
    assert records(done.stderr) == [
        (level.upper(), "btplug.plugin.it", f"own {level} 5")
        for level in LEVELS[LEVELS.index(least) :]
    ]


@pytest.mark.parametrize("name", ["INFO", "Info"])
def test_a_level_may_be_written_in_capitals(name, btplug, it):
    assert btplug("--log-level", name, "run", "it").returncode in (0, 2)


def test_the_environment_and_config_set_choose_a_level_too(btplug, it):
    assert len(records(btplug("run", "it", BTPLUG_LOG_LEVEL="error").stderr)) == 2

    btplug("config", "set", "log_level", "info")

    assert len(records(btplug("run", "it").stderr)) == 4
    assert len(records(btplug("-q", "run", "it").stderr)) == 2


def test_a_wrong_level_in_the_environment_is_told_with_its_origin(btplug, it):
    done = btplug("run", "it", BTPLUG_LOG_LEVEL="loud")

    assert done.returncode in (2, 4)
    assert "BTPLUG_LOG_LEVEL" in done.stderr
    assert (
        "'loud', expected one of debug, info, warning, error, critical" in done.stderr
    )


def test_logs_go_to_the_end_of_a_file_and_not_to_stderr(btplug, it, tmp_path):
    log = tmp_path / "log"
    log.write_text("earlier\n")

    done = btplug("--log-file", "log", "run", "it")

    assert (done.stdout, done.stderr) == ("result\n", "")
    first, *rest = log.read_text().splitlines()
    assert first == "earlier"
    assert len(rest) == 3


@pytest.mark.parametrize("path", ["no/such/folder/log", "/", "/dev/null/log"])
def test_a_log_file_that_cannot_be_written_is_exit_2_before_anything_runs(
    path, btplug, command, marks
):
    command("it", 'mark("executing")')

    done = btplug("--log-file", path, "run", "it")

    assert done.returncode == 2
    assert "found that the log file cannot be written" in done.stderr
    assert f"  where: {path}\n" in done.stderr
    assert marks() == []


def test_a_log_file_on_a_full_disk_is_no_reason_to_fail(btplug, it):
    done = btplug("--log-file", "/dev/full", "run", "it")

    assert (done.returncode, done.stdout) == (0, "result\n")
    assert "Traceback" not in done.stderr


LIBRARY = """
logging.getLogger("some.library").info("theirs info")
logging.getLogger("some.library").warning("theirs warning")
logging.warning("root warning")
"""


def test_what_a_library_logs_is_shown_from_warning_on(btplug, command):
    command("it", LIBRARY, top="import logging")

    plain, verbose = btplug("run", "it"), btplug("-v", "run", "it")
    debug = btplug("-vv", "run", "it")

    warnings = [
        ("WARNING", "some.library", "theirs warning"),
        ("WARNING", "root", "root warning"),
    ]
    assert records(plain.stderr) == records(verbose.stderr) == warnings
    assert records(debug.stderr)[0] == ("INFO", "some.library", "theirs info")


def test_a_module_level_logger_of_a_plugin_is_shown_in_the_same_form(btplug, command):
    top = "import logging\nlog = logging.getLogger(__name__)"
    command("it", "log.warning('executing')", top=top)

    ((level, _, message),) = records(btplug("run", "it").stderr)

    assert (level, message) == ("WARNING", "executing")


@pytest.mark.parametrize(
    "parts",
    [
        {"top": "import logging\nlogging.getLogger('x').warning('hm \x1b')"},
        {"execute": "import logging\nlogging.getLogger('x').warning('hm \x1b')"},
        {"initialize": "import logging\nlogging.getLogger('x').warning('hm \x1b')"},
    ],
    ids=["at import", "while executing", "in initialize"],
)
def test_logging_that_is_imported_late_is_shown_in_the_same_form(
    parts, btplug, command, tmp_path
):
    """Python's last resort has no level, escapes nothing and knows no log file."""
    command("it", **parts)

    done = btplug("run", "it")
    quiet = btplug("run", "it", BTPLUG_LOG_FILE=str(tmp_path / "log"))

    assert records(done.stderr) == [("WARNING", "x", "hm \\x1b")]
    assert quiet.stderr == ""
    assert "hm" in (tmp_path / "log").read_text()


def test_logs_of_a_transport_that_starts_are_shown(btplug, command, transport):
    transport("wire", 'self.context.logger.warning("starting")')
    command("it", transports="[wire]")

    assert records(btplug("run", "it").stderr) == [
        ("WARNING", "btplug.plugin.wire", "starting")
    ]


def test_a_record_cannot_steer_the_terminal(shell, command):
    command("it", r"self.context.logger.warning('red \x1b[31m \r \x9b')")

    done = shell("$B run it", binary=True, LC_ALL="C.UTF-8")

    assert rb"red \x1b[31m \r \x9b" in done.stderr
    assert b"\x1b" not in done.stderr


def test_a_logged_exception_keeps_its_lines(btplug, command):
    body = """
    try:
        raise ValueError("three")
    except ValueError:
        self.context.logger.exception("failed")
    """
    command("it", body)

    lines = btplug("run", "it").stderr.splitlines()

    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: three"


@pytest.mark.slow
def test_a_level_needs_no_plugin_that_logs(btplug, command):
    command("it", "return 'result'")

    for options in (["-vv"], ["-qq"], ["--log-level", "debug"]):
        done = btplug(*options, "run", "it")
        assert (done.returncode, done.stdout, done.stderr) == (0, "result\n", "")
        assert btplug(*options, "list").returncode == 0
