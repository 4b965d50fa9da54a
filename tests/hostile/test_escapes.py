"""No way out: each attempt fails confined, with the error it has to meet.

And each is armed: the same attempt succeeds where nothing confines it.
"""

import attempts
import pytest
from stage import VERSION, Stage, aside, interpreter, users

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VERSION, reason="the kernel has no Landlock"),
]
DENIED = {
    name: expect
    for table in attempts.TABLES
    for name, (_, expect) in table.items()
    if expect
}
# Also as on kernels of 2021 to 2024, whose Landlock denies less.
FORMS = {"fork": VERSION, "exec": VERSION, "first": 1, "second": 2, "fourth": 4}


@pytest.fixture(scope="module", params=users())
def uid(request):
    return users()[request.param]


@pytest.fixture(scope="module")
def stage(uid):
    made = Stage(uid)
    yield made
    made.close()


@pytest.fixture(scope="module", params=FORMS)
def found(request, uid, stage):
    """How every attempt ended in a confined child, by name."""
    stage.restore()
    if request.param == "exec" and not aside(uid, interpreter):
        pytest.skip("this user may not start the interpreter")
    if FORMS[request.param] > VERSION:
        pytest.skip(f"the kernel has version {VERSION} of Landlock")
    fork, known = request.param != "exec", FORMS[request.param]
    rows = aside(uid, lambda: stage.confined(fork=fork, known=known))
    assert set(rows) == {n for t in attempts.TABLES for n in t}
    return rows


@pytest.mark.parametrize("name", DENIED)
def test_an_attempt_fails_confined(found, name):
    if found[name].startswith("not here"):
        pytest.skip(found[name])
    assert found[name] in DENIED[name]


@pytest.mark.parametrize("name", attempts.ALLOWED)
def test_what_a_plugin_needs_works_confined(found, name):
    assert found[name] == "done"


@pytest.mark.parametrize("name", sorted(set(DENIED) - attempts.UNARMED))
def test_the_same_attempt_succeeds_unconfined(uid, stage, name):
    """The trap is armed: without this the attempt may fail for another reason."""
    if uid and name in attempts.OF_ROOT:
        pytest.skip("only root may do it unconfined")
    stage.restore()
    found = aside(uid, lambda: stage.unconfined(name))
    if found.startswith("not here"):
        pytest.skip(found)
    assert found == "done"
