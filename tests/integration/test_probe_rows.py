"""What the command `probe` shows: order, table, summary, and the quorum."""

from __future__ import annotations

import logging

import pytest
from hostile_server import Hostile, answering, reply
from probing import ALICE, DEAD, commands, probe, server

from btplug import Outcome, Peer, Reply, TransportError

__all__ = ["commands", "probe", "server"]  # fixtures

BROKEN = reply(b"no", status="500 X")
FEW = "see in the rows why the others did not, or lower --quorum"
# A transport of one's own: it proves whatever hotkey it is asked for.
ECHO = """
from btplug import Reply, TransportPlugin

class Plugin(TransportPlugin):
    schemes = ("echo",)
    def initialize(self, config): ...
    def send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=message.body, signer=peer.hotkey)
    def shutdown(self): ...
"""


@pytest.mark.parametrize(
    ("quorum", "least"),
    [(0, 0), (1, 0), ("2", 0), ("66%", 0), ("67%", 3), (3, 3), ("100%", 3)],
)
def test_fewer_answers_than_the_quorum_are_an_error_after_all_rows(
    commands, server, quorum, least
):
    with Hostile(answering(BROKEN)) as broken:
        peers = [server.url, server.url, broken.url]
        rows = commands.execute_plugin("probe", peers=peers, quorum=quorum)
        for _ in range(3):
            next(rows)
        with pytest.raises(TransportError if least else StopIteration) as caught:
            next(rows)

    if least:
        what = f"2 of 3 peers answered, expected at least {least}"
        assert str(caught.value) == f"{what}\n  fix:   {FEW}"
        assert caught.value.exit_code == 5


def test_by_default_one_has_to_answer(commands):
    with pytest.raises(TransportError) as caught:
        list(commands.execute_plugin("probe", peers=[DEAD]))

    assert caught.value.what == "0 of 1 peer answered, expected at least 1"


def test_a_library_finds_the_summary_in_its_log(probe, server, caplog):
    with caplog.at_level(logging.INFO, "btplug"):
        probe(DEAD)
        (row,) = probe(server.url)

    ms = row["ms"]
    assert [record.getMessage() for record in caplog.records] == [
        "0 of 1 peer answered",
        f"1 of 1 peer answered; p50 {ms} ms, p90 {ms} ms, p99 {ms} ms",
    ]


def test_a_percentile_is_a_latency_that_somebody_had(commands):
    commands.load_plugin("probe")
    plugin = commands["probe"]
    tally = plugin._shown.__func__.__globals__["Tally"](200, 0)
    for n in range(1, 101):
        good, bad = Reply(status=200), Reply(status=503)
        peer = Peer(DEAD)
        tally.row(Outcome(index=n, peer=peer, reply=good, seconds=(101 - n) / 1000))
        tally.row(Outcome(index=n, peer=peer, reply=bad, seconds=9))

    assert tally.figures() == {
        "asked": 200, "answered": 100, "p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0,
    }  # fmt: skip


def test_rows_are_sorted_by_a_key_and_what_has_none_comes_last(probe, server):
    with Hostile(answering(BROKEN)) as broken:
        urls = [DEAD, broken.url, server.url]
        up = probe(*urls, sort="status")
        down = probe(*urls, sort="-status")

    assert [row["status"] for row in up] == [200, 500, None]
    assert [row["status"] for row in down] == [500, 200, None]


def test_without_json_the_result_is_a_table_of_text(commands, server):
    commands.context.wants_json = False

    (text,) = commands.execute_plugin("probe", peers=[DEAD, server.url])

    head, dead, good = text.splitlines()
    assert head.split() == [
        "#", "Peer", "Status", "ms", "Proven", "hotkey", "Failure", "Why",
    ]  # fmt: skip
    assert dead.split()[:2] == ["0", DEAD]
    assert dead.endswith("  refused  127.0.0.1:1 refused the connection")
    assert dead.index("refused") == head.index("Failure")
    assert good.split()[:3] == ["1", server.url, "200"]


def test_what_a_peer_says_does_not_steer_the_terminal(commands, make_plugin, tmp_path):
    code = ECHO.replace("return ", 'raise OSError("a\\x1b[2Jb\\nc") # ')
    make_plugin("echo", code, kind="transport", where=tmp_path / "own")
    commands.transports.discover_plugins(tmp_path / "own")
    commands.context.wants_json = False

    (text,) = commands.execute_plugin("probe", peers=["echo://x"], quorum=0)

    assert r"a\x1b[2Jb\nc" in text
    assert len(text.splitlines()) == 2


def test_peers_of_several_transports_are_asked_together(
    probe, commands, server, make_plugin, tmp_path
):
    make_plugin("echo", ECHO, kind="transport", where=tmp_path / "own")
    assert not commands.transports.discover_plugins(tmp_path / "own")
    peers = [Peer("echo://x", ALICE), server.url, "ftp://x", server.url]

    rows = probe(*peers, sort="index", data="hello")

    assert [(row["ok"], row["signer"], row["bytes"]) for row in rows] == [
        (True, ALICE, 5),
        (True, None, 2),
        (False, None, None),
        (True, None, 2),
    ]
    assert rows[2]["failure"] == "unsupported"
    assert rows[2]["what"].startswith("no transport for the scheme 'ftp', expected one")


def test_the_dialect_of_all_peers_can_be_chosen(probe, server):
    (row,) = probe(server.url, dialect="v10")

    assert row["failure"] == "unsupported"
    assert row["what"] == "found a peer to be spoken to in 'v10', and no key for that"
    assert not server.lines


def test_a_hotkey_that_is_not_proven_is_no_answer(probe, server):
    (row,) = probe(f"{ALICE}@127.0.0.1:{server.port}", dialect="none")

    assert (row["ok"], row["failure"], row["signer"]) == (False, "unauthentic", None)
