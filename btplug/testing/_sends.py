"""Checks of one message: what comes back, within which limit, and what is raised."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

from btplug.errors import Late, Refused, TransportError
from btplug.message import Health, Message, Peer
from btplug.testing._case import HOTKEY, SECRET, Case
from btplug.testing._judging import answers, expect, fails, timed, within


class SendChecks(Case):
    """`send`, `asend` and `health`."""

    def test_a_body_of_any_size_comes_back_whole(self) -> None:
        bodies = (b"", b"hello", bytes(range(256)), b"\xff\x00\r\n" * 262_144)
        with self.live() as (transport, peers):
            for what, send in self.forms(transport):
                for body in bodies:
                    call = partial(send, peers.echo, Message(body=body))
                    reply = answers(what, call)
                    expect(
                        reply.body == body,
                        f"{len(reply.body):,} bytes {reply.body!r:.40} from {what}",
                        f"the {len(body):,} bytes {body!r:.40} that were sent",
                        "read the body to its end, and decode nothing",
                    )

    def test_status_headers_and_media_type_are_kept(self) -> None:
        message = Message(
            body=b"x",
            media_type="text/x-contract; charset=utf-8",
            headers=(
                ("X-Status", "404"),
                ("X-Contract", "a b; c=d"),
                # What anybody can write is no proof.
                ("X-Signer", HOTKEY),
                ("X-Hotkey", HOTKEY),
                ("X-Twice", "one"),
                ("X-Twice", "two"),
            ),
        )
        with self.live() as (transport, peers):
            for what, send in self.forms(transport):
                began = time.monotonic()
                reply = answers(what, partial(send, peers.echo, message))
                passed = time.monotonic() - began
                shown = f"{reply.status}, {reply.media_type!r}, {reply.headers}"
                expect(
                    reply.status == 404,
                    f"status {reply.status} from {what}",
                    "404 as a Reply: an answer of any status is one",
                )
                expect(
                    reply.media_type == message.media_type
                    and reply.header("x-contract") == "a b; c=d",
                    f"{shown} from {what}",
                    f"{message.media_type!r} and X-Contract: 'a b; c=d'",
                )
                twice = [v for k, v in reply.headers if k.lower() == "x-twice"]
                # Whoever stands between may join them: RFC 9110, section 5.2.
                expect(
                    ", ".join(twice) == "one, two",
                    f"{twice} as X-Twice from {what}",
                    "['one', 'two']: headers that repeat are kept, in order",
                    "send and return headers as pairs, never as a mapping",
                )
                expect(
                    reply.signer is None,
                    f"the signer {reply.signer!r} from {what}",
                    "None: nobody proved anything",
                )
                expect(
                    0 <= reply.seconds <= passed,
                    f"{reply.seconds} seconds from {what}",
                    f"what the call took, at most {passed:.4f}",
                )

    def test_a_peer_that_hangs_is_late_within_the_limit(self) -> None:
        with self.live() as (transport, peers):
            for what, send in self.forms(transport):
                with timed(0.25, 0.3 + self.tolerance, f"{what} with timeout=0.3"):
                    late = fails(
                        Late,
                        f"{what} to a peer that hangs",
                        partial(send, peers.hang + SECRET, Message(body=b"x"), 0.3),
                    )
                expect(
                    late.delivered is None,
                    f"Late with delivered={late.delivered} from {what}",
                    "None: the peer may have taken the message",
                )

    def test_a_message_without_a_limit_ends_all_the_same(self) -> None:
        if not self.brief:
            self.skip("settings as brief of")
        with self.live(**self.brief) as (transport, peers):
            for what, send in self.forms(transport):
                with timed(0.0, 1.0 + self.tolerance, f"{what} without a limit"):
                    fails(
                        Late,
                        f"{what} without a limit to a peer that hangs",
                        partial(send, peers.hang, Message(body=b"x"), None),
                    )

    def test_a_peer_that_is_not_there_refuses_and_got_nothing(self) -> None:
        with self.live() as (transport, peers):
            for what, send in self.forms(transport):
                refused = fails(
                    Refused,
                    f"{what} to an address nobody listens at",
                    partial(send, peers.dead + SECRET, Message(body=b"x")),
                )
                expect(
                    refused.delivered is False,
                    f"Refused with delivered={refused.delivered} from {what}",
                    "False: it may be sent again without asking",
                )

    def test_health_says_that_a_live_transport_can_be_used(self) -> None:
        with self.live() as (transport, _):
            found = within(5.0, "health", transport.health)
            expect(
                isinstance(found, Health) and found.ok is True,
                f"{found!r:.100} from health",
                "Health(ok=True)",
            )


class LoopChecks(Case):
    """Loops and threads: who may call, and from where."""

    def test_the_sync_form_works_inside_a_running_loop(self) -> None:
        async def main() -> object:
            return transport.send(Peer(peers.echo), Message(body=b"x"), timeout=5.0)

        with self.live() as (transport, peers):
            what = "send inside a running loop"
            answers(what, lambda: within(7.0, what, lambda: _run(main)))

    def test_threads_and_loops_share_one_transport(self) -> None:
        """Loops that follow each other, and loops and threads at once."""
        wrong: list[str] = []

        async def ask(name: str) -> None:
            names = [f"{name} {number}".encode() for number in range(5)]
            replies = await asyncio.gather(
                *(
                    transport.asend(Peer(peers.echo), Message(body=one), timeout=10.0)
                    for one in names
                )
            )
            found = [reply.body for reply in replies]
            if found != names:
                wrong.append(f"{found} for {names}")

        def sync(name: str) -> None:
            for number in range(5):
                body = f"{name} {number}".encode()
                reply = transport.send(Peer(peers.echo), Message(body=body), timeout=10)
                if reply.body != body:
                    wrong.append(f"{reply.body!r} for {body!r}")

        def work(name: str) -> None:
            try:
                _run(lambda: ask(name))
                _run(lambda: ask(f"again {name}"))
                sync(name)
            except BaseException as exc:
                wrong.append(repr(exc))

        def all_of_them() -> None:
            threads = [
                threading.Thread(target=work, args=(str(n),), daemon=True)
                for n in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        with self.live() as (transport, peers):
            within(30.0, "4 threads with two loops each", all_of_them)
            expect(
                not wrong,
                "; ".join(wrong[:3]),
                "each its own reply, from every loop and thread",
                "keep pools in the home loop: open them in an async method",
            )

    def test_a_url_that_is_none_is_an_error_with_a_remedy(self) -> None:
        from btplug.errors import UsageError

        with self.live() as (transport, peers):
            scheme = peers.echo.partition("://")[0]
            for what, send in self.forms(transport):
                try:
                    found = send(f"{scheme}://", Message())
                except (UsageError, TransportError) as exc:
                    expect(exc.fix, f"{exc!r} without 'fix' from {what}", "a remedy")
                else:
                    expect(False, f"{found!r} from {what}", "an error: it has no host")


def _run(main: object) -> object:
    assert callable(main)
    return asyncio.run(main())
