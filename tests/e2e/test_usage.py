"""Wrong words on the command line, and names that are none."""

import pytest


def said(done):
    """Return the first line of the error."""
    return done.stderr.splitlines()[0]


USAGE = {
    "": "Usage: btplug [OPTIONS] COMMAND [ARGS]...",
    "--nope": "Error: No such option",
    "tyop": "Error: No such command 'tyop'.",
    "lst": "Error: No such command 'lst'. Did you mean 'list'?",
    "its": "Error: No such command 'its'. Did you mean 'it'?",
    "run": "Usage: btplug run [OPTIONS] NAME [ARGS]...",
    "run --nope it": "Error: No such option",
    "run it --nope": "Error: No such option",
    "run it word": "Error: Got unexpected extra argument (word)",
    "run --set x it": "--set: found a word without KEY= in front, expected KEY=VALUE",
    "run --set =x it": "--set: found a word without KEY= in front, expected KEY=VALUE",
    "--plugin-dir nowhere list": "Directory 'nowhere' does not exist.",
    "--log-level loud run it": "'loud' is not one of 'debug', 'info', 'warning'",
    "list --kind x": "'x' is not one of 'cli', 'transport'.",
    "config set nope 1": "found the key 'nope', expected PLUGIN.KEY or one of",
    "config set log_level loud": "log_level: found 'loud', expected one of debug, info",
    "config set start_limit 0": "start_limit: found '0', expected a number of seconds",
    "config unset it.never": "the key 'it.never' was not set by 'btplug config set'",
}


@pytest.mark.parametrize("words", USAGE)
def test_2_is_for_wrong_usage(words, btplug, command, marks):
    command("it", 'mark("executing")')

    done = btplug(*words.split())

    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert USAGE[words] in done.stderr
    assert marks() == []


@pytest.mark.parametrize("word", ["@/dev/zero", "- </dev/zero"])
@pytest.mark.parametrize("plugin", ["send", "probe"])
def test_2_is_for_data_without_an_end(plugin, word, shell):
    """All memory went to it before."""
    done = shell(f"ulimit -v 2000000; $B run {plugin} http://127.0.0.1:1 --data {word}")

    assert (done.returncode, done.stdout) == (2, "")
    assert ": found more than 67,108,864 bytes, expected at most that" in said(done)


def test_2_is_also_for_a_transport_that_is_called_like_a_command(btplug, transport):
    transport("wire")

    for words in (["wire"], ["run", "wire"]):
        done = btplug(*words)
        assert done.returncode == 2
        assert "'wire' is a transport, expected a command" in done.stderr


@pytest.mark.parametrize(
    "words", ["run its", "info its", "config show its", "disable its", "enable its"]
)
def test_3_is_for_a_name_that_no_plugin_has(words, btplug, command, home):
    command("it")

    done = btplug(*words.split())

    assert done.returncode == 3
    assert done.stderr == (
        "btplug: error: no plugin named 'its'\n  fix:   did you mean it?\n"
    )
    assert not (home / "disabled").exists()


@pytest.mark.slow
@pytest.mark.parametrize("words", ["run", "info", "disable", "enable", "config show"])
def test_3_is_for_what_can_be_no_name_and_no_file_is_touched(
    words, btplug, command, home
):
    command("it")
    (home / "config.yaml").write_text("log_level: info\n")
    (home / "disabled").mkdir()
    before = {path: path.stat().st_ino for path in home.rglob("*")}

    for name in (
        "../it", "../config.yaml", "/", ".", "..", "it/", "", "It", "it\n", "\udcff",
        "x" * 5000,
    ):  # fmt: skip
        done = btplug(*words.split(), name)
        assert done.returncode == 3, name
        assert said(done).startswith("btplug: error: no plugin named ")
        assert {path: path.stat().st_ino for path in before} == before


def test_enable_removes_no_file_but_its_own(btplug, home):
    (home / "disabled").mkdir(parents=True)
    (home / "config.yaml").write_text("log_level: info\n")

    done = btplug("enable", "../config.yaml")

    assert done.returncode == 3
    assert (home / "config.yaml").exists()


def test_a_folder_that_is_called_otherwise_is_named_by_the_name_inside(
    btplug, command, home
):
    folder = command("it")
    folder.rename(folder.with_name("other"))

    for words in (("run", "it"), ("it",), ("info", "it")):
        done = btplug(*words)
        assert done.returncode == (2 if words == ("it",) else 4), done.stderr
        if words != ("it",):
            assert "found 'it' in the folder 'other'" in done.stderr
            assert "rename the folder to it" in done.stderr


def test_a_plugin_dir_that_is_the_plugin_itself_is_exit_3_and_says_so(
    btplug, command, tmp_path
):
    folder = command("it", where=tmp_path / "dev")
    (tmp_path / "nothing").mkdir()

    itself = btplug("--plugin-dir", folder, "run", "it")
    nothing = btplug("--plugin-dir", "nothing", "run", "it")

    assert (itself.returncode, nothing.returncode) == (3, 3)
    assert itself.stderr == (
        "btplug: error: no plugin named 'it'\n"
        f"  fix:   name the folder above the plugin's: --plugin-dir {tmp_path / 'dev'}\n"
    )
    assert nothing.stderr == (
        "btplug: error: no plugin named 'it'\n"
        f"  fix:   no plugin folder lies in {tmp_path / 'nothing'}\n"
    )
