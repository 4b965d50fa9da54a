"""What all checks of the contract suite stand on: the plugin, and its peers."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from btplug._forms import is_made
from btplug.errors import Unsupported
from btplug.message import Message, Peer
from btplug.testing._judging import Held, expect, within
from btplug.testing.live import echo, hang, running, serving
from btplug.transport import TransportPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from btplug.message import Reply

    Send = Callable[..., Reply]  # url, message, timeout


@dataclass(frozen=True, slots=True)
class Peers:
    """URLs of the peers that a transport is judged with.

    Attributes:
        echo: Answers as `btplug.testing.echo` does.
        hang: Takes a message, never answers, and lets go of the connection when the
            other side does.
        dead: Nobody listens there.
    """

    echo: str
    hang: str
    dead: str


class Case:
    """One transport under test.

    Attributes:
        plugin: Its class, or its folder.
        config: Settings it runs with.
        tolerance: Seconds a limit may be exceeded by, on a busy machine.
    """

    plugin: ClassVar[Any] = None  # a class of TransportPlugin, or a path
    config: ClassVar[Mapping[str, Any]] = {}  # Any: of whatever type a field has
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
        ):
            # Last, so that no other takes its place.
            with serving(server, echo) as dead:
                pass
            yield Peers(echo=there, hang=stuck, dead=dead)

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
    def live(self) -> Iterator[tuple[Any, Peers]]:
        """Yield the live transport and its peers; afterwards nothing may be left."""
        name = type(self).__name__
        expect(
            self.plugin is not None,
            f"no plugin in {name}",
            "plugin = YourTransportPlugin, or its folder",
        )
        before = Held()
        with self.peers() as peers:
            own = Held()
            with running(self.plugin, **self.config) as transport:
                expect(
                    isinstance(transport, TransportPlugin),
                    f"a {type(transport).__name__} as plugin of {name}",
                    "a TransportPlugin",
                )
                yield transport, peers
            own.settle(self.tolerance + thread_time(transport), "shutdown")
        before.settle(self.tolerance, "the peers ended")

    def forms(self, transport: Any) -> Iterator[tuple[str, Send]]:
        """Yield both forms of send, called alike, each within its limit."""

        def guarded(what: str, call: Callable[..., Reply]) -> Send:
            def send(url: str, message: Message, timeout: float = 5.0) -> Reply:
                limit = timeout + 2 * self.tolerance + 1
                work = partial(call, Peer(url), message, timeout=timeout)
                return within(limit, what, work)

            return send

        def asend(*given: Any, **keywords: Any) -> Reply:
            reply: Reply = asyncio.run(_awaited(transport.asend(*given, **keywords)))
            return reply

        yield "send", guarded("send", transport.send)
        yield "asend", guarded("asend", asend)


async def _awaited(work: Any) -> Any:
    return await work


def thread_time(transport: Any) -> float:
    """Return the time limit to give messages that are cancelled; 0: any will do.

    Where asend is made of send, threads are waited for: nothing can cancel one.
    """
    return 1.0 if is_made(type(transport).asend) else 0.0
