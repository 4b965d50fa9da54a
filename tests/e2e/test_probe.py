"""The command `probe` as a process: pipes, JSON while it streams, Ctrl-C, a terminal."""

import json
import signal
import subprocess
import threading

import pytest
from hostile_server import OK, Hostile, answering, reply

DEAD = "http://127.0.0.1:1/"  # nobody listens on port 1
BROKEN = reply(b"no", status="500 X")


class Held:
    """The script of a peer that answers when it may; `gone`: its client went away."""

    def __init__(self):
        self.asked, self.go, self.gone = (threading.Event() for _ in range(3))

    def __call__(self, line):
        line.request()
        self.asked.set()
        if self.go.wait(20):
            line.send(OK)
        line.sock.recv(1)
        self.gone.set()


class Hanging(Held):
    """One that never answers."""

    def __call__(self, line):
        line.request()
        self.asked.set()
        line.sock.recv(1)
        self.gone.set()


@pytest.fixture
def server():
    """A peer that is well."""
    with Hostile(answering(OK)) as one:
        yield one


def test_in_a_pipe_the_table_is_on_stdout_and_the_summary_on_stderr(btplug, server):
    done = btplug("run", "probe", server.url, DEAD)

    assert done.returncode == 0, done.stderr
    head, good, dead = done.lines
    assert head.split()[:4] == ["#", "Peer", "Status", "ms"]
    assert good.split()[:3] == ["0", server.url, "200"]
    assert dead.endswith("refused  127.0.0.1:1 refused the connection")
    (summary,) = done.stderr.splitlines()
    assert summary.startswith("1 of 2 peers answered; p50 ")


def test_json_shows_the_first_rows_before_the_slow_peers_are_done(start, server):
    held = Held()
    with Hostile(held) as slow:
        running = start("run", "--json", "probe", slow.url, server.url)
        first = json.loads(running.line())
        assert not held.go.is_set()
        held.go.set()
        second = json.loads(running.line())

        assert running.end() == 0
        assert running.rest() == ""

    assert (first["index"], first["ok"], first["peer"]) == (1, True, server.url)
    assert (second["index"], second["ok"]) == (0, True)
    (summary,) = map(json.loads, running.errors.splitlines())
    assert summary["what"].startswith("2 of 2 peers answered; p50 ")
    assert (summary["asked"], summary["answered"]) == (2, 2)
    assert summary["p50_ms"] <= summary["p90_ms"] <= summary["p99_ms"]
    assert (summary["level"], summary["exit_code"]) == ("info", 0)


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_fewer_than_the_quorum_exit_5_after_all_rows(btplug, server, json_too):
    with Hostile(answering(BROKEN)) as broken:
        done = btplug(
            "run", "probe", server.url, broken.url, DEAD, "--quorum", "50%", *json_too
        )

    assert done.returncode == 5
    assert len(done.lines) == (3 if json_too else 4)
    what = "1 of 3 peers answered, expected at least 2"
    if json_too:
        summary, error = map(json.loads, done.stderr.splitlines())
        assert summary["answered"] == 1
        assert (error["what"], error["exit_code"]) == (what, 5)
    else:
        assert done.stderr.splitlines()[1] == f"btplug: error: {what}"


def test_quietly_there_is_no_summary(btplug, server):
    done = btplug("-q", "run", "probe", server.url)

    assert (done.returncode, done.stderr) == (0, "")


def test_peers_come_from_a_file_and_from_stdin(btplug, server, tmp_path):
    (tmp_path / "peers.csv").write_text(f"ip,port\n127.0.0.1,{server.port}\n")
    lines = f"# mine\n127.0.0.1:{server.port}\n" * 2

    done = btplug("run", "--json", "probe", "peers.csv", "-", input=lines)

    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.lines]
    assert sorted(row["index"] for row in rows) == [0, 1, 2]
    assert {row["peer"] for row in rows} == {server.url}


def test_a_wrong_line_exits_2_and_nothing_is_sent(btplug, server, tmp_path):
    (tmp_path / "peers").write_text(f"{server.url}\n\nnobody\n")

    done = btplug("run", "probe", "peers")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "btplug: error: peers:3: found 'nobody', expected a URL, host:port or hotkey@host:port",
        "  fix:   name the port, and write IPv6 in brackets",
    ]
    assert not server.lines


