"""Each plugin of the corpus ends as it has to, and nobody else notices."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from corpus import (
    CASES,
    ESCAPES,
    NO_JSON,
    PLUGINS,
    THOROUGH,
    Corpus,
    adopt,
    check,
    lines_of_json,
)
from stage import NOBODY, aside, interpreter

pytestmark = pytest.mark.slow
RUNS = [
    pytest.param(case, mode, id=f"{case.name}-{mode}")
    for case in CASES
    for mode in case.modes
]
CONFINED = [c for c in CASES if "S" in c.modes and not c.lasts]
if not THOROUGH:
    CONFINED = [c for i, c in enumerate(CONFINED) if "EVIL" in c.words or i % 3 == 0]


@pytest.fixture(autouse=True)
def adopting():
    adopt(True)
    yield
    adopt(False)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


@pytest.mark.parametrize(("case", "mode"), RUNS)
def test_a_hostile_plugin_ends_with_its_code_and_its_message(case, mode, corpus):
    done = corpus.run("run", case.name, mode=mode)

    check(case, done)
    assert [*corpus.cwd.iterdir()] == []
    good = corpus.run("run", "good")
    assert (good.code, good.out, good.errors) == (0, b"well\n", "")


@pytest.mark.parametrize("case", CONFINED, ids=lambda case: case.name)
def test_its_stdout_is_json_or_nothing(case, corpus):
    done = corpus.run("run", "--json", case.name)

    lines_of_json(done.out)
    assert done.left == []


@pytest.mark.parametrize("words", [["--json"], []])
def test_what_a_plugin_patches_it_patches_for_itself(words, corpus):
    done = corpus.run("run", *words, "p20-patches-everything")

    assert (done.code, done.out) == (0, b'{"a": "fine"}\n' if words else b"a\nfine\n")
    assert "so far" in done.errors


def test_a_plugin_cannot_say_that_the_json_is_its_own(corpus):
    done = corpus.run("run", "--json", "q23-lies-about-json")

    assert (done.code, done.out) == (1, b"")
    assert "no JSON\n" in done.errors
    assert "found a result that is no JSON for every reader" in done.errors


@pytest.mark.parametrize("mode", "SI")
@pytest.mark.parametrize("case", NO_JSON, ids=lambda case: case.name)
def test_a_result_that_is_no_json_is_named_by_place_and_type(case, mode, corpus):
    done = corpus.run("run", "--json", case.name, mode=mode)

    rows = lines_of_json(done.out)
    assert rows in ([], [{"a": 1}])
    error = json.loads(done.errors.splitlines()[-1])
    assert (done.code, error["exit_code"], error["plugin"]) == (1, 1, case.name)
    assert all(word in error["what"] for word in case.words), error
    assert error["where"].endswith(f"{case.name}/config.yaml")


@pytest.mark.parametrize("case", CONFINED, ids=lambda case: case.name)
def test_it_steers_no_terminal(case, corpus):
    done = corpus.on_terminal("run", case.name)

    assert done.code in case.codes, done.out[-2000:]
    assert not [raw for raw in ESCAPES if raw in done.out]
    assert b"\rEVIL" not in done.out
    assert done.left == []


@pytest.mark.parametrize("mode", "SI")
def test_its_traceback_steers_no_terminal(mode, corpus):
    corpus.env["BTPLUG_DEBUG"] = "1"

    done = corpus.on_terminal("run", "p18-escapes-in-errors", mode=mode)

    assert b"Traceback (most recent call last):\r\n" in done.out
    assert b"EVIL" in done.out
    assert not [raw for raw in ESCAPES if raw in done.out]


@pytest.mark.parametrize("words", [["--help"], ["-h"], []])
def test_its_help_steers_no_terminal_either(words, corpus):
    done = corpus.on_terminal("run", "p18-escapes-in-help", *words)

    assert b"EVIL" in done.out or words != ["--help"]
    assert not [raw for raw in ESCAPES if raw in done.out]


def test_others_work_beside_all_of_them(corpus):
    listed = corpus.run("list", "--json")
    rows = {row["name"]: row for row in json.loads(listed.out)}
    assert (listed.code, listed.errors) == (0, "")
    assert {c.name for c in (*CASES, *NO_JSON)} | {"good"} <= rows.keys()
    broken = {name for name, row in rows.items() if row["state"] == "broken"}
    assert broken == {"p33-gives-itself-trust"}

    shown = corpus.run("--help")
    assert shown.code == 0
    assert "good" in shown.out.decode()

    done = corpus.run("good")
    assert (done.code, done.out, done.errors) == (0, b"well\n", "")


def test_keys_could_be_read_in_process(corpus):
    """The trap is armed: without this the plugin may look in the wrong places."""
    done = corpus.run("run", "--json", "p36-reads-keys", mode="I")

    assert lines_of_json(done.out)[0]["found"].count("a key") == 2


@pytest.fixture
def of_nobody():
    """The corpus of an ordinary user, who may not enter our folders."""
    if os.geteuid():
        pytest.skip("only root can be somebody else")
    if (found := aside(NOBODY, interpreter)) is None:
        pytest.skip("there is no interpreter that an ordinary user may start")
    folder = Path(tempfile.mkdtemp(prefix="btplug-nobody-"))
    folder.chmod(0o755)
    corpus = Corpus(folder)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    packages = [p for p in sys.path if os.path.basename(p) == "site-packages"]
    corpus.env["PYTHONPATH"] = os.pathsep.join([str(PLUGINS.parents[2]), *packages])
    corpus.env["PYTHONDONTWRITEBYTECODE"] = "1"
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    line = [*user, found[0], "-m", "btplug", "--plugin-dir", str(corpus.place)]
    corpus.words = lambda *words, mode: [*line, *words]
    yield corpus
    shutil.rmtree(folder)


@pytest.mark.parametrize("case", CONFINED, ids=lambda case: case.name)
def test_an_ordinary_user_is_protected_too(case, of_nobody):
    done = of_nobody.run("run", case.name)

    if "No module named" in done.errors and "not_installed" not in done.errors:
        pytest.skip("the packages are not readable for an ordinary user")
    check(case, done)
