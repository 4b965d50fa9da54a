"""The corpus under conditions that are hostile too: disks, streams, clocks, limits.

`make hostile` tries every plugin under every condition, an ordinary run each of both
at least once.
"""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from corpus import CASES, SCRIPT, THOROUGH, Corpus, adopt, check, lines_of_json, remains

pytestmark = pytest.mark.slow
# root reads and writes everywhere; without these it is as bound as anybody.
BOUND = "--bounding-set=-dac_override,-dac_read_search,-fowner"
NO_REPORT = ("q02-closes-the-channel",)


class Condition(NamedTuple):
    """What a run meets.

    Attributes:
        prefix: Words in front of the command line.
        prepare: Called with the corpus before the run.
        env: What is set; None: what is not.
        streams: As Popen has them.
        silent: Nobody hears what is said.
        also: Exit codes that are right too.
    """

    prefix: tuple[str, ...] = ()
    prepare: object = None
    env: dict = {}  # noqa: RUF012 - read only
    streams: dict = {}  # noqa: RUF012 - read only
    silent: bool = False
    also: tuple[int, ...] = ()


def shell(text):
    return ("sh", "-c", f'{text}; exec "$0" "$@"')


def used(corpus):
    """Have caches, a trust store and a log be there."""
    for words in (["run", "good"], ["list"], ["disable", "fetch"]):
        corpus.run(*words)


def spoiled(content):
    def spoil(corpus):
        used(corpus)
        for path in corpus.home.rglob("*"):
            # Settings are no cache: a broken one is the operator's to mend.
            if path.is_file() and "settings" not in path.parts:
                path.write_bytes(content(path.read_bytes()))

    return spoil


def moved_in_time(days):
    def move(corpus):
        used(corpus)
        then = time.time() + days * 86_400
        for path in [*corpus.home.rglob("*"), *corpus.place.rglob("*")]:
            os.utime(path, (then, then))

    return move


def read_only(corpus):
    corpus.home.mkdir(exist_ok=True)
    for path in (corpus.home, corpus.home.parent):
        path.chmod(0o555)


def many(count):
    def fill(corpus):
        place = corpus.home / "cli_plugins"
        text = (corpus.place / "good/config.yaml").read_text()
        for n in range(count):
            folder = place / f"n{n}"
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(text.replace("good", f"n{n}", 1))
            (folder / "plugin.py").touch()

    return fill


