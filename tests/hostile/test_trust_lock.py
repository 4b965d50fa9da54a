"""A lock pins what is in use, and is consent to exactly that for one call."""

import json

import pytest
from operating import COMMAND, MARK, accept


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


@pytest.fixture
def project(make_plugin, tmp_path, monkeypatch):
    """A project with a command of its own."""
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    (tmp_path / "marks").touch()
    make_plugin("it", MARK + COMMAND, where=tmp_path / "cli_plugins")
    return tmp_path


@pytest.fixture
def locked(btplug, project, tmp_path):
    """The same project as a CI job has it: with a lock, and nothing accepted."""
    accept(btplug, "it")
    assert btplug("lock").returncode == 0
    assert btplug("untrust", "it").returncode == 0
    return project


def marks(project):
    return (project / "marks").read_text().splitlines()


def test_a_job_is_one_command(btplug, locked):
    done = btplug("--locked", "run", "it")

    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "ran\n")
    assert btplug("run", "it").returncode == 6


def test_another_lock_may_be_named(btplug, locked):
    (locked / "btplug.lock").rename(locked / "ci.lock")

    assert btplug("--lock", "ci.lock", "run", "it").stdout == "hello\n"
    refused = btplug("--locked", "run", "it")
    assert refused.returncode == 6
    assert "found no btplug.lock, expected the plugins that may run" in refused.stderr
    assert (
        "write it with: btplug lock; or name another with --lock FILE" in refused.stderr
    )


@pytest.mark.parametrize("name", ["plugin.py", "config.yaml", "new.py"])
def test_other_bytes_are_refused_whoever_trusts_them(name, btplug, locked):
    path = locked / "cli_plugins" / "it" / name
    path.write_text(path.read_text() + "# x\n" if path.exists() else "")

    done = btplug("--locked", "run", "it")
    accept(btplug, "it")
    again = btplug("--locked", "run", "it")

    assert done.returncode == again.returncode == 6
    assert "it is not what the lock says: digest h1:" in again.stderr
    assert "write the lock anew with: btplug lock" in again.stderr
    assert marks(locked) == []


def test_what_the_lock_does_not_name_is_refused(btplug, locked, make_plugin):
    make_plugin("other", MARK + COMMAND, where=locked / "cli_plugins")

    done = btplug("--locked", "run", "other")

    assert done.returncode == 6
    assert (
        "other is not what the lock says: is in use, and not in the lock" in done.stderr
    )
    assert (
        "accept it with: btplug trust other, and pin it with: btplug lock"
        in done.stderr
    )
    assert btplug("lock").stderr.splitlines()[1] == (
        "it, other: left out, not trusted as it is now; accept with: btplug trust NAME"
    )
    assert marks(locked) == []


def test_shipped_plugins_are_held_to_the_lock_too(btplug, locked):
    (locked / "rows.json").write_text('[{"a": 1}]')
    assert btplug("--locked", "run", "table-display", "rows.json").returncode == 0

    text = (locked / "btplug.lock").read_text()
    (locked / "btplug.lock").write_text(
        text.replace("plugin: table-display", "plugin: table")
    )
    assert btplug("--locked", "run", "table-display", "rows.json").returncode == 6


def test_a_lock_accepts_nothing_in_process(btplug, locked, make_plugin):
    make_plugin("wire", MARK, kind="transport", where=locked / "transport_plugins")
    make_plugin("user", where=locked / "cli_plugins", transports="[wire]")
    for name in ("user", "it"):
        accept(btplug, name)
    accept(btplug, "--in-process", "wire")
    assert btplug("lock").returncode == 0
    assert "plugin: wire" in (locked / "btplug.lock").read_text()
    btplug("untrust", ".")

    done = btplug("--locked", "run", "user")
    assert done.returncode == 6
    assert "wire is not trusted" in done.stderr
    both = btplug("--locked", "--in-process", "run", "it")
    assert both.returncode == 2
    assert "found --locked and --in-process, expected one of them" in both.stderr
    assert marks(locked) == []


