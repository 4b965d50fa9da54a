"""The command `serve` as a process: asked by `btplug run send`, ended by signals."""

import json
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest

from btplug.dialects import load_signer

BOB = load_signer("//Bob").hotkey
ALICE = load_signer("//Alice").hotkey
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def url_of(running, seconds=20):
    """Return the URL that the line on stderr says, once it is there."""
    until = time.monotonic() + seconds
    while " at http" not in running.errors or not running.errors.endswith("\n"):
        assert time.monotonic() < until, running.errors
        time.sleep(0.005)
    return running.errors.rpartition(" at ")[2].strip()


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_it_answers_until_a_signal_and_ends_with_its_code(number, flags, start, btplug):
    running = start("run", "serve", "echo", *flags)
    url = json.loads(running.line())["url"] if flags else url_of(running)

    done = btplug("run", "send", url, "--data", "hello")
    running.signal(number)

    assert running.end() == CODES[number]
    assert (done.returncode, done.stdout) == (0, "hello")
    assert running.rest() == ""
    assert running.errors.strip() == ("" if flags else f"serving echo at {url}")


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_serves_though_stderr_is_full(start, btplug, free_port):
    running = start(
        "run", "serve", "echo", "--port", free_port,
        prefix=("sh", "-c", 'exec "$@" 2>/dev/full', "sh"),
    )  # fmt: skip
    until = time.monotonic() + 20
    while running.process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", free_port)):
            break
        time.sleep(0.01)

    done = btplug("run", "send", f"http://127.0.0.1:{free_port}", "--data", "hello")
    running.signal(signal.SIGTERM)

    assert running.end() == 143
    assert (done.returncode, done.stdout) == (0, "hello")


@pytest.mark.parametrize("dialect", ["btauth/1", "v10"])
def test_a_signed_request_is_answered_and_no_other(dialect, start, btplug):
    running = start(
        "run", "--json", "serve", "status", "--key", "//Bob", "--dialect", dialect
    )
    told = json.loads(running.line())
    url = told["url"]
    host = url.removeprefix("http://")
    keys = json.dumps({dialect: {"key": "//Alice"}})
    env = {"BTPLUG_HTTP__DIALECTS": keys, "BTPLUG_HTTP__DIALECT": dialect}
    plain = btplug("run", "send", url, "--data", "{}")
    peer = f"{BOB}@{host}" if dialect == "btauth/1" else f"{BOB}@{host}/Status"
    right = btplug("run", "send", peer, "--data", "{}", **env)
    wrong = btplug("run", "send", peer.replace(BOB, ALICE), "--data", "{}", **env)
    running.signal(signal.SIGINT)

    assert running.end() == 130
    assert told == {
        "url": url, "handler": "status", "hotkey": BOB, "dialects": [dialect],
    }  # fmt: skip
    assert (plain.returncode, wrong.returncode) == (5, 5)
    assert right.returncode == 0, right.stderr
    assert json.loads(right.stdout)["hotkey"] == ALICE
    assert "//Bob" not in running.errors


def test_where_files_run_out_all_others_are_answered_and_little_is_said(start):
    """By default a server would keep as many connections as it may open files."""
    running = start(
        "run", "serve", "echo", prefix=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    )
    url = url_of(running)
    lines = [connected(url) for _ in range(120)]
    asked = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    told = []
    for line in lines:
        with suppress(ConnectionError):
            line.sendall(asked)
            told.append(line.recv(65536)[9:12])
    for line in lines:
        line.close()
    until = time.monotonic() + 10
    last = b""
    while not last.startswith(b"HTTP/1.1 200") and time.monotonic() < until:
        with connected(url) as line, suppress(ConnectionError):
            line.sendall(asked)
            last = line.recv(65536)
    running.signal(signal.SIGTERM)

    assert running.end() == 143
    assert last.startswith(b"HTTP/1.1 200")
    assert told.count(b"200") == 32
    assert told.count(b"503") > 8
    assert "Traceback" not in running.errors
    assert running.errors.count("turned away") <= 1, running.errors


def test_only_who_is_allowed_is_answered(start, btplug):
    running = start(
        "run", "--json", "serve", "echo", "--key", "//Bob", "--allow", ALICE
    )  # fmt: skip
    host = json.loads(running.line())["url"].removeprefix("http://")

    codes = []
    for key in ("//Alice", "//Eve"):
        env = {"BTPLUG_HTTP__DIALECTS": json.dumps({"btauth/1": {"key": key}})}
        codes.append(btplug("run", "send", f"{BOB}@{host}", **env).returncode)

    running.signal(signal.SIGINT)
    assert running.end() == 130
    assert codes == [0, 5]


def connected(url):
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 20)


@contextmanager
def begun(url):
    """Yield a connection with a request that has surely begun, and wants its body."""
    with connected(url) as line:
        line.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert line.recv(65536).startswith(b"HTTP/1.1 100 ")
        yield line


def wait_until_it_stops(url):
    """Return once nobody is let in any more."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            connected(url).close()
        except OSError:
            return
        time.sleep(0.005)
    raise AssertionError("it still takes requests")


def test_a_server_that_is_told_to_stop_finishes_a_request_that_has_begun(start):
    running = start("run", "serve", "echo")
    url = url_of(running)
    with begun(url) as line:
        running.signal(signal.SIGTERM)
        wait_until_it_stops(url)
        # Longer than the second that other calls get to let go.
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(1.5)
        line.sendall(b"last")
        found = b""
        while data := line.recv(65536):  # head and body may come one by one
            found += data
        assert found.endswith(b"last")

    assert running.end() == 143


def test_a_second_signal_ends_at_once(start):
    running = start("run", "serve", "echo")
    url = url_of(running)
    with begun(url):
        running.signal(signal.SIGINT)
        wait_until_it_stops(url)
        since = time.monotonic()
        running.signal(signal.SIGINT)

        assert running.end() == 130
        assert time.monotonic() - since < 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["echo", "--dialect", "v10"], 2, "found --dialect v10 without a key"),
        (["echo", "--allow", ALICE], 2, "found --allow where nobody has to prove"),
        (["echo", "--dialect", "v11"], 2, "'v11' is not one of"),
        (["nothing"], 2, "'nothing' is not one of 'echo', 'status'"),
        (["echo", "--port", "70000"], 2, "70000 is not in the range"),
        (["echo", "--host", "192.0.2.1"], 5, "cannot listen there"),
        (["echo", "--key", "alice"], 4, "found the key 'alice', expected //Name"),
        (["echo", "--key", ""], 2, "found an empty --key, expected wallet/hotkey"),
        (["echo", "--key", " ", "--dialect", "none"], 2, "found an empty --key"),
        (
            ["echo", "--key", "//Bob", "--allow", "x"],
            4,
            "found 'x' in the list 'allow'",
        ),
    ],
)
def test_what_cannot_be_served_says_why(words, code, said, btplug):
    done = btplug("run", "serve", *words)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_words_that_may_be_a_mnemonic_are_not_shown(btplug):
    words = " ".join(f"word{n}" for n in range(12))
    done = btplug("run", "serve", "echo", "--key", words)

    assert done.returncode == 4
    assert "word3" not in done.stderr
