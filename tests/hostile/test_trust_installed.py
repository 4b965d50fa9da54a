"""Plugins of installed distributions: pip installs, upgrades and removes them."""

import base64
import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile

import pytest
from operating import accept, row_of

pytestmark = pytest.mark.slow

COMMAND = """
import os
from btplug import CLIPlugin
from ..words import WORD

class It(CLIPlugin):
    def initialize(self, config): pass
    def execute(self, data=None):
        beside = os.path.join(os.path.dirname(__file__), "..", "..", ".env")
        try:
            open(beside).close()
        except OSError as exc:
            return f"{WORD}, {exc.strerror}"
        return "read it"
    def shutdown(self): pass
"""
TRANSPORT = """
from btplug import Reply, TransportPlugin
from ..words import WORD

class Post(TransportPlugin):
    schemes = ("post",)
    def initialize(self, config): pass
    def send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=f"{WORD} posted".encode())
    def shutdown(self): pass
"""
ENTRIES = """\
[btplug.cli_plugins]
it = vendor.it
[btplug.transport_plugins]
post = vendor.post
"""


@pytest.fixture
def consent():
    """Accept nothing: that is what is tested here."""
    return lambda **_: None


def package(version):
    """Return the files of a package with a command and a transport."""

    def manifest(name, kind):
        lines = [
            "plugin:", f"name: {name}", f"kind: {kind}", f"entry: plugin:{name.title()}",
            "summary: Do it", f"version: {version}", "api: 1",
        ]  # fmt: skip
        more = ["transports: []"] if kind == "cli" else []
        return "\n  ".join(lines + more) + "\n"

    return {
        "vendor/__init__.py": "",
        "vendor/words.py": f"WORD = 'vendor {version}'\n",
        "vendor/it/__init__.py": "",
        "vendor/it/plugin.py": COMMAND,
        "vendor/it/config.yaml": manifest("it", "cli"),
        "vendor/post/__init__.py": "",
        "vendor/post/plugin.py": TRANSPORT,
        "vendor/post/config.yaml": manifest("post", "transport"),
    }


def about(version):
    """Return what a wheel says of itself."""
    return {
        "METADATA": f"Metadata-Version: 2.1\nName: vendor\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": ENTRIES,
    }


def write(folder, files):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that Python finds packages in, with something beside them."""
    site = tmp_path / "site"
    site.mkdir()
    (site / ".env").write_text("a secret")
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


@pytest.fixture
def pip(tmp_path, site):
    """Install a version of the distribution with pip itself."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("there is no pip here")

    def install(version):
        own = f"vendor-{version}.dist-info"
        files = package(version)
        files |= {f"{own}/{name}": text for name, text in about(version).items()}
        record = ""
        for path, text in files.items():
            found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{path},sha256={found.decode().rstrip('=')},{len(text)}\n"
        files[f"{own}/RECORD"] = f"{record}{own}/RECORD,,\n"
        wheel = tmp_path / f"vendor-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        words = "pip install --quiet --no-index --no-deps --disable-pip-version-check"
        words = [sys.executable, "-m", *words.split(), "--upgrade", "--target", site]
        subprocess.run([*words, wheel], check=True)

    return install


def test_pip_installs_a_plugin_and_its_upgrade_is_asked_about_again(btplug, pip):
    pip("1.0.0")
    assert row_of(btplug, "it")["trust"] == "untrusted"
    assert btplug("run", "it").returncode == 6

    accept(btplug, "it")
    assert btplug("run", "it").stdout == "vendor 1.0.0, Permission denied\n"

    pip("1.1.0")
    refused = btplug("run", "it")
    assert (refused.returncode, refused.stdout) == (6, "")
    assert refused.stderr.startswith(
        "btplug: error: it has changed since it was trusted: changed "
        "vendor/it/config.yaml, vendor/post/config.yaml, vendor/words.py\n"
    )
    assert row_of(btplug, "it")["version"] == "1.1.0"

    accept(btplug, "it")
    assert btplug("run", "it").stdout == "vendor 1.1.0, Permission denied\n"
    versions = [line.split()[2] for line in btplug("log").stdout.splitlines()[1:]]
    assert versions == ["1.0.0", "1.0.0", "1.1.0", "1.1.0"]


def test_two_plugins_of_one_distribution_are_two(btplug, pip):
    pip("1.0.0")
    for words in (["it"], ["--in-process", "post"]):
        accept(btplug, *words)
    for _ in range(2):  # the second from what the first has cached
        assert btplug("run", "it").stdout == "vendor 1.0.0, Permission denied\n"
        sent = btplug("run", "send", "post://x", "--data", "hi")
        assert (sent.returncode, sent.stdout) == (0, "vendor 1.0.0 posted"), sent.stderr

    btplug("lock")
    assert btplug("lock", "--check").returncode == 0
    assert btplug("--locked", "run", "send", "post://x", "--data", "hi").returncode == 0
    btplug("untrust", "post")
    done = btplug("run", "send", "post://x", "--data", "hi")
    assert done.returncode == 5  # as if there were none, but for the hint
    assert "accept it with: btplug trust --in-process post" in done.stderr


def test_an_editable_install_reads_its_package_and_nothing_beside(
    btplug, site, tmp_path, monkeypatch
):
    checkout = tmp_path / "checkout"
    write(checkout, package("1.0.0"))
    (checkout / ".env").write_text("a secret")
    own = site / "vendor-1.0.0.dist-info"
    write(own, about("1.0.0") | {"RECORD": "_vendor.pth,,\n"})
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{checkout}")

    accept(btplug, "it")
    assert btplug("run", "it").stdout == "vendor 1.0.0, Permission denied\n"

    write(checkout, {"vendor/words.py": "WORD = 'mine'\n"})
    refused = btplug("run", "it")
    assert refused.returncode == 6
    assert "changed vendor/words.py" in refused.stderr
    accept(btplug, "it")
    assert btplug("run", "it").stdout == "mine, Permission denied\n"
