"""The sync and async forms of `stream`: one is written, one is made."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import suppress
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from btplug._forms import is_made, mark

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from btplug._loop import HomeLoop
    from btplug.message import Buffer, Message, Peer, Reply
    from btplug.transport import AsyncStream, Stream, TransportPlugin

_MOST = 4 * 1024 * 1024  # bytes that are under way from one loop to another
_LEAVING: set[Future[None]] = set()  # a loop has weak references only
F = TypeVar("F", bound="Callable[..., Any]")  # Any: a method of any signature


def pair_streams(cls: type[TransportPlugin], base: type) -> None:
    """Make the other form for the class that defines one most derived."""
    for owner in cls.__mro__:
        own = vars(owner)
        forms = [n for n in ("astream", "stream") if n in own and not is_made(own[n])]
        if not forms:
            continue
        if owner is cls or not issubclass(owner, base):
            if "astream" in forms:
                written = own["astream"]  # and not what replaces it
                setattr(cls, "astream", _at_home(written))  # noqa: B010 - replaced
                if "stream" not in forms:
                    setattr(cls, "stream", _posted(written))  # noqa: B010 - made
            else:
                setattr(cls, "astream", _threaded(own["stream"]))  # noqa: B010 - made
        return


class _Entry:
    """A stream in the home loop; whoever waits for it may be gone as it is there."""

    def __init__(
        self, made: AbstractAsyncContextManager[AsyncStream], home: HomeLoop
    ) -> None:
        self._made, self._home = made, home
        self._stream: AsyncStream | None = None
        self._unwanted = False
        self.head: Reply

    async def _enter(self) -> AsyncStream:
        self._stream = await self._made.__aenter__()
        if self._unwanted:
            await self._undo()
        return self._stream

    async def _leave(self, *exc: Any) -> None:
        await self._made.__aexit__(*exc)

    def _give_up(self) -> None:
        """Leave it if it is entered, or once it is; in the home loop."""
        import asyncio

        self._unwanted = True
        if self._stream is not None:
            leaving = asyncio.ensure_future(self._undo())
            _LEAVING.add(leaving)
            leaving.add_done_callback(_LEAVING.discard)

    async def _undo(self) -> None:
        import asyncio

        exc = asyncio.CancelledError()
        with suppress(Exception, asyncio.CancelledError):  # nobody is there to hear it
            await self._made.__aexit__(type(exc), exc, None)


class _Home(_Entry):
    """An async stream that lives in the home loop, for whichever loop uses it."""

    async def __aenter__(self) -> _Home:
        try:
            self.head = (await self._home.hand_over(self._enter())).head
        except BaseException:
            self._home.post(self._give_up)
            raise
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._home.hand_over(self._leave(*exc))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._stream is not None
        batches = _batches(self._stream)
        while batch := await self._home.hand_over(_next(batches)):
            for part in batch:
                yield part


class _Posted(_Entry):
    """The same for a thread."""

    def __enter__(self) -> _Posted:
        try:
            self.head = self._home.run(self._enter()).head
        except BaseException:
            self._home.post(self._give_up)
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        self._home.run(self._leave(*exc))

    def __iter__(self) -> Iterator[bytes]:
        assert self._stream is not None
        for batch in self._home.iterate(_batches(self._stream)):
            yield from batch


class Threaded:
    """The async form of a stream that was written for threads."""

    def __init__(self, made: AbstractContextManager[Stream]) -> None:
        self._made = made
        self._lock = Lock()
        self._stream: Stream | None = None
        self._unwanted = False
        self.head: Reply

    async def __aenter__(self) -> Threaded:
        import asyncio

        try:
            self.head = (await asyncio.to_thread(self._enter)).head
        except BaseException:
            # A thread is not cancelled: it may enter yet, or have done so.
            with self._lock:
                self._unwanted, entered = True, self._stream is not None
            if entered:
                asyncio.get_running_loop().run_in_executor(None, self._undo)
            raise
        return self

    def _enter(self) -> Stream:
        stream = self._made.__enter__()
        with self._lock:
            self._stream, unwanted = stream, self._unwanted
        if unwanted:
            self._undo()
        return stream

    def _undo(self) -> None:
        import asyncio

        exc = asyncio.CancelledError()
        with suppress(Exception, asyncio.CancelledError):  # nobody is there to hear it
            self._made.__exit__(type(exc), exc, None)

    async def __aexit__(self, *exc: Any) -> None:
        import asyncio

        await asyncio.to_thread(self._made.__exit__, *exc)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import asyncio

        assert self._stream is not None
        parts = iter(self._stream)
        while (part := await asyncio.to_thread(lambda: next(parts, None))) is not None:
            yield part


async def _next(batches: AsyncIterator[list[bytes]]) -> list[bytes] | None:
    return await anext(batches, None)


def _batches(stream: AsyncStream) -> AsyncIterator[list[bytes]]:
    """Iterate over a stream in lists, so that one hop carries what there is.

    A stream may have a method of its own for that, ``batches``.
    """
    own: Callable[[], AsyncIterator[list[bytes]]] | None
    own = getattr(stream, "batches", None)
    return own() if own is not None else _single(stream)


async def _single(stream: AsyncStream) -> AsyncIterator[list[bytes]]:
    async for part in stream:
        yield [part]


async def _brought(
    chunks: AsyncIterable[Buffer], loop: AbstractEventLoop
) -> AsyncIterator[bytes]:
    """Yield what *chunks* gives, which may be bound to *loop*, as a StreamReader is."""
    import asyncio

    from btplug.values import view_of

    home = asyncio.get_running_loop()
    came: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
    room, sent, taken = asyncio.Event(), 0, 0

    async def bring() -> None:
        nonlocal sent
        end: BaseException | None = asyncio.CancelledError()
        try:
            async for chunk in chunks:
                if type(chunk) is not bytes:
                    chunk = bytes(view_of(chunk))
                sent += len(chunk)
                home.call_soon_threadsafe(came.put_nowait, chunk)
                while sent - taken > _MOST:
                    room.clear()
                    if sent - taken > _MOST:
                        await room.wait()
            end = None
        except Exception as exc:
            end = exc
        finally:
            with suppress(RuntimeError):  # nobody waits any more
                home.call_soon_threadsafe(came.put_nowait, end)

    bringing = asyncio.run_coroutine_threadsafe(bring(), loop)
    try:
        while isinstance(data := await came.get(), bytes):
            yield data
            taken += len(data)
            if not room.is_set():
                loop.call_soon_threadsafe(room.set)
        if data is not None:
            raise data
    finally:
        bringing.cancel()


def _at_home(method: F) -> F:
    @wraps(method)
    def at_home(
        self: TransportPlugin, peer: Peer, message: Message, chunks: Any = None,
        **keywords: Any,
    ) -> Any:  # fmt: skip
        home = self.context.home
        if home.here():
            return method(self, peer, message, chunks, **keywords)
        if isinstance(chunks, AsyncIterable):
            import asyncio

            chunks = _brought(chunks, asyncio.get_running_loop())
        return _Home(method(self, peer, message, chunks, **keywords), home)

    return at_home  # type: ignore[return-value]  # same signature by wraps


def _posted(method: Callable[..., Any]) -> Callable[..., Any]:
    def posted(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        return _Posted(method(self, *args, **keywords), self.context.home)

    return mark(posted)


def _threaded(method: Callable[..., Any]) -> Callable[..., Any]:
    def threaded(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        return Threaded(method(self, *args, **keywords))

    return mark(threaded)
