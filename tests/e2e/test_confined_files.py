"""The files that a confined plugin is to write, and what it is told where it may not."""

import os
import stat
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="nothing confines a plugin here"
)
WRITE = "{write: [arguments]}"
OUT = """
@click.argument("words", nargs=-1)
@click.option("--out")
def execute(self, data=None, *, words, out):
    with open(out or words[0], "w") as file:
        file.write("written")
"""
IDLE = """
@click.argument("words", nargs=-1)
@click.option("--out")
@click.option("--fail", is_flag=True)
def execute(self, data=None, *, words, out, fail):
    if fail:
        raise ValueError("failed")
    return "left alone"
"""


@pytest.fixture
def there(command, tmp_path):
    """Write a command where nothing but the command line consents to it."""

    def write(execute, permissions=WRITE):
        command(
            "it", execute, where=tmp_path / "there", top="import click",
            permissions=permissions,
        )  # fmt: skip

    return write


@pytest.fixture
def run_it(btplug):
    return lambda *words, **env: btplug("--plugin-dir", "there", "run", "it", *words)


@pytest.mark.parametrize(
    "words", [["./out.csv"], ["--out", "./out.csv"], ["--out=./out.csv"], ["../{}/out.csv"]]
)  # fmt: skip
def test_a_new_file_that_is_named_with_its_folder_is_written(
    words, there, run_it, tmp_path
):
    there(OUT)

    done = run_it(*(word.format(tmp_path.name) for word in words))

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.csv").read_text() == "written"


def test_a_new_file_has_the_mode_of_any_other(there, run_it, tmp_path):
    there(OUT)
    before = os.umask(0o027)
    try:
        run_it("./out.csv")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o640


def test_a_file_that_is_there_is_written_whatever_it_is_called(there, run_it, tmp_path):
    there(OUT)
    (tmp_path / "out").write_text("before, and longer")

    assert run_it("out").returncode == 0
    assert (tmp_path / "out").read_text() == "written"


def test_a_file_that_was_opened_stays_though_it_is_empty(there, run_it, tmp_path):
    there(OUT.replace('"written"', '""'))

    assert run_it("./out.csv").returncode == 0
    assert (tmp_path / "out.csv").read_text() == ""


WORDS = ["./one.csv", "two.csv", "three", "--out=./four.csv", "http://a/b", "a/b/c"]


@pytest.mark.parametrize("more", [[], ["--fail"], ["--wrong-option"]])
@pytest.mark.parametrize("where", ["there", "disabled"])
def test_no_word_leaves_a_file_that_nobody_opened(
    more, where, there, run_it, btplug, tmp_path
):
    there(IDLE)
    if where == "disabled":
        btplug("--plugin-dir", "there", "disable", "it")
    before = {*os.listdir(tmp_path)}

    done = run_it(*WORDS, *more)

    assert {*os.listdir(tmp_path)} == before
    assert done.returncode == (4 if where == "disabled" else 2 if "--wrong-option" in more else len(more))  # fmt: skip


def test_only_a_word_with_a_folder_is_made(there, run_it):
    # Whether a path exists is no secret from a confined plugin.
    there(IDLE.replace('"left alone"', '" ".join(filter(os.path.exists, words))'))

    assert run_it(*WORDS).stdout == "./one.csv\n"


def test_without_the_permission_nothing_is_made(there, run_it, tmp_path):
    there(OUT, "{write: []}")

    done = run_it("./out.csv")

    assert done.returncode == 1
    assert not (tmp_path / "out.csv").exists()
    assert done.stderr.endswith(
        "  fix:   a confined plugin writes what its command line names, a new file with "
        "its folder: name ./out.csv there, and have 'permissions: {write: "
        "[arguments]}' in its config.yaml\n"
    )


@pytest.mark.parametrize("path", [".ssh/authorized_keys", ".bittensor/x", "btplug/trust/x"])  # fmt: skip
def test_nothing_is_made_beside_keys(path, there, run_it, fence):
    there(OUT)
    (fence / path).parent.mkdir(parents=True, exist_ok=True)

    assert run_it(str(fence / path)).returncode == 1
    assert not (fence / path).exists()


def test_a_link_that_leads_nowhere_is_no_new_file(there, run_it, tmp_path):
    there(OUT)
    (tmp_path / "link").symlink_to("elsewhere")

    assert run_it("./link").returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_of_a_bare_name_is_refused_with_how_to_name_it(there, run_it):
    there(OUT)

    done = run_it("out.csv")

    assert done.returncode == 1
    assert "PermissionError: [Errno 13] Permission denied: 'out.csv'\n" in done.stderr
    assert done.stderr.endswith(
        "  fix:   a confined plugin writes what its command line names, a new file with "
        "its folder: name ./out.csv there\n"
    )


