"""Each run leaves one line, whatever became of it, and never a secret."""

import json
import subprocess
import time

import pytest
from operating import COMMAND, accept

from btplug._folders import folders
from btplug._trust import runs

RUN = runs.Run("2026-01-01T00:00:00.000Z", "run it", "it", "1", "user", "0", None, None, "done", 0, 0.1)  # fmt: skip


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


@pytest.fixture
def it(make_plugin, home):
    return make_plugin("it", COMMAND, where=home / "cli_plugins", config="token: x")


def runs_of(btplug, *words):
    done = btplug("log", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.lines]


def test_a_run_leaves_one_line(btplug, it, home):
    btplug("run", "it")
    accept(btplug, "it")
    btplug("run", "it")
    btplug("it")
    btplug("run", "its")
    btplug("run", "it", "--help")
    btplug("list")

    found = runs_of(btplug)

    assert [(r["plugin"], r["command"], r["result"], r["exit_code"]) for r in found] == [
        ("it", "run it", "refused", 6), ("it", "run it", "done", 0), ("it", "run it", "done", 0),
    ]  # fmt: skip
    digest = json.loads(btplug("trust", "--list", "--json").stdout)[0]["digest"]
    assert [r["digest"] for r in found] == [None, digest, digest]
    assert set(found[0]) == set(runs.Run._fields)
    assert found[1]["version"] == "1.0.0"
    assert found[1]["source"] == "user"
    assert found[1]["hosts"] == []
    assert found[1]["seconds"] > 0
    path = home / "state" / "_runs" / "runs.jsonl"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_nothing_that_was_typed_is_kept(btplug, it, home):
    accept(btplug, "it")

    btplug("run", "--set", "token=hush-1", "it", "hush-2", "--token=hush-3")
    btplug("run", "it", BTPLUG_IT__TOKEN="hush-4")

    assert len(runs_of(btplug)) == 2
    assert "hush" not in (home / "state" / "_runs" / "runs.jsonl").read_text()


def test_runs_are_asked_for_by_plugin_and_time(btplug, it, home):
    home.mkdir(exist_ok=True)
    for name, moment in (("it", "2020-01-01T00:00:00.000Z"), ("b", "2020-06-01T00:00:00.000Z")):  # fmt: skip
        runs.append(folders(), RUN._replace(time=moment, plugin=name))
    accept(btplug, "it")
    btplug("run", "it")

    assert [r["plugin"] for r in runs_of(btplug)] == ["it", "b", "it"]
    assert next(r["time"][:4] for r in runs_of(btplug, "--plugin", "it")) == "2020"
    assert len(runs_of(btplug, "--plugin", "it", "--since", "1h")) == 1
    assert len(runs_of(btplug, "--since", "2020-03-01")) == 2
    assert "it" in btplug("log").stdout
    wrong = btplug("log", "--since", "soon")
    assert wrong.returncode == 2
    assert "--since: found 'soon', expected a date or an age" in wrong.stderr


@pytest.mark.parametrize(
    ("body", "result", "code"),
    [
        ("raise ValueError('hush')", "failed", 1),
        ("import btplug; raise btplug.PluginExit(42)", "failed", 42),
        ("raise KeyboardInterrupt", "interrupted", 130),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "terminated", 143),
    ],
)
def test_a_run_that_fails_is_logged_too(body, result, code, btplug, make_plugin, home):
    make_plugin(
        "it", COMMAND.replace('return "hello"', body), where=home / "cli_plugins"
    )
    accept(btplug, "it")

    assert btplug("run", "it").returncode == code
    assert [(r["result"], r["exit_code"]) for r in runs_of(btplug)] == [(result, code)]


SENDS = """
from btplug import CLIPlugin, Message, Peer

class Plugin(CLIPlugin):
    def initialize(self, config): pass
    def shutdown(self): pass
    def execute(self, data=None):
        http = self.context.transports["http"]
        near = [Peer(f"http://127.0.0.{n}:9") for n in range(1, 9)]
        failed = []
        for ask in (
            lambda: http.send(near[0], Message()),
            lambda: http.receive(peer=near[1]),
            lambda: http.execute("x", peer="127.0.0.3:9"),
            lambda: http.stream(near[3], Message()).__enter__(),
            lambda: [o.unwrap() for o in http.send_many(near[4:6], Message(), timeout=2)],
            lambda: [o.unwrap() for o in http.send_many(iter(near[6:8]), Message(), timeout=2)],
        ):
            try:
                ask()
            except Exception as exc:
                failed.append(type(exc).__name__)
        return " ".join(failed)
"""


@pytest.mark.parametrize("how", [[], ["--in-process"]])
def test_whom_a_plugin_sent_to_is_logged_wherever_it_ran(
    how, btplug, make_plugin, home
):
    make_plugin(
        "it", SENDS, where=home / "cli_plugins", transports="[http]",
        permissions="{network: [127.0.0.0/8]}",
    )  # fmt: skip
    accept(btplug, *how, "it")

    done = btplug("run", "it")

    assert len(done.stdout.split()) == 6, done.stderr
    (run,) = runs_of(btplug)
    assert run["hosts"] == [f"127.0.0.{n}:9" for n in range(1, 9)]


