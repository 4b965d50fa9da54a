"""One connection of the async form: what it sends and, by a parser, what came.

It knows no policy: it tells the exchange it works for what happens, and does what
that asks for. asyncio is imported with the first async message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

from btplug.errors import TransportError

from .flow import Garbled
from .line import Line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .exchange import Exchange
    from .incoming import Incoming
    from .outbox import Outbox
    from .request import RawHeaders
    from .streaming import Sink
    from .watch import Watch


class Connection(Line):
    """A connection to one peer, used by one exchange at a time."""

    __slots__ = (
        "_complete",
        "_done",
        "_exchange",
        "_failed",
        "_headers",
        "_incoming",
        "_letter",
        "_outbox",
        "_parser",
        "_paused",
        "_sink",
        "_stays",
        "_unseen",
        "_watch",
    )

    def __init__(self, watch: Watch, outbox: Outbox, space: memoryview) -> None:
        super().__init__(space)
        self._watch, self._outbox = watch, outbox
        self._letter = b""
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self._failed: Exception | None = None
        self._stays = self._paused = False
        self._sink: Sink | None = None

    # -- for the pool

    async def carry(
        self,
        exchange: Exchange,
        chunks: AsyncIterator[bytes] | None = None,
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
        self.put(exchange.out.head())
        self.put(exchange.out.body)
        pieces = self.begin(exchange, self.uses > 0 and self.occupied())
        self._headers: RawHeaders = []
        self._incoming: Incoming | None = None
        self._complete = False
        self._unseen = 0
        self._exchange, self._sink = exchange, sink
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
            if chunks is not None:
                async for chunk in chunks:
                    if done.done() or self.transport.is_closing():
                        break
                    exchange.total += len(chunk)
                    await self._write([chunk], exchange, done)
                    exchange.step()
            if not done.done():
                exchange.reading()
            await done
            exchange.rest()
        finally:
            self._watch.discard(self)
            if not self._complete:
                self._note_sent()
                self.abort()
                if done.done() and not done.cancelled():
                    done.exception()  # seen, also where another one is raised
            self._exchange = self._sink = self._done = None

    @property
    def reusable(self) -> bool:
        """True where another exchange may use it."""
        return self._clean and not self.lost and self._stays

    def cut(self) -> None:
        """End it, and the exchange that uses it."""
        self._fail(ConnectionError("the transport was shut down"))

    # -- sending

    def flush(self) -> None:
        """Send what was put into the outbox, unless it is over by now."""
        letter, self._letter = self._letter, b""
        if letter and not self.lost:
            self.transport.write(letter)

    def _note_sent(self) -> None:
        exchange = self._exchange
        if exchange is not None and not self._letter:
            unsent = self.transport.get_write_buffer_size()
            # At least one byte: asyncio tells nothing of what TLS holds back.
            exchange.sent = max(1, exchange.total - unsent)

    # -- what happens, and how it ends

    def check(self, now: float) -> None:
        """End the exchange if it is over its limit."""
        exchange = self._exchange
        if exchange is not None and exchange.deadline <= now:
            if exchange.stepwise and self._paused:
                exchange.step()  # whoever reads takes his time
            else:
                self._fail(TimeoutError())

    def _fail(self, exc: Exception) -> None:
        self._note_sent()
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc)
        self._woken()
        self.abort()

    def resume(self) -> None:
        """Read on: what was read has been taken."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def _finish(self) -> None:
        self._complete = True
        if self._paused:
            self.resume()
        self._note_sent()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)
        if self._wake is not None:
            self._woken()

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._space[:nbytes])
        exchange, incoming = self._exchange, self._incoming_or_none()
        if exchange is None or self._complete:
            self._clean = False
            self.abort()  # bytes that nobody asked for
            return
        before = -1 if incoming is None else incoming.size
        try:
            exchange.came(data)
            if incoming is None or incoming.length is None:
                self._parser.feed_data(data)
            else:
                self._take(data, incoming, incoming.length)
            if self._complete:
                return
            if self._failed is not None:
                self._fail(self._failed)
                return
            exchange.step()
            exchange.reading()
            self._check_silence(exchange, before, nbytes)
        except TransportError as exc:
            self._fail(exc)
        except httptools.HttpParserUpgrade:
            self._fail(Garbled("it changes to another protocol"))
        except httptools.HttpParserError as exc:
            self._fail(self._failed or Garbled(str(exc)))

    def _take(self, data: bytes, incoming: Incoming, length: int) -> None:
        """Take a part of a body of known length: the parser would copy it."""
        left = length - incoming.size
        self.on_body(data if len(data) <= left else data[:left])
        if incoming.size == length:
            self.on_message_complete()
            # To the old one, this body has not ended.
            self._parser = httptools.HttpResponseParser(self)

    def _check_silence(self, exchange: Exchange, before: int, size: int) -> None:
        """Refuse trailers and chunk extensions without end."""
        if self._incoming is None or self._incoming.size != before:
            self._unseen = 0
            return
        self._unseen += size
        exchange.check_silence(self._unseen)

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._exchange is not None:
            self._take_rest()
        self._ended(exc)
        # It holds this connection, which would live on until the garbage is collected.
        del self._parser

    def _ended(self, exc: Exception | None) -> None:
        self.lost = True
        self._woken()
        exchange, incoming = self._exchange, self._incoming_or_none()
        if exchange is None or self._complete:
            return
        if exc is None:
            exchange.came(b"")
        until_end = incoming is not None and incoming.until_end
        if exc is None and until_end:
            self._finish()
        else:
            self._fail(exc or ConnectionError("the connection ended"))

    def _incoming_or_none(self) -> Incoming | None:
        return self._incoming if self._exchange is not None else None

    # -- called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is None:  # and no trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        # After the end more may follow in the same packet: it is nobody's reply.
        if self._exchange is None or self._complete:
            return
        status = self._parser.get_status_code()
        if status < 100:
            self._failed = Garbled(f"the status {status:03}")
            return
        if status < 200:
            self._headers = []  # 100 Continue and its like: the reply is still to come
            return
        try:
            self._incoming = self._exchange.answered(status, self._headers)
        except TransportError as exc:
            self._failed = exc
            return
        if self._sink is not None:
            self._sink.begin()
        if self._exchange.out.method == "HEAD":
            # The parser waits for a body that will not come.
            self._stays = False
            self._finish()

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None and not (self._failed or self._complete):
            if self._sink is not None:
                self._incoming.size += len(body)
                if self._sink.put(body) and not self._paused:
                    self._paused = True
                    self.transport.pause_reading()
                return
            try:
                self._incoming.take(body)
            except TransportError as exc:
                self._failed = exc

    def on_message_complete(self) -> None:
        if self._incoming is not None and not (self._failed or self._complete):
            # The parser knows it only now.
            self._stays = self._parser.should_keep_alive()
            self._finish()
