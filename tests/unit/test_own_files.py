"""btplug's own folders, its caches, and files that are written whole or not at all."""

import marshal
import os
import pwd
import random
import signal
import subprocess
import sys
import time
from binascii import crc32

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from platformdirs.unix import Unix

from btplug import _folders
from btplug._folders import (
    folders,
    load_cached,
    observe,
    settled,
    store_cached,
    write_atomic,
)
from btplug.cli.ending import signals_watched
from btplug.errors import Terminated


@pytest.fixture
def folder(tmp_path):
    """An empty folder: tmp_path holds the fence's home."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


# -- where the folders are

ON_LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the rule of Linux"
)
PATHS = st.sampled_from(
    [None, "", " ", "/x", "/x/", " /x ", "x", "./x", "~/x", "~", "/", "//", "/x y", "/é", "/x/../y", "."]
)  # fmt: skip
VARIABLES = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"]


@ON_LINUX
@given(st.fixed_dictionaries(dict.fromkeys([*VARIABLES, "HOME"], PATHS)))
def test_the_folders_on_linux_are_those_of_platformdirs(environment):
    """platformdirs costs 17 ms to import, so its rule stands in btplug again."""
    saved = dict(os.environ)
    try:
        for name in ("BTPLUG_HOME", *environment):
            os.environ.pop(name, None)
        os.environ.update({k: v for k, v in environment.items() if v is not None})
        expected = Unix("btplug", appauthor=False)

        assert folders() == (
            expected.user_config_dir,
            expected.user_data_dir,
            expected.user_cache_dir,
            expected.user_state_dir,
        )
    finally:
        os.environ.clear()
        os.environ.update(saved)


def test_elsewhere_the_folders_are_those_of_platformdirs_too(monkeypatch):
    monkeypatch.delenv("BTPLUG_HOME")
    monkeypatch.setattr(sys, "platform", "darwin")
    dirs = platformdirs.PlatformDirs("btplug", appauthor=False)

    assert folders() == (
        dirs.user_config_dir,
        dirs.user_data_dir,
        dirs.user_cache_dir,
        dirs.user_state_dir,
    )


def test_btplug_home_moves_everything_into_one_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_HOME", str(tmp_path))
    found = folders()

    assert found.config == found.data == str(tmp_path)
    assert found.user_config == str(tmp_path / "config.yaml")
    assert found.disabled == str(tmp_path / "disabled")
    assert found.written("greet") == str(tmp_path / "settings" / "greet")
    assert found.cache == str(tmp_path / "cache")
    assert found.state_root == str(tmp_path / "state")


def test_a_relative_btplug_home_is_one_below_the_working_directory(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BTPLUG_HOME", "x/../own")

    assert folders().config == str(tmp_path / "own")


def test_an_empty_btplug_home_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_HOME", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert folders().config == str(tmp_path / "btplug")


def test_a_user_without_home_still_has_folders(monkeypatch):
    monkeypatch.delenv("BTPLUG_HOME")
    monkeypatch.delenv("HOME")

    assert folders().config.startswith(pwd.getpwuid(os.getuid()).pw_dir)


NOBODY = """
import os, sys
from btplug._folders import folders
import pwd
os.environ.pop("BTPLUG_HOME")
for home in (None, "", "relative"):
    os.environ.pop("HOME", None)
    if home is not None:
        os.environ["HOME"] = home
    if os.getuid() == 0:
        os.setuid(54321)
    print(folders().config)
