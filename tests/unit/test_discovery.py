"""Places -> manifests and errors, as data."""

import os
import shutil

import pytest

from btplug._discovery import (
    Finder,
    Place,
    clash,
    places,
    read_spot,
    scan_directory,
    shipped,
)
from btplug._folders import folders
from btplug._installed import Spot
from btplug.errors import ManifestError, PluginError
from btplug.manifest import Manifest


def names(spots):
    return [spot.name for spot in spots]


def user_spots(finder):
    place = next(p for p in finder.places if p.source == "user")
    return finder.spots(place)


# -- places


def test_plugins_come_from_these_places_in_this_order(home, monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", f"{tmp_path}/x{os.pathsep}{tmp_path}/y")

    found = places(folders(), (f"{tmp_path}/one", f"{tmp_path}/two"))

    assert found == [
        shipped(),
        Place("plugin-dir", f"{tmp_path}/one", mixed=True),
        Place("plugin-dir", f"{tmp_path}/two", mixed=True),
        Place("installed", ""),
        Place("user", str(home)),
        Place("path", f"{tmp_path}/x", mixed=True),
        Place("path", f"{tmp_path}/y", mixed=True),
    ]


def test_the_working_directory_is_the_last_place(make_plugin, monkeypatch, tmp_path):
    make_plugin("greet", where=tmp_path / "work" / "cli_plugins")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", "x")

    assert Finder(folders()).find("greet").source == "project"
    assert places(folders())[-1] == Place("project", str(tmp_path / "work"))


def test_a_working_directory_without_plugins_is_no_place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert "project" not in {place.source for place in places(folders())}


def test_the_folder_above_the_working_directory_is_no_place(
    make_plugin, monkeypatch, tmp_path
):
    make_plugin("greet", where=tmp_path / "cli_plugins")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")

    assert Finder(folders()).find("greet") is None


def test_relative_places_are_below_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", "x")

    roots = [place.root for place in places(folders(), ("y",))]

    assert f"{tmp_path}/x" in roots
    assert f"{tmp_path}/y" in roots


def test_empty_entries_of_the_path_are_no_places(monkeypatch):
    before = places(folders())
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", os.pathsep * 3)

    assert places(folders()) == before


def test_two_places_with_one_real_path_are_one_place(home, monkeypatch, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    home.mkdir()
    (tmp_path / "home-link").symlink_to(home)
    paths = ["real", "link", "real/", "real/../real", "home-link"]
    monkeypatch.setenv(
        "BTPLUG_PLUGIN_PATH", os.pathsep.join(f"{tmp_path}/{path}" for path in paths)
    )

    found = [(p.source, p.root) for p in places(folders()) if p.root]

    assert found == [
        ("shipped", shipped().root),
        ("user", str(home)),
        ("path", f"{tmp_path}/real"),
    ]


def test_the_shipped_plugins_lie_beside_the_package_in_a_checkout():
    assert shipped().source == "shipped"
    assert os.path.isfile(
        os.path.join(shipped().root, "cli_plugins", "table_display", "config.yaml")
    )
    assert Finder(folders()).find("table-display").source == "shipped"


def test_a_working_directory_that_is_gone_is_no_reason_to_fail(monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", f"relative{os.pathsep}{tmp_path}/x")

    assert f"{tmp_path}/x" in [p.root for p in places(folders(), ("also-relative",))]
    assert Finder(folders()).find("greet") is None


# -- one plugin, found by its folder


@pytest.mark.parametrize("folder", ["table-view", "table_view"])
def test_a_plugin_is_found_by_its_folder(make_plugin, home, folder):
    made = make_plugin("table-view", where=home / "cli_plugins")
    root = made.rename(made.parent / folder)

    found = Finder(folders()).find("table-view")

    assert found == Spot("table-view", "cli", str(root), "user")


def test_a_plugin_is_found_without_reading_the_others(make_plugin, home):
    make_plugin("greet", where=home / "cli_plugins")
    for n in range(20):
        bad = home / "cli_plugins" / f"bad{n}"
        bad.mkdir()
        os.mkfifo(bad / "config.yaml")  # reading one would be refused or wait

    assert Finder(folders()).find("greet").name == "greet"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc", "a/b", "A", "a_b", "a" * 41, "-a", "a\0", "é"],
)
def test_what_is_no_name_is_not_looked_for(home, name):
    (home / "cli_plugins" / "a_b").mkdir(parents=True)
    (home / "cli_plugins" / "a_b" / "config.yaml").touch()

    assert Finder(folders()).find(name) is None


def test_the_earlier_place_wins(make_plugin, home, monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    make_plugin("greet", where=tmp_path / "path")
    assert Finder(folders()).find("greet").source == "path"

    make_plugin("greet", where=home / "cli_plugins")
    assert Finder(folders()).find("greet").source == "user"

    make_plugin("greet", where=tmp_path / "given")
    finder = Finder(folders(), (str(tmp_path / "given"),))
    assert finder.find("greet").source == "plugin-dir"


def test_a_name_is_taken_whatever_the_kind(make_plugin, home, monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    make_plugin("greet", where=tmp_path / "path")
    make_plugin("greet", kind="transport", where=home / "transport_plugins")

    found = Finder(folders()).find("greet")

    assert (found.source, found.kind) == ("user", "transport")


def test_a_shipped_plugin_cannot_be_replaced(make_plugin, home):
    make_plugin("table-display", where=home / "cli_plugins")

    assert Finder(folders()).find("table-display").source == "shipped"


def test_two_of_a_name_in_one_place_clash(make_plugin, home):
    one = make_plugin("table-view", where=home / "cli_plugins")
    two = one.with_name("table-view")
    shutil.copytree(one, two)

    with pytest.raises(ManifestError) as caught:
        Finder(folders()).find("table-view")

    assert str(caught.value) == (
        "two plugins are named 'table-view' in the same place\n"
        f"  where: {two} and {one}\n"
        "  fix:   remove or rename one of them"
    )
    assert caught.value.plugin == "table-view"


def test_a_command_and_a_transport_of_a_name_in_one_place_clash(make_plugin, home):
    make_plugin("greet", where=home / "cli_plugins")
    make_plugin("greet", kind="transport", where=home / "transport_plugins")

    with pytest.raises(ManifestError, match="two plugins are named 'greet'"):
        Finder(folders()).find("greet")


def test_a_folder_that_is_a_link_is_a_plugin_like_any_other(
    make_plugin, home, tmp_path
):
    made = make_plugin("greet", where=tmp_path / "elsewhere")
    (home / "cli_plugins").mkdir(parents=True)
    (home / "cli_plugins" / "greet").symlink_to(made)

    found = Finder(folders()).find("greet")

    assert found.root == str(home / "cli_plugins" / "greet")
    assert read_spot(found).name == "greet"


def test_links_that_lead_nowhere_or_in_a_circle_are_no_plugins(home):
    shelf = home / "cli_plugins"
    shelf.mkdir(parents=True)
    (shelf / "nowhere").symlink_to("gone")
    (shelf / "circle").symlink_to("circle")
    (shelf / "root").symlink_to("/")
    finder = Finder(folders())

    assert user_spots(finder) == []
    assert [finder.find(n) for n in ("nowhere", "circle", "root")] == [None] * 3


# -- everything in a place


def test_a_place_is_listed_by_name(make_plugin, home):
    for name in ("b", "a-b", "a"):
        make_plugin(name, where=home / "cli_plugins")
    make_plugin("wire", kind="transport", where=home / "transport_plugins")

    found = user_spots(Finder(folders()))

    assert names(found) == ["a", "a-b", "b", "wire"]
    assert [spot.kind for spot in found] == ["cli", "cli", "cli", "transport"]


def test_what_has_to_do_with_no_plugin_is_not_listed(make_plugin, home):
    make_plugin("greet", where=home / "cli_plugins")
    shelf = home / "cli_plugins"
    (shelf / "file.py").touch()
    (shelf / "empty").mkdir()
    (shelf / "data").mkdir()
    (shelf / "data" / "x.txt").touch()
    for hidden in (".git", "__pycache__", "_private", ".greet"):
        shutil.copytree(shelf / "greet", shelf / hidden)

    assert names(user_spots(Finder(folders()))) == ["greet"]


def test_code_without_a_config_is_a_plugin_whose_author_needs_a_hint(home):
    (home / "cli_plugins" / "greet").mkdir(parents=True)
    (home / "cli_plugins" / "greet" / "plugin.py").touch()

    (spot,) = user_spots(Finder(folders()))

    with pytest.raises(ManifestError) as caught:
        read_spot(spot)
    assert caught.value.what == (
        f"{spot.root}/config.yaml: found no such file, "
        "expected one beside the plugin's code"
    )
    assert "plugin:\n  name: greet\n" in caught.value.fix


def test_what_is_listed_as_broken_is_found_as_broken(home):
    """`run NAME` must say why it is broken, not that there is no such plugin."""
    (home / "cli_plugins" / "greet").mkdir(parents=True)
    (home / "cli_plugins" / "greet" / "plugin.py").touch()
    finder = Finder(folders())

    assert finder.find("greet") in user_spots(finder)


def test_a_mixed_place_holds_plugins_in_itself_and_on_its_shelves(
    make_plugin, tmp_path
):
    make_plugin("one", where=tmp_path / "mixed")
    make_plugin("two", kind="transport", where=tmp_path / "mixed")
    make_plugin("three", where=tmp_path / "mixed" / "cli_plugins")
    make_plugin(
        "four", kind="transport", where=tmp_path / "mixed" / "transport_plugins"
    )
    (tmp_path / "mixed" / "code").mkdir()
    (
        tmp_path / "mixed" / "code" / "plugin.py"
    ).touch()  # no plugin: anything may lie here
    finder = Finder(folders(), (str(tmp_path / "mixed"),))

    found = finder.spots(finder.places[1])

    assert sorted(names(found)) == ["four", "one", "three", "two"]
    assert {spot.name: spot.kind for spot in found} == {
        "one": "",
        "two": "",
        "three": "cli",
        "four": "transport",
    }
    assert [
        read_spot(finder.find(n)).kind for n in ("one", "two", "three", "four")
    ] == [
        "cli",
        "transport",
        "cli",
        "transport",
    ]


def test_a_place_that_is_not_there_is_empty(monkeypatch, tmp_path):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", f"{tmp_path}/gone")
    (tmp_path / "file").touch()
    finder = Finder(folders(), (str(tmp_path / "file"),))

    found = [
        finder.spots(place)
        for place in finder.places
        if place.source in ("path", "plugin-dir", "user")
    ]

    assert found == [[], [], []]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_place_that_may_not_be_read_is_empty(monkeypatch, tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    finder = Finder(folders(), (str(tmp_path / "locked"),))

    assert finder.spots(finder.places[1]) == []


def test_the_transports_of_all_places_are_known_by_name(
    make_plugin, home, monkeypatch, tmp_path
):
    monkeypatch.setenv("BTPLUG_PLUGIN_PATH", str(tmp_path / "path"))
    make_plugin("b", kind="transport", where=home / "transport_plugins")
    make_plugin("a", kind="transport", where=tmp_path / "path" / "transport_plugins")
    make_plugin("command", where=home / "cli_plugins")
    finder = Finder(folders())

    assert set(finder.transports(in_process=True)) >= {"a", "b"}
    assert "command" not in finder.transports(in_process=True)
    assert [n for n in finder.transports(in_process=True) if n in "ab"] == [
        "b",
        "a",
    ]  # by place


# -- a manifest, held against where it lies


@pytest.mark.parametrize(
    "folder", ["other", "greetme", "Greet-Me", "greet-me2", "greet__me"]
)
def test_a_folder_of_another_name_is_an_error_of_that_plugin(make_plugin, home, folder):
    made = make_plugin("greet-me", where=home / "cli_plugins")
    root = made.rename(made.parent / folder)
    (spot,) = user_spots(Finder(folders()))

    with pytest.raises(ManifestError) as caught:
        read_spot(spot)

    assert str(caught.value) == (
        f"{root}/config.yaml: plugin.name: found 'greet-me' in the folder {folder!r}, "
        "expected the folder to be called like the plugin\n"
        "  fix:   rename the folder to greet_me"
    )


def test_a_plugin_on_the_wrong_shelf_is_an_error_of_that_plugin(make_plugin, home):
    make_plugin("wire", kind="transport", where=home / "cli_plugins")
    (spot,) = user_spots(Finder(folders()))

    with pytest.raises(ManifestError) as caught:
        read_spot(spot)

    shelf = home / "cli_plugins"
    assert str(caught.value) == (
        f"{shelf}/wire/config.yaml: plugin.kind: found 'transport', "
        f"expected 'cli', because it lies in {shelf}\n"
        "  fix:   change 'kind:', or move the folder to transport_plugins"
    )


def test_a_good_plugin_knows_where_it_was_found(make_plugin, home):
    made = make_plugin("greet", where=home / "cli_plugins")

    manifest = read_spot(Finder(folders()).find("greet"))

    assert (manifest.root, manifest.source, manifest.package) == (str(made), "user", "")


# -- a directory, for a registry


def scan(directory, kind="cli"):
    """Return names of manifests and (plugin, error) of the broken ones."""
    good, bad = [], []
    for found in scan_directory(str(directory), kind):
        if isinstance(found, Manifest):
            good.append(found.name)
        else:
            assert isinstance(found, PluginError)
            bad.append(found.plugin)
    return good, bad


def test_a_directory_is_scanned_for_good_and_broken_ones_side_by_side(
    make_plugin, tmp_path
):
    shelf = tmp_path / "cli_plugins"
    make_plugin("good", where=shelf)
    make_plugin("empty", where=shelf)
    (shelf / "empty" / "config.yaml").write_text("")
    make_plugin("bomb", where=shelf)
    (shelf / "bomb" / "config.yaml").write_text("[" * 30_000)
    make_plugin("pipe", where=shelf)
    os.unlink(shelf / "pipe" / "config.yaml")
    os.mkfifo(shelf / "pipe" / "config.yaml")
    make_plugin("folder", where=shelf)
    os.unlink(shelf / "folder" / "config.yaml")
    os.mkdir(shelf / "folder" / "config.yaml")
    make_plugin("link", where=shelf)
    os.unlink(shelf / "link" / "config.yaml")
    os.symlink("/etc/passwd", shelf / "link" / "config.yaml")
    (shelf / "code").mkdir()
    (shelf / "code" / "plugin.py").touch()
    (shelf / "Bad Name").mkdir()
    (shelf / "Bad Name" / "config.yaml").touch()

    assert scan(shelf) == (
        ["good"],
        [None, "bomb", "code", "empty", "folder", "link", "pipe"],
    )


def test_a_name_of_bytes_that_are_no_text_is_one_error(make_plugin, tmp_path):
    make_plugin("good", where=tmp_path / "cli_plugins")
    odd = os.fsencode(tmp_path / "cli_plugins") + b"/\xff\xfe"
    os.mkdir(odd)
    open(odd + b"/config.yaml", "w").close()

    assert scan(tmp_path / "cli_plugins") == (["good"], [None])


def test_a_directory_above_the_shelves_is_scanned_too(make_plugin, tmp_path):
    make_plugin("one", where=tmp_path / "all" / "cli_plugins")
    make_plugin("two", where=tmp_path / "all")
    make_plugin("wire", kind="transport", where=tmp_path / "all" / "transport_plugins")

    assert sorted(scan(tmp_path / "all")[0]) == ["one", "two"]
    assert sorted(scan(tmp_path / "all", "transport")[0]) == ["two", "wire"]


def test_two_of_a_name_in_one_directory_are_both_broken(make_plugin, tmp_path):
    one = make_plugin("table-view", where=tmp_path / "cli_plugins")
    shutil.copytree(one, one.with_name("table-view"))
    make_plugin("good", where=tmp_path / "cli_plugins")

    assert scan(tmp_path / "cli_plugins") == (["good"], ["table-view"])


def test_a_plugin_of_the_other_kind_on_the_wrong_shelf_is_an_error(
    make_plugin, tmp_path
):
    make_plugin("wire", kind="transport", where=tmp_path / "cli_plugins")

    assert scan(tmp_path / "cli_plugins") == ([], ["wire"])


@pytest.mark.parametrize("name", ["gone", "file"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").touch()

    with pytest.raises(PluginError) as caught:
        scan(tmp_path / name)

    assert caught.value.what == (
        f"found no folder '{tmp_path}/{name}', expected one that holds plugin folders"
    )


def test_a_directory_may_be_given_with_a_slash_and_dots(make_plugin, tmp_path):
    make_plugin("greet", where=tmp_path / "cli_plugins")

    assert scan(f"{tmp_path}/x/../cli_plugins/") == (["greet"], [])


def test_the_manifests_of_a_directory_say_so(make_plugin, tmp_path):
    make_plugin("greet")

    (found,) = scan_directory(str(tmp_path / "plugins"), "cli")

    assert found.source == "directory"


def test_the_error_of_twins_names_all_of_them():
    spots = [Spot("a", "cli", f"/p/{n}", "user") for n in range(3)]

    assert clash("a", spots).where == "/p/0 and /p/1 and /p/2"
