"""Plugins of installed distributions, in real site-packages folders."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from btplug import CLIPluginRegistry
from btplug._discovery import read_spot
from btplug._folders import folders
from btplug._installed import Spot, installed_spots
from btplug.errors import ManifestError

MINE = "raise AssertionError('a parent package was imported')\n"
MANIFEST = """\
plugin:
  name: {name}
  kind: {kind}
  entry: plugin:Plugin
  summary: Do {name}
  version: '1.0.0'
  api: 1
"""
CODE = """
from btplug import CLIPlugin

class Plugin(CLIPlugin):
    def initialize(self, config): pass
    def execute(self, data=None): return "installed"
    def shutdown(self): pass
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Make site-packages folders, on sys.path of this process and of its children."""
    made = []

    def site(name="site"):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        if str(root) not in made:
            made.append(str(root))
            monkeypatch.syspath_prepend(str(root))
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join(made))
        return root

    return site


def distribution(
    root, name, points, *, package=None, files=True, parent=MINE, version="1.0"
):
    """Write a distribution as pip leaves it behind; *points*: group to lines."""
    package = package or name.replace("-", "_")
    info = root / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    sections = [f"[{group}]\n" + "\n".join(lines) for group, lines in points.items()]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
    if files:
        folder = root / package
        (folder / "plugins" / "greet").mkdir(parents=True)
        (folder / "__init__.py").write_text(parent)
        (folder / "plugins" / "__init__.py").write_text(parent)
        (folder / "plugins" / "greet" / "config.yaml").write_text(
            MANIFEST.format(name="greet", kind="cli")
        )
        (folder / "plugins" / "greet" / "__init__.py").write_text("")
        (folder / "plugins" / "greet" / "plugin.py").write_text(CODE)
        listed = [
            str(p.relative_to(root)) for p in sorted(root.rglob("*")) if p.is_file()
        ]
        (info / "RECORD").write_text("".join(f"{p},,\n" for p in listed))
    return info


POINT = {"btplug.cli_plugins": ["greet = acme.plugins.greet"]}


def found():
    return [spot for spot in installed_spots(folders()) if spot.name == "greet"]


def test_a_plugin_of_a_distribution_is_found_by_its_entry_point(site):
    root = site()
    distribution(root, "acme", POINT)

    assert found() == [
        Spot(
            "greet",
            "cli",
            str(root / "acme" / "plugins" / "greet"),
            "installed",
            "acme.plugins.greet",
        )
    ]


def test_finding_imports_no_parent_package(site):
    distribution(site(), "acme", POINT)

    found()

    assert not [name for name in sys.modules if name.split(".")[0] == "acme"]


def test_importing_the_parent_package_runs_the_landmine(site):
    """The trap is armed: without this the test above could pass for nothing."""
    distribution(site(), "acme", POINT)

    with pytest.raises(AssertionError, match="a parent package was imported"):
        __import__("acme.plugins")


def test_an_editable_distribution_is_found_beside_its_top_package(site, tmp_path):
    """pip writes a .pth file and no list of the plugin's files."""
    source = tmp_path / "checkout"
    source.mkdir()
    distribution(source, "acme", POINT).rename(tmp_path / "info")
    root = site()
    distribution(root, "acme", POINT, files=False)
    (root / "RECORD").touch()
    (root / "acme.pth").write_text(f"{source}\n")
    code = """
    import site, sys
    site.addsitedir(sys.argv[1])
    from btplug._folders import folders
    from btplug._installed import installed_spots
    print([(s.root, s.package) for s in installed_spots(folders()) if s.name == "greet"])
    print([name for name in sys.modules if name.split(".")[0] == "acme"])
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), str(root)],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )

    assert done.stdout == (
        f"[('{source}/acme/plugins/greet', 'acme.plugins.greet')]\n[]\n"
    ), done.stderr


def test_a_plugin_that_is_the_top_package_itself_is_found(site):
    root = site()
    distribution(
        root, "solo", {"btplug.transport_plugins": ["wire = solo"]}, files=False
    )
    (root / "solo").mkdir()
    (root / "solo" / "__init__.py").write_text(MINE)
    (root / "solo" / "config.yaml").write_text(
        MANIFEST.format(name="wire", kind="transport")
    )

    spots = [s for s in installed_spots(folders()) if s.name == "wire"]

    assert spots == [Spot("wire", "transport", str(root / "solo"), "installed", "solo")]


def test_a_package_without_an_init_is_found(site):
    root = site()
    distribution(root, "acme", POINT)
    os.unlink(root / "acme" / "__init__.py")

    assert found()[0].root == str(root / "acme" / "plugins" / "greet")


def test_a_distribution_that_offers_none_is_no_matter(site):
    distribution(site(), "acme", {"console_scripts": ["acme = acme:main"]})

    assert found() == []


def test_a_package_that_is_gone_is_a_spot_where_nothing_is(site):
    """So that it is listed as broken, and not silently left out."""
    distribution(site(), "acme", POINT, files=False)

    (spot,) = found()

    assert not os.path.exists(os.path.join(spot.root or "/gone", "config.yaml"))


@pytest.mark.parametrize(
    "line",
    [
        "greet", "greet = ", "= acme", "greet = ..", "greet = .x", "greet = a..b",
        "greet = acme:Plugin", "greet = acme.plugins.greet [extra]", "greet = a/../b",
        "greet = ../../etc", "greet = /etc", "greet = é", "greet = \x00", "[", "a = b = c",
        "../x = acme", "greet = " + "a." * 5000 + "b",
    ],
)  # fmt: skip
def test_a_broken_entry_point_does_not_hide_the_others(site, line):
    root = site()
    distribution(root, "bad", {"btplug.cli_plugins": [line]}, files=False)
    distribution(
        root, "acme", {"btplug.cli_plugins": ["good = acme.plugins.greet"]}, parent=""
    )

    spots = installed_spots(folders())

    assert "good" in [spot.name for spot in spots]


@pytest.mark.parametrize("value", ["acme:Plugin", "acme.plugins.greet [extra]", "a-b"])
def test_an_entry_point_that_names_more_than_a_package_is_told_so(site, value):
    distribution(site(), "acme", {"btplug.cli_plugins": [f"greet = {value}"]})
    (spot,) = found()

    with pytest.raises(ManifestError) as caught:
        read_spot(spot)

    assert caught.value.what == (
        f"the entry point 'greet': found {value!r}, "
        "expected the sub-package that holds config.yaml"
    )
    assert caught.value.fix == "name the package alone, without a class"


def test_an_entry_point_of_another_name_is_an_error_of_that_plugin(site):
    distribution(site(), "acme", {"btplug.cli_plugins": ["other = acme.plugins.greet"]})
    (spot,) = [s for s in installed_spots(folders()) if s.name == "other"]

    with pytest.raises(ManifestError) as caught:
        read_spot(spot)

    assert caught.value.what == (
        f"{spot.root}/config.yaml: plugin.name: found 'greet', "
        "expected the name of the entry point, 'other'"
    )
    assert caught.value.fix == "make the two the same"


@pytest.mark.parametrize("name", ["entry_points.txt", "RECORD", "METADATA"])
@pytest.mark.parametrize("content", [b"\xff\xfe\xff", b"\0", b"[", b'"', b"a,b", b""])
def test_a_damaged_distribution_does_not_hide_the_others(site, name, content):
    root = site()
    info = distribution(
        root, "bad", {"btplug.cli_plugins": ["bad = bad.plugins.greet"]}
    )
    (info / name).write_bytes(content)
    distribution(
        root, "acme", {"btplug.cli_plugins": ["good = acme.plugins.greet"]}, parent=""
    )

    assert "good" in [spot.name for spot in installed_spots(folders())]


def test_one_folder_by_two_paths_offers_each_plugin_once(site, tmp_path, monkeypatch):
    """A virtual environment of Fedora has lib, and lib64 as a link to it."""
    root = site("lib")
    (tmp_path / "lib64").symlink_to("lib")
    monkeypatch.syspath_prepend(str(tmp_path / "lib64"))
    distribution(root, "acme", POINT)

    assert len(found()) == 1


def test_of_two_versions_on_the_path_the_first_counts(site):
    """As for an import: a user's own version stands before the system's."""
    distribution(site("system"), "acme", POINT, version="1.0")
    distribution(site("user"), "acme", POINT, version="2.0")

    (spot,) = found()

    assert "/user/" in spot.root


def test_two_distributions_that_offer_one_name_are_both_known(site):
    distribution(site(), "acme", POINT)
    distribution(
        site(), "other", {"btplug.cli_plugins": ["greet = other.plugins.greet"]}
    )

    assert {spot.package for spot in found()} == {
        "acme.plugins.greet",
        "other.plugins.greet",
    }


def test_what_lies_in_the_working_directory_is_not_installed(tmp_path, monkeypatch):
    """`python -m btplug` puts it first on sys.path."""
    distribution(tmp_path, "acme", POINT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert found() == []


def test_a_working_directory_that_is_gone_is_no_reason_to_fail(
    site, tmp_path, monkeypatch
):
    distribution(site(), "acme", POINT)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert len(found()) == 1


def test_a_path_that_is_no_text_is_no_reason_to_fail(site, tmp_path, monkeypatch):
    distribution(site(), "acme", POINT)
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/gone"), tmp_path, ""])

    assert len(found()) == 1


def test_an_installed_plugin_is_imported_as_what_it_is(site):
    """By its own name, because other code of its distribution may import it too."""
    distribution(site(), "acme", POINT, parent="")
    registry = CLIPluginRegistry()
    try:
        registry.register_plugin(read_spot(found()[0]))
        assert registry.execute_plugin("greet") == "installed"
        assert "acme.plugins.greet.plugin" in sys.modules
        registry.deregister_plugin("greet")
        assert "acme.plugins.greet.plugin" in sys.modules
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] == "acme"]:
            del sys.modules[name]


# -- the cache


def settle(root):
    os.utime(root, ns=(10**18, 10**18))


@pytest.fixture
def alone(site, monkeypatch):
    """A site-packages folder that is all of sys.path."""
    root = site()
    # What stands in the standard library's own folders changes under our feet.
    monkeypatch.setattr(sys, "path", [str(root)])
    return root


def test_the_answer_is_kept_until_a_folder_changes(alone, home):
    distribution(alone, "acme", POINT)
    settle(alone)
    assert len(found()) == 1
    assert [*(home / "cache").glob("installed-*")]

    # Not noticed, because the folder itself is as it was: the cache was asked.
    for file in (alone / "acme-1.0.dist-info").iterdir():
        file.unlink()
    assert len(found()) == 1

    (alone / "acme-1.0.dist-info").rmdir()
    assert found() == []


def test_a_new_distribution_is_noticed(alone):
    settle(alone)
    assert found() == []

    distribution(alone, "acme", POINT)

    assert len(found()) == 1


def test_another_path_is_noticed(alone, site):
    settle(alone)
    assert found() == []

    distribution(site("more"), "acme", POINT)

    assert len(found()) == 1


def test_a_folder_that_changed_just_now_is_not_kept(alone, home):
    distribution(alone, "acme", POINT)

    found()

    assert not [*(home / "cache").glob("installed-*")]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 1000])
def test_a_damaged_cache_is_made_again(alone, home, content):
    distribution(alone, "acme", POINT)
    settle(alone)
    found()
    (cached,) = (home / "cache").glob("installed-*")
    cached.write_bytes(content)

    assert len(found()) == 1


# -- in a real run


@pytest.mark.slow
def test_an_installed_plugin_is_listed_and_run_by_the_command(btplug, site):
    distribution(site(), "acme", POINT, parent="")

    listed = btplug("list", "--json").stdout
    done = btplug("run", "greet")

    assert '"name": "greet"' in listed
    assert '"source": "installed"' in listed
    assert done.stdout == "installed\n", done.stderr


@pytest.mark.slow
def test_an_installed_plugin_with_a_landmine_above_is_listed_all_the_same(btplug, site):
    distribution(site(), "acme", POINT)

    done = btplug("list")

    assert done.returncode == 0, done.stderr
    assert "Do greet" in done.stdout
    assert "parent package" not in done.stderr
    assert "a parent package was imported" in btplug("run", "greet").stderr