"""


@ON_LINUX
@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes nobody")
def test_a_user_that_the_system_does_not_know_has_folders_that_are_nowhere():
    """As in a container: the working directory is no home."""
    done = subprocess.run(
        [sys.executable, "-c", NOBODY], capture_output=True, text=True
    )

    assert done.stdout == "/nonexistent/btplug\n" * 3, done.stderr


def test_knowing_the_folders_makes_none(home):
    folders()

    assert not home.exists()


def test_the_state_folder_is_made_when_asked_for_and_private(home):
    path = folders().state("greet")

    assert path == str(home / "state" / "greet")
    assert os.stat(path).st_mode & 0o777 == 0o700
    assert folders().state("greet") == path


def test_a_place_of_anybodys_has_a_state_of_its_own_however_it_is_spelt(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to("one")
    one, link, two = (str(tmp_path / name) for name in ("one", "link", "two"))

    state = folders().state

    for source in ("shipped", "user", "installed", "path", ""):
        assert state("greet", source, one) == state("greet")
    for source in ("plugin-dir", "project"):
        found = {state("greet", source, root) for root in (one, link, two)}
        assert len(found) == 2
        assert state("greet") not in found


def test_a_plugin_is_disabled_by_a_file_of_its_name(home):
    assert not folders().is_disabled("greet")

    (home / "disabled").mkdir(parents=True)
    (home / "disabled" / "greet").touch()

    assert folders().is_disabled("greet")
    assert not folders().is_disabled("other")


# -- telling a changed file from an unchanged one


def test_what_is_not_there_is_observed_as_nothing(folder):
    assert observe(str(folder / "gone")) is None
    assert observe(str(folder / "gone" / "deeper")) is None
    assert observe("a\0b") is None


def test_an_observation_changes_with_time_size_and_file(folder):
    file = folder / "f"
    file.write_text("a")
    os.utime(file, ns=(10**18, 10**18))
    first = observe(str(file))
    assert observe(str(file)) == first

    os.utime(file, ns=(10**18, 10**18 + 1))
    assert observe(str(file)) != first

    file.write_text("ab")
    os.utime(file, ns=(10**18, 10**18))
    assert observe(str(file)) != first

    (folder / "g").write_text("a")
    os.utime(folder / "g", ns=(10**18, 10**18))
    os.replace(folder / "g", file)
    assert observe(str(file)) != first


SECOND = 10**9


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, False), (1.9, False), (-1.9, False), (2.1, True), (-2.1, True), (10**9, True)],
)
def test_what_changed_within_two_seconds_is_not_settled(age, expected):
    """Also with a clock that was put back: a change in the future is as good."""
    seen = (time.time_ns() - int(age * SECOND), 1, 1)

    assert settled(seen) is expected
    assert settled((0, 1, 1), seen, None) is expected


def test_nothing_is_settled():
    assert settled()
    assert settled(None, None)


# -- writing whole or not at all


def test_a_file_is_written_with_its_folders_and_is_private(folder):
    path = folder / "a" / "b" / "f"

    write_atomic(str(path), b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["f"]


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_a_file_is_private_whatever_the_umask(folder, mask):
    (folder / "a").mkdir()
    before = os.umask(mask)
    try:
        write_atomic(str(folder / "a" / "f"), b"x")
    finally:
        os.umask(before)

    assert (folder / "a" / "f").stat().st_mode & 0o077 == 0


def test_a_link_is_replaced_and_what_it_led_to_is_left_alone(folder):
    (folder / "target").write_text("old")
    (folder / "f").symlink_to("target")

    write_atomic(str(folder / "f"), b"new")

    assert (folder / "target").read_text() == "old"
    assert (folder / "f").read_bytes() == b"new"


def test_a_write_that_fails_leaves_what_was_there(folder):
    (folder / "f").mkdir()
    (folder / "f" / "kept").touch()

    with pytest.raises(OSError, match=r"Is a directory|not empty|exists"):
        write_atomic(str(folder / "f"), b"new")

    assert os.listdir(folder) == ["f"]
    assert (folder / "f" / "kept").exists()


def test_a_full_disk_loses_nothing(folder):
    """A limit on the size of files fails a write as a full disk does."""
    path = folder / "f"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys; from btplug._folders import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_atomic(sys.argv[1], b'n' * 100_000)\n"
        "except OSError as exc:\n    print(exc.strerror)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True
    )

    assert done.stdout == "File too large\n", done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(folder) == ["f"]


def test_a_name_too_long_for_a_file_leaves_nothing(folder):
    with pytest.raises(OSError, match="too long"):
        write_atomic(str(folder / ("n" * 250)), b"x")

    assert os.listdir(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["chmod", "fsync", "replace"])
def test_a_signal_while_a_file_is_written_leaves_nothing(
    folder, monkeypatch, number, moment
):
    """It may hold a secret; and in a folder that is not btplug's nobody sweeps."""
    real = getattr(os, moment)

    def interrupted(*args):
        signal.raise_signal(number)
        return real(*args)

    monkeypatch.setattr(os, moment, interrupted)
    with signals_watched(), pytest.raises((KeyboardInterrupt, Terminated)):
        write_atomic(str(folder / "f"), b"secret", foreign=True)

    assert os.listdir(folder) == []


