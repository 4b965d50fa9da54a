"""The listing of all plugins, and its cache."""

import json
import marshal
import os
import shutil
import subprocess
import sys

import pytest

from btplug._discovery import Finder
from btplug._folders import _STAMP, folders, load_cached, store_cached
from btplug._index import Listing, Row, as_json

KEYS = [
    "name", "kind", "version", "summary", "source", "state", "trust", "path", "error",
]  # fmt: skip


@pytest.fixture
def shelf(home):
    return home / "cli_plugins"


@pytest.fixture
def make_plugin(make_plugin, consent):
    """Write plugins that the operator accepts."""

    def make(*words, **options):
        folder = make_plugin(*words, **options)
        consent()
        return folder

    return make


def listing(*plugin_dirs, in_process=False):
    return Listing(
        Finder(folders(), tuple(map(str, plugin_dirs))), in_process=in_process
    )


def rows(*plugin_dirs, in_process=False):
    """Return rows by name, without the shipped ones; several of a name in a list."""
    found = {}
    for row in listing(*plugin_dirs, in_process=in_process).rows():
        if row.source != "shipped":
            found.setdefault(row.name, []).append(row)
    return {name: r[0] if len(r) == 1 else r for name, r in found.items()}


def settle(*roots):
    """Make everything below look old: only what is settled goes into a cache."""
    for top in roots:
        for root, inner, files in os.walk(top):
            for name in (*inner, *files):
                os.utime(os.path.join(root, name), ns=(10**18, 10**18))
        os.utime(top, ns=(10**18, 10**18))


def states():
    return {name: row.state for name, row in rows().items()}


# -- rows


def test_a_good_plugin_is_ready(make_plugin, shelf):
    make_plugin("greet", where=shelf)

    assert rows()["greet"] == Row(
        "greet", "cli", "1.0.0", "Do greet", "user", "ready", "trusted",
        f"{shelf}/greet/config.yaml", None,
    )  # fmt: skip


def test_a_broken_plugin_is_one_row_with_its_reason(make_plugin, shelf):
    make_plugin("good", where=shelf)
    make_plugin("bad", where=shelf, api=2)

    assert rows()["good"].state == "ready"
    assert rows()["bad"] == Row(
        "bad", "cli", None, None, "user", "broken", "untrusted", f"{shelf}/bad/config.yaml",
        f"{shelf}/bad/config.yaml:7: plugin.api: found 2 (int), expected 1, "
        "the plugin API of this btplug; fix: install a version of the plugin, "
        "or of btplug, that fits",
    )  # fmt: skip


def test_no_row_has_more_than_one_line(shelf):
    (shelf / "bare").mkdir(parents=True)
    (shelf / "bare" / "plugin.py").touch()

    row = rows()["bare"]

    assert row.state == "broken"
    assert "\n" not in row.error
    assert "found no such file" in row.error


def test_a_later_plugin_of_a_name_is_shadowed(
    make_plugin, shelf, monkeypatch, tmp_path
):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    make_plugin("greet", where=shelf)
    make_plugin("greet", where=tmp_path / "path")
    make_plugin("table-display", where=shelf)

    found = rows()

    assert [row.state for row in found["greet"]] == ["ready", "shadowed"]
    assert [row.source for row in found["greet"]] == ["user", "path"]
    assert found["greet"][1].error == "an earlier place has this name"
    assert found["table-display"].state == "shadowed"


def test_a_broken_plugin_keeps_its_name(make_plugin, shelf, monkeypatch, tmp_path):
    """Else breaking a plugin would run another one under its name."""
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    make_plugin("greet", where=shelf, api=2)
    make_plugin("greet", where=tmp_path / "path")

    assert [row.state for row in rows()["greet"]] == ["broken", "shadowed"]


def test_two_of_a_name_in_one_place_are_both_broken(make_plugin, shelf):
    one = make_plugin("table-view", where=shelf)
    two = one.with_name("table-view")
    shutil.copytree(one, two)

    found = rows()["table-view"]

    assert [row.state for row in found] == ["broken", "broken"]
    (error,) = {row.error for row in found}
    assert error.startswith("two plugins are named 'table-view' in the same place; ")
    assert str(one) in error
    assert str(two) in error
    assert error.endswith("; fix: remove or rename one of them")


def test_a_disabled_plugin_says_how_to_enable_it(make_plugin, shelf, home):
    make_plugin("greet", where=shelf)
    (home / "disabled").mkdir()
    (home / "disabled" / "greet").touch()

    assert rows()["greet"].state == "disabled"
    assert rows()["greet"].error == "enable it with: btplug enable greet"