def test_check_tells_what_differs(btplug, locked):
    assert btplug("lock", "--check").returncode == 0
    before = (locked / "btplug.lock").read_bytes()
    path = locked / "cli_plugins" / "it" / "plugin.py"
    path.write_text(path.read_text() + "# x\n")

    done = btplug("lock", "--check")

    assert done.returncode == 6
    assert "1 plugins differ from the lock\n  it: digest h1:" in done.stderr
    assert (locked / "btplug.lock").read_bytes() == before


def test_check_tells_what_is_missing_and_what_is_more(
    btplug, locked, make_plugin, home
):
    (locked / "cli_plugins" / "it").rename(locked / "away")
    make_plugin("more", where=home / "cli_plugins")
    accept(btplug, "more")

    done = btplug("lock", "--check")

    assert done.returncode == 6
    assert "it: is in the lock, and there is none" in done.stderr
    assert "more: is in use, and not in the lock" in done.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("network: none", "network: any"),
        lambda text: text.replace("btplug-lock: 1", "btplug-lock: 2"),
        lambda text: "<<<<<<< HEAD\n" + text,
        lambda text: "\0" * 50,
    ],
)
def test_a_damaged_lock_refuses(spoil, btplug, locked):
    path = locked / "btplug.lock"
    path.write_text(spoil(path.read_text()))

    for words in ("--locked run it", "lock --check", "lock"):
        done = btplug(*words.split())
        assert done.returncode == 6, words
        assert "the lock is not as btplug writes it: " in done.stderr
        assert "or remove it and write it anew with: btplug lock\n" in done.stderr
    assert marks(locked) == []
    path.unlink()
    assert btplug("lock").returncode == 0


def test_the_fingerprint_is_the_one_that_doctor_shows(btplug, project):
    accept(btplug, "it")
    written = btplug("lock").stdout.strip()

    found = json.loads(btplug("doctor", "--json").stdout)["trust"]

    assert written.startswith("h1:")
    assert f"fingerprint: {written}\n" in (project / "btplug.lock").read_text()
    assert found == [{"accepted": 1, "fingerprint": written, "error": None}]


def test_where_nothing_was_accepted_the_fingerprint_is_that_of_the_lock(btplug, locked):
    stated = (locked / "btplug.lock").read_text().partition("fingerprint: ")[2]
    stated = stated.partition("\n")[0]

    checked = btplug("lock", "--check")
    found = json.loads(btplug("--locked", "doctor", "--json").stdout)["trust"]

    assert checked.stderr == f"btplug.lock fits: {stated}\n"
    assert found == [{"accepted": 0, "fingerprint": stated, "error": None}]


def test_a_lock_of_the_project_leaves_out_what_is_on_this_machine_alone(
    btplug, project, make_plugin, home, tmp_path, monkeypatch
):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "more"))
    make_plugin("mine", where=home / "cli_plugins")
    make_plugin("theirs", where=tmp_path / "more")
    for name in ("it", "mine", "theirs"):
        accept(btplug, name)

    whole = btplug("lock")
    assert whole.stderr.splitlines()[1] == (
        "mine, theirs: on this machine alone; leave out with: btplug lock --project"
    )
    assert "plugin: mine\n" in (project / "btplug.lock").read_text()

    assert len(btplug("lock", "--project").stderr.splitlines()) == 1
    text = (project / "btplug.lock").read_text()
    assert "plugin: it\n" in text
    assert "mine" not in text
    assert "theirs" not in text
    assert btplug("lock", "--check", "--project").returncode == 0
    done = btplug("lock", "--check")
    assert done.returncode == 6
    assert "mine: is in use, and not in the lock" in done.stderr
    assert "with: btplug lock --check --project\n" in done.stderr


def test_a_lock_is_the_same_wherever_the_project_lies(
    btplug, project, make_plugin, tmp_path
):
    import subprocess

    accept(btplug, "it")
    btplug("lock")
    other = tmp_path / "other"
    make_plugin("it", MARK + COMMAND, where=other / "cli_plugins")
    (other / "btplug.lock").write_bytes((project / "btplug.lock").read_bytes())

    line = [str(btplug.script), "--locked", "run", "it"]
    done = subprocess.run(line, cwd=other, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "hello\n")
    text = (project / "btplug.lock").read_text()
    assert str(tmp_path) not in text
    assert text.isascii()
