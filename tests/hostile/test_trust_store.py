"""The store of what was accepted: whole, private, and never guessed at."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operating import accept, row_of

from btplug._folders import folders
from btplug.errors import BtplugError, TrustError
from btplug.manifest import Permissions
from btplug.trust import Accepted, TrustStore

DIGEST = "h1:" + "0" * 64


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


def accepted(path, **other):
    return Accepted(path, "it", "cli", "1", DIGEST)._replace(**other)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CONSENTS = st.lists(
    st.builds(
        accepted,
        TEXT.map(lambda text: f"/{text}"),
        version=TEXT,
        permissions=st.builds(
            Permissions, *[st.lists(TEXT, max_size=3).map(tuple)] * 3
        ),
        in_process=st.booleans(),
    ),
    unique_by=lambda consent: consent.path,
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONSENTS)
def test_what_was_accepted_is_found_again(home, consents):
    store = TrustStore(folders())
    store.withdraw(*store.all())

    store.accept(*consents, files={})

    again = TrustStore(folders())
    assert dict(again.all()) == {consent.path: consent for consent in consents}
    assert all(again.find(consent.path) == consent for consent in consents)
    assert again.find("/nothing\nhere") is None


def test_the_store_is_private(home):
    os.umask(old := os.umask(0))
    try:
        os.umask(0)
        TrustStore(folders()).accept(accepted("/a"), files={DIGEST: ""})
    finally:
        os.umask(old)

    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in [home / "trust", *(home / "trust").rglob("*")]}  # fmt: skip
    assert modes.pop("trust") == modes.pop("files") == "0o700"
    assert set(modes.values()) == {"0o600"}


SPOILERS = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "without its last line": lambda data: data[: data.rindex(b"\nsum") + 1],
    "one bit": lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
    "one more consent": lambda data: data.replace(
        b"in-process: no", b"in-process: yes"
    ),
    "noise": lambda data: os.urandom(500),
    "another form": lambda data: data.replace(b"btplug-trust: 1", b"btplug-trust: 9"),
    "half a character": lambda data: data + b"\xc3",
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_damaged_store_refuses_and_forgets_nothing(
    spoiler, btplug, make_plugin, home
):
    make_plugin("it", where=home / "cli_plugins")
    accept(btplug, "it")
    path = home / "trust" / "accepted"
    whole = path.read_bytes()
    path.write_bytes(SPOILERS[spoiler](whole))
    spoiled = path.read_bytes()

    for words in ("run it", "trust --list", "untrust it", "trust it"):
        done = btplug(*words.split())
        assert done.returncode == 6, words
        assert "the trust store is damaged (" in done.stderr
        assert f"where: {path}\n" in done.stderr
        assert "put back a copy of it, or remove it and trust your plugins again" in done.stderr  # fmt: skip
    digest = row_of(btplug, "it")
    assert (digest["state"], digest["trust"]) == ("untrusted", "untrusted")
    assert "the trust store is damaged" in digest["error"]
    assert btplug("doctor").returncode == 4
    assert btplug("run", "table-display", "--help").returncode == 0
    assert path.read_bytes() == spoiled

    path.write_bytes(whole)
    assert btplug("run", "it").returncode == 0


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_store_that_is_no_file_refuses_at_once(
    kind, btplug, make_plugin, home, tmp_path
):
    make_plugin("it", where=home / "cli_plugins")
    accept(btplug, "it")
    path = home / "trust" / "accepted"
    path.rename(tmp_path / "accepted")
    {"pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to(tmp_path / "accepted"), "folder": path.mkdir}[kind]()  # fmt: skip

    done = btplug("run", "it", timeout=20)

    assert done.returncode == 6
    assert f"found a {kind}, expected a regular file" in done.stderr


@pytest.mark.parametrize("name", ["trust", "trust/accepted"])
def test_a_store_that_others_may_write_refuses(name, btplug, make_plugin, home):
    make_plugin("it", where=home / "cli_plugins")
    accept(btplug, "it")
    (home / name).chmod(0o777)

    done = btplug("run", "it")

    assert done.returncode == 6
    assert f"chmod go-w {home / name}\n" in done.stderr


WRITER = """
import sys
from btplug._folders import folders
from btplug.trust import Accepted, TrustStore
first, count = int(sys.argv[1]), int(sys.argv[2])
for n in range(first, first + count):
    store = TrustStore(folders())
    store.accept(Accepted(f"/plugin-{n}", "it", "cli", "1", "h1:" + "0" * 64), files={})
    print(n, flush=True)
