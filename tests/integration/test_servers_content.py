"""What peers on an open network prove and say, line by line: S25 to S30.

The first lines are in `test_servers`; what one of these has more to say about is in
`test_http_tls` (S25), `test_http_sent` (S29, S30) and ``unit/test_message`` (S26, S27).
"""

from __future__ import annotations

import re
import time

import asking
import pytest
import test_http_tls
from asking import ask
from hostile_server import OK, Hostile, answering, open_http, recording, reply
from servers import LIMIT

from btplug.errors import BadReply, NotAllowed, Refused, TransportError

authority, good = test_http_tls.authority, test_http_tls.good
way, http = asking.way, asking.http

MANY = 10  # times its limit is what a call may last on a busy machine


@pytest.fixture
def trusting(authority):
    """The transport that believes the test's own authority."""
    with open_http(ca_file=authority.file) as transport:
        yield transport


# -- TLS


@pytest.mark.parametrize(
    ("names", "options", "host", "why", "fix"),
    [
        ("IP:127.0.0.1", {"signed": False}, None, "it is self-signed", "ca_file FILE"),
        ("IP:127.0.0.1", {"days": -1}, None, "it has expired", "have the peer renew it"),
        ("IP:127.0.0.9", {}, None, "it is for another address", "use the name that"),
        ("DNS:example.org", {}, None, "it is for another address", "use the name that"),
        ("DNS:example.org", {}, "localhost", "it is for another host", "use the name that"),
    ],
)  # fmt: skip
def test_s25_a_bad_certificate_is_refused_and_the_message_says_which(
    trusting, way, authority, names, options, host, why, fix
):
    seen = []
    context = authority.context("bad", names, **options)
    with Hostile(recording(seen), tls=context, name=host) as server:
        with pytest.raises(Refused) as caught:
            ask(trusting, way, server.url, b"secret", timeout=20)

    shown = host or "127.0.0.1"
    assert caught.value.what == f"the certificate of {shown} is not accepted: {why}"
    assert fix in caught.value.fix
    assert caught.value.where == server.url
    assert caught.value.delivered is False
    assert seen == []


def test_s25_an_unknown_authority_is_refused(http, way, good):
    seen = []
    with Hostile(recording(seen), tls=good) as server:
        with pytest.raises(Refused) as caught:
            ask(http, way, server.url, b"secret", timeout=20)

    assert caught.value.what == (
        "the certificate of 127.0.0.1 is not accepted: its authority is not known"
    )
    assert caught.value.fix == (
        "give its authority with: btplug config set http.ca_file FILE"
    )
    assert seen == []


def test_s25_plain_http_behind_https_is_told_apart(http, way):
    with Hostile(lambda line: line.send(OK) or line.wait(1)) as server:
        with pytest.raises(Refused) as caught:
            ask(http, way, server.url.replace("http:", "https:"), timeout=20)

    assert caught.value.what.startswith(
        "127.0.0.1 does not speak TLS, perhaps plain HTTP ("
    )
    assert caught.value.fix == "write http:// in the URL if that is right"
    assert caught.value.delivered is False


def test_s25_plain_http_that_waits_behind_https_ends_at_the_deadline(http, way):
    with Hostile(lambda line: line.wait()) as server:
        began = time.monotonic()
        with pytest.raises(TransportError) as caught:
            ask(http, way, server.url.replace("http:", "https:"), timeout=LIMIT)
        assert LIMIT <= time.monotonic() - began < MANY

    assert caught.value.kind == "late"
    handshake = (
        "waited 0.4 s for the TLS handshake with 127.0.0.1: no bytes had arrived"
    )
    if way != "send_many" or caught.value.what == handshake:
        assert caught.value.what == handshake
        assert "perhaps it is http://" in caught.value.fix
        assert caught.value.delivered is False


# -- JSON and other bodies

HTML = b"<!doctype html><title>\x1b[31m502 Bad Gateway</title>" + b"<p>" * 100
NO_JSON = {
    "S26 NaN": (b'{"amount": NaN}', "NaN is not JSON"),
    "S26 Infinity": (b"[Infinity]", "Infinity is not JSON"),
    "S26 -Infinity": (b"[-Infinity]", "-Infinity is not JSON"),
    "S26 1e999": (b"[1e999]", "the number 1e999 is too large"),
    "S26 a key twice": (b'{"amount": 1, "amount": 2}', "'amount' stands there twice"),
    "S27 invalid UTF-8": (b'"\xff"', "invalid start byte"),
    "S27 100k deep": (b"[" * 100_000, "nested too deep"),
    "S27 integer of 5,000 digits": (b"1" * 5000, "4300 digits"),
    "S27 20 MB": (b"[" + b"1," * 10_000_000 + b"1]", "at most 8,388,608 bytes of it"),
    "S27 HTML page": (HTML, "Expecting value"),
    "S27 empty": (b"", "Expecting value"),
}


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_good_json_is_one_error_that_shows_what_came(http, way, name):
    body, reason = NO_JSON[name]
    with Hostile(answering(reply(body, b"Content-Type: text/x"))) as server:
        answer = ask(http, way, server.url, timeout=20)
    with pytest.raises(BadReply) as caught:
        answer.json()

    shown = f"found a body of {len(body):,} bytes (text/x): {repr(body[:80])[1:]}, "
    assert caught.value.what.startswith(f"{shown}expected JSON (")
    assert reason in caught.value.what
    assert caught.value.fix == "look at the whole reply with: btplug run fetch URL"
    assert caught.value.exit_code == 5
    assert "\x1b" not in str(caught.value)


