"""A confined child without sockets reaches its peers by the host's transports."""

import json
import os
import sys

import pytest
from hostile_server import Hostile, open_http, reply
from stage import HERE, VERSION

from btplug import sandbox
from btplug._broker.broker import Broker
from btplug._broker.hosts import Hosts
from btplug._confine.frames import Frame, Kind

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VERSION, reason="the kernel has no Landlock"),
]


def parrot(line):
    while data := line.request():
        line.send(reply(data.partition(b"\r\n\r\n")[2]))


def test_a_confined_child_sends_in_every_form_and_to_whom_it_may_only():
    path = [HERE, *(p for p in sys.path if os.path.isabs(p))]
    noise = []
    with Hostile(parrot) as there, open_http() as http:
        with sandbox.start("mains:fetch", read=[HERE], path=path) as child:
            child.wait_until_confined(noise.append)
            rules = Hosts(["127.0.0.1"])
            broker = Broker({"http": http}, rules, child.post, http.context.home)
            child.post(Frame(Kind.GO, json.dumps(there.url).encode()))
            child.allow(60, "finish")
            last = child.hear(broker.take, noise.append)
            broker.close()
        assert noise == []
        assert last.kind == Kind.RESULT
        assert json.loads(last.body) == [*"abcccde", "NotAllowed"]
        assert list(broker.reached) == [there.url.removeprefix("http://").rstrip("/")]


def test_what_became_a_link_since_it_was_looked_at_is_not_lent(tmp_path):
    """A path was looked at by the host; the child resolves it once more."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for folder in (theirs, ours):
        folder.mkdir()
        (folder / "file").write_text("x")
    (tmp_path / "link").symlink_to(theirs)
    (ours / "link").symlink_to(theirs / "file")
    straight = [str(ours / "file"), str(tmp_path)]
    crooked = [str(tmp_path / "link/file"), str(ours / "link")]
    names = [straight[0], *crooked, str(theirs / "file")]
    path = [HERE, *(p for p in sys.path if os.path.isabs(p))]

    for lent, expected in (
        ((straight[:1], ()), [f"r {names[0]}"]),
        (((), straight[:1]), [f"r {names[0]}", f"r+ {names[0]}"]),
        ((crooked, ()), []),
        (((), crooked), []),
        # The same files are lent by a path without a link.
        ((straight[1:], ()), [f"r {name}" for name in names]),
    ):
        child = sandbox.start(
            "mains:open_all", read=[HERE, *lent[0]], write=lent[1], path=path
        )
        with child:
            child.wait_until_confined(lambda _: None)
            child.post(Frame(Kind.GO, json.dumps(names).encode()))
            child.allow(60, "finish")
            last = child.hear(lambda _: None, lambda _: None)
        assert json.loads(last.body) == expected
