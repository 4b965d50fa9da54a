"""The commands `send` and `fetch`, as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_server import OK, Hostile, answering, recording, reply

ROOT = Path(__file__).resolve().parent.parent.parent
MISSING = reply(b"no such thing", b"Content-Type: text/plain", status="404 X")
DEAD = "http://127.0.0.1:1/"  # nobody listens on port 1


def test_the_body_goes_to_stdout_and_nothing_else(btplug):
    with Hostile(answering(reply("grüße".encode()))) as server:
        done = btplug("run", "fetch", server.url)

    assert (done.returncode, done.stdout, done.stderr) == (0, "grüße", "")


def test_bytes_reach_stdout_unchanged(tmp_path):
    body = bytes(range(256)) * 1000
    script = Path(sys.executable).with_name("btplug")
    with Hostile(answering(reply(body))) as server:
        done = subprocess.run(
            [script, "run", "fetch", server.url], capture_output=True, timeout=30
        )

    assert done.stdout == body


def test_data_comes_from_the_command_line_a_file_or_stdin(btplug, tmp_path):
    (tmp_path / "body.bin").write_bytes(b"from a file")
    seen = []
    with Hostile(recording(seen)) as server:
        for data in ("a text", f"@{tmp_path}/body.bin", "@body.bin", "-"):
            done = btplug("run", "send", server.url, "--data", data, input="from stdin")
            assert done.returncode == 0, done.stderr
        btplug("run", "send", server.url, input="not asked for")

    bodies = [request.partition(b"\r\n\r\n")[2] for request in seen]
    assert bodies == [b"a text", b"from a file", b"from a file", b"from stdin", b""]


def test_a_file_that_is_missing_is_wrong_usage(btplug):
    done = btplug("run", "send", DEAD, "--data", "@nothing.bin")

    assert done.returncode == 2
    assert "nothing.bin: No such file or directory" in done.stderr


def test_headers_and_method_come_from_the_command_line(btplug):
    seen = []
    with Hostile(recording(seen)) as server:
        done = btplug(
            "run", "send", server.url, "--method", "PUT", "--timeout", "5",
            "--header", "X-One: 1", "--header", "Content-Type:application/json",
            "--data", "{}",
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert seen[0].startswith(b"PUT / ")
    assert b"X-One: 1\r\nContent-Type: application/json\r\n" in seen[0]
    assert b"text/plain" not in seen[0]


def test_a_method_is_written_in_capitals_whatever_was_typed(btplug):
    seen = []
    with Hostile(recording(seen)) as server:
        assert btplug("run", "send", server.url, "--method", "put").returncode == 0
    assert seen[0].startswith(b"PUT / ")

    done = btplug("run", "send", DEAD, "--method", "PUT it")

    assert done.returncode == 2
    assert "Invalid value for '--method': expected a word such as PUT" in done.stderr


@pytest.mark.parametrize(
    "line", ["Bearer s3cret", "s3cret", "Bad name: s3cret", "X: s3cret\x01"]
)
def test_a_header_without_its_form_is_wrong_usage_and_not_repeated(btplug, line):
    done = btplug("run", "send", DEAD, "--header", line)

    assert done.returncode == 2
    assert "expected 'Name: value'" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("name", ["send", "fetch"])
def test_a_status_that_is_not_ok_prints_the_body_and_exits_5(btplug, name):
    with Hostile(answering(MISSING)) as server:
        done = btplug("run", name, server.url)

    assert done.returncode == 5
    assert done.stdout == "no such thing"
    assert "the peer answered with status 404, expected 200 to 299" in done.stderr


def test_a_redirect_is_not_followed_and_exits_5(btplug):
    elsewhere = []
    with Hostile(recording(elsewhere)) as other:
        moved = reply(b"", f"Location: {other.url}".encode(), status="302 Found")
        with Hostile(answering(moved)) as server:
            assert btplug("run", "fetch", server.url).returncode == 5

    assert elsewhere == []


def test_status_and_headers_are_on_stderr_with_v(btplug):
    with Hostile(answering(reply(b"ok", b"X: \xc2\x9b31mred"))) as server:
        done = btplug("-v", "run", "fetch", server.url)

    assert done.stdout == "ok"
    assert "status 200 after" in done.stderr
    assert r"X: \x9b31mred" in done.stderr


@pytest.mark.parametrize(("data", "code"), [(OK, 0), (MISSING, 5)])
def test_json_is_one_object_on_one_line(btplug, data, code):
    with Hostile(answering(data)) as server:
        done = btplug("run", "--json", "fetch", server.url)

    assert done.returncode == code
    (line,) = done.lines
    found = json.loads(line)
    assert found["url"] == server.url
    assert found["ok"] is (code == 0)
    assert found["body"] in ("ok", "no such thing")
    if code:
        (error,) = map(json.loads, done.stderr.splitlines())
        assert error["exit_code"] == 5


@pytest.mark.parametrize("name", ["send", "fetch"])
def test_a_peer_that_does_not_answer_exits_5_in_time(btplug, name):
    with Hostile(lambda line: line.wait()) as server:
        done = btplug("run", name, server.url, "--timeout", "0.3")

    assert done.returncode == 5
    assert done.stderr.startswith("btplug: error: waited 0.3 s for the reply headers")


def test_a_refused_connection_exits_5_with_what_to_do(btplug):
    done = btplug("run", "send", DEAD)

    assert done.returncode == 5
    assert done.stderr.splitlines() == [
        "btplug: error: 127.0.0.1:1 refused the connection",
        f"  where: {DEAD}",
        "  fix:   check the address, and that the peer runs",
    ]


def test_the_transports_limits_are_set_like_any_setting(btplug):
    with Hostile(answering(reply(b"x" * 100))) as server:
        done = btplug("run", "fetch", server.url, BTPLUG_HTTP__MAX_BODY="99")

    assert done.returncode == 5
    assert "the reply announces 100 bytes, expected at most 99 bytes" in done.stderr
