"""What may be sent, and what no message shows; see test_servers_content too."""

from __future__ import annotations

import gc
import tracemalloc
import urllib.parse
from dataclasses import replace

import hostile_server
import pytest
from hostile_server import OK, Hostile, answering, open_http, recording

from btplug import Message, Peer
from btplug.errors import BadReply, NotAllowed, TransportError

form, open_form = hostile_server.form, hostile_server.open_form


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": (("x", "a\r\nInjected: 1"),)},
        {"headers": (("x", "a\nb"),)},
        {"headers": (("x", "a\x00b"),)},
        {"headers": (("x", "ä"),)},
        {"headers": (("x\r\nInjected", "1"),)},
        {"headers": (("x y", "1"),)},
        {"headers": (("", "1"),)},
        {"headers": (("Host", "other"),)},
        {"headers": (("Content-Length", "1"),)},
        {"headers": (("Transfer-Encoding", "chunked"),)},
        {"headers": (("Connection", "close"),)},
        {"media_type": "text/plain\r\nX: 1"},
        {"method": "get"},
        {"method": "GET / HTTP/1.1\r\nX:"},
        {"method": "CONNECT"},
        {"target": "/a\r\nX: 1"},
        {"target": "/a b"},
        {"target": "/a#b"},
    ],
    ids=repr,
)
def test_what_may_not_be_sent_is_refused_before_connecting(form, wrong):
    with Hostile(answering(OK)) as server:
        with pytest.raises(NotAllowed) as caught:
            form.send(server.url, b"x", **wrong)
        assert not server.lines

    assert caught.value.delivered is False
    assert caught.value.fix
    assert "\r" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pa55@127.0.0.1/",
        "http://127.0.0.1/\r\nX: 1",
        "http://127.0.0.1:99999/",
        "http://",
        "ftp://127.0.0.1/",
        "http://[::1/",
        "http://a b/",
        "no-url",
        pytest.param("http://127.0.0.1/" + "a" * 70_000, id="70 KB"),
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_a_password(form, url):
    with pytest.raises(NotAllowed) as caught:
        form.receive(url)

    assert "pa55" not in str(caught.value)
    assert caught.value.delivered is False


@pytest.mark.parametrize("sign", ["%", "%s", "%%", "%(x)s", "%20", "%c", "%\t%"])
def test_percent_signs_are_sent_as_they_stand(form, sign):
    """Heads are written from a text in which they might mean something."""
    seen, name = [], sign.replace("(", "").replace(")", "").replace("\t", "")
    with Hostile(recording(seen)) as server:
        for _ in range(2):
            form.send(
                f"{server.url}/a%20b?c=%25",
                f"body {sign}".encode(),
                media_type=f"text/{sign}",
                headers=(("a", sign), (f"b{name}", f"{sign} {sign}"), ("c", "")),
                method=f"X{name.upper()}",
            )

    assert seen[0] == seen[1]
    head, _, body = seen[0].decode().partition("\r\n\r\n")
    line, *rest = head.split("\r\n")
    assert body == f"body {sign}"
    assert line == f"X{name.upper()} /a%20b?c=%25 HTTP/1.1"
    assert [one for one in rest if one[0] in "abc" and one[1:2] in ":%"] == [
        f"a: {sign}",
        f"b{name}: {sign} {sign}",
        "c: ",
    ]
    assert f"content-type: text/{sign}" in rest


def test_a_secret_header_is_in_no_error(form):
    with pytest.raises(NotAllowed) as caught:
        form.send("http://127.0.0.1/", headers=(("authorization", "Bearer s3cret\n"),))

    assert "s3cret" not in str(caught.value)


def test_escapes_in_a_reply_stay_data_and_never_reach_a_message(form):
    data = (
        b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Type: \x1b[2Jx\r\nX: \x1b[1m\r\n"
        b"Content-Encoding: \x1b[5m\r\nContent-Length: 5\r\n\r\n\x1b[0m!"
    )
    with Hostile(answering(data)) as server, pytest.raises(BadReply) as caught:
        form.receive(server.url)
    assert "\x1b" not in str(caught.value)

    plain = data.replace(b"Content-Encoding: \x1b[5m\r\n", b"")
    with Hostile(answering(plain)) as server, pytest.raises(BadReply) as caught:
        form.receive(server.url)
    assert "\x1b" not in str(caught.value)

    body = b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Length: 5\r\n\r\n\x1b[0m!"
    with Hostile(answering(body)) as server:
        answer = form.receive(server.url)
    assert answer.body == b"\x1b[0m!"
    with pytest.raises(BadReply) as caught:
        answer.json()
    assert "\x1b" not in str(caught.value)


class Boastful(bytes):
    def __len__(self):
        return 2


def test_a_body_is_its_bytes_whatever_it_says_of_itself(form):
    seen = []
    with Hostile(recording(seen)) as server:
        assert form.send(server.url, Boastful(b"whole")).body == b"ok"
        assert form.send(server.url, Boastful(b"again")).body == b"ok"

    assert [one.partition(b"\r\n\r\n")[2] for one in seen] == [b"whole", b"again"]


def _long(index, what):
    """Return a message of which one part is long, and no other has the same."""
    text = f"/{index:03}" + "x" * 20_000
    url, message = "http://127.0.0.1:9/", {"body": b"x"}
    if what == "url":
        url = f"http://127.0.0.1:9{text}"
    elif what == "target":
        message["target"] = text
    elif what == "media_type":
        message["media_type"] = f"text{text}"
    elif what == "name":
        message["headers"] = ((text.strip("/"), "1"),)
    elif what == "names":
        message["headers"] = tuple((f"n{index:03}{n}", "1") for n in range(900))
    else:  # a few characters that are sent as many
        url = f"http://127.0.0.1:9/{index:03}" + "\U0001f600" * 200
    return Peer(url), Message(**message)


@pytest.mark.parametrize(
    "what", ["url", "target", "media_type", "name", "names", "emoji"]
)
@pytest.mark.parametrize("dialect", ["none", "btauth/1"])
def test_what_is_long_is_not_remembered(what, dialect):
    """A plugin whose memory is bounded would fill that of the host."""
    held = []
    with open_http(dialects={"btauth/1": {"key": "//Alice"}}) as http:
        tracemalloc.start()
        try:
            for index in range(60):
                peer, message = _long(index, what)
                with pytest.raises(TransportError):
                    http.send(replace(peer, dialect=dialect), message)
                if index in (19, 59):
                    urllib.parse.clear_cache()  # Python's own remembers 128
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()

    assert held[1] - held[0] < 200_000


def test_an_error_shows_no_more_of_a_header_than_its_beginning(form):
    with pytest.raises(NotAllowed) as caught:
        form.send("http://127.0.0.1:9/", b"x", headers=(("x" * 100_000, "\n"),))

    assert len(str(caught.value)) < 1000
