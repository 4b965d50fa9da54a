"""How data moves between neurons: TransportPlugin, and what plugins see of one."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from btplug._forms import inner, pair, posted, unsupported
from btplug._streams import pair_streams
from btplug.plugin import BasePlugin

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
    )
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from btplug._outcomes import AsyncOutcomes, Outcomes
    from btplug.message import Buffer, Handler, Health, Message, Peer, Reply
    from btplug.network import Allow


class Stream(Protocol):
    """A reply whose body comes piece by piece.

    Attributes:
        head: Status and headers; its body is empty.
    """

    head: Reply

    def __iter__(self) -> Iterator[bytes]: ...


class AsyncStream(Protocol):
    """Async form of `Stream`."""

    head: Reply

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Transport(Protocol):
    """What plugins see of a transport: `Context.transports` holds these."""

    schemes: tuple[str, ...]

    def send(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        """Send *message*, return the reply; *timeout* in seconds covers the whole."""

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        """Async form of `send`."""

    def receive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        """Fetch what *peer* has to give."""

    async def areceive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        """Async form of `receive`."""

    def send_many(
        self,
        peers: Iterable[Peer],
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        limit: int = 512,
        repeatable: bool = False,
    ) -> Outcomes:
        """Send to many peers at once; see `TransportPlugin.send_many`."""

    def asend_many(
        self,
        peers: Iterable[Peer] | AsyncIterable[Peer],
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        limit: int = 512,
        repeatable: bool = False,
    ) -> AsyncOutcomes:
        """Async form of `send_many`."""

    def health(self) -> Health:
        """Tell whether the transport can be used."""

    def execute(self, *args: Any, **options: Any) -> Any:
        """`send`, unless the transport does something else."""


class TransportPlugin(BasePlugin):
    """How data moves between neurons; initialised at start-up.

    A transport writes `send` or `asend`, and `receive` or `areceive` if it can: the
    other form of each pair is made here. Everything async runs in the home loop.

    Attributes:
        schemes: URL schemes it serves, such as ``("http", "https")``.
    """

    schemes: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for sync, asynchronous in _PAIRS:
            pair(cls, TransportPlugin, sync, asynchronous)
        pair_streams(cls, TransportPlugin)
        for name in ("health", "execute"):
            method: Any = getattr(cls, name)
            if iscoroutinefunction(method):
                setattr(cls, name, posted(method))

    def send(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        """Send *message*, return the reply; *timeout* in seconds covers the whole."""
        raise unsupported(self, "send")

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        """Async form of `send`."""
        raise unsupported(self, "send")

    def receive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        """Fetch what *peer* has to give; an HTTP transport does a GET."""
        raise unsupported(self, "receive")

    async def areceive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        """Async form of `receive`."""
        raise unsupported(self, "receive")

    def send_many(
        self,
        peers: Iterable[Peer],
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        limit: int = 512,
        repeatable: bool = False,
    ) -> Outcomes:
        """Send to many peers at once, and yield outcomes as they complete.

        One failure loses nothing of the others. An iterable of peers is read as turns
        come free, in the home loop, and so is a *message* that is made for each peer.

        Args:
            timeout: Seconds for each peer, from the start of its turn; None: the
                transport's own limit.
            deadline: Seconds for all; who has no turn by then fails as ``late`` with
                ``delivered=False``.
            limit: How many peers have their turn at once.
            repeatable: It may be sent twice: what is refused or cut, and 429 and 503
                with `Retry-After`, is tried again, up to twice, in the limits.

        Returns:
            An iterator of `Outcome`, which several may read; a read that is interrupted
            loses nothing. Closing it, or leaving its ``with``, cancels what is open.

        Raises:
            UsageError: A limit is none.
        """
        from btplug._fanout import Fanout
        from btplug._outcomes import Outcomes

        fanout = Fanout(
            inner(self, "asend"), peers, message, timeout=timeout, deadline=deadline,
            limit=limit, repeatable=repeatable,
        )  # fmt: skip
        return Outcomes(fanout, self.context.home)

    def asend_many(
        self,
        peers: Iterable[Peer] | AsyncIterable[Peer],
        message: Message | Callable[[Peer], Message],
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        limit: int = 512,
        repeatable: bool = False,
    ) -> AsyncOutcomes:
        """Async form of `send_many`; peers may come from an async iterable too."""
        from btplug._fanout import Fanout
        from btplug._outcomes import AsyncOutcomes

        fanout = Fanout(
            inner(self, "asend"), peers, message, timeout=timeout, deadline=deadline,
            limit=limit, repeatable=repeatable,
        )  # fmt: skip
        return AsyncOutcomes(fanout, self.context.home)

    def stream(
        self,
        peer: Peer,
        message: Message,
        chunks: Iterable[Buffer] | None = None,
        *,
        timeout: float | None = None,
    ) -> AbstractContextManager[Stream]:
        """Send a message whose body, and whose reply's, need not fit into memory.

        Args:
            message: Its body is sent, unless there are *chunks*.
            chunks: The body, piece by piece. Where it is signed it has to be read
                twice: bytes, a path or a seekable file; an iterator is refused.
            timeout: Seconds for the whole; None: the transport's own limit, for each
                step, because nobody knows how long a stream lasts.

        Returns:
            Entered, the head of the reply and then its body; leaving the ``with``
            frees the connection.
        """
        raise unsupported(self, "stream")

    def astream(
        self,
        peer: Peer,
        message: Message,
        chunks: AsyncIterable[Buffer] | Iterable[Buffer] | None = None,
        *,
        timeout: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncStream]:
        """Async form of `stream`; async *chunks* stay in the loop they come from."""
        raise unsupported(self, "stream")

    def serve(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Answer requests with what *handler* returns, until interrupted.

        A stop finishes what has begun, within the transport's limit.

        Args:
            handler: Sync or async; several run at once.
            port: 0: one that is free.
            ready: Called with the URL once requests are taken.
        """
        raise unsupported(self, "serve")

    async def aserve(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Async form of `serve`: it ends when its task is cancelled."""
        raise unsupported(self, "serve")

    def limited_to(self, allow: Allow) -> TransportPlugin:
        """Return this transport with connections of its own, made only if they may be.

        For whoever sends where somebody else wants to: to the target of a redirect, or
        for a plugin that is confined. It is shut down with this one, or before; *allow*
        is asked before each connection, see `btplug.network.Allow`.
        """
        raise unsupported(self, "check addresses")

    def health(self) -> Health:
        """Tell whether the transport can be used; the base says yes."""
        from btplug.message import Health

        return Health(ok=True)

    def execute(
        self,
        data: str | bytes | Message | None = None,
        *,
        peer: Peer | str,
        timeout: float | None = None,
    ) -> Reply:
        """Send *data* to *peer*: text is sent as UTF-8, None as an empty body."""
        from btplug.message import Message, Peer

        target = Peer.parse(peer) if isinstance(peer, str) else peer
        return self.send(target, Message.of(data), timeout=timeout)


_PAIRS = (("send", "asend"), ("receive", "areceive"), ("serve", "aserve"))


def has_send(cls: type[TransportPlugin]) -> bool:
    """Tell whether *cls* wrote `send` or `asend`."""
    return cls.send is not TransportPlugin.send
