"""What all checks of the contract suite stand on: the plugin, and its peers."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from btplug._forms import is_made
from btplug.errors import Unsupported
from btplug.message import Message, Peer, Reply
from btplug.testing._judging import Held, expect, within
from btplug.testing.live import echo, hang, running, serving
from btplug.transport import TransportPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from btplug.message import Handler, Request

    Send = Callable[..., Reply]  # peer or its URL, message, timeout

SECRET = "?key=contract-secret"
# An address of the right form, to which nobody has the key.
HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@dataclass(frozen=True, slots=True)
class Peers:
    """URLs of the peers that a transport is judged with.

    Attributes:
        echo: Answers as `btplug.testing.echo` does.
        hang: Takes a message, never answers, and lets go of the connection when the
            other side does.
        dead: Nobody listens there.
        moved: Answers with status 307, a header ``Location`` that names another peer,
            and as body the method, a blank and the target of the request. Empty, here
            and below: what needs the peer is skipped.
        cut: Takes a whole message, and ends the connection without a reply.
        drip: Answers with a byte now and then, and never comes to the end.
        taken: Returns how many messages *cut* has taken.
    """

    echo: str
    hang: str
    dead: str
    moved: str = ""
    cut: str = ""
    drip: str = ""
    taken: Callable[[], int] | None = None


class Case:
    """One transport under test.

    Attributes:
        plugin: Its class, or its folder.
        config: Settings it runs with.
        brief: Settings that end a message within a second where the caller gives no
            limit, such as ``{"timeout": 0.5}``. Empty: it is not looked at.
        tolerance: Seconds a limit may be exceeded by, on a busy machine.
    """

    plugin: ClassVar[Any] = None  # a class of TransportPlugin, or a path
    config: ClassVar[Mapping[str, Any]] = {}  # Any: of whatever type a field has
    brief: ClassVar[Mapping[str, Any]] = {}
    tolerance: ClassVar[float] = 1.0

    def peers(self) -> AbstractContextManager[Peers]:
        """Return a context manager of peers; override it where there is no serve."""
        return self._own_peers()

    @contextmanager
    def _own_peers(self) -> Iterator[Peers]:
        # An instance of its own: what the server does is not the client's fault.
        with (
            running(self.plugin, **self.config) as server,
            self._told(server),
            serving(server, hang) as stuck,
            serving(server, echo) as there,
            serving(server, _moved_to(there)) as moved,
        ):
            # Last, so that no other takes its place.
            with serving(server, echo) as dead:
                pass
            yield Peers(echo=there, hang=stuck, dead=dead, moved=moved)

    @contextmanager
    def _told(self, server: TransportPlugin) -> Iterator[None]:
        try:
            yield
        except Unsupported as exc:
            if exc.what.endswith(" serve"):
                raise AssertionError(
                    f"found no serve in {type(server).__name__} and no peers() in "
                    f"{type(self).__name__}, expected one of them\n  fix:   override "
                    "peers() with a context manager that yields btplug.testing.Peers"
                ) from exc
            raise

    @contextmanager
    def live(self, **config: Any) -> Iterator[tuple[Any, Peers]]:
        """Yield the live transport and its peers; afterwards nothing may be left.

        Args:
            config: Settings beside those of the test, for the transport alone.
        """
        name = type(self).__name__
        expect(
            self.plugin is not None,
            f"no plugin in {name}",
            "plugin = YourTransportPlugin, or its folder",
        )
        self._run_once()
        before = Held()
        with self.peers() as peers:
            own = Held()
            with running(self.plugin, **{**self.config, **config}) as transport:
                expect(
                    isinstance(transport, TransportPlugin),
                    f"a {type(transport).__name__} as plugin of {name}",
                    "a TransportPlugin",
                )
                yield transport, peers
            own.settle(self.tolerance + thread_time(transport), "shutdown")
        before.settle(self.tolerance, "the peers ended")

    def _run_once(self) -> None:
        """Start, send and end once in this process, before anything is counted.

        What a library opens for the process, and keeps, is no leak of a transport.
        """
        if self.plugin in _HAVE_RUN:
            return
        _HAVE_RUN.add(self.plugin)
        # What goes wrong here goes wrong in the check as well, which says it.
        with (
            suppress(Exception),
            self.peers() as peers,
            running(self.plugin, **self.config) as transport,
        ):
            for _, send in self.forms(transport):
                send(peers.echo, Message(body=b"x"))

    def needed(self, peers: Peers, name: str) -> str:
        """Return the URL of a peer that need not be there; skip the test without it."""
        url: str = getattr(peers, name)
        if not url:
            self.skip(f"{name!r} in the Peers of")
        return url

    def skip(self, what: str) -> NoReturn:
        """Skip the test, because the author has not given *what*."""
        # pytest takes it for its own.
        from unittest import SkipTest

        raise SkipTest(
            f"found no {what} {type(self).__name__}, "
            "expected one to judge this with: see btplug.testing"
        )

    def forms(self, transport: Any) -> Iterator[tuple[str, Send]]:
        """Yield both forms of send, called alike, each within its limit."""
        yield "send", self.guarded("send", transport.send)
        yield "asend", self.guarded("asend", partial(_asent, transport))

    def all_forms(self, transport: Any) -> Iterator[tuple[str, Send]]:
        """Yield these, and both of send_many to one peer, whose failure is raised."""
        yield from self.forms(transport)
        yield "send_many", self.guarded("send_many", partial(_sent_many, transport))
        many = partial(_asent_many, transport)
        yield "asend_many", self.guarded("asend_many", many)

    def guarded(self, what: str, call: Callable[..., Reply]) -> Send:
        """Return *call* for a peer or its URL; it fails where it exceeds its limit."""

        def send(
            to: str | Peer, message: Message, timeout: float | None = 5.0
        ) -> Reply:
            limit = (timeout or 1.0) + 2 * self.tolerance + 1
            peer = Peer(to) if isinstance(to, str) else to
            return within(limit, what, partial(call, peer, message, timeout=timeout))

        return send


def _moved_to(url: str) -> Handler:
    async def moved(request: Request) -> Reply:
        message = request.message
        return Reply(
            status=307,
            body=f"{message.method} {message.target}".encode(),
            headers=(("Location", url),),
        )

    return moved


_HAVE_RUN: set[object] = set()  # plugins, in this process


def _asent(transport: Any, *given: Any, **keywords: Any) -> Reply:
    async def main() -> Reply:
        reply: Reply = await transport.asend(*given, **keywords)
        return reply

    return asyncio.run(main())


def _sent_many(transport: Any, peer: Peer, message: Message, timeout: float) -> Reply:
    (found,) = transport.send_many([peer], message, timeout=timeout)
    reply: Reply = found.unwrap()
    return reply


def _asent_many(transport: Any, peer: Peer, message: Message, timeout: float) -> Reply:
    async def main() -> Reply:
        outcomes = transport.asend_many([peer], message, timeout=timeout)
        (found,) = [outcome async for outcome in outcomes]
        reply: Reply = found.unwrap()
        return reply

    return asyncio.run(main())


def thread_time(transport: Any) -> float:
    """Return the time limit to give messages that are cancelled; 0: any will do.

    Where asend is made of send, threads are waited for: nothing can cancel one.
    """
    return 1.0 if is_made(type(transport).asend) else 0.0
