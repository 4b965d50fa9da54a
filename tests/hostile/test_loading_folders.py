"""What may lie in a plugin's folder, and what it is called."""

import os
import socket
import subprocess
import sys
import time

import pytest
from operating import COMMAND, MARK, accept, row_of


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


@pytest.fixture
def marks(tmp_path, monkeypatch):
    path = tmp_path / "marks"
    path.touch()
    monkeypatch.setenv("MARKS", str(path))
    return lambda: path.read_text().splitlines()


@pytest.fixture
def it(make_plugin, home, marks):
    return make_plugin("it", MARK + COMMAND, where=home / "cli_plugins")


# -- P24: names


@pytest.mark.parametrize(
    "name", ["../x", "/abs", ".", "..", "a/b", "", "x" * 4096, "CON", "a\\b", "-x", "é"]
)
@pytest.mark.parametrize("key", ["name", "version"])
def test_a_name_that_is_a_path_is_refused(
    key, name, btplug, make_plugin, home, tmp_path
):
    folder = make_plugin("bad", where=home / "cli_plugins")
    text = (folder / "config.yaml").read_text()
    old = f"{key}: {'bad' if key == 'name' else repr('1.0.0')}\n"
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, f"{key}: '{name}'\n"))
    if key == "version" and name == "CON":
        pytest.skip("a version may well be called so: it is no path")
    before = {p for p in tmp_path.rglob("*") if home not in p.parents}

    done = btplug("--plugin-dir", home, "run", "bad")
    other = btplug("run", "bad")
    trusted = btplug("trust", str(folder))

    assert done.returncode == other.returncode == trusted.returncode == 4
    expected = "[a-z0-9][a-z0-9-]{0,39}" if key == "name" else "a version in quotes"
    assert f"expected {expected}" in done.stderr
    assert {p for p in tmp_path.rglob("*") if home not in p.parents} == before


@pytest.mark.parametrize("word", ["../x", "/abs", ".", "..", "a/b", "x" * 4096, "CON"])
@pytest.mark.parametrize("command", [("run",), ("trust",), ("untrust",), ("info",)])
def test_a_word_that_is_a_path_reaches_nothing(command, word, btplug, home):
    done = btplug(*command, word)

    assert done.returncode in (1, 2, 3)
    assert "Traceback" not in done.stderr
    assert not (home / "trust" / "accepted").exists()


# -- P26: the name of something else


def test_a_plugin_called_like_a_built_in_command_does_not_replace_it(btplug, make_plugin, home, marks):  # fmt: skip
    for name in ("trust", "log", "list"):
        make_plugin(name, MARK + COMMAND, where=home / "cli_plugins")

    assert btplug("trust", "--list", "--json").stdout == "[]\n"
    assert btplug("log", "--json").stdout == ""
    assert btplug("run", "trust").returncode == 6
    accept(btplug, "trust")
    assert btplug("run", "trust").stdout == "hello\n"
    assert marks() == []  # it runs confined, and can leave none


def test_an_earlier_place_wins_and_consent_does_not_move_along(btplug, make_plugin, it, tmp_path, marks):  # fmt: skip
    other = make_plugin("it", COMMAND, where=tmp_path / "cli_plugins")

    accept(btplug, str(other))

    assert btplug("run", "it").returncode == 6
    assert marks() == []
    twice = make_plugin("table-display", MARK + COMMAND, where=tmp_path / "cli_plugins")
    assert btplug("run", "table-display", "--help").returncode == 0
    assert row_of(btplug, "table-display")["source"] == "shipped"
    assert twice.exists()
    assert marks() == []


# -- P28: what is no regular file


def pipe(path):
    os.mkfifo(path)


