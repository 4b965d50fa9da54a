"""Transports with one defect each, in sending one message; what the suite must say."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import pytest

from btplug import Message, Peer, Reply, TransportPlugin
from btplug.errors import BadReply, Cut, Late, Refused, TransportError
from btplug.testing import MemoryTransportPlugin

CASES = []


def broken(check, *texts):
    """Note that *check* has to refuse a transport, in a text that holds *texts*."""

    def noted(cls):
        CASES.append(pytest.param(cls, check, texts, id=cls.__name__))
        return cls

    return noted


class Sending(MemoryTransportPlugin):
    """The memory transport, whose other methods all come down to `asend`."""

    async def areceive(self, peer, *, timeout=None):
        return await self.asend(peer, Message(method="GET"), timeout=timeout)


@broken(
    "a_body_of_any_size_comes_back_whole",
    "found a value of type bytes from send",
    "expected a btplug.Reply",
)
class ReturnsBytes(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return (await super().asend(peer, message, timeout=timeout)).body


@broken(
    "a_body_of_any_size_comes_back_whole",
    "found a body of type bytearray from send, expected bytes",
)
class ReturnsABuffer(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        return replace(reply, body=bytearray(reply.body))


@broken(
    "a_body_of_any_size_comes_back_whole",
    "found 65,536 bytes",
    "expected the 1,048,576 bytes",
)
class ReadsOnce(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        return replace(reply, body=reply.body[:65536])


@broken(
    "status_headers_and_media_type_are_kept",
    "found BadReply: 404 from send, expected a Reply",
)
class RaisesForStatus(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        if not reply.ok:
            raise BadReply(str(reply.status), fix="none")
        return reply


@broken(
    "status_headers_and_media_type_are_kept",
    "found 404, '', () from send",
    "expected 'text/x-contract; charset=utf-8' and X-Contract",
)
class DropsHeaders(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        return Reply(status=reply.status, body=reply.body)


@broken(
    "status_headers_and_media_type_are_kept",
    "found the signer 'me' from send, expected None",
)
class BelievesTheSigner(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return replace(await super().asend(peer, message, timeout=timeout), signer="me")


@broken(
    "status_headers_and_media_type_are_kept",
    "found the signer '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY' from send",
)
class BelievesAHeader(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        return replace(reply, signer=reply.header("x-signer"))


@broken(
    "status_headers_and_media_type_are_kept",
    "found ['two'] as X-Twice from send, expected ['one', 'two']",
)
class KeepsHeadersInAMapping(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        return replace(reply, headers=tuple(dict(reply.headers).items()))


@broken(
    "status_headers_and_media_type_are_kept",
    "found 1795363200.0 seconds from send, expected what the call took",
)
class TellsTheTimeOfDay(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        return replace(reply, seconds=1795363200.0)


@broken(
    "a_peer_that_hangs_is_late_within_the_limit",
    "found send still at work after",
    "expected it to be over by then",
)
class IgnoresItsTimeout(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return await super().asend(peer, message)


@broken(
    "a_message_without_a_limit_ends_all_the_same",
    "found send still at work after 2.6 s",
    "expected it to be over by then",
)
class HasNoLimitOfItsOwn(Sending):
    async def asend(self, peer, message, *, timeout=None):
        timeout = 9.0 if timeout is None else timeout  # for the test's own end
        return await super().asend(peer, message, timeout=timeout)


@broken(
    "a_peer_that_hangs_is_late_within_the_limit",
    "found send with timeout=0.3 over after 0.0",
    "expected 0.25 to",
)
class GivesUpEarly(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return await super().asend(peer, message, timeout=timeout and timeout / 10)


@broken(
    "a_peer_that_hangs_is_late_within_the_limit",
    "found TimeoutError from send to a peer that hangs",
    "expected btplug.errors.Late",
    "raise … from exc",
)
class RaisesTimeoutError(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Late as exc:
            raise TimeoutError from exc


@broken(
    "a_peer_that_hangs_is_late_within_the_limit",
    "found Late with delivered=False from send, expected None",
)
class IsTooSureWhenLate(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Late as exc:
            raise Late(exc.what, fix=exc.fix, delivered=False) from exc


@broken(
    "a_peer_that_hangs_is_late_within_the_limit",
    "found the query of the peer's URL in an error of send",
)
class ShowsTheQuery(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Late as exc:
            raise Late(exc.what, where=peer.url, fix=exc.fix) from exc


@broken(
    "a_peer_that_hangs_is_late_within_the_limit",
    "found the query of the peer's URL in an error of send",
)
class AdvisesWithTheQuery(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Late as exc:
            raise Late(exc.what, fix=f"try {peer.url} by hand") from exc


@broken(
    "a_peer_that_is_not_there_refuses_and_got_nothing",
    "found KeyError: 'gone' from send to an address nobody listens at, expected btplug.errors.Refused",
)
class RaisesKeyError(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Refused:
            raise KeyError("gone") from None


@broken(
    "a_peer_that_is_not_there_refuses_and_got_nothing",
    "found Reply(status=599",
    "expected btplug.errors.Refused",
)
class SwallowsFailures(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except TransportError:
            return Reply(status=599)


@broken(
    "a_peer_that_is_not_there_refuses_and_got_nothing",
    "found Refused with delivered=None from send, expected False",
)
class IsNotSureWhenRefused(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Refused as exc:
            raise Refused(exc.what, fix=exc.fix) from exc


@broken(
    "a_peer_that_is_not_there_refuses_and_got_nothing",
    "found Refused without 'fix' from send",
    "expected what the reader can do next",
)
class KnowsNoRemedy(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Refused as exc:
            raise Refused(exc.what, delivered=False) from exc


@broken(
    "a_hotkey_that_cannot_be_asked_for_is_an_error",
    "found Reply(status=200",
    "expected btplug.errors.TransportError",
)
class ForgetsTheHotkey(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return await super().asend(Peer(peer.url), message, timeout=timeout)


class Parts:
    """A sync stream with a head and parts that are given."""

    def __init__(self, head, parts):
        self.head, self._parts = head, parts

    def __iter__(self):
        return iter(self._parts)


WHOEVER = "a_hotkey_that_cannot_be_asked_for_is_an_error"


@broken(WHOEVER, "found Reply(status=200", "from asend to a peer with a hotkey")
class ForgetsTheHotkeyInOneForm(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return await super().asend(Peer(peer.url), message, timeout=timeout)

    def send(self, peer, message, *, timeout=None):
        work = MemoryTransportPlugin.asend(self, peer, message, timeout=timeout)
        return self.context.home.run(work)


@broken(WHOEVER, "found Reply(status=200", "from send_many to a peer with a hotkey")
class ForgetsTheHotkeyOfMany(Sending):
    def send_many(self, peers, message, **limits):
        given = [Peer(peer.url) for peer in peers]
        return super().send_many(given, message, **limits)


@broken(WHOEVER, "found Reply(status=200", "from receive to a peer with a hotkey")
class ReceivesFromWhoever(Sending):
    async def areceive(self, peer, *, timeout=None):
        return await super().areceive(Peer(peer.url), timeout=timeout)


@broken(WHOEVER, "found Reply(status=200", "from stream to a peer with a hotkey")
class StreamsToWhoever(Sending):
    @contextmanager
    def stream(self, peer, message, chunks=None, *, timeout=None):
        reply = self.send(Peer(peer.url), message, timeout=timeout)
        yield Parts(replace(reply, body=b""), [reply.body])


@broken(
    "receive_answers_or_is_unsupported",
    "found receive still at work after",
    "expected it to be over by then",
)
class ReceivesForEver(Sending):
    async def areceive(self, peer, *, timeout=None):
        return await super().areceive(peer)


@broken(
    "receive_answers_or_is_unsupported",
    "found NotImplementedError from receive, expected btplug.errors.Unsupported",
)
class ReceivesNothing(Sending):
    async def areceive(self, peer, *, timeout=None):
        raise NotImplementedError


@broken(
    "receive_answers_or_is_unsupported",
    "found a value of type NoneType from receive, expected a btplug.Reply",
)
class ReceivesNone(Sending):
    async def areceive(self, peer, *, timeout=None):
        return None


STRANGER = "a_message_goes_where_it_is_sent_and_follows_nobody"


@broken(
    STRANGER,
    "found status 200 and Location: None from send to a peer that names another",
)
class FollowsRedirects(Sending):
    async def asend(self, peer, message, *, timeout=None):
        reply = await super().asend(peer, message, timeout=timeout)
        if reply.status != 307:
            return reply
        there = Peer(reply.header("location"))
        return await super().asend(there, message, timeout=timeout)


@broken(STRANGER, "found PUT / at the peer, by send", "with path?a=b")
class DropsTheTarget(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return await super().asend(peer, replace(message, target=""), timeout=timeout)


@broken(STRANGER, "found POST /path?a=b at the peer, by send", "expected PUT")
class DropsTheMethod(Sending):
    async def asend(self, peer, message, *, timeout=None):
        return await super().asend(peer, replace(message, method=""), timeout=timeout)


CUT = "a_message_whose_connection_is_cut_is_sent_once"


@broken(CUT, "found Refused with delivered=False from send", "expected Cut")
class CallsACutRefused(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Cut as exc:
            raise Refused("gone", fix="send again", delivered=False) from exc


@broken(CUT, "found 2 messages at the peer after one send", "expected 1: a second")
class SendsAgain(Sending):
    async def asend(self, peer, message, *, timeout=None):
        try:
            return await super().asend(peer, message, timeout=timeout)
        except Cut:
            return await super().asend(peer, message, timeout=timeout)


DRIP = "a_peer_that_drips_is_late_within_the_limit"


@broken(
    DRIP,
    "found send still at work after",
    "keep the whole call within its timeout",
)
class LimitsEachRead(TransportPlugin):
    """What `timeout` of http.client, and of most libraries, means."""

    schemes = ("http",)

    def initialize(self, config):
        pass

    def send(self, peer, message, *, timeout=None):
        there = HTTPConnection(urlsplit(peer.url).netloc, timeout=timeout)
        try:
            there.request("POST", "/", message.body)
            return Reply(status=200, body=there.getresponse().read())
        except HTTPException as exc:
            raise Cut("cut", fix="send again, if it may arrive twice") from exc
        finally:
            there.close()

    def shutdown(self):
        pass