CONDITIONS = {
    "a full disk": Condition(prefix=("prlimit", "--fsize=0"), prepare=used),
    "HOME read-only": Condition(prefix=("setpriv", BOUND), prepare=read_only),
    "HOME not set": Condition(env={"HOME": None}),
    "damaged files": Condition(prepare=spoiled(lambda data: b"\xff\x00" * 40)),
    "cut files": Condition(prepare=spoiled(lambda data: data[: len(data) // 2])),
    "files of another version": Condition(prepare=spoiled(lambda data: b"99 " + data)),
    "a day back": Condition(prepare=moved_in_time(1)),
    "ten years on": Condition(prepare=moved_in_time(-3652)),
    "umask 000": Condition(prefix=shell("umask 000")),
    "umask 777": Condition(prefix=shell("umask 777")),
    "64 descriptors": Condition(prefix=shell("ulimit -n 64")),
    "LC_ALL=C": Condition(env={"LC_ALL": "C"}),
    "stdin closed": Condition(prefix=shell("exec <&-")),
    "stdout closed": Condition(prefix=shell("exec >&-"), silent=True),
    "stderr closed": Condition(prefix=shell("exec 2>&-"), silent=True),
    "all closed": Condition(prefix=shell("exec <&- >&- 2>&-"), silent=True),
    "no room in the output": Condition(silent=True, also=(1,), prefix=shell("exec >/dev/full")),
    "a reader that goes away": Condition(silent=True, also=(141,), streams={"stdout": "gone"}),
    "a folder that is gone": Condition(prefix=shell('mkdir d; cd d; rmdir "$PWD"')),
    "1,000 plugins": Condition(prepare=many(1000)),
    "10,000 plugins": Condition(prepare=many(10_000)),
}  # fmt: skip
if not THOROUGH:
    del CONDITIONS["10,000 plugins"]

# What a condition itself changes.
OTHERS = {
    ("64 descriptors", "p15-too-many-files"): ("limit of", "open files"),
}
# Every plugin and every condition, each with a few of the other.
RUNS = [
    pytest.param(name, case, id=f"{case.name}-{name}")
    for n, name in enumerate(CONDITIONS)
    for c, case in enumerate(case for case in CASES if "S" in case.modes)
    if THOROUGH or (not case.lasts and (c - 2 * n) % 17 == 0)
]


@pytest.fixture(autouse=True)
def adopting():
    adopt(True)
    yield
    adopt(False)


@pytest.fixture
def corpus(tmp_path):
    made = Corpus(tmp_path)
    yield made
    for path in (made.home.parent, made.home):
        if path.exists():
            path.chmod(0o755)


def under(corpus, condition, *words):
    """Run it under a condition."""
    env = {**corpus.env, **condition.env}
    env = {name: value for name, value in env.items() if value is not None}
    streams = dict(condition.streams)
    if streams.get("stdout") == "gone":
        r, w = os.pipe()
        os.close(r)
        try:
            return corpus.run(*words, prefix=condition.prefix, env=env, stdout=w)
        finally:
            os.close(w)
    return corpus.run(*words, prefix=condition.prefix, env=env)


@pytest.mark.parametrize(("name", "case"), RUNS)
def test_a_hostile_plugin_ends_the_same_under_a_condition(name, case, corpus):
    condition = CONDITIONS[name]
    if condition.prefix and not shutil.which(condition.prefix[0]):
        pytest.skip(f"{condition.prefix[0]} is not here")
    if condition.prepare:
        condition.prepare(corpus)

    done = under(corpus, condition, "run", case.name)

    words = OTHERS.get((name, case.name), case.words)
    expected = case._replace(codes=(*case.codes, *condition.also), words=words)
    check(expected, done._replace(out=done.out or b""), silent=condition.silent)
    good = under(corpus, condition, "run", "good")
    assert good.code in (0, *condition.also), good.errors
    assert good.errors.count("\n") <= 1 + len(condition.also) * 3, good.errors


def test_twenty_runs_side_by_side_share_one_cache(corpus):
    cases = [c for c in CASES if "S" in c.modes and not c.lasts][:10]
    names = [case.name for case in cases] + ["good"] * 10
    running = [corpus.start("run", name) for name in names]
    found = [(p, *p.communicate(timeout=90)) for p in running]

    for case, (process, _, errors) in zip(cases, found, strict=False):
        assert process.returncode in case.codes, errors
        assert remains(process.pid) == []
    for process, out, errors in found[10:]:
        assert (process.returncode, out, errors) == (0, b"well\n", b"")


def test_kill_9_at_any_moment_leaves_nothing_that_the_next_run_minds(corpus):
    rng = random.Random(9)
    killed = []
    for _ in range(100 if THOROUGH else 12):
        process = corpus.start("run", rng.choice(["good", "q14-asks-for-ever"]))
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        killed.append(process.pid)
        until = time.monotonic() + 10
        # The kernel ends a child with its host; folders are the next run's.
        while [p for p in remains(process.pid) if p.startswith("process")]:
            assert time.monotonic() < until
    left = [path for pid in killed for path in remains(pid)]
    for path in left:
        assert os.stat(path).st_mode & 0o777 == 0o700

    good = corpus.run("run", "good")
    listed = corpus.run("list", "--json")

    assert (good.code, good.out, good.errors) == (0, b"well\n", "")
    assert (listed.code, listed.errors) == (0, "")
    json.loads(listed.out)
    for path in left:
        shutil.rmtree(path)


def test_a_folder_that_has_lost_its_owner_is_swept_and_another_is_not(
    tmp_path, monkeypatch
):
    from btplug._confine import scratch

    monkeypatch.setattr(scratch, "_PLACES", (str(tmp_path),))
    monkeypatch.setattr(scratch, "_YOUNG", -1.0)
    code = "from btplug._confine import scratch; import sys; scratch._PLACES = sys.argv[1:]; print(scratch.make_folder()[0])"
    lost = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)  # fmt: skip
    kept, fd = scratch.make_folder()
    strange = tmp_path / "btplug-is-not-ours-0123456789abcdef"
    strange.mkdir()
    assert os.path.isdir(lost.stdout.strip())

    scratch.sweep()

    os.close(fd)
    assert not os.path.exists(lost.stdout.strip())
    assert os.path.isdir(kept)
    assert strange.is_dir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("name", ["q14-asks-for-ever", "q11-stops-itself"])
def test_a_signal_ends_a_hostile_run_and_leaves_nothing(name, number, twice, corpus):
    env = {**corpus.env, "BTPLUG_RUN_LIMIT": "60", "BTPLUG_STOP_LIMIT": "2"}
    process = corpus.start("run", name, env=env, preexec_fn=_hear_signals)
    until = time.monotonic() + 20
    while not _started(process.pid):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    if twice:
        time.sleep(0.1)
        process.send_signal(number)
    process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert remains(process.pid) == []


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_signal_ends_a_confined_run_whose_reader_has_stopped_reading(words, corpus):
    env = {**corpus.env, "BTPLUG_RUN_LIMIT": "60"}
    name = "q21-rows-without-end"
    line = ("run", *words, name)
    with corpus.start(*line, env=env, preexec_fn=_hear_signals) as process:
        _wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 130
        assert remains(process.pid) == []
        lines = process.stdout.read()
    if words:
        lines_of_json(lines.rpartition(b"\n")[0])


@pytest.mark.parametrize("what", ["log", "warning"])
@pytest.mark.parametrize("words", [["--json"], []])
def test_a_signal_ends_a_confined_run_whose_errors_nobody_reads(words, what, corpus):
    env = {**corpus.env, "BTPLUG_RUN_LIMIT": "60", "BTPLUG_STOP_LIMIT": "1"}
    line = ("run", *words, "q24-logs-without-end", what)
    with corpus.start(*line, env=env, preexec_fn=_hear_signals) as process:
        _wait_until_full(process.stderr)
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 130
        assert remains(process.pid) == []


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_reader_that_goes_away_ends_rows_without_end(words, corpus):
    with corpus.start("run", *words, "q21-rows-without-end") as process:
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(20) == 141
        assert process.stderr.read() == b""
    assert remains(process.pid) == []


def _hear_signals():
    # Of a job in the background, or behind nohup, they are ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _started(pid):
    """Tell whether the child is there and its plugin runs or has stopped."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = file.read().split()
    if not children:
        return False
    with open(f"/proc/{children[0]}/status") as file:
        text = file.read()
    return "NoNewPrivs:\t1" in text and "Seccomp:\t2" in text


def _wait_until_full(stream):
    import fcntl
    import termios

    before, until = -1, time.monotonic() + 20
    while True:
        area = fcntl.ioctl(stream, termios.FIONREAD, b"\0" * 4)
        waiting = int.from_bytes(area, "little")
        if waiting == before and waiting > 30_000:
            return
        assert time.monotonic() < until
        before = waiting
        time.sleep(0.1)


def _without(number, first=None):
    """Have a system call, perhaps with that first argument, answer that it is not there.

    For this process and those it starts.
    """
    import ctypes
    import errno
    import struct

    def forbid():
        allow, refuse = 0x7FFF0000, 0x00050000 | errno.ENOSYS
        lines = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16)]
        lines += [(0x15, 0, 1, first)] if first else [(0x15, 0, 0, 0)]
        lines += [(6, 0, 0, refuse), (6, 0, 0, allow)]
        code = b"".join(struct.pack("HBBI", *line) for line in lines)
        held = ctypes.create_string_buffer(code)
        filters = ctypes.create_string_buffer(
            struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(held))
        )
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        assert libc.prctl(22, 2, filters, 0, 0) == 0

    return forbid


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
@pytest.mark.parametrize(
    ("missing", "reason"),
    [((444,), "the kernel has no Landlock, or it is switched off"), ((157, 22), "")],
    ids=["Landlock", "seccomp"],
)
@pytest.mark.parametrize("words", [["run", "good"], ["run", "--json", "good"]])
def test_where_the_kernel_cannot_confine_nothing_runs(missing, reason, words, corpus):
    process = corpus.start(*words, preexec_fn=_without(*missing))
    out, errors = process.communicate(timeout=60)

    assert (process.returncode, out) == (6, b""), errors
    assert f"the plugin cannot be confined here: {reason}" in errors.decode()
    assert "add --in-process, in front of the command" in errors.decode()
    assert remains(process.pid) == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
def test_where_the_kernel_cannot_confine_one_consent_is_left(corpus):
    no_landlock = _without(444)

    def run(*words, prepare=no_landlock):
        """As somebody who stands in the project, on a machine without Landlock."""
        done = subprocess.run(
            [SCRIPT, *words], env=corpus.env, cwd=corpus.folder / "cwd", text=True,
            capture_output=True, stdin=subprocess.DEVNULL, preexec_fn=prepare,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    shelf = corpus.cwd / "cli_plugins"
    shutil.copytree(corpus.place / "good", shelf / "good")
    for word in ("good", "."):
        code, out, errors = run("trust", word)
        assert (code, out) == (6, "")
        assert errors == (
            "btplug: error: plugins cannot be confined here: the kernel has no Landlock, "
            "or it is switched off\n"
            "  fix:   accept it for btplug's own process, where it can do all that you "
            f"can: btplug trust --in-process {word}\n"
        )
        code, out, errors = run("trust", "--in-process", word)
        assert code == 6
        code, _, _ = run(*shlex.split(errors.rpartition("with: btplug ")[2]))
        assert code == 0
        assert run("run", "good") == (0, "well\n", "")
        assert run("untrust", word)[0] == 0

    # Accepted where it could be confined, before the kernel was another.
    _, _, errors = run("trust", "good", prepare=None)
    words = shlex.split(errors.rpartition("with: btplug ")[2])
    assert run(*words, prepare=None)[0] == 0
    code, out, errors = run("run", "good")
    assert (code, out) == (6, "")
    assert "unconfined: btplug trust --in-process good\n" in errors
