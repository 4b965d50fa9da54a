"""What a plugin is: BasePlugin, CLIPlugin, TransportPlugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from btplug.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.context import Context
    from btplug.message import Health, Message, Peer, Reply

F = TypeVar("F", bound="Callable[..., Any]")  # Any: a method of any signature


class BasePlugin(ABC):
    """Base of all plugins: the life of one, and its hooks.

    Every method may be written as ``async def``; it then runs in a loop of the host.

    Attributes:
        Config: A dataclass or msgspec.Struct; its defaults are the plugin's. Without
            one, `initialize` gets a read-only mapping of the ``config:`` block.
        context: Set by the host before `initialize`.
    """

    Config: ClassVar[type | None] = None
    context: Context

    # Any, here and below: authors narrow it to their Config and their options.
    @abstractmethod
    def initialize(self, config: Any) -> object:
        """Open what the plugin needs; runs once, perhaps not in the main thread."""

    @abstractmethod
    def execute(self, *args: Any, **options: Any) -> Any:
        """Do the work.

        The first argument, if any, is *data*; options arrive by name.

        Returns:
            None, text, bytes, one mapping, or an iterable of mappings or of text.
        """

    @abstractmethod
    def shutdown(self) -> object:
        """Release everything; runs once, perhaps not in the main thread."""

    def before_execute(self, data: Any) -> Any:
        """See, and perhaps replace, what goes into `execute`."""
        return data

    def after_execute(self, result: Any) -> Any:
        """See, and perhaps replace, what came out of `execute`."""
        return result


class CLIPlugin(BasePlugin):
    """A command, loaded when somebody calls it.

    Options and arguments are declared with Click's decorators on `execute`.
    """


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
            _pair(cls, sync, asynchronous)
        health: Any = vars(cls).get("health")
        if iscoroutinefunction(health):
            setattr(cls, "health", _posted(health))  # noqa: B010 - a method, replaced

    def send(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        """Send *message*, return the reply; *timeout* in seconds covers the whole."""
        raise _unsupported(self, "send")

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        """Async form of `send`."""
        raise _unsupported(self, "send")

    def receive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        """Fetch what *peer* has to give; an HTTP transport does a GET."""
        raise _unsupported(self, "receive")

    async def areceive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        """Async form of `receive`."""
        raise _unsupported(self, "receive")

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


_PAIRS = (("send", "asend"), ("receive", "areceive"))


def _unsupported(plugin: BasePlugin, what: str) -> Unsupported:
    return Unsupported(
        f"{type(plugin).__name__} does not {what}",
        fix=f"use a transport that can {what}",
        delivered=False,
    )


def has_send(cls: type[TransportPlugin]) -> bool:
    """Tell whether *cls* wrote `send` or `asend`."""
    return cls.send is not TransportPlugin.send


def _pair(cls: type[TransportPlugin], sync: str, asynchronous: str) -> None:
    """Make the other form of a pair for the class that defines one most derived."""
    for owner in cls.__mro__:
        own = vars(owner)
        forms = [n for n in (sync, asynchronous) if n in own and not _made(own[n])]
        if not forms:
            continue
        # A transport further up has both forms already; a mixin has not.
        if owner is cls or not issubclass(owner, TransportPlugin):
            if asynchronous in forms:
                setattr(cls, asynchronous, _at_home(own[asynchronous]))
                if sync not in forms:
                    setattr(cls, sync, _posted(own[asynchronous]))
            else:
                setattr(cls, asynchronous, _threaded(own[sync]))
        return


def _made(function: object) -> bool:
    return getattr(function, "_derived", False)


def _mark(function: F) -> F:
    function._derived = True  # type: ignore[attr-defined]  # our own mark
    return function


def _at_home(method: F) -> F:
    """Run an async method in the home loop, whichever loop awaits it."""

    @wraps(method)
    async def at_home(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        work = method(self, *args, **keywords)
        return await self.context.home.hand_over(work)

    return at_home  # type: ignore[return-value]  # same signature by wraps


# Both call the very function they are made from, not the method of that name: a
# subclass that wraps one form by super() would otherwise call itself for ever.
def _posted(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a sync form that posts to the home loop and waits."""

    def posted(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        return self.context.home.run(method(self, *args, **keywords))

    return _mark(posted)


def _threaded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make an async form that lets the sync one work in a thread."""

    async def threaded(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        import asyncio

        return await asyncio.to_thread(method, self, *args, **keywords)

    return _mark(threaded)