MANY = """
from btplug import CLIPlugin, Message, Peer

class Plugin(CLIPlugin):
    def initialize(self, config): pass
    def shutdown(self): pass
    def execute(self, data=None):
        http = self.context.transports["http"]
        for number in range(2000):
            try:
                http.send(Peer(f"http://127.0.0.1:1/{number}"), Message())
            except Exception as exc:
                pass
        # What is no target is refused before anybody is asked.
        near = [Peer(f"http://127.{n % 200}.{n // 200}.1:1/") for n in range(1010)]
        for peer in near + near:
            try:
                http.send(peer, Message(target="#no"))
            except Exception as exc:
                pass
        return "done"
"""


@pytest.mark.parametrize("how", [[], ["--in-process"]])
def test_hosts_that_are_too_many_for_the_log_are_counted(
    how, btplug, make_plugin, home
):
    """A thousand others hid the one that counts."""
    make_plugin(
        "it", MANY, where=home / "cli_plugins", transports="[http]",
        permissions="{network: [127.0.0.0/8]}",
    )  # fmt: skip
    accept(btplug, *how, "it")

    assert btplug("run", "it").stdout == "done\n"

    (run,) = runs_of(btplug)
    assert run["hosts"][:3] == ["127.0.0.1:1", "127.1.0.1:1", "127.2.0.1:1"]
    assert (len(run["hosts"]), run["hosts"][-1]) == (1001, "10 more")


def test_whom_a_shipped_command_sent_to_is_logged(btplug):
    btplug("run", "fetch", "http://127.0.0.1:9/path?token=hush")

    (run,) = runs_of(btplug)
    assert (run["result"], run["hosts"]) == ("undelivered", ["127.0.0.1:9"])


@pytest.mark.slow
def test_runs_side_by_side_leave_whole_lines(btplug, it):
    accept(btplug, "it")

    started = [
        subprocess.Popen([str(btplug.script), "run", "it"], stdout=subprocess.DEVNULL)
        for _ in range(20)
    ]
    for process in started:
        process.wait(60)

    assert len(runs_of(btplug)) == 20


def test_the_log_is_bounded_and_keeps_what_is_new(home, monkeypatch):
    monkeypatch.setattr(runs, "MOST", 2000)
    for number in range(100):
        runs.append(folders(), RUN._replace(version=str(number)))

    found = [run["version"] for run in runs.read_runs(folders())]
    sizes = [p.stat().st_size for p in (home / "state" / "_runs").iterdir()]
    assert found == [str(n) for n in range(100 - len(found), 100)]
    assert len(found) > 8
    assert len(sizes) == 2
    assert max(sizes) <= 2000


def test_a_run_that_reached_too_many_hosts_for_a_line_says_how_many_more(home):
    hosts = tuple(f"{n}.{'ä' * 240}.example:80" for n in range(1000))
    runs.append(folders(), RUN._replace(hosts=hosts[:10]))
    runs.append(folders(), RUN._replace(hosts=hosts))

    few, many = (run["hosts"] for run in runs.read_runs(folders()))
    assert tuple(few) == hosts[:10]
    assert (tuple(many[:-1]), many[-1]) == (hosts[: len(many) - 1], f"{1001 - len(many)} more")  # fmt: skip
    assert len(many) > 20
    runs.append(folders(), RUN._replace(hosts=hosts[:2]), more=7)
    runs.append(folders(), RUN._replace(hosts=hosts), more=7)
    *_, few, last = (run["hosts"] for run in runs.read_runs(folders()))
    assert few == [*hosts[:2], "7 more"]
    assert last == [*many[:-1], f"{1008 - len(many)} more"]
    assert (home / "state" / "_runs" / "runs.jsonl").stat().st_size < 160_000


def test_damaged_lines_are_left_out(btplug, home):
    runs.append(folders(), RUN)
    path = home / "state" / "_runs" / "runs.jsonl"
    with path.open("ab") as file:
        file.write(b'{"time": "2026", "plug\n\xff\xfe\n[1]\n{}\n\n')
    runs.append(folders(), RUN)

    assert len(runs_of(btplug)) == 2


def test_a_line_that_was_cut_costs_no_other(home):
    """A full disk cuts a line, and has no room for its end either."""
    runs.append(folders(), RUN)
    path = home / "state" / "_runs" / "runs.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time": "2026-01-31T12:00:00')
    runs.append(folders(), RUN)

    assert len([*runs.read_runs(folders())]) == 2


@pytest.mark.parametrize("kind", ["pipe", "folder", "read-only"])
def test_a_log_that_cannot_be_written_stops_no_run(kind, btplug, it, home):
    import os

    accept(btplug, "it")
    place = home / "state" / "_runs"
    place.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(place / "runs.jsonl")
    elif kind == "folder":
        (place / "runs.jsonl").mkdir()
    else:
        place.rmdir()
        place.write_text("")

    begun = time.monotonic()
    done = btplug("run", "it", timeout=20)

    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    assert time.monotonic() - begun < 15


def test_a_shipped_plugin_is_logged_with_the_version_of_btplug(btplug, tmp_path):
    (tmp_path / "rows.json").write_text('[{"a": 1}]')
    btplug("run", "table-display", "rows.json")

    (run,) = runs_of(btplug)
    assert (run["source"], run["digest"], run["btplug"]) == ("shipped", None, "0.1.0")


def test_a_locked_run_has_the_fingerprint_of_the_lock(btplug, it):
    accept(btplug, "it")
    fingerprint = btplug("lock").stdout.strip()

    btplug("--locked", "run", "it")

    assert runs_of(btplug)[-1]["fingerprint"] == fingerprint