def listening(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


KINDS = {
    "a pipe": pipe,
    "a socket": listening,
    "a link": lambda p: p.symlink_to(p),
    "a link ": lambda p: p.symlink_to("/"),
    "a link  ": lambda p: p.symlink_to("/etc/passwd"),
    "a link   ": lambda p: p.symlink_to("."),
}
if os.geteuid() == 0:
    KINDS["a device"] = lambda p: os.mknod(p, 0o020600, os.makedev(1, 5))


@pytest.mark.parametrize("where", ["x.py", "data", "sub/x.txt", "plugin.py"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_and_never_opened(kind, where, btplug, it, marks):
    accept(btplug, "it")
    path = it / where
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path)

    done = btplug("run", "it", timeout=20)

    assert done.returncode == 4
    assert (
        f"found {kind.strip()} in the plugin, expected regular files alone"
        in done.stderr
    )
    assert f"where: {path}\n" in done.stderr
    assert btplug("trust", "it", timeout=20).returncode == 4
    assert btplug("list", timeout=20).returncode == 0
    assert marks() == []


@pytest.mark.parametrize("name", ["__pycache__", ".git", ".hidden.py"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_ignored_is_no_reason_to_refuse(name, kind, btplug, it):
    accept(btplug, "it")

    KINDS[kind](it / name)

    assert btplug("run", "it", timeout=20).stdout == "hello\n"


def test_too_much_is_refused_before_it_is_read(btplug, it):
    with open(it / "big.bin", "wb") as file:
        file.truncate(10**12)
    begun = time.monotonic()

    done = btplug("trust", "it")

    assert done.returncode == 4
    assert "found more than 16,777,216 bytes in the plugin" in done.stderr
    assert time.monotonic() - begun < 15


def test_too_many_files_and_levels_are_refused(btplug, it):
    deep = it
    for _ in range(20):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert "levels deep in the plugin" in btplug("trust", "it").stderr
    (it / "d").rename(it / ".d")
    for number in range(1001):
        (it / f"{number}.txt").write_text("")
    assert "found more than 1,000 files in the plugin" in btplug("trust", "it").stderr


def test_a_name_with_a_line_end_cannot_stand_for_two_files(btplug, it):
    (it / "a\n0  b").write_text("")

    done = btplug("trust", "it")

    assert done.returncode == 4
    assert "found such a name in the plugin" in done.stderr
    assert "a\\n0  b" in done.stderr


# -- P30: compiled code


def compiled(source, target, **options):
    """Compile with the Python that runs btplug, as an attacker would."""
    import py_compile

    target.parent.mkdir(exist_ok=True)
    py_compile.compile(str(source), str(target), doraise=True, **options)


@pytest.mark.parametrize("name", ["plugin.pyc", "x.so", "x.PYD", "sub/x.pyc", "x.dylib", "x.dll", "x.pyo"])  # fmt: skip
def test_compiled_code_is_refused(name, btplug, it, marks):
    path = it / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")

    for words in (("trust", "it"), ("run", "it"), ("--plugin-dir", it.parent.parent, "run", "it")):  # fmt: skip
        done = btplug(*words)
        assert done.returncode == 4
        assert "found compiled code in the plugin, expected source: compiled code not allowed" in done.stderr  # fmt: skip
        assert f"where: {path}" in done.stderr
    assert marks() == []


@pytest.mark.parametrize("mode", ["TIMESTAMP", "CHECKED_HASH", "UNCHECKED_HASH"])
def test_a_poisoned_pycache_is_ignored(mode, btplug, it, tmp_path, marks):
    import py_compile

    accept(btplug, "it")
    tag = sys.implementation.cache_tag
    evil = tmp_path / "evil.py"
    evil.write_text(MARK.replace("ran", "evil") + COMMAND)
    compiled(
        evil, it / "__pycache__" / f"plugin.{tag}.pyc",
        invalidation_mode=py_compile.PycInvalidationMode[mode],
    )  # fmt: skip
    # Over clean source: times and sizes in its head fit.
    found = os.stat(it / "plugin.py")
    target = it / "__pycache__" / f"plugin.{tag}.pyc"
    data = bytearray(target.read_bytes())
    if mode == "TIMESTAMP":
        data[8:16] = int(found.st_mtime).to_bytes(4, "little") + found.st_size.to_bytes(4, "little")  # fmt: skip
    target.write_bytes(data)

    assert btplug("run", "it").stdout == "hello\n"
    assert marks() == []  # it runs confined, and can leave none


def test_the_poison_would_have_worked(it, tmp_path, marks):
    """The trap is armed: Python's own import runs it."""
    evil = tmp_path / "evil.py"
    evil.write_text(MARK.replace("ran", "evil"))
    (it / "victim.py").write_text("x = 1\n")
    import py_compile

    compiled(
        evil, it / "__pycache__" / f"victim.{sys.implementation.cache_tag}.pyc",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip
    subprocess.run([sys.executable, "-c", "import victim"], cwd=it, check=True)

    assert marks() == ["evil"]


def test_a_pth_file_and_a_package_of_a_known_name_do_nothing(btplug, it, marks):
    (it / "evil.pth").write_text(
        "import os; open(os.environ['MARKS'], 'a').write('evil\\n')\n"
    )
    (it / "json").mkdir()
    (it / "json" / "__init__.py").write_text(MARK.replace("ran", "evil"))
    (it / "__init__.py").write_text("")
    accept(btplug, "it")

    assert btplug("run", "it").stdout == "hello\n"
    assert marks() == []  # it runs confined, and can leave none


def test_nothing_is_written_into_the_folder(btplug, it):
    accept(btplug, "it")
    before = sorted(p.name for p in it.rglob("*"))

    btplug("run", "it")

    assert sorted(p.name for p in it.rglob("*")) == before