"""


def write(first, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(first), str(count)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_writers_side_by_side_lose_nothing(home):
    writers = [write(first, 10) for first in range(0, 60, 10)]

    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0

    found = TrustStore(folders()).all()
    assert set(found) == {f"/plugin-{n}" for n in range(60)}


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_store(home):
    chance = random.Random(7)
    confirmed = set()
    for round_ in range(12):
        writers = [write(round_ * 1000 + n * 300, 300) for n in (0, 1)]
        # Killed after a number of writes that differs, whenever that may be.
        for writer in writers:
            for _ in range(chance.randrange(1, 8)):
                confirmed.add(int(writer.stdout.readline()))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            rest, _ = writer.communicate()
            confirmed |= {int(line) for line in rest.split()}
        found = TrustStore(folders()).all()
        assert {f"/plugin-{n}" for n in confirmed} <= set(found)

    # What the killed ones left is swept away by later writers, once it is old.
    strays = [p for p in (home / "trust").iterdir() if p.name.startswith(".tmp-")]
    for stray in strays:
        os.utime(stray, (1, 1))
    TrustStore(folders()).accept(accepted("/last"), files={})
    assert not [p for p in (home / "trust").iterdir() if p.name.startswith(".tmp-")]


def test_a_writer_that_waits_in_vain_says_so(home, monkeypatch):
    import fcntl

    from btplug import trust

    monkeypatch.setattr(trust, "_PATIENCE", 0.05)
    TrustStore(folders()).accept(accepted("/a"), files={})
    with open(home / "trust" / "lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        with pytest.raises(BtplugError) as caught:
            TrustStore(folders()).accept(accepted("/b"), files={})

    assert (
        caught.value.what
        == "another process has been writing the trust store for 0.05 seconds"
    )
    assert set(TrustStore(folders()).all()) == {"/a"}


def test_a_full_disk_keeps_what_was_there(btplug, make_plugin, home):
    make_plugin("it", where=home / "cli_plugins")
    accept(btplug, "it")
    before = (home / "trust" / "accepted").read_bytes()
    make_plugin("other", where=home / "cli_plugins")
    shown = btplug("trust", "other").stderr.rpartition("--digest ")[2].strip()

    # A limit on the size of files stands for the disk.
    line = f"ulimit -f 0; {btplug.script} trust other --digest {shown}"
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False
    )

    assert done.returncode not in (0, 70)
    assert (home / "trust" / "accepted").read_bytes() == before


def test_the_clock_does_not_matter(btplug, make_plugin, home):
    folder = make_plugin("it", where=home / "cli_plugins")
    accept(btplug, "it")
    for moment in (1, time.time() + 10 * 365 * 86400):
        for path in [folder, *folder.iterdir(), home / "trust" / "accepted"]:
            os.utime(path, (moment, moment))
        assert btplug("run", "it").returncode == 0
        assert row_of(btplug, "it")["trust"] == "trusted"


def test_reading_a_damaged_store_twice_refuses_twice(home):
    TrustStore(folders()).accept(accepted("/a"), files={})
    path = home / "trust" / "accepted"
    path.write_bytes(path.read_bytes()[:-3])
    store = TrustStore(folders())

    for _ in range(2):
        with pytest.raises(TrustError, match="damaged"):
            store.find("/a")