def test_a_transport_of_a_plugin_dir_waits_for_in_process(make_plugin, tmp_path):
    make_plugin("wire", kind="transport", where=tmp_path / "given")
    make_plugin("greet", where=tmp_path / "given")

    found = rows(tmp_path / "given")
    assert (found["wire"].state, found["greet"].state) == ("disabled", "ready")
    assert found["wire"].error == "starts only with --in-process"
    assert rows(tmp_path / "given", in_process=True)["wire"].state == "ready"


def test_a_folder_that_can_be_no_plugin_is_listed_in_ascii(shelf):
    for name in ("Bad Name", "x\x1b[31m", "é", "a\nb"):
        (shelf / name).mkdir(parents=True)
        (shelf / name / "config.yaml").touch()

    found = rows()

    assert set(found) == {"Bad Name", "x\\x1b[31m", "\\xe9", "a\\nb"}
    assert {row.state for row in found.values()} == {"broken"}


def test_rows_are_sorted_by_name(make_plugin, shelf):
    for name in ("b", "a", "a-b", "c"):
        make_plugin(name, where=shelf)

    found = [row.name for row in listing().rows()]

    assert found == sorted(found)


def test_rows_of_one_kind_are_those_that_are_not_the_other(make_plugin, shelf, home):
    make_plugin("greet", where=shelf)
    make_plugin("wire", kind="transport", where=home / "transport_plugins")

    assert "wire" not in [row.name for row in listing().rows("cli")]
    assert "greet" not in [row.name for row in listing().rows("transport")]
    assert "greet" in [row.name for row in listing().rows("cli")]


