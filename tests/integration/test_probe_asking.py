"""The command `probe` from the library: what it asks, shows and expects."""

from __future__ import annotations

import threading

import pytest
from hostile_server import OK, Hostile, answering, recording, reply, then_close
from probing import DEAD, commands, probe, server

from btplug import Message, Peer, UsageError

__all__ = ["commands", "probe", "server"]  # fixtures

BROKEN = reply(b"no", status="500 X")


def test_every_peer_gets_a_row_that_says_how_it_is(probe, server):
    with (
        Hostile(answering(BROKEN)) as broken,
        Hostile(lambda line: line.wait()) as hanging,
        Hostile(then_close(b"no such protocol\r\n\r\n")) as lying,
    ):
        urls = [server.url, broken.url, hanging.url, DEAD, lying.url]
        rows = probe(*urls, timeout=0.3, sort="index")

    found = [(row["status"], row["ok"], row["failure"]) for row in rows]
    assert found == [
        (200, True, None),
        (500, False, None),
        (None, False, "late"),
        (None, False, "refused"),
        (None, False, "bad-reply"),
    ]
    assert [row["peer"] for row in rows] == urls
    assert rows[3]["what"] == "127.0.0.1:1 refused the connection"
    assert [*rows[0]] == [
        "index", "peer", "hotkey", "status", "ok", "signer", "failure", "what",
        "bytes", "ms", "attempts",
    ]  # fmt: skip


def test_rows_come_as_their_peers_are_done_and_keep_their_index(commands, server):
    go = threading.Event()

    def slow(line):
        line.request()
        assert go.wait(20)
        line.send(OK)

    with Hostile(slow) as late:
        rows = commands.execute_plugin("probe", peers=[late.url, server.url])
        first = next(rows)
        go.set()
        (second,) = rows

    assert (first["index"], first["peer"]) == (1, server.url)
    assert (second["index"], second["peer"]) == (0, late.url)


def test_the_same_peer_twice_is_asked_twice(probe, server):
    rows = probe(server.url, server.url, Peer(server.url))

    assert sorted(row["index"] for row in rows) == [0, 1, 2]
    assert {row["peer"] for row in rows} == {server.url}


def test_what_is_sent_is_what_was_asked_for(probe, commands):
    seen = []
    with Hostile(recording(seen)) as server:
        probe(server.url)
        probe(f"{server.url}/a", data=b"x", method="PUT", target="/b?c=d")
        probe(server.url, data=Message(body=b"y", method="PATCH", target="/own"))

    assert [request.split(b" HTTP")[0] for request in seen] == [
        b"POST /", b"PUT /a/b?c=d", b"PATCH /own",
    ]  # fmt: skip
    assert [request.partition(b"\r\n\r\n")[2] for request in seen] == [b"", b"x", b"y"]


def test_no_more_are_asked_at_once_than_the_limit(probe):
    together, most, lock = 0, 0, threading.Lock()

    def counting(line):
        nonlocal together, most
        while line.request():
            with lock:
                together += 1
                most = max(most, together)
            line.wait(0.02)
            with lock:
                together -= 1
            line.send(OK)

    with Hostile(counting) as server:
        rows = probe(*[server.url] * 12, limit=3)

    assert all(row["ok"] for row in rows)
    assert most <= 3


def test_whose_turn_does_not_come_before_the_deadline_is_late(probe):
    with Hostile(lambda line: line.wait()) as hanging:
        rows = probe(hanging.url, DEAD, limit=1, deadline=0.2, sort="index")

    assert [row["failure"] for row in rows] == ["late", "late"]
    assert rows[1]["what"] == "its turn did not come within 0.2 s for all"


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        (
            {"quorum": "most"},
            "--quorum: found 'most', expected a number of peers, or 0% to 100%",
            "write for example --quorum 8, or --quorum 50%",
        ),
        (
            {"quorum": "101%"},
            "--quorum: found '101%', expected a number of peers, or 0% to 100%",
            "write for example --quorum 8, or --quorum 50%",
        ),
        (
            {"quorum": 2},
            "--quorum: found 2 of 1 peers, expected at most 1",
            "lower it, or give more peers",
        ),
        (
            {"sort": "age"},
            "--sort: found 'age', expected one of index, peer, status, ms, signer, failure",
            "choose one of them; with - in front, downwards",
        ),
        (
            {"format": "yaml"},
            "--format: found 'yaml', expected one of lines, csv, json, jsonl",
            "choose one of them",
        ),
        (
            {"dialect": "btauth"},
            "--dialect: found 'btauth', expected one of none, btauth/1, v10",
            "did you mean btauth/1?",
        ),
        ({"max_peers": 0}, "--max-peers: found 0, expected 1 or more", "raise it"),
        (
            {"target": "/a b"},
            "found the target '/a b', expected a path and query without spaces, control characters or '#'",
            "percent-encode them",
        ),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_sent(
    commands, server, options, what, fix
):
    with pytest.raises(UsageError) as caught:
        commands.execute_plugin("probe", peers=[server.url], **options)

    assert (caught.value.what, caught.value.fix) == (what, fix)
    assert not server.lines


# Leaving early.


def test_whoever_stops_reading_leaves_no_peer_waiting(commands, server):
    gone = threading.Event()

    def hanging(line):
        line.request()
        line.sock.recv(1)  # until the client goes away
        gone.set()

    with Hostile(hanging) as slow:
        rows = commands.execute_plugin(
            "probe", peers=[server.url, slow.url], timeout=60
        )
        next(rows)
        rows.close()
        assert gone.wait(10)


def test_a_shutdown_ends_what_is_still_asked(commands, server):
    gone = threading.Event()

    def hanging(line):
        line.request()
        line.sock.recv(1)
        gone.set()

    with Hostile(hanging) as slow:
        rows = commands.execute_plugin(
            "probe", peers=[server.url, slow.url], timeout=60
        )
        next(rows)
        commands.deregister_plugin("probe")
        assert gone.wait(10)
        rows.close()


def test_a_result_that_nobody_reads_sends_nothing(commands, server):
    commands.execute_plugin("probe", peers=[server.url])
    list(commands.execute_plugin("probe", peers=[DEAD], quorum=0))

    assert not server.lines