# -- escapes, and what is sent


def test_s29_escapes_in_reason_and_body_stay_data_and_reach_no_message(http, way):
    data = b"HTTP/1.1 503 \x1b[31mNo\r\nContent-Length: 5\r\n\r\n\x1b[0m!"
    with Hostile(answering(data)) as server:
        answer = ask(http, way, server.url)

    assert answer.body == b"\x1b[0m!"
    for judge in (answer.json, answer.expect_ok):
        with pytest.raises(BadReply) as caught:
            judge(*([server.url] if judge == answer.expect_ok else []))
        assert "\x1b" not in str(caught.value)
        assert r"\x1b[0m!" in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": (("x", "a\r\nInjected: 1"),)},
        {"headers": (("x", "a\nb"),)},
        {"headers": (("x\r\nInjected", "1"),)},
        {"media_type": "text/plain\r\nX: 1"},
        {"method": "GET / HTTP/1.1\r\nX:"},
        {"target": "/a\r\nX: 1"},
    ],
    ids=repr,
)
def test_s29_a_line_break_in_what_is_sent_is_refused_before_connecting(
    http, way, wrong
):
    with Hostile(answering(OK)) as server:
        with pytest.raises(NotAllowed) as caught:
            ask(http, way, server.url, b"x", **wrong)
        assert not server.lines

    assert caught.value.delivered is False
    assert caught.value.fix
    assert "\r" not in str(caught.value)


# -- the environment


def test_s30_neither_proxy_nor_netrc_of_the_environment_is_used(
    http, way, monkeypatch, tmp_path
):
    proxied, seen = [], []
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    with Hostile(recording(proxied)) as proxy, Hostile(recording(seen)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        token = (("authorization", "Bearer t"),)
        ask(http, way, server.url, b"x")
        ask(http, way, server.url, b"x", headers=token)

    assert proxied == []
    assert [b"authorization" in one.lower() for one in seen] == [False, True]
    assert b"authorization: Bearer t\r\n" in seen[1]


def test_s30_the_environment_neither_adds_authorities_nor_gets_keys(
    http, way, good, authority, tmp_path, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with Hostile(answering(OK), tls=good) as server:
        with pytest.raises(Refused, match="its authority is not known"):
            ask(http, way, server.url, timeout=20)

    with (
        open_http(ca_file=authority.file) as trusting,
        Hostile(answering(OK), tls=good) as server,
    ):
        assert ask(trusting, way, server.url, timeout=20).ok
    assert not (tmp_path / "keys").exists()


def test_s30_no_cookie_is_kept_nor_sent_to_any_port(http, way):
    seen = []
    data = reply(b"ok", b"Set-Cookie: id=1; Path=/", b"Set-Cookie: b=2")
    with Hostile(recording(seen, data)) as server, Hostile(recording(seen)) as other:
        answer = ask(http, way, server.url)
        for url in (server.url, other.url):
            ask(http, way, url)

    got = [value for key, value in answer.headers if key == "Set-Cookie"]
    assert got == ["id=1; Path=/", "b=2"]
    assert len(seen) == 3
    assert all(b"cookie" not in request.lower() for request in seen)


def test_s30_a_password_in_a_url_is_refused_and_shown_nowhere(http, way, caplog):
    with Hostile(answering(OK)) as server:
        url = server.url.replace("127.0.0.1", "user:pa55w0rd@127.0.0.1")
        with pytest.raises(NotAllowed) as caught:
            ask(http, way, url)
        assert not server.lines

    assert caught.value.what == (
        "found a URL with user or password, expected one without"
    )
    assert "pa55w0rd" not in f"{caught.value!r}{caught.value}{caplog.text}"


def test_s30_a_query_is_in_no_error(http, way):
    with pytest.raises(Refused) as caught:
        ask(http, way, "http://127.0.0.1:1/a?key=s3cret")

    assert re.fullmatch(r"http://127.0.0.1:1/a(\?…)?", caught.value.where)
    assert "s3cret" not in str(caught.value)
