"""Caches that are spoiled, shared, or cut off in the middle."""

import os
import subprocess
import time

import pytest
from processes import settle


@pytest.fixture
def it(command):
    return command(
        "it",
        "return self.word",
        initialize='self.word = config["word"]',
        config="word: hello",
    )


# -- caches


def every_cache(home):
    return [path for path in (home / "cache").rglob("*") if path.is_file()]


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


SPOILERS = {
    "empty": lambda p: replace(p, b""),
    "cut": lambda p: replace(p, p.read_bytes()[: p.stat().st_size // 2]),
    "one bit": lambda p: replace(p, p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1])),
    "noise": lambda p: replace(p, os.urandom(500)),
    "noise behind a good head": lambda p: replace(p, p.read_bytes()[:60] + os.urandom(500)),
    "a lie of the same length": lambda p: replace(p, p.read_bytes().replace(b"Do it", b"Lies!")),
    "another version": lambda p: replace(p, p.read_bytes().replace(b"btplug 0", b"btplug 9")),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
    "a link to nowhere": lambda p: (p.unlink(), p.symlink_to("nowhere")),
    "a link to itself": lambda p: (p.unlink(), p.symlink_to(p.name)),
    "a pipe": lambda p: (p.unlink(), os.mkfifo(p)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_spoiled_cache_is_rebuilt_in_silence(spoiler, run, it, home):
    (home / "config.yaml").write_text("plugins: {it: {word: user}}\n")
    settle(home)
    words = [["list", "--json"], ["run", "it"], ["--help"]]
    before = [run(*line).stdout for line in words]
    assert len(every_cache(home)) >= 3
    assert before[1] == "user\n"

    for path in every_cache(home):
        SPOILERS[spoiler](path)

    for line, stdout in zip(words, before, strict=True):
        done = run(*line, timeout=10)
        assert (done.returncode, done.stdout, done.stderr) == (0, stdout, "")


def test_a_cache_folder_that_is_a_file_is_done_without(run, it, home):
    (home / "cache").write_text("")
    settle(home)

    check = [run(*words.split()) for words in ("list", "run it", "--help")]

    assert [(done.returncode, done.stderr) for done in check] == [(0, "")] * 3


@pytest.mark.slow
def test_twenty_runs_at_once_on_one_cache_disturb_nobody(btplug, it, home, tmp_path):
    settle(home)
    lines = [["run", "it"], ["list", "--json"], ["--help"], ["info", "it", "--json"]]

    started = [
        (line, subprocess.Popen([str(btplug.script), *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        for line in lines * 5
    ]  # fmt: skip
    done = [
        (line[0], *process.communicate(timeout=60), process.returncode)
        for line, process in started
    ]

    assert {(code, error) for _, _, error, code in done} == {(0, "")}
    for line in lines:
        assert len({out for word, out, _, _ in done if word == line[0]}) == 1
    assert not [p for p in home.rglob("*") if ".tmp" in p.name]


@pytest.mark.slow
def test_twenty_who_set_one_key_at_once_leave_one_whole_value(btplug, it, home):
    values = [str(n) * 5000 for n in range(10, 30)]

    started = [
        subprocess.Popen([str(btplug.script), "config", "set", "it.word", value], stderr=subprocess.DEVNULL)
        for value in values
    ]  # fmt: skip
    codes = [process.wait(60) for process in started]

    assert codes == [0] * 20
    assert (home / "settings/it/word").read_text() in values
    assert os.listdir(home / "settings/it") == ["word"]


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_old_or_new_and_nothing_half(btplug, it, home):
    """Spread over the time that a whole run takes."""
    settle(home)
    words = [str(btplug.script), "config", "set", "it.word"]
    begun = time.monotonic()
    subprocess.run([*words, "x" * 9000], stderr=subprocess.DEVNULL, check=True)
    whole = time.monotonic() - begun
    values = {"x" * 9000}
    written = home / "settings/it/word"

    for n in range(16):
        values.add(value := str(n % 10) * 9000)
        process = subprocess.Popen([*words, value], stderr=subprocess.DEVNULL)
        reader = subprocess.Popen(
            [str(btplug.script), "list"], stdout=subprocess.DEVNULL
        )
        time.sleep(whole * n / 16)
        process.kill(), reader.kill()
        process.wait(), reader.wait()
        assert written.read_text() in values

    assert btplug("run", "it").returncode == 0
    assert btplug("list").returncode == 0


def test_what_a_killed_process_left_is_swept_up(btplug, it, home):
    btplug("config", "set", "it.word", "x")
    stray = home / "settings/it/.tmp-1-word-abc"
    stray.write_text("half")
    then = time.time() - 3600
    os.utime(stray, (then, then))
    assert btplug("run", "it").stdout == "x\n"

    btplug("config", "set", "it.word", "y")

    assert os.listdir(home / "settings/it") == ["word"]


@pytest.mark.slow
@pytest.mark.parametrize("days", [-1, 1, 3650])
def test_a_clock_that_was_changed_makes_no_old_answer_a_new_one(days, btplug, it, home):
    """Seen from now, what was written then is so many days off."""
    then = time.time() + days * 86400
    for path in [*home.rglob("*"), home]:
        os.utime(path, (then, then))
    assert [btplug("run", "it").stdout for _ in range(2)] == ["hello\n"] * 2
    assert "Do it" in btplug("list").stdout

    path = it / "config.yaml"
    path.write_text(
        path.read_text().replace("hello", "later").replace("Do it", "Be it")
    )

    assert btplug("run", "it").stdout == "later\n"
    assert "Be it" in btplug("list").stdout
