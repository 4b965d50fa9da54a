"""Whoever sits between two neurons and changes what they say."""

from __future__ import annotations

import socket

from hostile_server import Hostile


def between(port, *, asked=None, answered=None):
    """Return a server that hands requests to the one at *port*.

    Args:
        asked: Request -> the requests that are sent instead; the last is answered.
        answered: Answer -> what is sent back instead.
    """

    def script(line):
        while request := line.request():
            found = b""
            for one in asked(request) if asked else (request,):
                found = carried(port, one)
            line.send(answered(found) if answered else found)
            if answered or not found:
                return

    return Hostile(script)


def carried(port, data):
    """Return what *port* answers to *data*; b"" where it closes instead."""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.sendall(data)
        found = b""
        while not whole(found):
            if not whole(data):  # it waits for the rest, which does not come
                sock.shutdown(socket.SHUT_WR)
            try:
                piece = sock.recv(65536)
            except ConnectionError:
                return b""
            if not piece:
                return found
            found += piece
        return found


def whole(data):
    """Return whether *data* has as many bytes as its Content-Length says."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    size = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(size or 0)


def with_body(request, old, new):
    """Return *request* with other bytes in its body, and the length of that."""
    head, _, body = request.partition(b"\r\n\r\n")
    assert old in body, body
    changed = body.replace(old, new)
    lines = [
        b"content-length: %d" % len(changed)
        if line.lower().startswith(b"content-length:")
        else line
        for line in head.split(b"\r\n")
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + changed


def half(data):
    """Return a message without the second half of its body."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert len(body) > 1, data
    return head + b"\r\n\r\n" + body[: len(body) // 2]


def moved(url):
    """Return an answer that sends its reader to *url*."""
    return (
        f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {url}\r\n"
        "content-length: 0\r\n\r\n"
    ).encode()
