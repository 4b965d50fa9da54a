"""Nothing runs that the operator has not accepted, and only as it was accepted."""

import json
import os
import pty
import shlex
import subprocess
import sys

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
    """A command of the user's that leaves a mark when its code runs."""
    return make_plugin("it", MARK + COMMAND, where=home / "cli_plugins")


def test_what_nobody_accepted_is_refused_with_the_command_that_would(btplug, it, marks):
    done = btplug("run", "it")

    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == (
        "btplug: error: it is not trusted: nobody has accepted its code here\n"
        f"  where: {it}\n"
        "  fix:   look at it, and accept it with: btplug trust it\n"
    )
    assert marks() == []


@pytest.mark.parametrize("words", [["it"], ["run", "it", "--help"], ["info", "it", "--schema"], ["info", "it", "--options"]])  # fmt: skip
def test_every_way_to_load_it_asks_for_consent(words, btplug, it, marks):
    assert btplug(*words).returncode == 6
    assert marks() == []


def test_what_was_accepted_runs_and_what_was_taken_back_does_not(btplug, it, marks):
    accept(btplug, "it")
    assert btplug("run", "it").stdout == "hello\n"

    assert btplug("untrust", "it").returncode == 0
    assert btplug("run", "it").returncode == 6
    assert marks() == []  # it runs confined, and can leave none


def test_trust_shows_what_is_to_be_accepted(btplug, make_plugin, home):
    folder = make_plugin(
        "it", where=home / "cli_plugins",
        permissions="{network: any, read: [arguments, /srv/a b], write: [state]}",
    )  # fmt: skip

    shown = btplug("trust", "it").stdout

    facts = dict(line.split(None, 1) for line in shown.splitlines() if " " in line)
    assert facts["path"] == str(folder)
    assert facts["owner"].endswith("mode 0755")
    assert facts["network"] == "any"
    assert facts["read"] == "arguments '/srv/a b'"
    assert facts["write"] == "state"
    assert facts["lent"] == "to read, every file and folder that its command line names"
    assert facts["digest"].startswith("h1:")
    assert facts["before"] == "nothing was accepted here"
    assert int(facts["plugin.py"]) == (folder / "plugin.py").stat().st_size
    assert int(facts["config.yaml"]) == (folder / "config.yaml").stat().st_size


@pytest.mark.parametrize("path", ["none", "any", "'state '", '"st\\u200bate"'])
def test_no_permission_is_shown_as_another(path, btplug, make_plugin, home):
    """A path called none was accepted as none, and written."""
    folder = make_plugin(
        "it", where=home / "cli_plugins", permissions=f"{{write: [{path}]}}"
    )

    done = btplug("trust", "it")

    assert (done.returncode, done.stdout) == (4, "")
    assert f"{folder}/config.yaml:9: plugin.permissions.write.0: found " in done.stderr


def test_without_a_terminal_only_the_digest_accepts(btplug, it, marks):
    done = btplug("trust", "it", input="it\n")

    assert done.returncode == 6
    assert "btplug: error: nobody can be asked: nothing was accepted\n" in done.stderr
    assert btplug("run", "it").returncode == 6

    wrong = btplug("trust", "it", "--digest", "h1:" + "0" * 64)
    assert wrong.returncode == 6
    assert "expected h1:000" in wrong.stderr
    assert btplug("run", "it").returncode == 6


def typed(btplug, answer, *words, program=None, cwd=None):
    """Run btplug on a terminal, on which *answer* is typed; return code and text."""
    ours, theirs = pty.openpty()
    words = [*(program or [str(btplug.script)]), *words]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    return process.wait(30), text.decode()


def test_the_command_that_accepts_can_be_pasted(btplug, make_plugin, tmp_path):
    folder = make_plugin("it", where=tmp_path / "a b; $x")

    for word in (folder, folder.relative_to(tmp_path)):
        accept(btplug, word)
        assert btplug("untrust", word).returncode == 0


def test_of_a_transport_no_bounds_are_shown_that_nothing_holds(
    btplug, make_plugin, home
):
    make_plugin("wire", kind="transport", where=home / "transport_plugins")

    facts = dict(
        line.split(None, 1)
        for line in accept(btplug, "--in-process", "wire").splitlines()
        if " " in line
    )

    assert facts["runs"] == "in btplug's own process, with all that you may do"
    assert not facts.keys() & {"network", "read", "write", "transports"}


