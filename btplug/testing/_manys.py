"""Checks of send_many, of cancelling, of the end, and of serving."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from btplug.errors import Refused, TransportError, Unsupported
from btplug.message import Message, Peer, Reply, Request
from btplug.outcome import Outcome
from btplug.testing._case import Case, Peers, thread_time
from btplug.testing._judging import (
    Held,
    answers,
    expect,
    fails,
    is_reply,
    timed,
    within,
)
from btplug.testing.live import running, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug.message import Handler

_MESSAGE = Message(body=b"many")


class ManyChecks(Case):
    """`send_many` and `asend_many`."""

    def test_send_many_gives_every_peer_one_outcome(self) -> None:
        async def collected(given: list[Peer]) -> list[Outcome]:
            outcomes = transport.asend_many(given, _MESSAGE, timeout=5.0)
            return [outcome async for outcome in outcomes]

        with self.live() as (transport, peers):
            given = [Peer(peers.echo), Peer(peers.dead), *[Peer(peers.echo)] * 8]
            calls = {
                "send_many": lambda: list(
                    transport.send_many(given, _MESSAGE, timeout=5.0)
                ),
                "asend_many": lambda: asyncio.run(collected(given)),
            }
            for what, call in calls.items():
                found = within(15.0, what, call)
                indices = sorted(outcome.index for outcome in found)
                expect(
                    indices == list(range(10)),
                    f"outcomes of {indices} from {what}",
                    "one for each of the 10 peers, with its position",
                )
                by_index = {outcome.index: outcome for outcome in found}
                for index, outcome in by_index.items():
                    if index == 1:
                        _is_refused(outcome, what)
                    else:
                        reply = is_reply(outcome.reply, f"{what}: {outcome.failure}")
                        expect(reply.body == b"many", f"{reply.body!r}", "b'many'")

    def test_send_many_gives_no_more_turns_at_once_than_its_limit(self) -> None:
        with self.live() as (transport, peers):
            # Each hangs for 0.3 s: one after the other, or all at once.
            for count, limit, low, high in ((3, 1, 0.85, 0.9), (12, 12, 0.25, 0.3)):
                what = f"send_many to {count} peers that hang with limit={limit}"
                given = [Peer(peers.hang)] * count
                work = partial(_listed, transport, given, timeout=0.3, limit=limit)
                with timed(low, high + 0.5 + self.tolerance, what):
                    found = within(high + 3 + self.tolerance, what, work)
                kinds = [o.failure and o.failure.kind for o in found]
                expect(kinds == ["late"] * count, f"{kinds} from {what}", "each late")

    def test_leaving_send_many_early_leaves_nothing_open(self) -> None:
        def leave(given: list[Peer]) -> None:
            with transport.send_many(given, _MESSAGE, timeout=limit) as outcomes:
                next(outcomes)

        with self.live() as (transport, peers):
            limit = thread_time(transport) or 30.0
            held = _warm(transport, peers)
            given = [Peer(peers.echo), *[Peer(peers.hang)] * 10]
            within(5.0 + self.tolerance, "leaving send_many", partial(leave, given))
            held.settle(thread_time(transport) + self.tolerance, "leaving send_many")

    def test_cancelling_a_message_leaves_nothing_open(self) -> None:
        async def cancel() -> None:
            work = asyncio.ensure_future(
                transport.asend(Peer(peers.hang), _MESSAGE, timeout=limit)
            )
            await asyncio.sleep(0.2)  # it may be anywhere by now: all must do
            work.cancel()
            ended = (await asyncio.gather(work, return_exceptions=True))[0]
            expect(
                isinstance(ended, asyncio.CancelledError),
                f"{ended!r:.100} from an asend that was cancelled",
                "CancelledError: catch Exception, not BaseException",
            )

        with self.live() as (transport, peers):
            limit = thread_time(transport) or 30.0
            held = _warm(transport, peers)
            wait = thread_time(transport) + self.tolerance
            within(2.0 + wait, "cancelling asend", lambda: asyncio.run(cancel()))
            held.settle(wait, "cancelling asend")


class EndChecks(Case):
    """After shutdown."""

    def test_sending_after_shutdown_is_an_error(self) -> None:
        what = "send after shutdown"
        with self.peers() as peers:
            with running(self.plugin, **self.config) as transport:
                call = partial(_sent, transport, peers.echo, _MESSAGE)
                answers("send", call)
            try:
                error = fails(TransportError, what, call)
            finally:
                transport.context.close()
        expect(
            error.delivered is False and not isinstance(error, Refused),
            f"{type(error).__name__} with delivered={error.delivered} from {what}",
            "NotAllowed with delivered=False",
            "refuse in send what shutdown has closed",
        )


class ServeChecks(Case):
    """`serve` and `aserve`, where they are written; else `Unsupported`."""

    def test_a_handler_gets_the_request_and_its_reply_comes_back(self) -> None:
        def sync(request: Request) -> Reply:
            seen.append(request)
            return Reply(status=201, body=request.message.body, media_type="a/sync")

        async def later(request: Request) -> Message:
            seen.append(request)
            return Message(body=request.message.body, media_type="a/later")

        seen: list[Request] = []
        handlers: dict[Handler, tuple[object, ...]] = {
            sync: (201, b"asked", "a/sync"),
            later: (200, b"asked", "a/later"),
        }
        message = Message(body=b"asked", target="path?a=b")
        with running(self.plugin, **self.config) as transport:
            for handler, expected in handlers.items():
                with _served(transport, handler) as url:
                    if not url:
                        return
                    scheme = url.partition("://")[0]
                    expect(
                        scheme in transport.schemes,
                        f"ready({url!r})",
                        f"a URL of {transport.schemes}",
                    )
                    call = partial(_sent, transport, url, message)
                    reply = answers("serve", call)
                got = (reply.status, reply.body, reply.media_type)
                expect(
                    got == expected, f"{got}", f"{expected}, as the handler returned"
                )
                request = seen.pop()
                told = (request.message.body, request.message.target, request.hotkey)
                expected = (b"asked", "/path?a=b", None)
                expect(told == expected, f"{told} in the handler", f"{expected}")
                error = fails(Refused, "send to a server that has ended", call)
                expect(error.delivered is False, "delivered=None", "False")

    def test_a_handler_that_fails_tells_nobody_why(self) -> None:
        async def failing(request: Request) -> Reply:
            raise RuntimeError("contract-secret")

        with (
            running(self.plugin, **self.config) as transport,
            _served(transport, failing) as url,
        ):
            for _ in range(2 if url else 0):  # the second: it goes on serving
                call = partial(_sent, transport, url, _MESSAGE)
                reply = answers("serve", call)
                expect(
                    reply.status == 500 and b"contract-secret" not in reply.body,
                    f"{reply.status} {reply.body!r:.80} of a handler that failed",
                    "500, and nothing of what it raised",
                )


@contextmanager
def _served(transport: Any, handler: Handler) -> Iterator[str]:
    """Yield the URL; empty where the transport cannot serve, and says so."""
    with ExitStack() as stack:
        url = ""
        try:
            url = stack.enter_context(serving(transport, handler))
        except Exception as exc:
            error = fails(Unsupported, "serve", partial(_raise, exc))
            expect(error.delivered is False, "delivered=None", "False")
        yield url


def _raise(exc: Exception) -> None:
    raise exc


def _sent(transport: Any, url: str, message: Message) -> object:
    work = partial(transport.send, Peer(url), message, timeout=5.0)
    return within(8.0, "send to what is served", work)


def _listed(transport: Any, given: list[Peer], **limits: float) -> list[Outcome]:
    return list(transport.send_many(given, _MESSAGE, **limits))


def _is_refused(outcome: Outcome, what: str) -> None:
    failure = outcome.failure
    expect(
        failure is not None and failure.kind == "refused" and failure.fix,
        f"{outcome.reply or failure!r} from {what} to a peer that is not there",
        "a Failure of kind 'refused', with a fix",
    )


def _warm(transport: Any, peers: Peers) -> Held:
    """Send once in either form, so that pools are open, and note what is held."""
    call = partial(transport.send, Peer(peers.echo), _MESSAGE, timeout=5.0)
    within(10.0, "send", call)
    # To the hanging one too: one connection may be kept for each peer, and carry many.
    for url, seconds in ((peers.echo, 5.0), (peers.hang, 0.3)):
        call = partial(_listed, transport, [Peer(url)], timeout=seconds)
        within(10.0, "send_many", call)
    return Held(transport.context.home)