def test_a_file_that_may_not_be_read_is_refused_with_what_to_do(
    there, run_it, tmp_path
):
    there("return open('secret').read()")
    (tmp_path / "secret").write_text("x")

    done = run_it()

    assert done.returncode == 1
    assert done.stderr.endswith(
        "  fix:   a confined plugin reads what its command line names: name secret "
        "there, or below 'permissions: read:' in its config.yaml\n"
    )


def test_a_file_that_click_opens_is_refused_with_what_to_do(there, run_it):
    there("@click.argument('out', type=click.File('w', lazy=False))\ndef execute(self, data=None, *, out): pass")  # fmt: skip

    done = run_it("out.csv")

    assert done.returncode == 2
    assert "'out.csv': Permission denied\n  fix:   a confined plugin " in done.stderr


def test_a_path_of_the_permissions_is_one_path_whatever_is_in_it(
    there, run_it, tmp_path
):
    """Of a word of the command line the part behind "=" may be a path, too."""
    secret = tmp_path / "secret"
    secret.write_text("told")
    there(
        f"return open({str(secret)!r}).read()",
        permissions=f"{{read: ['{tmp_path}/option={secret}']}}",
    )

    done = run_it()

    assert "Permission denied" in done.stderr
    assert done.stdout == ""


# -- links


@pytest.fixture
def outside(tmp_path_factory):
    """A folder that is not below the working directory, with a file in it."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "file").write_text("theirs")
    return folder


APPEND = """
for name in ("report", "sub/report"):
    try:
        open(name, "a").write("appended")
    except FileNotFoundError:
        pass
"""


@pytest.mark.parametrize("key", ["read", "write"])
@pytest.mark.parametrize("spelt", ["report", "./report", "sub/report", "{}/report", "/proc/self/cwd/report", "../{}/sub/report"])  # fmt: skip
def test_a_path_that_was_accepted_is_refused_when_it_leads_out_over_a_link(
    key, spelt, there, run_it, tmp_path, outside
):
    """It was a file when it was accepted, and became a link to ~/.bashrc."""
    name = tmp_path if spelt.startswith("{") else tmp_path.name
    spelt = spelt.format(name)
    there(APPEND, f"{{{key}: ['{spelt}']}}")
    if "sub" in spelt:
        (tmp_path / "sub").symlink_to(outside)
        (outside / "report").touch()
        target = outside / "report"
    else:
        (tmp_path / "report").symlink_to(outside / "file")
        target = outside / "file"
    before = target.read_text()

    done = run_it()

    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == (
        f"btplug: error: permissions: {key}: {spelt}: found a link on the way that "
        f"leads out of the working directory, to {target}; expected what lies below "
        f"it\n  where: {tmp_path}/there/it/config.yaml\n"
        "  fix:   remove the link; or, if the plugin is to have that path, put "
        "it into the manifest\n"
    )
    assert target.read_text() == before


def test_a_path_that_was_accepted_may_lead_to_what_lies_below(there, run_it, tmp_path):
    there(APPEND, "{write: [report, sub/report]}")
    (tmp_path / "real").mkdir()
    (tmp_path / "real/report").touch()
    (tmp_path / "sub").symlink_to("real")
    (tmp_path / "report").symlink_to("real/report")

    assert run_it().returncode == 0
    assert (tmp_path / "real/report").read_text() == "appended" * 2


def test_a_path_that_was_accepted_beside_the_working_directory_is_lent(
    there, run_it, outside
):
    name = f"../{outside.name}/file"
    there(f"return open({name!r}).read()", f"{{read: [../{outside.name}]}}")

    assert run_it().stdout == "theirs\n"


READ = """
@click.argument("word")
def execute(self, data=None, *, word):
    path = word.rpartition("=")[2]
    return open(path + "/file" if os.path.isdir(path) else path).read()
"""


@pytest.mark.parametrize("word", ["plain", "style=plain"])
@pytest.mark.parametrize("what", ["", "file"])
def test_a_bare_word_that_is_a_link_out_of_the_folder_is_not_lent(
    word, what, there, run_it, tmp_path, outside
):
    """A clone may bring a link along that is called like an ordinary word."""
    there(READ, "{}")
    (tmp_path / "plain").symlink_to(outside / what)

    done = run_it(word)

    assert (done.returncode, done.stdout) == (1, "")
    assert "PermissionError" in done.stderr
    name = "./plain" if what else "plain/file"
    assert f"what its command line names: name {name} there" in done.stderr
    assert run_it(word.replace("plain", "./plain")).stdout == "theirs\n"


@pytest.mark.parametrize("word", ["plain", "folder", "beside", "there"])
def test_a_bare_word_that_leads_to_what_lies_there_is_lent(
    word, there, run_it, tmp_path
):
    there(READ, "{}")
    for folder in ("folder", "there"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "file").write_text("ours")
    (tmp_path / "plain").symlink_to("folder")
    (tmp_path / "beside").symlink_to("folder/file")

    assert run_it(word).stdout == "ours\n"
