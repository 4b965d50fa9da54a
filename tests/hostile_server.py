"""A server of raw sockets on loopback that does to its client what a script says.

It speaks no protocol of its own: a script gets a `Line` for each connection and reads
and writes bytes. A test module takes the fixtures below by assigning them to names.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from btplug import Context, Message, Peer, TransportPluginRegistry

SHIPPED = Path(__file__).resolve().parent.parent / "transport_plugins"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reply(body=b"", *headers, status="200 OK"):
    """Return an honest reply with a Content-Length and *headers* (lines of bytes)."""
    lines = [f"HTTP/1.1 {status}".encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Line:
    """One connection, as a script sees it."""

    def __init__(self, sock, stop, number):
        self.sock, self.number, self._stop = sock, number, stop
        self._rest = b""

    def request(self):
        """Read one request, by its Content-Length; empty when the client has closed."""
        while b"\r\n\r\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                return b""
            self._rest += data
        head, _, rest = self._rest.partition(b"\r\n\r\n")
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        while len(rest) < size:
            rest += self.sock.recv(65536)
        self._rest = rest[size:]
        return head + b"\r\n\r\n" + rest[:size]

    def chunks(self):
        """Read the body of a request that came without a length."""
        body, size = b"", 1
        while size:
            size = int(self._until(b"\r\n"), 16)
            while len(self._rest) < size + 2:
                self._more()
            body += self._rest[:size]
            self._rest = self._rest[size + 2 :]
        return body

    def _until(self, end):
        while end not in self._rest:
            self._more()
        found, _, self._rest = self._rest.partition(end)
        return found

    def _more(self):
        if not (data := self.sock.recv(65536)):
            raise ConnectionError
        self._rest += data

    def send(self, data):
        self.sock.sendall(data)

    def drip(self, data, every):
        """Send *data* byte by byte, then go on with its last byte for ever."""
        at = 0
        while self.wait(every):
            self.send(data[at : at + 1] or data[-1:])
            at += 1

    def wait(self, seconds=60.0):
        """Wait, but not longer than the server lives; False when it ends."""
        return not self._stop.wait(seconds)

    def reset(self):
        """End the connection with RST."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.sock.close()


class Hostile:
    """Runs *script* for each connection, in threads, until the `with` block ends.

    Attributes:
        url: Where it listens.
        lines: The connections there were.
        defects: What went wrong in a script, other than its client going away.
    """

    def __init__(self, script, *, host="127.0.0.1", tls=None, name=None):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._script, self._tls = script, tls
        self._stop = threading.Event()
        self._threads = []
        self.lines, self.defects = [], []
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((host, 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        scheme = "https" if tls else "http"
        shown = name or (f"[{host}]" if ":" in host else host)
        self.url = f"{scheme}://{shown}:{self.port}"

    def __enter__(self):
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, *exc):
        self._stop.set()
        # Wakes the thread in accept(), which closing alone does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self.lines:
            with suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a script of the server did not end"
        assert not self.defects, self.defects

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        line = Line(sock, self._stop, len(self.lines))
        self.lines.append(line)
        try:
            if self._tls:
                line.sock = self._tls.wrap_socket(sock, server_side=True)
            self._script(line)
        except OSError:
            pass  # the client went away, or does not like the certificate
        except Exception as exc:
            self.defects.append(exc)
        finally:
            line.sock.close()
            sock.close()


def recording(seen, data=OK):
    """Return a script that gives *data* to every request, and keeps them in *seen*."""

    def script(line):
        while request := line.request():
            seen.append(request)
            line.send(data)

    return script


def answering(data):
    """Return a script that gives the same bytes to every request."""
    return recording([], data)


def then_close(data):
    """Return a script that answers once and closes."""

    def script(line):
        line.request()
        line.send(data)

    return script


@contextmanager
def open_http(**config):
    """Start the shipped HTTP transport with its own context; nothing may leak."""
    before = held()
    for key, value in config.items():
        os.environ[f"BTPLUG_HTTP__{key.upper()}"] = str(value)
    context = Context()
    registry = TransportPluginRegistry(context)
    try:
        errors = registry.discover_plugins(SHIPPED)
        assert not errors, errors
        yield registry["http"]
    finally:
        for key in config:
            del os.environ[f"BTPLUG_HTTP__{key.upper()}"]
        errors = registry.shut_down()
        context.close()
        assert not errors, errors
        settle(before)


def held():
    """Return btplug's threads and, where the system tells, all sockets."""
    held = {thread.name for thread in threading.enumerate() if "btplug" in thread.name}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError):
            held.add(os.readlink(f"/proc/self/fd/{name}"))
    return {one for one in held if one.startswith(("btplug", "socket:"))}


def settle(before):
    """Fail if more is held than *before*; what a server closes may take a moment."""
    until = time.monotonic() + 5
    while left := held() - before:
        assert time.monotonic() < until, f"left behind: {left}"
        time.sleep(0.005)


class Form:
    """The sync or the async form of the transport's methods, called the same way."""

    def __init__(self, kind, transport):
        self.kind, self.transport = kind, transport

    def send(self, url, body=b"", *, timeout=None, **message):
        peer = url if isinstance(url, Peer) else Peer(url)
        sent = Message(body=body, **message)
        if self.kind == "sync":
            return self.transport.send(peer, sent, timeout=timeout)
        return asyncio.run(self.transport.asend(peer, sent, timeout=timeout))

    def receive(self, url, *, timeout=None):
        peer = url if isinstance(url, Peer) else Peer(url)
        if self.kind == "sync":
            return self.transport.receive(peer, timeout=timeout)
        return asyncio.run(self.transport.areceive(peer, timeout=timeout))


@pytest.fixture(params=["sync", "async"])
def form(request):
    """The shipped transport in both forms, with its defaults."""
    with open_http() as transport:
        yield Form(request.param, transport)


@pytest.fixture(params=["sync", "async"])
def open_form(request):
    """Like `form`, with settings of one's own: ``with open_form(max_body=9) as form``."""

    @contextmanager
    def opened(**config):
        with open_http(**config) as transport:
            yield Form(request.param, transport)

    return opened
