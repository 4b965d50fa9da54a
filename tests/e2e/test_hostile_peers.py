"""Exit code 5: what hostile peers do to the command `send`, and what it says."""

import re

import pytest
from hostile_server import OK, Hostile, answering, recording, reply
from servers import CASES

# One of each kind of harm; `integration/test_servers` has them all, by each way.
SAMPLE = [
    "S01 headers, a byte at a time",
    "S03 accepts and says nothing",
    "S05 endless chunks, fast",
    "S06 body shorter than announced",
    "S08 two Content-Lengths",
    "S11 gzip bomb",
    "S15 header of 2 MB",
    "S21 reset in the body",
    "S29 escapes in what is no reply",
]


@pytest.mark.parametrize("name", SAMPLE)
def test_5_is_for_a_peer_that_is_hostile(btplug, name):
    case = CASES[name]
    limit = 0.4 if case.kind == "late" else 30
    config = {f"BTPLUG_HTTP__{key.upper()}": str(v) for key, v in case.config.items()}

    with Hostile(case.script) as server:
        done = btplug(
            "run", "send", server.url, "--data", "x", "--timeout", f"{limit}", **config
        )

    assert done.returncode == 5
    assert done.stdout == ""
    what, where, fix = done.stderr.splitlines()
    assert re.fullmatch(f"btplug: error: {case.what}", what)
    assert where == f"  where: {server.url}"
    assert fix.startswith("  fix:   ")
    assert case.fix in fix
    assert "\x1b" not in done.stderr


def test_5_is_for_a_redirect_and_nothing_is_sent_where_it_points(btplug):
    elsewhere = []
    with Hostile(recording(elsewhere), host="127.0.0.2") as other:
        to = f"Location: {other.url}/steal".encode()
        with Hostile(answering(reply(b"", to, status="307 X"))) as server:
            done = btplug("run", "send", server.url, "--data", "secret")

    assert done.returncode == 5
    assert "the peer answered with status 307, expected 200 to 299" in done.stderr
    assert (
        f"fix:   redirects are not followed; if you trust it, send to "
        f"'{other.url}/steal'" in done.stderr
    )
    assert elsewhere == []


def test_one_hostile_peer_among_many_takes_nothing_from_the_others(btplug):
    hostile = Hostile(CASES["S11 gzip bomb"].script)
    with Hostile(answering(OK)) as honest, hostile as server:
        done = btplug("run", "probe", honest.url, server.url)

    assert done.returncode == 0, done.stderr
    assert "1 of 2 peers answered" in done.stderr
    assert "bytes of gzip that decode to more" in done.stdout
