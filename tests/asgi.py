"""What stands for an ASGI server: requests made by the dialects, and what came back."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from btplug import Message, Peer
from btplug.dialects import create, load_signer
from btplug.serving import Limits, application

ALICE, BOB, EVE = (load_signer(f"//{name}") for name in ("Alice", "Bob", "Eve"))
ME = BOB  # who serves


def open_app(handler, *names, limits=None, **options):
    """Return an application of BOB's that speaks the dialects of *names*, or none."""
    dialects = [create(name, key=ME) for name in names or ("none",)]
    return application(handler, dialects=dialects, limits=limits or Limits(), **options)


def signed(name, body, *, signer=ALICE, receiver=None, ago=0.0, path="/Echo?a=b"):
    """Return the arguments of a request that a client of the dialect makes."""
    hotkey = None if name == "none" else receiver or ME.hotkey
    message = Message(body=body, method="POST", target="")
    peer = Peer(f"http://127.0.0.1:1{path}", hotkey)
    if name == "v10":
        try:
            json.loads(body)
        except ValueError:
            message = Message(body=b"{}", method="POST")
        if path.endswith("/"):
            peer = Peer("http://127.0.0.1:1/Echo", hotkey)
    dialect = create(name, key=signer)
    now_ns = time.time_ns() - int(ago * 1e9)
    sent = dialect.outgoing(peer, message, timeout=5.0, now_ns=now_ns)
    headers = [(k.lower().encode(), v.encode()) for k, v in sent.headers]
    return {"target": path, "headers": headers, "body": sent.body}


def head_of(request):
    return request["headers"]


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes


class Call:
    """One request; its body comes in pieces, of which the first is there.

    Attributes:
        received: How often the application asked for a piece.
    """

    def __init__(
        self, *, method="POST", target="/", headers=None, body=b"", pieces=None,
        client=("192.0.2.1", 4711), extensions=None,
    ):  # fmt: skip
        path, _, query = target.partition("?")
        if headers is None:
            headers = []
            if pieces is None:
                headers = [(b"content-length", str(len(body)).encode())]
        self.scope = {
            "type": "http",
            "method": method,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": headers,
            "client": client,
            "extensions": extensions or {},
        }
        self.received = 0
        self._pieces = [body] if pieces is None else pieces
        self._there = asyncio.Event()
        self._given, self._left = 1, False
        self._sent = []

    def give(self, number):
        """Let so many pieces be there."""
        self._given = number
        self._there.set()

    def leave(self):
        self._left = True
        self._there.set()

    async def taken(self, number):
        """Return once the application has so many pieces."""
        while self.received < number:
            await asyncio.sleep(0)

    async def run(self, app):
        """Return the answer; None: there was none."""
        async with asyncio.timeout(20):  # a test that fails ends all the same
            await app(self.scope, self._receive, self._send)
        if not self._sent:
            return None
        start, *rest = self._sent
        headers = {k.decode(): v.decode("latin-1") for k, v in start["headers"]}
        assert len(headers) == len(start["headers"]), "a header is there twice"
        return Answer(start["status"], headers, b"".join(e["body"] for e in rest))

    async def _receive(self):
        while self.received >= min(self._given, len(self._pieces)) and not self._left:
            self._there.clear()
            await self._there.wait()
        if self._left or self._pieces[self.received] is None:
            return {"type": "http.disconnect"}
        self.received += 1
        more = self.received < len(self._pieces)
        body = self._pieces[self.received - 1]
        return {"type": "http.request", "body": body, "more_body": more}

    async def _send(self, event):
        self._sent.append(event)


async def ask(app, **request):
    """Send a whole request and return the answer."""
    call = Call(**request)
    call.give(len(call._pieces))
    return await call.run(app)