def test_on_a_terminal_the_name_is_typed(btplug, it):
    code, text = typed(btplug, "it", "trust", "it")

    assert code == 0, text
    assert "To accept exactly this, type 'it'" in text
    assert btplug("run", "it").stdout == "hello\n"


@pytest.mark.parametrize("answer", ["", "y", "yes", "IT", "it in process"])
def test_anything_else_that_is_typed_accepts_nothing(answer, btplug, it):
    code, text = typed(btplug, answer, "trust", "it")

    assert code == 6
    assert "nothing was accepted" in text
    assert btplug("run", "it").returncode == 6


def test_the_end_of_the_input_is_an_answer_that_accepts_nothing(btplug, it):
    code, text = typed(btplug, "\x04", "trust", "it")

    assert code == 6
    assert "error: found '', expected 'it': nothing was accepted\r\n" in text
    assert btplug("run", "it").returncode == 6


STEERING = "a\x1b]0;OWNED\x07\x1b[3A\x1b[Jsafe\u202e"


@pytest.mark.parametrize("option", [[], ["--in-process"]])
def test_no_name_of_a_folder_steers_the_terminal(
    option, btplug, make_plugin, tmp_path, monkeypatch
):
    monkeypatch.setenv("TERM", "dumb")  # nothing is bold
    folder = tmp_path / STEERING
    make_plugin("it", where=folder / "cli_plugins")
    make_plugin("one", where=folder / "cli_plugins")
    shown = STEERING.encode("unicode_escape").decode()
    answer = f"{shown} in process" if option else shown
    lock = ["lock", "--lock", str(folder / "btplug.lock")]

    for words, expected in (
        (["trust", *option, "."], f"type '{answer}'"),
        (["trust", *option, "."], "trusted already"),
        (["trust", str(folder)], "trusted"),
        (lock, "plugins: "),
        ([*lock, "--check"], "fits: "),
        (["untrust", "."], f"not trusted any more: {tmp_path}/{shown}"),
    ):
        code, text = typed(btplug, answer, *words, cwd=folder)
        assert code == 0, text
        assert expected in text
        assert not {*"\x1b\x07\u202e"} & {*text}, (words, text)


ASK = """
import sys
from btplug.cli.subjects import Subject
from btplug.cli.trust import _ask
from btplug.trust import Accepted

consents = [Accepted("/btplug.yaml", name, "settings", "", "h1:0") for name in sys.argv[2:]]
_ask([Subject(one, {}, {}) for one in consents], sys.argv[1], "h1:0", in_process=False)
print("accepted")
"""


@pytest.mark.parametrize("names", [["", "it"], [""], [" "]])
def test_an_empty_answer_accepts_nothing_whatever_its_name(names, btplug):
    """The folder / has an empty one, if it is asked for it as any other."""
    program = [sys.executable, "-c", ASK]

    for answer in ("", " ", "\x04"):
        _, text = typed(btplug, answer, "/", *names, program=program)
        assert "nothing was accepted" in text
        assert not text.endswith("': accepted\r\n")
    if len(names) > 1:
        code, text = typed(btplug, "/", "/", *names, program=program)
        assert code == 0
        assert text.endswith("accepted\r\n")


def test_in_process_is_a_consent_with_words_of_its_own(btplug, it):
    code, text = typed(btplug, "it", "trust", "--in-process", "it")
    assert code == 6
    assert "can do all that you can do" in text

    code, text = typed(btplug, "it in process", "trust", "--in-process", "it")
    assert code == 0, text
    listed = json.loads(btplug("trust", "--list", "--json").stdout)
    assert [(row["name"], row["in_process"]) for row in listed] == [("it", True)]


# -- P32: edited after it was accepted


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


