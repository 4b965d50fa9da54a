"""HTTPS: who is believed, and what is said where nobody is."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import struct
import subprocess
import sys

import hostile_server
import pytest
from hostile_server import (
    OK,
    SHIPPED,
    Hostile,
    answering,
    recording,
    then_close,
)

from btplug.errors import BadReply, Cut, Refused

form, open_form = hostile_server.form, hostile_server.open_form


class Authority:
    """Makes certificates with the ``openssl`` command."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "ca.pem"
        self.run(
            "req -x509 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca"
        )

    def run(self, line):
        key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1" * ("-keyout" in line)
        subprocess.run(
            ["openssl", *line.split(), *key.split()],
            cwd=self.folder,
            check=True,
            capture_output=True,
        )

    def context(self, name, names, *, days=2, signed=True):
        """Return a server's TLS context with a certificate for *names*."""
        (self.folder / "ext").write_text(f"subjectAltName={names}\n")
        self.run(f"req -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        issuer = "-CA ca.pem -CAkey ca.key -CAcreateserial"
        self.run(
            f"x509 -req -in {name}.csr -days {days} -extfile ext -out {name}.pem "
            + (issuer if signed else f"-signkey {name}.key")
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            self.folder / f"{name}.pem", self.folder / f"{name}.key"
        )
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def good(authority):
    return authority.context("good", "DNS:localhost,IP:127.0.0.1,IP:::1")


@pytest.fixture
def trusting(open_form, authority):
    """The transport that believes the test's own authority."""
    with open_form(ca_file=authority.file) as form:
        yield form


def test_a_known_authority_is_believed_and_the_connection_kept(trusting, good):
    seen = []
    with Hostile(recording(seen), tls=good) as server:
        for _ in range(5):
            assert trusting.send(server.url, b"x" * 300_000).body == b"ok"
            assert trusting.receive(server.url).body == b"ok"
        assert len(server.lines) == 1

    assert all(len(request) > 300_000 for request in seen[::2])


def test_a_name_is_checked_as_well_as_an_address(trusting, good):
    with Hostile(answering(OK), tls=good, name="localhost") as server:
        assert trusting.receive(server.url).ok


def _refusal(form, server, **keywords):
    with pytest.raises(Refused) as caught:
        form.send(server.url, b"secret", timeout=5, **keywords)
    assert caught.value.delivered is False
    return caught.value


def test_a_connection_closed_in_the_handshake_is_refused(form):
    with (
        Hostile(lambda line: line.sock.recv(10)) as server,
        pytest.raises(Refused, match=r"127\.0\.0\.1 ended the TLS handshake"),
    ):
        form.receive(server.url.replace("http:", "https:"), timeout=5)


@pytest.mark.parametrize("end", ["said", "unsaid", "reset"])
def test_a_reply_without_a_length_is_whole_where_tls_says_so(trusting, good, end):
    def script(line):
        line.request()
        line.send(b"HTTP/1.1 200 OK\r\n\r\npaid: 1")
        if end == "said":
            line.sock.unwrap()
        elif end == "reset":
            now = struct.pack("ii", 1, 0)
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        line.sock.close()

    with Hostile(script, tls=good) as server:
        if end == "said":
            assert trusting.send(server.url).body == b"paid: 1"
            return
        with pytest.raises(Cut) as caught:
            trusting.send(server.url)

    if end == "unsaid":
        assert caught.value.what == (
            "the connection ended (TLS did not say that this was all) in waiting for "
            "the reply body: got 7 bytes, and no end"
        )


def test_tls_behind_http_is_told_apart(form):
    alert = b"\x15\x03\x01\x00\x02\x02\x28"
    with Hostile(then_close(alert)) as server, pytest.raises(BadReply) as caught:
        form.receive(server.url)

    assert caught.value.what == "found TLS, expected plain HTTP"
    assert "https://" in caught.value.fix


def test_only_a_key_with_a_frightening_name_switches_the_check_off(
    open_form, authority, caplog
):
    context = authority.context("self", "DNS:example.org", signed=False)
    with (
        caplog.at_level(logging.WARNING),
        open_form(dangerously_skip_tls_verification="true") as form,
        Hostile(answering(OK), tls=context) as server,
    ):
        assert form.receive(server.url).ok

    assert "certificates are not checked" in caplog.text


def test_a_ca_file_without_certificates_is_named_at_the_first_https_url(
    open_form, good, tmp_path
):
    file = tmp_path / "empty.pem"
    file.write_text("nothing\n")
    with open_form(ca_file=file) as form, Hostile(answering(OK), tls=good) as server:
        error = _refusal(form, server)

    assert str(file) in error.what


HANDLER = """
import os, signal, ssl
from btplug import Message, Peer, TransportPluginRegistry
registry = TransportPluginRegistry()
os.environ["BTPLUG_HTTP__CA_FILE"] = {file!r}
assert not registry.discover_plugins({shipped!r})
read = ssl.SSLContext.load_verify_locations
def interrupted(context, **keywords):
    ssl.SSLContext.load_verify_locations = read
    signal.raise_signal(signal.SIGINT)
    read(context, **keywords)
def handler(*_):
    print("handler", registry["http"].send(Peer({url!r}), Message(), timeout=5).body)
ssl.SSLContext.load_verify_locations = interrupted
signal.signal(signal.SIGINT, handler)
print("main", registry["http"].send(Peer({url!r}), Message(), timeout=5).body)
registry.shut_down()
"""


def test_a_signals_handler_may_send_while_the_authorities_are_read(authority, good):
    with Hostile(answering(OK), tls=good) as server:
        code = HANDLER.format(
            file=str(authority.file), shipped=str(SHIPPED), url=server.url
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=20
        )

    assert (done.stdout, done.stderr) == ("handler b'ok'\nmain b'ok'\n", "")


def test_the_authorities_are_not_loaded_before_they_are_needed(form):
    with Hostile(answering(OK)) as server:
        form.receive(server.url)

    assert form.transport._engine._trust._context is None