def test_a_plugin_of_unknown_kind_is_of_either(home, monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    (tmp_path / "path" / "odd").mkdir(parents=True)
    (tmp_path / "path" / "odd" / "config.yaml").touch()

    for kind in ("cli", "transport"):
        assert "odd" in [row.name for row in listing().rows(kind)]


def test_listing_runs_no_code(landmine):
    assert rows()["mine"].state == "ready"


# -- JSON


def test_json_is_an_array_of_objects_with_the_promised_keys(make_plugin, shelf):
    make_plugin("greet", where=shelf)
    make_plugin("bad", where=shelf, api=2)

    found = json.loads(listing().json())

    assert all(list(row) == KEYS for row in found)
    assert {row["name"] for row in found} >= {"greet", "bad"}


def test_json_of_nothing_is_an_empty_array():
    assert as_json([]) == "[]\n"


def test_json_of_a_kind_is_that_of_its_rows(make_plugin, shelf, home):
    make_plugin("greet", where=shelf)
    make_plugin("wire", kind="transport", where=home / "transport_plugins")
    settle(home)
    listing().rows()

    for kind in ("cli", "transport", None):
        expected = [row._asdict() for row in listing().rows(kind)]
        assert json.loads(listing().json(kind)) == expected


def test_json_keeps_text_readable_and_one_plugin_a_line():
    row = Row("a", "cli", "1", "表", "user", "ready", "trusted", "/é", None)

    assert as_json([row, row]).splitlines()[1] == (
        ' {"name": "a", "kind": "cli", "version": "1", "summary": "表", '
        '"source": "user", "state": "ready", "trust": "trusted", "path": "/é", "error": null}]'
    )


def test_json_of_a_path_that_is_no_text_can_be_printed(make_plugin, shelf):
    make_plugin("good", where=shelf)
    odd = os.fsencode(shelf) + b"/\xff\xfe"
    os.mkdir(odd)
    open(odd + b"/config.yaml", "w").close()

    text = listing().json()

    text.encode()
    assert "good" in {row["name"] for row in json.loads(text)}


@pytest.mark.slow
def test_a_path_that_is_no_text_does_not_break_the_command(btplug, make_plugin, shelf):
    make_plugin("good", where=shelf)
    odd = os.fsencode(shelf) + b"/\xff\xfe"
    os.mkdir(odd)
    open(odd + b"/config.yaml", "w").close()

    for words in (("list",), ("list", "--json"), ("run", "good")):
        done = btplug(*words)
        assert done.returncode == 0, done.stderr


# -- the cache


@pytest.fixture
def cached(make_plugin, shelf, home):
    """Two plugins that are in the cache."""
    make_plugin("greet", where=shelf)
    make_plugin("other", where=shelf)
    (shelf / "empty").mkdir()
    settle(home)
    assert listing().state() == "missing"
    rows()
    assert listing().state() == "fresh"
    return cache_of(home)


def cache_of(home):
    """Return the one file that keeps the listing."""
    (path,) = (home / "cache").glob("list-*")
    return path


def poison(path):
    """Change a summary inside the cache: whoever shows it has asked the cache."""
    key, text, plain, observed = load_cached(str(path), "list")
    plain = marshal.dumps(
        [(*row[:3], "from the cache", *row[4:]) for row in marshal.loads(plain)]
    )
    store_cached(str(path), "list", (key, text, plain, observed))


def from_cache():
    return all(row.summary == "from the cache" for row in listing().rows())


def test_a_listing_comes_from_the_cache_where_nothing_changed(cached):
    poison(cached)

    assert from_cache()
    assert listing().state() == "fresh"


def test_a_file_that_was_only_read_changes_nothing(cached, shelf):
    poison(cached)
    (shelf / "greet" / "config.yaml").read_text()
    (shelf / "greet" / "plugin.py").write_text("# changed\n")

    assert from_cache()


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


CHANGES = {
    "content of the same size": lambda home: edit(
        home / "cli_plugins" / "greet" / "config.yaml", "Do greet", "Do GREET"
    ),
    "a plugin removed": lambda home: shutil.rmtree(home / "cli_plugins" / "other"),
    "a config.yaml removed": lambda home: os.unlink(
        home / "cli_plugins" / "other" / "config.yaml"
    ),
    "a plugin copied": lambda home: shutil.copytree(
        home / "cli_plugins" / "greet", home / "cli_plugins" / "third"
    ),
    "a config.yaml in a folder that was there": lambda home: shutil.copy(
        home / "cli_plugins" / "greet" / "config.yaml",
        home / "cli_plugins" / "empty" / "config.yaml",
    ),
    "code in a folder that was there": lambda home: (
        home / "cli_plugins" / "empty" / "plugin.py"
    ).touch(),
    "a plugin disabled": lambda home: (
        (home / "disabled").mkdir(),
        (home / "disabled" / "greet").touch(),
    ),
    "a first transport": lambda home: shutil.copytree(
        home / "cli_plugins" / "greet", home / "transport_plugins" / "greet"
    ),
    "a folder renamed": lambda home: (home / "cli_plugins" / "greet").rename(
        home / "cli_plugins" / "greeting"
    ),
    "a file replaced by an old one": lambda home: (
        shutil.copy(
            home / "cli_plugins" / "other" / "config.yaml",
            home / "cli_plugins" / "greet" / "new",
        ),
        os.utime(home / "cli_plugins" / "greet" / "new", ns=(10**18, 10**18)),
        os.replace(
            home / "cli_plugins" / "greet" / "new",
            home / "cli_plugins" / "greet" / "config.yaml",
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(cached, home, change):
    before = rows()
    poison(cached)

    change(home)

    assert listing().state() == "stale"
    fresh = Listing(Finder(folders()))
    fresh._cached = None  # as if there were no cache at all
    assert [r._replace(summary="") for r in listing().rows()] == [
        r._replace(summary="") for r in fresh.rows()
    ]
    assert rows() != before


def test_a_plugin_enabled_again_is_noticed(cached, home):
    (home / "disabled").mkdir()
    (home / "disabled" / "greet").touch()
    settle(home / "cli_plugins")
    assert states()["greet"] == "disabled"
    (home / "disabled" / "greet").unlink()

    assert states()["greet"] == "ready"


def test_another_plugin_path_is_noticed(cached, make_plugin, monkeypatch, tmp_path):
    make_plugin("third", where=tmp_path / "path")
    assert "third" not in rows()

    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    assert "third" in rows()

    monkeypatch.delenv("BTPLUG_PLUGIN_PATH")
    assert "third" not in rows()


def test_in_process_is_noticed(cached):
    assert listing().state() == "fresh"
    assert listing(in_process=True).state() == "stale"


def test_what_one_call_was_told_to_look_at_is_not_kept(cached, make_plugin, tmp_path):
    before = cached.read_bytes()
    make_plugin("third", where=tmp_path / "given")
    settle(tmp_path / "given")

    assert "third" in rows(tmp_path / "given")

    assert cached.read_bytes() == before


def test_a_change_within_a_tick_of_the_clock_is_not_kept(make_plugin, shelf, home):
    """A second change in the same tick, of the same size, could not be told."""
    folder = make_plugin("greet", where=shelf)
    rows()
    assert not [*(home / "cache").glob("list-*")]

    edit(folder / "config.yaml", "Do greet", "Do GREET")

    assert rows()["greet"].summary == "Do GREET"


def test_only_what_changed_is_read_again(cached, shelf):
    poison(cached)
    edit(shelf / "greet" / "config.yaml", "Do greet", "Do GREET")

    found = rows()

    assert found["greet"].summary == "Do GREET"
    assert found["other"].summary == "from the cache"


def test_broken_plugins_are_kept_as_broken(make_plugin, shelf, home):
    make_plugin("bad", where=shelf, api=2)
    settle(home)
    first = rows()
    poison(cache_of(home))

    assert from_cache()
    assert rows()["bad"].error == first["bad"].error


def test_a_mended_plugin_is_ready(make_plugin, shelf, home, consent):
    folder = make_plugin("bad", where=shelf, api=2)
    settle(home)
    assert states()["bad"] == "broken"

    edit(folder / "config.yaml", "api: 2", "api: 1")

    assert states()["bad"] == "untrusted"
    consent()
    assert states()["bad"] == "ready"


def test_a_shadowed_plugin_comes_up_when_the_earlier_one_goes(
    make_plugin, shelf, home, monkeypatch, tmp_path
):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    make_plugin("greet", where=shelf)
    make_plugin("greet", where=tmp_path / "path")
    settle(home, tmp_path / "path")
    assert [row.state for row in rows()["greet"]] == ["ready", "shadowed"]

    shutil.rmtree(shelf / "greet")

    assert (rows()["greet"].state, rows()["greet"].source) == ("ready", "path")


GARBAGE = {
    "empty": b"",
    "a word": b"garbage",
    "zeros": b"\0" * 10_000,
    "only the stamp": _STAMP,
    "a wrong checksum": _STAMP + b"\0\0\0\0" + marshal.dumps(("list", ())),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_damaged_cache_is_made_again(cached, content):
    cached.write_bytes(content)

    assert listing().state() == "missing"
    assert states() == {"greet": "ready", "other": "ready"}
    assert listing().state() == "fresh"


def test_a_cut_cache_is_made_again(cached):
    whole = cached.read_bytes()
    for size in (1, len(_STAMP), len(whole) // 2, len(whole) - 1):
        cached.write_bytes(whole[:size])
        assert states() == {"greet": "ready", "other": "ready"}


def test_a_cache_of_another_version_is_made_again(cached):
    whole = cached.read_bytes()
    cached.write_bytes(whole.replace(b"btplug ", b"btplug 0.0.", 1))

    assert states() == {"greet": "ready", "other": "ready"}


@pytest.mark.parametrize("kind", ["installed", "settings", "manifest"])
def test_a_cache_of_something_else_is_made_again(cached, kind):
    store_cached(str(cached), kind, ((), [], {}))

    assert listing().state() == "missing"
    assert states() == {"greet": "ready", "other": "ready"}


def test_a_folder_in_place_of_the_cache_is_no_reason_to_fail(cached):
    cached.unlink()
    cached.mkdir()

    assert states() == {"greet": "ready", "other": "ready"}


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(make_plugin, shelf, home):
    make_plugin("greet", where=shelf)
    (home / "cache").write_text("no folder")
    settle(home)

    assert states() == {"greet": "ready"}
    assert listing().state() == "missing"


READ_ONLY = """
import os
from btplug._discovery import Finder
from btplug._folders import folders
from btplug._index import Listing

own = os.environ["BTPLUG_HOME"]
os.environ["BTPLUG_HOME"] = own + "/warm"
Listing(Finder(folders())).rows()  # imports all it needs, while it may
os.environ["BTPLUG_HOME"] = own
os.setgid(65534)
os.setuid(65534)
print([r.name for r in Listing(Finder(folders())).rows() if r.source == "user"])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_read_only_home_is_normal(make_plugin, tmp_path, mode):
    """As a user who may not write there; pytest's own folders are root's alone."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        make_plugin("greet", where=f"{folder}/cli_plugins")
        os.mkdir(f"{folder}/cache")
        os.chmod(f"{folder}/cache", mode)
        settle(folder)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY],
            env={**os.environ, "BTPLUG_HOME": folder, "HOME": folder},
            cwd="/",
            capture_output=True,
            text=True,
        )

    assert done.stdout == "['greet']\n", done.stderr


@pytest.mark.slow
def test_twenty_runs_at_once_list_the_same(btplug, make_plugin, shelf, home):
    for n in range(5):
        make_plugin(f"p{n}", where=shelf)
    settle(home)
    crowd = [
        subprocess.Popen(
            [str(btplug.script), "list", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(20)
    ]

    outputs = {process.communicate(timeout=60) for process in crowd}

    assert len(outputs) == 1
    ((text, errors),) = outputs
    assert errors == ""
    assert {f"p{n}" for n in range(5)} <= {row["name"] for row in json.loads(text)}
