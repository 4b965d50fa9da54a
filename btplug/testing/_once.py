"""Checks of what costs money: a message that arrives twice, elsewhere or for ever."""

from __future__ import annotations

from functools import partial

from btplug.errors import BadReply, Cut, Late, TransportError
from btplug.message import Message
from btplug.testing._case import Case
from btplug.testing._judging import answers, expect, fails, timed


class OnceChecks(Case):
    """Peers that send elsewhere, cut and drip; skipped where none are given."""

    def test_a_message_goes_where_it_is_sent_and_follows_nobody(self) -> None:
        message = Message(body=b"x", method="PUT", target="path?a=b")
        with self.live() as (transport, peers):
            url = self.needed(peers, "moved")
            for what, send in self.all_forms(transport):
                reply = answers(what, partial(send, url, message))
                expect(
                    reply.status == 307 and reply.header("location"),
                    f"status {reply.status} and Location: {reply.header('location')} "
                    f"from {what} to a peer that names another",
                    "307 and its Location, as a Reply",
                    "switch redirects off: who follows one sends to a stranger",
                )
                method, _, target = reply.body.decode(errors="replace").partition(" ")
                expect(
                    method == "PUT" and target.endswith("/path?a=b"),
                    f"{method} {target} at the peer, by {what}",
                    "PUT and the path of the peer with path?a=b: what the message says",
                )

    def test_a_message_whose_connection_is_cut_is_sent_once(self) -> None:
        with self.live() as (transport, peers):
            url = self.needed(peers, "cut")
            for what, send in self.all_forms(transport):
                before = peers.taken() if peers.taken else 0
                error = fails(
                    TransportError,
                    f"{what} to a peer that cuts",
                    partial(send, url, Message(body=b"x")),
                )
                expect(
                    isinstance(error, (Cut, BadReply)) and error.delivered is None,
                    f"{type(error).__name__} with delivered={error.delivered} from "
                    f"{what} to a peer that took the message and cut",
                    "Cut with delivered=None",
                    "say Refused, or delivered=False, only before anything is sent",
                )
                times = peers.taken() - before if peers.taken else 1
                expect(
                    times == 1,
                    f"{times} messages at the peer after one {what}",
                    "1: a second may cost twice",
                    "switch retries off, also those of libraries",
                )

    def test_a_peer_that_drips_is_late_within_the_limit(self) -> None:
        with self.live() as (transport, peers):
            url = self.needed(peers, "drip")
            for what, send in self.forms(transport):
                with timed(0.45, 0.5 + self.tolerance, f"{what} with timeout=0.5"):
                    late = fails(
                        Late,
                        f"{what} to a peer that drips",
                        partial(send, url, Message(body=b"x"), 0.5),
                    )
                expect(
                    late.delivered is None,
                    f"Late with delivered={late.delivered} from {what}",
                    "None: the peer has the message",
                )