def test_data_comes_from_a_text_a_file_or_stdin_that_peers_do_not_need(
    btplug, server, tmp_path
):
    (tmp_path / "body").write_text("12345")
    for data in ("text", "@body", "-"):
        done = btplug("run", "probe", server.url, "--data", data, input="x")
        assert done.returncode == 0, done.stderr

    for words in (["-", "--data", "-"], ["--data", "-", "-"]):
        done = btplug("run", "probe", *words, input="127.0.0.1:1")
        assert done.returncode == 2
        assert "'--data': stdin is read for PEERS already" in done.stderr


def test_more_peers_than_are_sane_are_refused_with_the_option(btplug, tmp_path):
    (tmp_path / "peers").write_text("127.0.0.1:1\n" * 1_000_000)

    done = btplug("run", "probe", "peers")

    assert (done.returncode, done.stdout) == (2, "")
    assert "found more than 65,536 peers, expected at most that" in done.stderr
    assert "raise --max-peers" in done.stderr


def test_limits_are_set_like_any_setting(btplug):
    with Hostile(Hanging()) as hanging:
        done = btplug(
            "run", "--json", "probe", hanging.url, BTPLUG_PROBE__TIMEOUT="0.2"
        )

    assert done.returncode == 5
    row = json.loads(done.stdout)
    assert row["failure"] == "late"
    assert 200 <= row["ms"] < 2000


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["table", "json"])
def test_ctrl_c_in_the_middle_ends_with_130_and_leaves_nothing(flags, start, server):
    held = Hanging()
    with Hostile(held) as hanging:
        running = start(
            "run", "probe", server.url, hanging.url, "--timeout", "60", *flags
        )
        if flags:
            assert json.loads(running.line())["ok"] is True
        assert held.asked.wait(20)
        running.signal(signal.SIGINT)

        assert running.end() == 130
        assert held.gone.wait(10)

    assert running.rest() == ""
    assert running.errors.strip() == ""


def test_a_reader_that_goes_away_ends_it_without_a_word(shell):
    held = Hanging()
    with Hostile(held) as hanging, Hostile(answering(OK)) as server:
        urls = " ".join([server.url] * 2000)
        done = shell(
            f"$B run --json probe {urls} {hanging.url} --timeout 20 | head -n 1"
        )
        if held.asked.is_set():
            assert held.gone.wait(10)

    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True
    assert done.stderr == ""


def test_a_terminal_shows_progress_and_then_the_table(terminal, server):
    held = Held()
    with Hostile(held) as slow:
        term = terminal("run", "probe", slow.url, server.url)
        term.wait_for("Probing")
        term.wait_for("50%")
        assert "Status" not in term.text
        held.go.set()

        assert term.end() == 0

    table = term.text[term.text.index("Status") :]
    assert "200" in table
    assert "2 of 2 peers answered; p50 " in table


def test_progress_is_on_stderr_so_that_a_pipe_has_the_table_alone(terminal, server):
    held = Held()
    with Hostile(held) as slow:
        streams = {"stdout": subprocess.PIPE}
        term = terminal("run", "probe", slow.url, server.url, streams=streams)
        term.wait_for("Probing")
        held.go.set()

        assert term.end() == 0

    with term.process.stdout as stdout:
        head, *rows = stdout.read().decode().splitlines()
    assert head.split()[:4] == ["#", "Peer", "Status", "ms"]
    assert [row.split()[1] for row in rows] == [slow.url, server.url]
    assert "2 of 2 peers answered" in term.text


def test_while_rows_are_shown_as_json_there_is_no_progress(terminal, server):
    term = terminal("run", "--json", "probe", server.url)

    assert term.end() == 0
    assert "Probing" not in term.text


def test_a_narrow_terminal_folds_the_table_and_loses_nothing(terminal):
    hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    term = terminal("run", "probe", f"{hotkey}@127.0.0.1:1", "--dialect", "none")

    assert term.end() == 5
    lines = term.text.splitlines()
    head = next(n for n, line in enumerate(lines) if "Status" in line)
    rows = lines[head + 1 : lines.index("0 of 1 peer answered")]
    assert max(map(len, rows)) <= 80
    assert "unauthentic" in rows[0]
    assert hotkey in "".join(row[58:].strip() for row in rows)


def test_help_says_what_peers_are(btplug):
    done = btplug("run", "probe", "--help")

    assert done.returncode == 0
    assert "PEERS..." in done.stdout
    assert "--quorum N|N%" in done.stdout
    assert "[default: 5.0; x>0]" in done.stdout