def test_what_cannot_be_swept_is_left_alone(folder):
    (folder / ".tmp-folder").mkdir()
    os.utime(folder / ".tmp-folder", (0, 0))

    write_atomic(str(folder / "f"), b"x")

    assert sorted(os.listdir(folder)) == [".tmp-folder", "f"]


def test_what_killed_writers_left_is_swept_after_a_minute(folder):
    old, young, other = (folder / n for n in (".tmp-1-f-aa", ".tmp-2-f-bb", "tmp-3"))
    for file in (old, young, other):
        file.touch()
    for file in (old, other):
        os.utime(file, (0, 0))

    write_atomic(str(folder / "f"), b"x")

    assert sorted(os.listdir(folder)) == [".tmp-2-f-bb", "f", "tmp-3"]


WRITER = """
import sys
from btplug._folders import write_atomic
print("ready", flush=True)
n = 0
while True:
    n += 1
    write_atomic(sys.argv[1], (b"%d " % n) * 20_000)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new(folder):
    path = folder / "f"
    seed = random.Random(7)
    write_atomic(str(path), b"0 " * 20_000)
    seen = set()

    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-S", "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(seed.uniform(0, 0.02))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        words = path.read_bytes().split()
        assert len(words) == 20_000
        assert len(set(words)) == 1
        seen.add(words[0])

    assert len(seen) > 1, "the writer never got to write"
    assert [n for n in os.listdir(folder) if not n.startswith(".tmp-")] == ["f"]


CROWD = """
import sys
from btplug._folders import load_cached, store_cached
path, me = sys.argv[1], int(sys.argv[2])
for turn in range(15):
    store_cached(path, "x", (me, turn, [(me, turn)] * 3000))
    found = load_cached(path, "x")
    assert found is not None and found[2] == [found[:2]] * 3000, found
