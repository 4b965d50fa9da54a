"""Transports with one defect each, in what is beside sending one message."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

from broken_sends import CASES, Parts, Sending, broken

from btplug import Health, Outcome, Reply, TransportPlugin
from btplug.errors import Late, Refused
from btplug.testing import MemoryTransportPlugin

__all__ = ["CASES", "STOP", "ServesNothing"]


class OneStream:
    """A stream with a head and parts that are given."""

    def __init__(self, head, parts):
        self.head, self._parts = head, parts

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def __aiter__(self):
        for part in self._parts:
            yield part


@broken(
    "a_stream_has_a_head_and_a_body_or_is_unsupported",
    "found status 200 and 0 bytes from stream, expected 200 and the 262,144 bytes",
)
class StreamsNothing(Sending):
    def astream(self, peer, message, chunks=None, *, timeout=None):
        return OneStream(Reply(status=200), [])


@broken(
    "a_stream_has_a_head_and_a_body_or_is_unsupported",
    "found 262144 bytes in the head, expected none",
)
class StreamsAllAtOnce(Sending):
    def astream(self, peer, message, chunks=None, *, timeout=None):
        return OneStream(Reply(status=200, body=message.body), [])


@broken(
    "health_says_that_a_live_transport_can_be_used",
    "found None from health, expected Health(ok=True)",
)
class HasNoHealth(Sending):
    def health(self):
        return None


class Streaming(Sending):
    """Gives what `asend` gives as a stream; chunks are put together first."""

    @contextmanager
    def stream(self, peer, message, chunks=None, *, timeout=None):
        if chunks is not None:
            message = replace(message, body=b"".join(chunks))
        reply = self.send(peer, message, timeout=timeout)
        yield Parts(replace(reply, body=b""), [reply.body])


@broken(
    "a_stream_has_a_head_and_a_body_or_is_unsupported",
    "found RuntimeError: never tried from astream, expected btplug.errors.Unsupported",
)
class StreamsInOneForm(Streaming):
    @asynccontextmanager
    async def astream(self, peer, message, chunks=None, *, timeout=None):
        raise RuntimeError("never tried")
        yield

    def stream(self, peer, message, chunks=None, *, timeout=None):
        return Streaming.stream(self, peer, message, chunks, timeout=timeout)


@broken(
    "a_stream_has_a_head_and_a_body_or_is_unsupported",
    "found status 200 and 8 bytes from stream with chunks, expected 200 and the",
)
class IgnoresChunks(Streaming):
    def stream(self, peer, message, chunks=None, *, timeout=None):
        return Streaming.stream(self, peer, message, timeout=timeout)


@broken("health_says_that_a_live_transport_can_be_used", "found Health(ok=False")
class IsNeverWell(Sending):
    def health(self):
        return Health(ok=False)


@broken(
    "the_sync_form_works_inside_a_running_loop",
    "found RuntimeError: asyncio.run() cannot be called from a running event loop",
)
class RunsALoopForEachCall(Sending):
    def send(self, peer, message, *, timeout=None):
        work = MemoryTransportPlugin.asend(self, peer, message, timeout=timeout)
        try:
            return asyncio.run(work)
        finally:
            work.close()


@broken(
    "threads_and_loops_share_one_transport",
    "expected each its own reply, from every loop and thread",
)
class MixesUpReplies(Sending):
    async def asend(self, peer, message, *, timeout=None):
        self.last = message.body
        await asyncio.sleep(0.001)
        reply = await super().asend(peer, message, timeout=timeout)
        return replace(reply, body=self.last)


@broken(
    "a_url_that_is_none_is_an_error_with_a_remedy",
    "found Reply(status=200",
    "expected an error: it has no host",
)
class SendsAnywhere(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return Reply(status=200)


def rebuilt(self, peers, message, keep, **limits):
    """Fan out by the base, and lose or change outcomes on the way."""
    return [
        o for o in TransportPlugin.send_many(self, peers, message, **limits) if keep(o)
    ]


@broken(
    "send_many_gives_every_peer_one_outcome",
    "found outcomes of [0, 2, 3, 4, 5, 6, 7, 8, 9] from send_many, expected one for each of the 10 peers",
)
class LosesFailures(Sending):
    def send_many(self, peers, message, **limits):
        return rebuilt(self, peers, message, lambda o: o.reply, **limits)


@broken(
    "send_many_gives_every_peer_one_outcome",
    "found outcomes of [0, 0, 0, 0, 0, 0, 0, 0, 0, 0] from send_many",
)
class CountsNothing(Sending):
    def send_many(self, peers, message, **limits):
        return [
            Outcome(index=0, peer=o.peer, reply=o.reply, failure=o.failure, seconds=0)
            for o in TransportPlugin.send_many(self, peers, message, **limits)
        ]


@broken(
    "send_many_gives_no_more_turns_at_once_than_its_limit",
    "found send_many to 3 peers that hang with limit=1 over after 0.3",
    "expected 0.85 to",
)
class KeepsNoLimit(Sending):
    def send_many(self, peers, message, *, limit=512, **limits):
        return TransportPlugin.send_many(self, peers, message, **limits)


@broken(
    "send_many_gives_no_more_turns_at_once_than_its_limit",
    "found send_many to 12 peers that hang with limit=12",
    "never block the loop",
)
class BlocksTheLoop(Sending):
    async def asend(self, peer, message, *, timeout=None):
        time.sleep(timeout)
        raise Late("it was long", fix="wait")


@broken(
    "leaving_send_many_early_leaves_nothing_open",
    "left open after leaving send_many: task",
    "expected nothing",
)
class GoesOnWhenLeft(Sending):
    async def asend(self, peer, message, *, timeout=None):
        work = super().asend(peer, message, timeout=timeout)
        return await asyncio.shield(asyncio.ensure_future(work))


@broken(
    "cancelling_a_message_leaves_nothing_open",
    "found 1 left open after cancelling asend: task",
    "also where the call is cancelled",
)
class LeaksATask(Sending):
    async def asend(self, peer, message, *, timeout=None):
        self.task = asyncio.ensure_future(asyncio.Event().wait())
        reply = await super().asend(peer, message, timeout=timeout)
        self.task.cancel()
        return reply


@broken(
    "cancelling_a_message_leaves_nothing_open",
    "left open after cancelling asend: socket:",
)
class LeaksASocket(Sending):
    left = ()

    async def asend(self, peer, message, *, timeout=None):
        self.left = [*self.left, socket.socket()]
        reply = await super().asend(peer, message, timeout=timeout)
        self.left.pop().close()
        return reply

    def shutdown(self):
        super().shutdown()
        for one in self.left:
            one.close()


@broken(
    "cancelling_a_message_leaves_nothing_open",
    f"found 1 left open after cancelling asend: {os.devnull}, expected nothing",
)
class LeaksAFile(Sending):
    left = ()

    async def asend(self, peer, message, *, timeout=None):
        # All have one name, and one was there before.
        self.left = [*self.left, os.open(os.devnull, os.O_RDONLY)]
        return await super().asend(peer, message, timeout=timeout)

    def shutdown(self):
        super().shutdown()
        for one in self.left:
            os.close(one)


STOP = threading.Event()


@broken(
    "health_says_that_a_live_transport_can_be_used",
    "found 1 left open after shutdown: thread reaper, expected nothing",
)
class ForgetsItsThread(Sending):
    def initialize(self, config):
        super().initialize(config)
        # Those of the peers would be found later.
        if threading.current_thread().name != "reaper" and not STOP.is_set():
            self.thread = threading.Thread(target=STOP.wait, args=(20,), name="reaper")
            self.thread.start()


@broken(
    "sending_after_shutdown_is_an_error",
    "found Reply(status=200",
    "expected btplug.errors.TransportError",
)
class NeverCloses(Sending):
    def shutdown(self):
        pass


@broken(
    "sending_after_shutdown_is_an_error",
    "found Refused with delivered=False from send after shutdown, expected NotAllowed",
)
class IsRefusedAfterTheEnd(Sending):
    async def asend(self, peer, message, *, timeout=None):
        if not self._open:
            raise Refused("nobody there", fix="look", delivered=False)
        return await super().asend(peer, message, timeout=timeout)


@broken(
    "a_handler_gets_the_request_and_its_reply_comes_back",
    "found NotImplementedError from serve, expected btplug.errors.Unsupported",
)
class ServesNothing(Sending):
    async def aserve(self, handler, **place):
        raise NotImplementedError


@broken(
    "a_handler_gets_the_request_and_its_reply_comes_back",
    "found (200, b'asked', '')",
    "expected (201, b'asked', 'a/sync'), as the handler returned",
)
class ServesHalfTheReply(Sending):
    async def aserve(self, handler, **place):
        async def half(request):
            found = handler(request)
            return Reply(status=200, body=found.body)

        await super().aserve(half, **place)


@broken(
    "a_handler_gets_the_request_and_its_reply_comes_back",
    "found ready('http://here'), expected a URL of ('memory',)",
)
class NamesAnotherScheme(Sending):
    async def aserve(self, handler, *, ready, **place):
        await super().aserve(handler, ready=lambda url: ready("http://here"), **place)


@broken(
    "a_handler_gets_the_request_and_its_reply_comes_back",
    "expected btplug.errors.Refused",
)
class NeverStopsServing(Sending):
    async def aserve(self, handler, **place):
        self.task = asyncio.ensure_future(super().aserve(handler, **place))
        await asyncio.shield(self.task)


@broken(
    "a_handler_that_fails_tells_nobody_why",
    "found 500 b'contract-secret' of a handler that failed",
    "expected 500, and nothing of what it raised",
)
class TellsWhatFailed(Sending):
    async def aserve(self, handler, **place):
        async def telling(request):
            try:
                return await handler(request)
            except Exception as exc:
                return Reply(status=500, body=str(exc).encode())

        await super().aserve(telling, **place)