EDITS = {
    "code": (lambda f: edit(f / "plugin.py", "hello", "h4cked"), "changed plugin.py"),
    "new file": (lambda f: (f / "more.py").write_text(""), "new more.py"),
    "new folder": (lambda f: ((f / "a").mkdir(), (f / "a/b.py").write_text("")), "new a/b.py"),
    "data": (lambda f: (f / "data.txt").write_text("other"), "changed data.txt"),
    "removed": (lambda f: (f / "data.txt").unlink(), "removed data.txt"),
    "renamed": (lambda f: (f / "data.txt").rename(f / "d.txt"), "new d.txt; removed data.txt"),
    "permissions": (
        lambda f: edit(f / "config.yaml", "api: 1", "api: 1\n  permissions: {network: any}"),
        "changed config.yaml; permissions network none -> any",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_what_changed_is_refused_and_named(what, btplug, it, marks):
    (it / "data.txt").write_text("some")
    accept(btplug, "it")
    change, words = EDITS[what]

    change(it)

    done = btplug("run", "it")
    assert done.returncode == 6
    assert done.stderr == (
        f"btplug: error: it has changed since it was trusted: {words}\n"
        f"  where: {it}\n"
        "  fix:   look at it, and accept it with: btplug trust it\n"
    )
    assert marks() == []
    row = row_of(btplug, "it")
    assert (row["state"], row["trust"]) == ("changed", "changed")
    assert f"before       {words}" in btplug("trust", "it").stdout.replace(
        "before      ", "before       "
    )


def test_a_changed_configuration_points_to_config_set(btplug, make_plugin, home):
    folder = make_plugin("it", where=home / "cli_plugins", config="x: 1")
    accept(btplug, "it")

    edit(folder / "config.yaml", "x: 1", "x: 2")

    assert "btplug config set it.KEY VALUE" in btplug("run", "it").stderr
    edit(folder / "config.yaml", "x: 2", "x: 1")
    assert btplug("config", "set", "it.x", "2").returncode == 0
    assert "x" in btplug("config", "show", "it").stdout
    assert row_of(btplug, "it")["trust"] == "trusted"


@pytest.mark.parametrize("back", ["the old bytes", "the old bytes, other times"])
def test_the_old_bytes_are_trusted_again(back, btplug, it):
    accept(btplug, "it")
    old = (it / "plugin.py").read_bytes()
    (it / "plugin.py").write_text("raise SystemExit")
    assert btplug("run", "it").returncode == 6

    (it / "plugin.py").write_bytes(old)
    if "times" in back:
        os.utime(it / "plugin.py", (1, 1))

    assert btplug("run", "it").stdout == "hello\n"


@pytest.mark.parametrize("mode", [0o666, 0o622, 0o602])
def test_a_file_that_others_may_write_is_refused_with_the_chmod(
    mode, btplug, it, marks
):
    accept(btplug, "it")
    (it / "plugin.py").chmod(mode)

    done = btplug("run", "it")

    assert done.returncode == 6
    assert f"(mode {mode:04o}), expected root or you alone" in done.stderr
    command = done.stderr.partition("fix:   ")[2]
    subprocess.run(shlex.split(command), check=True)
    assert btplug("run", "it").stdout == "hello\n"
    assert marks() == []  # it runs confined, and can leave none


def test_one_command_mends_all_files_that_others_may_write(btplug, it):
    (it / "a b").mkdir()
    (it / "a b" / "data.txt").touch()
    accept(btplug, "it")
    for path in it.rglob("*"):
        path.chmod(path.stat().st_mode | 0o022)

    command = btplug("run", "it").stderr.partition("fix:   ")[2]

    assert command == f"chmod -R go-w {it}\n"
    subprocess.run(shlex.split(command), check=True)
    assert btplug("run", "it").stdout == "hello\n"


def test_what_the_own_group_may_write_is_accepted_and_another_group_is_not(btplug, it):
    import grp
    import pwd

    user = pwd.getpwuid(os.geteuid())
    group = grp.getgrgid(user.pw_gid)
    for path in (it, *it.iterdir()):
        os.chown(path, -1, group.gr_gid)
        path.chmod(path.stat().st_mode | 0o020)
    others = {u.pw_uid for u in pwd.getpwall() if u.pw_gid == group.gr_gid}
    if group.gr_name == user.pw_name and not group.gr_mem and others <= {user.pw_uid}:
        accept(btplug, "it")
        assert btplug("run", "it").stdout == "hello\n"
    else:
        assert (
            f"may be written by the group {group.gr_name}"
            in btplug("trust", "it").stderr
        )

    if os.geteuid() == 0:
        os.chown(it / "plugin.py", -1, 12345)
        done = btplug("run", "it")
        assert done.returncode == 6
        assert "the file may be written by the group 12345 (mode 0664)" in done.stderr


def test_a_folder_on_the_way_that_others_may_write_is_named(btplug, it, home):
    accept(btplug, "it")
    (home / "cli_plugins").chmod(0o777)

    done = btplug("run", "it")

    assert done.returncode == 6
    assert f"where: {home / 'cli_plugins'}\n" in done.stderr
    assert "may be written by everybody (mode 0777)" in done.stderr
    assert f"chmod go-w {home / 'cli_plugins'}\n" in done.stderr


def test_a_sticky_folder_on_the_way_is_safe_to_walk_through(btplug, it, home):
    """As /tmp is: what is mine in it, nobody else can replace."""
    (home / "cli_plugins").chmod(0o1777)

    accept(btplug, "it")
    assert btplug("run", "it").stdout == "hello\n"

    it.chmod(0o1777)
    assert btplug("run", "it").returncode == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", [".", "plugin.py"])
def test_what_belongs_to_somebody_else_is_refused(name, btplug, it):
    accept(btplug, "it")
    os.chown(it / name, 12345, 12345)

    done = btplug("run", "it")

    assert done.returncode == 6
    assert "belongs to the user 12345, expected root or you" in done.stderr


def test_another_plugin_under_the_same_name_is_not_trusted(btplug, it, make_plugin, home, marks):  # fmt: skip
    accept(btplug, "it")
    other = home / "elsewhere"
    make_plugin("it", MARK + COMMAND, where=other / "cli_plugins")

    done = btplug("--plugin-dir", other, "list", "--json")
    assert done.returncode == 0
    it.rename(home / "away")
    assert btplug("run", "it", BTPLUG_PLUGIN_PATH=str(other)).returncode == 6
    assert marks() == []


# -- what can grant no trust


@pytest.mark.parametrize(
    "line", ["trust: true", "trusted: yes", "sandbox: none", "in_process: true", "paths: [/]", "env: {A: b}", "command: [sh]"]
)  # fmt: skip
def test_a_manifest_cannot_grant_itself_anything(
    line, btplug, make_plugin, home, marks
):
    """P33."""
    make_plugin("good", where=home / "cli_plugins")
    accept(btplug, "good")
    store = home / "trust" / "accepted"
    before = store.read_bytes()
    key, _, value = line.partition(": ")
    make_plugin("bad", MARK + COMMAND, where=home / "cli_plugins", **{key: value})

    done = btplug("run", "bad")

    assert done.returncode == 4
    assert f"plugin.{key}: found an unknown key" in done.stderr
    assert btplug("trust", "bad").returncode == 4
    assert store.read_bytes() == before
    assert marks() == []


@pytest.mark.parametrize(
    "env",
    [
        {"BTPLUG_TRUST": "1"}, {"BTPLUG_IN_PROCESS": "1"}, {"BTPLUG_IT__TRUST": "1"},
        {"BTPLUG_LOCKED": "1"}, {"BTPLUG_PLUGIN_DIR": "PLACE"}, {"BTPLUG_DEBUG": "1"},
        {"BTPLUG_LOCK": "btplug.lock"},
    ],
)  # fmt: skip
def test_no_variable_grants_trust(env, btplug, it, marks):
    place = str(it.parent)

    done = btplug("run", "it", **{k: v.replace("PLACE", place) for k, v in env.items()})

    assert done.returncode == 6
    assert marks() == []


def test_a_store_that_was_carried_here_accepts_nothing(
    btplug, it, home, tmp_path, marks
):
    """A cloned folder with a store in it, and a variable that points there."""
    accept(btplug, "it")
    home.rename(tmp_path / "carried")

    done = btplug("run", "it", BTPLUG_HOME=str(tmp_path / "carried"))

    assert done.returncode == 6
    assert "it was made for another folder or user" in done.stderr
    assert marks() == []


def test_a_transport_needs_the_consent_for_this_process(
    btplug, make_plugin, home, marks
):
    make_plugin(
        "wire", MARK + "from btplug import TransportPlugin\n", kind="transport",
        where=home / "transport_plugins",
    )  # fmt: skip
    make_plugin("it", where=home / "cli_plugins", transports="[wire]")
    accept(btplug, "it")

    done = btplug("run", "it")
    assert done.returncode == 6
    assert "with: btplug trust --in-process wire" in done.stderr
    refused = btplug("trust", "wire")
    assert refused.returncode == 2
    assert "give it with: btplug trust --in-process wire" in refused.stderr
    assert marks() == []


def test_an_untrusted_transport_that_nobody_names_costs_nothing(btplug, make_plugin, home, marks):  # fmt: skip
    make_plugin("wire", MARK, kind="transport", where=home / "transport_plugins")
    make_plugin("it", where=home / "cli_plugins", transports=None)
    accept(btplug, "it")

    done = btplug("run", "it")

    assert (done.returncode, done.stderr) == (0, "")
    assert marks() == []


def test_a_plugin_dir_is_consent_for_one_call(btplug, make_plugin, tmp_path, marks):
    make_plugin("one", MARK + COMMAND, where=tmp_path / "given")

    assert btplug("--plugin-dir", tmp_path / "given", "run", "one").returncode == 0
    assert btplug("run", "one").returncode == 3
    assert btplug("trust", "--list", "--json").stdout == "[]\n"
    assert marks() == []  # it runs confined, and can leave none


def test_what_is_shipped_needs_no_consent(btplug, tmp_path):
    (tmp_path / "rows.json").write_text('[{"a": 1}]')

    assert btplug("run", "table-display", "rows.json").returncode == 0
    refused = btplug("trust", "table-display")
    assert refused.returncode == 2
    assert "comes with btplug, and needs no trust" in refused.stderr
    assert row_of(btplug, "table-display")["trust"] == "shipped"


def test_a_consent_to_run_confined_starts_no_transport(
    btplug, make_plugin, home, marks
):
    """However it came into the store: nothing confines a transport."""
    from btplug._folders import folders
    from btplug._installed import Spot
    from btplug._trust.consent import pin_accountable
    from btplug.trust import Accepted, TrustStore

    folder = make_plugin(
        "wire", MARK, kind="transport", where=home / "transport_plugins"
    )
    make_plugin("it", where=home / "cli_plugins", transports="[wire]")
    accept(btplug, "it")
    digest = pin_accountable(Spot("wire", "transport", str(folder), "user")).digest
    consent = Accepted(str(folder), "wire", "transport", "1.0.0", digest)
    TrustStore(folders()).accept(consent, files={})

    done = btplug("run", "it")

    assert done.returncode == 6
    assert (
        "wire is trusted when confined, and would run in btplug's own process"
        in done.stderr
    )
    assert "with: btplug trust --in-process wire" in done.stderr
    assert marks() == []


def test_a_list_is_of_all_that_is_accepted(btplug):
    done = btplug("trust", "--list", "it")

    assert done.returncode == 2
    assert done.stderr == (
        "btplug: error: found --list and 'it', expected one of them\n"
        "  fix:   see one plugin with: btplug info it\n"
    )


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (
            ("it", "--json"),
            "found --json without --list",
            "see what is accepted with: btplug trust --list --json",
        ),
        (
            ("--list", "--in-process"),
            "found --list and --in-process, expected one of them",
            "see what is accepted, or name what to accept",
        ),
        (
            ("--list", "--digest", "h1:x"),
            "found --list and --digest, expected one of them",
            "see what is accepted, or name what to accept",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(btplug, words, what, fix):
    done = btplug("trust", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == (1 if "--json" in words else 2)
    assert what in done.stderr
    assert fix in done.stderr


KEEPS = COMMAND.replace(
    'return "hello"',
    """
        import os
        path = os.path.join(self.context.state_dir, "token")
        found = open(path).read() if os.path.exists(path) else "nothing"
        open(path, "w").write("WORD")
        return f"{found} in {os.path.basename(self.context.state_dir)}"
""",
)


@pytest.mark.parametrize("flags", [[], ["--in-process"]])
def test_one_that_is_called_like_a_trusted_one_does_not_get_its_state(
    flags, btplug, make_plugin, home, tmp_path
):
    keeps = {"permissions": "{write: [state]}"}
    for name, where in (("trusted", home), ("stranger", tmp_path / "there")):
        code = KEEPS.replace("WORD", name)
        make_plugin("it", code, where=where / "cli_plugins", **keeps)
    accept(btplug, "it")
    stranger = (*flags, "--plugin-dir", "there", "run", "it")

    assert btplug("run", "it").stdout == "nothing in it\n"
    assert btplug(*stranger).stdout.startswith("nothing in it@")
    assert btplug(*stranger).stdout.startswith("stranger in it@")
    assert btplug("run", "it").stdout == "trusted in it\n"
