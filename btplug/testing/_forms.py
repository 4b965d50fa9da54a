"""Checks of the other forms: a hotkey in each of them, `receive`, and streams."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from btplug._forms import is_made
from btplug.errors import Late, TransportError, Unsupported
from btplug.message import Message, Peer, Reply
from btplug.testing._case import HOTKEY, SECRET, Case
from btplug.testing._judging import expect, fails, is_reply, timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from btplug.testing._case import Send

    Chunks = list[bytes] | None

_BODY = b"0123456789abcdef" * 16_384


class FormChecks(Case):
    """A hotkey in every form, `receive` and `stream`."""

    def test_a_hotkey_that_cannot_be_asked_for_is_an_error(self) -> None:
        """With keys configured a transport may be able to ask for it."""
        if "dialects" in self.config:
            return
        with self.live() as (transport, peers):
            peer = Peer(peers.echo, hotkey=HOTKEY)
            # Each form: the one that forgets it gives a secret to whoever listens.
            forms = [
                *self.all_forms(transport),
                *self._receives(transport),
                *self._streams(transport, None),
            ]
            for what, send in forms:
                error = fails(
                    TransportError,
                    f"{what} to a peer with a hotkey, without any key",
                    partial(send, peer, Message()),
                )
                expect(
                    error.delivered is False,
                    f"{type(error).__name__} with delivered={error.delivered} from "
                    f"{what} to a peer with a hotkey",
                    "False: nothing is sent that somebody else could answer",
                )

    def test_receive_answers_or_is_unsupported(self) -> None:
        with self.live() as (transport, peers):
            for what, receive in self._receives(transport):
                if not _done(what, partial(receive, peers.echo, Message())):
                    continue
                call = partial(receive, peers.hang + SECRET, Message(), 0.3)
                with timed(0.0, 0.3 + self.tolerance, f"{what} with timeout=0.3"):
                    try:
                        call()  # a reply is none of our business
                    except AssertionError:
                        raise
                    except Exception as exc:
                        where = f"{what} from a peer that hangs"
                        fails(Late, where, partial(_raise, exc))

    def test_a_stream_has_a_head_and_a_body_or_is_unsupported(self) -> None:
        ways: tuple[tuple[str, bytes, Chunks], ...] = (
            ("", _BODY, None),
            # Where there are chunks, they are the body.
            (" with chunks", b"not this", [_BODY[:9], _BODY[9:]]),
        )
        with self.live() as (transport, peers):
            for how, body, chunks in ways:
                for name, stream in self._streams(transport, chunks):
                    what, message = name + how, Message(body=body)
                    reply = _done(what, partial(stream, peers.echo, message, 10.0))
                    expect(
                        reply is None or (reply.status, reply.body) == (200, _BODY),
                        f"status {reply and reply.status} and "
                        f"{len(reply.body if reply else b''):,} bytes from {what}",
                        f"200 and the {len(_BODY):,} bytes that were sent",
                    )

    def _receives(self, transport: Any) -> Iterator[tuple[str, Send]]:
        """Yield both forms of receive, called as those of send are."""

        def receive(peer: Peer, message: Message, timeout: float) -> Reply:
            reply: Reply = transport.receive(peer, timeout=timeout)
            return reply

        async def areceive(peer: Peer, timeout: float) -> Reply:
            reply: Reply = await transport.areceive(peer, timeout=timeout)
            return reply

        def received(peer: Peer, message: Message, timeout: float) -> Reply:
            return asyncio.run(areceive(peer, timeout))

        yield "receive", self.guarded("receive", receive)
        yield "areceive", self.guarded("areceive", received)

    def _streams(self, transport: Any, chunks: Chunks) -> Iterator[tuple[str, Send]]:
        """Yield both forms of stream, called as those of send are."""

        def stream(peer: Peer, message: Message, timeout: float) -> Reply:
            with transport.stream(peer, message, chunks, timeout=timeout) as found:
                return replace(_head(found.head), body=b"".join(found))

        async def astream(peer: Peer, message: Message, timeout: float) -> Reply:
            # The form that is made of a sync one reads its chunks in a thread.
            is_own = not is_made(type(transport).astream)
            given = _later(chunks) if chunks and is_own else chunks
            async with transport.astream(
                peer, message, given, timeout=timeout
            ) as found:
                parts = [part async for part in found]
            return replace(_head(found.head), body=b"".join(parts))

        def astreamed(peer: Peer, message: Message, timeout: float) -> Reply:
            return asyncio.run(astream(peer, message, timeout))

        yield "stream", self.guarded("stream", stream)
        yield "astream", self.guarded("astream", astreamed)


async def _later(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


def _head(found: object) -> Reply:
    head = is_reply(found, "the head of a stream")
    expect(not head.body, f"{len(head.body)} bytes in the head", "none")
    return head


def _done(what: str, call: Callable[[], Reply]) -> Reply | None:
    """Return the reply, or None of a form that is `Unsupported`, and says so."""
    try:
        return is_reply(call(), what)
    except AssertionError:
        raise
    except Exception as exc:
        error = fails(Unsupported, what, partial(_raise, exc))
    expect(
        error.delivered is False,
        f"Unsupported with delivered={error.delivered} from {what}",
        "False",
    )
    return None


def _raise(exc: Exception) -> Reply:
    raise exc