print("good")
"""


@pytest.mark.slow
def test_twenty_processes_share_one_cache_file_and_none_sees_half_of_it(folder):
    path = str(folder / "cache" / "shared")
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, path, str(n)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(20)
    ]

    results = [process.communicate(timeout=60) for process in crowd]

    assert results == [("good\n", "")] * 20
    assert os.listdir(folder / "cache") == ["shared"]


# -- caches

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_what_a_cache_was_given_it_gives_back(tmp_path_factory, value):
    path = str(tmp_path_factory.getbasetemp() / "cached")

    store_cached(path, "x", value)

    assert load_cached(path, "x") == value


def stamped(body):
    """Content with a right stamp and checksum around any body."""
    return _folders._STAMP + crc32(body).to_bytes(4, "big") + body


GOOD = marshal.dumps(("x", [1, 2, 3]))  # (kind, value)
POISON = {
    "no body": b"",
    "cut": GOOD[:-3],
    "a list of a million": b"[\x40\x42\x0f\x00",
    "a text of two billion": b"u\xff\xff\xff\x7f",
    "a negative size": b"(\xff\xff\xff\xff",
    "nested deep": b"(\x01\x00\x00\x00" * 100_000,
    "a reference to nothing": b"r\x07\x00\x00\x00",
    "an unknown type": b"\x7f",
    "a null": b"0",
    "a text that is no UTF-8": b"u\x02\x00\x00\x00\xff\xff",
    "no pair": marshal.dumps(("x",)),
    "no tuple": marshal.dumps(["x", 1]),
    "another kind": marshal.dumps(("y", 1)),
}


@pytest.mark.parametrize("body", POISON.values(), ids=POISON)
def test_a_poisoned_cache_is_as_good_as_none(folder, body):
    (folder / "c").write_bytes(stamped(body))

    assert load_cached(str(folder / "c"), "x") is None


def test_the_frame_around_the_poison_is_the_right_one(folder):
    """The trap is armed: with a good body the same frame is believed."""
    (folder / "c").write_bytes(stamped(GOOD))

    assert load_cached(str(folder / "c"), "x") == [1, 2, 3]


@given(st.data())
def test_a_cache_with_one_byte_changed_or_cut_is_as_good_as_none(
    tmp_path_factory, data
):
    path = tmp_path_factory.getbasetemp() / "one-byte"
    content = stamped(GOOD)
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        changed = content[:at]
    else:
        byte = data.draw(st.integers(1, 255)) ^ content[at]
        changed = content[:at] + bytes([byte]) + content[at + 1 :]
    path.write_bytes(changed)

    assert load_cached(str(path), "x") is None


@pytest.mark.parametrize(
    "stamp",
    [
        _folders._STAMP.replace(b"btplug ", b"btplug 9."),
        _folders._STAMP.replace(b"cpython", b"pypy"),
        b"",
    ],
)
def test_a_cache_of_another_version_is_as_good_as_none(folder, stamp):
    content = stamped(GOOD).replace(_folders._STAMP, stamp)
    (folder / "c").write_bytes(content)

    assert load_cached(str(folder / "c"), "x") is None


def test_a_stamp_names_btplug_and_interpreter():
    from btplug import __version__

    words = _folders._STAMP.decode().split()
    assert words[:3] == ["btplug", __version__, sys.implementation.cache_tag]
    assert int(words[3], 16) == sys.hexversion


def test_no_file_and_a_folder_are_as_good_as_none(folder):
    assert load_cached(str(folder / "gone"), "x") is None
    assert load_cached(str(folder), "x") is None


def test_a_pipe_in_place_of_a_cache_is_not_waited_for(folder):
    os.mkfifo(folder / "c")

    assert load_cached(str(folder / "c"), "x") is None


def test_folders_above_a_file_are_private_too(folder):
    """Whoever could write into one of them could put plugins there."""
    before = os.umask(0)
    try:
        write_atomic(str(folder / "a" / "b" / "f"), b"x")
    finally:
        os.umask(before)

    for path in (folder / "a", folder / "a" / "b"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_written_is_normal(folder):
    (folder / "file").write_text("no folder")
    (folder / "taken").mkdir()
    (folder / "taken" / "x").touch()

    store_cached(str(folder / "file" / "cache"), "x", 1)
    store_cached(str(folder / "taken"), "x", 1)

    assert sorted(os.listdir(folder)) == ["file", "taken"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_normal(folder):
    folder.chmod(0o500)

    store_cached(str(folder / "c"), "x", 1)

    assert load_cached(str(folder / "c"), "x") is None


def test_what_cannot_be_cached_is_left_out(folder):
    """sys.path, for one, may hold whatever somebody put there."""
    store_cached(str(folder / "c"), "x", [folder])

    assert load_cached(str(folder / "c"), "x") is None


def test_a_cache_of_a_gigabyte_is_not_read(folder):
    with open(folder / "c", "wb") as file:
        file.write(_folders._STAMP)
        file.truncate(2**33)  # more than is there: reading it would be killed

    code = (
        "import resource, sys; from btplug._folders import load_cached\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "print(load_cached(sys.argv[1], 'x'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "c")],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.stdout == "None\n", done.stderr
