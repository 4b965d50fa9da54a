"""PEERS of the command `probe`: every form, and what is wrong in one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from probing import ALICE, DEAD, commands, probe, server

from btplug import Peer, UsageError

__all__ = ["commands", "probe", "server"]  # fixtures


@pytest.fixture
def read(probe):
    """Return the peers that a file means; all of them are dead."""

    def run(path, **options):
        rows = probe(str(path), sort="index", **options)
        return [(row["peer"], row["hotkey"]) for row in rows]

    return run


PEERS = [("http://127.0.0.1:1", None), ("http://[::1]:1/deep", ALICE)]
FILES = {
    "peers": f"# ours\n127.0.0.1:1   # the first\n\n{ALICE}@[::1]:1/deep\n",
    "bom.txt": f"\ufeff127.0.0.1:1\r\n{ALICE}@[::1]:1/deep",
    "url.csv": f"url,uid,HotKey\n127.0.0.1:1,0,\nhttp://[::1]:1/deep,1,{ALICE}\n",
    "list.json": json.dumps(
        [
            {"axon": {"ip": "127.0.0.1", "port": 1}, "hotkey": None, "stake": 1.5},
            {"url": "http://[::1]:1/deep", "hotkey": ALICE},
        ]
    ),
    "lines.JSONL": '{"ip": "127.0.0.1", "port": "1"}\n\n'
    + json.dumps({"url": f"{ALICE}@[::1]:1/deep"}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_its_ending_says(read, tmp_path, name):
    (tmp_path / name).write_text(FILES[name])

    assert read(tmp_path / name) == PEERS


def test_an_ip_gets_its_brackets_and_a_hotkey_may_stand_below_axon(read, tmp_path):
    (tmp_path / "a.csv").write_text("ip,port,hotkey\n::1,1,\n[::1],2,\n127.0.0.1,3,\n")
    one = {"axon": {"ip": "::1", "port": 1, "hotkey": ALICE}}
    (tmp_path / "a.json").write_text(json.dumps(one))

    assert read(tmp_path / "a.csv") == [
        ("http://[::1]:1", None),
        ("http://[::1]:2", None),
        ("http://127.0.0.1:3", None),
    ]
    assert read(tmp_path / "a.json") == [("http://[::1]:1", ALICE)]


def test_the_format_is_stronger_than_the_ending(read, tmp_path):
    (tmp_path / "peers.txt").write_text('{"ip": "127.0.0.1", "port": 1}')

    for format in ("json", "jsonl"):
        assert read(tmp_path / "peers.txt", format=format) == PEERS[:1]


@pytest.mark.parametrize("begins", ["", "\n\n"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["stdin", "file"])
def test_what_no_ending_tells_is_read_as_it_begins(
    read, tmp_path, monkeypatch, name, place, begins
):
    text = (begins + FILES[name].removeprefix("\ufeff")).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    (tmp_path / "peers").write_bytes(text)

    assert read("-" if place == "stdin" else tmp_path / "peers") == PEERS


@pytest.mark.parametrize(
    "text",
    [
        f'["127.0.0.1:1", "{ALICE}@[::1]:1/deep"]',
        f'[\n"127.0.0.1:1",\n{{"url": "{ALICE}@[::1]:1/deep"}}]',
        f'"ip","port","hotkey","url"\n127.0.0.1,1,,\n,,{ALICE},http://[::1]:1/deep\n',
        f'{{"ip": "127.0.0.1", "port": 1}}\n"{ALICE}@[::1]:1/deep"',
    ],
)
def test_a_peer_in_json_may_be_a_text(read, tmp_path, text):
    (tmp_path / "peers").write_text(text)

    assert read(tmp_path / "peers") == PEERS


def test_ipv6_at_the_begin_of_lines_is_not_taken_for_json(read, tmp_path):
    (tmp_path / "peers").write_text("[::1]:1/a,b\n127.0.0.1:1\n")

    assert [peer for peer, _ in read(tmp_path / "peers")] == [
        "http://[::1]:1/a,b", "http://127.0.0.1:1",
    ]  # fmt: skip


def test_json_may_stand_in_one_line(read, tmp_path):
    many = [{"ip": "127.0.0.1", "port": 1, "coldkey": ALICE} for _ in range(1000)]
    (tmp_path / "peers").write_text(json.dumps(many))

    assert (tmp_path / "peers").stat().st_size > 65536
    assert read(tmp_path / "peers") == PEERS[:1] * 1000


def test_stdin_files_and_arguments_are_read_in_the_order_given(
    probe, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("127.0.0.1:2\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"127.0.0.1:3\n")))
    given = ("127.0.0.1:1", str(tmp_path / "file"), "-", Peer("http://127.0.0.1:4"))

    rows = probe(*given, sort="index")

    assert [row["peer"][-1] for row in rows] == ["1", "2", "3", "4"]


def test_one_peer_alone_needs_no_list(probe):
    assert [row["peer"] for row in probe(peers="127.0.0.1:1")] == ["http://127.0.0.1:1"]
    assert [row["peer"] for row in probe(peers=Peer(DEAD))] == [DEAD]


# What is refused.

PEER = "a URL, host:port or hotkey@host:port"
NAME = "name the port, and write IPv6 in brackets"
KEYS = "url, or ip and port"
ROW = f"write each peer as a text, or with the keys {KEYS}"
WRONG = {
    "a word": ("x", "127.0.0.1:1\nwhat\n", f"x:2: found 'what', expected {PEER}", NAME),
    "a host": ("x", "10.0.0.1", f"x:1: found '10.0.0.1', expected {PEER}", NAME),
    "bare IPv6": ("x", "::1:80", f"x:1: found '::1:80', expected {PEER}", NAME),
    "a password": (
        "x",
        "me:pa55@host",
        f"x:1: found one with '@' in it, expected {PEER}",
        NAME,
    ),
    "a port": (
        "x",
        "h:99999",
        "x:1: found the URL 'http://h:99999', expected scheme://host[:port][/path] (Port out of range 0-65535)",
        "write IPv6 in brackets and the port as a number",
    ),
    "JSON": (
        "x",
        '{"ip": 1}',
        f"x:1: found the keys 'ip', expected {KEYS}",
        "name them like that; CSV has the names in its first line",
    ),
    "bytes": ("x", b"h:1\n\xff", "x:2: found byte 0xff, expected UTF-8", "save the file as UTF-8"),
    "a long line": (
        "x",
        "#" * 65537,
        "x:1: found a line of more than 65,536 characters, expected a shorter one",
        "write one peer a line, or name the format with --format",
    ),
    "a header": (
        "x.csv",
        "host,port\nh,1\n",
        f"x.csv:1: found the columns 'host, port', expected {KEYS}",
        "put a header above the rows, such as: ip,port,hotkey",
    ),
    "a short row": (
        "x.csv",
        "ip,port\nh,1\n\nh\n",
        "x.csv:4: found 1 fields, expected 2 as in the header",
        "mend the row",
    ),
    "open quotes": (
        "x.csv",
        'ip,port\nh,1\nh,"1\n',
        "x.csv:3: found a broken row (unexpected end of data), expected CSV",
        "close its quotes",
    ),
    "an empty field": (
        "x.csv",
        "ip,port,uid\n,1,7\n",
        f"x.csv:2: found the keys 'port, uid', expected {KEYS}",
        "name them like that; CSV has the names in its first line",
    ),
    "who serves nothing": (
        "x.csv",
        "ip,port\n0.0.0.0,0\n",
        "x.csv:2: found port '0', expected 1 to 65535",
        "correct it; leave out neurons that do not serve",
    ),
    "port true": (
        "x.json",
        '[{"ip": "h", "port": true}]',
        "x.json: record 1: found port True, expected 1 to 65535",
        "correct it; leave out neurons that do not serve",
    ),
    "ip as a number": (
        "x.json",
        '[{"ip": 2130706433, "port": 1}]',
        "x.json: record 1: found ip is a number, expected a text",
        "put it in quotes",
    ),
    "a bad hotkey": (
        "x.jsonl",
        '{"ip": "h", "port": 1, "hotkey": "no key"}',
        "x.jsonl:1: found hotkey 'no key', expected an ss58 address",
        "correct it",
    ),
    "two hotkeys": (
        "x.jsonl",
        '{"url": "abc@h:1", "hotkey": "def"}',
        "x.jsonl:1: found two hotkeys for one peer, expected one",
        "leave one out",
    ),
    "text in a list": (
        "x.json",
        '["127.0.0.1:1", "h"]',
        f"x.json: record 2: found 'h', expected {PEER}",
        NAME,
    ),
    "null": ("x.jsonl", "null", "x.jsonl:1: found null, expected an object", ROW),
    "a number": (
        "x.json",
        "5",
        "x.json: found a number, expected a list of objects",
        "put the peers into a list",
    ),
    "lines as JSON": (
        "x.json",
        "{}\n{}",
        "x.json: found broken JSON (Extra data: line 2 column 1 (char 3)), expected JSON",
        "for one object a line pass --format jsonl",
    ),
    "a repeated key": (
        "x.jsonl",
        '{"ip": "a", "ip": "b"}',
        "x.jsonl:1: found broken JSON (the key 'ip' stands there twice), expected JSON",
        "write one object a line, or pass --format json",
    ),
    "nothing": (
        "x",
        "# nobody\n",
        "found no peer in PEERS, expected at least one",
        f"give {PEER}, or a file that is not empty",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_file_is_said_with_its_place_and_nothing_is_sent(
    probe, tmp_path, monkeypatch, case, server
):
    name, content, what, fix = WRONG[case]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(UsageError) as caught:
        probe(*[] if case == "nothing" else [server.url], name)

    assert (caught.value.what, caught.value.fix) == (what, fix)
    assert not server.lines


@pytest.mark.parametrize("peer", ["nothing.txt", "example.com", "a\0b"])
def test_what_is_neither_peer_nor_file_is_refused(probe, peer):
    with pytest.raises(UsageError) as caught:
        probe(peer)

    reason = "embedded null byte" if "\0" in peer else "No such file or directory"
    assert str(caught.value) == (
        f"PEERS: found {peer!r}, which cannot be opened ({reason}), "
        f"expected {PEER}, a file, or - for stdin\n"
        "  fix:   correct the path; a peer needs its port, IPv6 its brackets"
    )


def test_a_file_that_cannot_be_read_is_refused(probe, tmp_path):
    with pytest.raises(UsageError, match=r"cannot be opened \(Is a directory\)"):
        probe(str(tmp_path))


def test_stdin_is_read_once_and_only_where_it_is(probe, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"h:1")))
    with pytest.raises(UsageError, match="found '-' twice in PEERS, expected it once"):
        probe("-", "-")

    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError) as caught:
        probe("-")
    assert str(caught.value) == (
        "PEERS: found no stdin to read '-' from, expected a pipe or a file\n"
        "  fix:   write for example: cat FILE | btplug run probe -"
    )


def test_more_peers_than_the_limit_are_refused_before_all_are_read(probe):
    def endless():
        while True:
            yield "127.0.0.1:1"

    with pytest.raises(UsageError) as caught:
        probe(peers=endless(), max_peers=3)

    assert str(caught.value) == (
        "found more than 3 peers, expected at most that\n"
        "  fix:   raise --max-peers, or probe them in parts"
    )


@pytest.mark.parametrize("format", ["lines", "csv", "json", "jsonl"])
def test_a_file_larger_than_its_limit_is_refused_in_every_format(
    probe, tmp_path, format
):
    path = tmp_path / "big"
    path.write_text({"csv": "ip,port\n"}.get(format, "") + "\n" * 3000)

    with pytest.raises(UsageError) as caught:
        probe(str(path), format=format, max_peers=2)

    assert "found more than 2,048 bytes, expected at most 1,024 for each of" in str(
        caught.value
    )
