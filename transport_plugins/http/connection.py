"""One connection of the async form: what it sends, and how an exchange ends.

It knows no policy: it tells the exchange it works for what happens, and does what
that asks for. asyncio is imported with the first async message.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from .flow import SourceFailed, Stale, shut_down, torn
from .line import Line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from socket import socket

    from btplug.message import Buffer

    from .exchange import Exchange
    from .heads import Heads
    from .outbox import Outbox
    from .streaming import Sink
    from .watch import Watch


class Connection(Line):
    """A connection to one peer, used by one exchange at a time."""

    __slots__ = ("_done", "_letter", "_outbox", "_watch")

    def __init__(
        self,
        sock: socket,
        watch: Watch,
        outbox: Outbox,
        space: memoryview,
        heads: Heads,
    ) -> None:
        super().__init__(sock, space, heads)
        self._watch, self._outbox = watch, outbox
        self._letter = b""
        self._done: asyncio.Future[None] | None = None

    # -- for the pool

    async def carry(
        self,
        exchange: Exchange,
        chunks: AsyncGenerator[Sequence[Buffer], None] | None = None,
        sink: Sink | None = None,
    ) -> None:
        """Send the message of *exchange*, and return when its reply is complete.

        Args:
            chunks: The body as it stands on the wire, where it is streamed.
            sink: Takes the body of the reply as it comes; None: the exchange does.

        Raises:
            Stale: It is a kept connection that cannot be used again.
            OSError, Garbled: There is no whole reply.
            TransportError: The reply is refused.
        """
        if self.uses == 1 and (doubt := self.doubt(exchange)):
            await self._wait(doubt)
        out = exchange.out
        occupied = self.uses > 0 and self.occupied()
        pieces = self.begin(exchange, occupied, [out.head(), out.body])
        self.expect(exchange, sink)
        done = self._done = self._loop.create_future()
        self._watch.add(self)
        try:
            if self.uses == 1:
                self.transport.resume_reading()
            if len(pieces) == 1 and chunks is None:
                self._letter = pieces[0]
                self._outbox.put(self)
            else:
                await self._write(pieces, exchange, done)
            whole = chunks is None or await self._feed(chunks, exchange, done)
            if not done.done():
                exchange.reading()
            await done
            # Whose reply came before the end of the message still waits for the rest.
            self.rest(clean=exchange.exact() and whole)
        finally:
            self._watch.discard(self)
            if not self._complete:
                self._note_sent()
                self.abort()
                if done.done() and not done.cancelled():
                    done.exception()  # seen, also where another one is raised
            self._exchange = self._sink = self._done = self._room = None

    @property
    def reusable(self) -> bool:
        """True where another exchange may use it."""
        return self._clean and not self.lost and self._stays

    def cut(self) -> None:
        """End it, and the exchange that uses it."""
        self._fail(shut_down())

    # -- sending

    async def _feed(
        self,
        chunks: AsyncGenerator[Sequence[Buffer], None],
        exchange: Exchange,
        done: asyncio.Future[None],
    ) -> bool:
        """Send a body as it comes; tell whether all of it was sent.

        Whoever makes it may take for ever: that ends with the exchange, too.
        """
        feeding = asyncio.create_task(self._send_all(chunks, exchange, done))
        try:
            await asyncio.wait((feeding, done), return_when=asyncio.FIRST_COMPLETED)
            return feeding.done() and feeding.result()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _send_all(
        self,
        chunks: AsyncGenerator[Sequence[Buffer], None],
        exchange: Exchange,
        done: asyncio.Future[None],
    ) -> bool:
        async with aclosing(chunks):
            while True:
                exchange.feeding(0)
                try:
                    pieces = await anext(chunks, None)
                except Exception as exc:
                    raise SourceFailed from exc
                if pieces is None:
                    return True
                exchange.feeding(sum(map(len, pieces)))
                if not await self._write(pieces, exchange, done):
                    return False

    def flush(self) -> None:
        """Send what was put into the outbox, unless it is over by now."""
        if self._letter and not self.lost:
            self._post(self._letter)
        self._letter = b""

    def _note_sent(self) -> None:
        exchange = self._exchange
        if exchange is not None and not self._letter:
            unsent = self.transport.get_write_buffer_size() + self._held
            # At least one byte: asyncio tells nothing of what TLS holds back.
            exchange.sent = max(1, exchange.total - unsent)

    # -- what happens, and how it ends

    def check(self, now: float) -> int:
        """End the exchange if it is over its limit; return the bytes of it held."""
        exchange = self._exchange
        if exchange is None:
            return 0
        if exchange.deadline <= now:
            if exchange.stepwise and self._paused:
                exchange.step()  # whoever reads takes his time
            else:
                self._fail(TimeoutError())
        held = None if self.lost or self._complete else self._incoming
        return held.size if held is not None and self._sink is None else 0

    def give_up(self, held: int, most: int) -> None:
        """End the exchange: all together hold more than they may, and this one most."""
        if self._incoming is not None:
            self._fail(self._incoming.too_much(held, most))

    def _fail(self, exc: Exception) -> None:
        self._note_sent()
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc)
        self._woken()
        self.abort()

    def _finish(self) -> None:
        super()._finish()
        if self._paused:
            self.resume()
        self._note_sent()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)
        if self._wake is not None:
            self._woken()

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._broke(exc)
        self._ended(None)
        self.let_go()

    def _broke(self, exc: Exception) -> None:
        if self._exchange is not None and not self._unsent():
            self._take_rest()
        self._ended(exc)
        self.abort()

    def _unsent(self) -> bool:
        """Tell whether this is a kept connection, and nothing of the message has left.

        Then the message goes on another one, and what came is nobody's reply.
        """
        return bool(self._letter) and self.uses > 1

    def _ended(self, exc: Exception | None) -> None:
        self.lost = True
        self._woken()
        exchange, incoming = self._exchange, self._incoming
        if exchange is None or self._done is None or self._done.done():
            return
        if self._unsent():
            self._fail(Stale())
            return
        if exc is None and incoming is not None and incoming.until_end:
            if self._told():
                self._finish()
            else:
                self._fail(torn())
        else:
            self._fail(exc or ConnectionError("the connection ended"))
