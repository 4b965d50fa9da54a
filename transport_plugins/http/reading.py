"""How a connection reads a reply: by a parser, and long bodies by itself; no I/O."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import httptools

from btplug.errors import TransportError

from .flow import Garbled
from .wires import Wire

if TYPE_CHECKING:
    from .exchange import Exchange
    from .heads import Heads
    from .incoming import Incoming
    from .request import RawHeaders
    from .streaming import Sink


class Reading(Wire):
    """A connection that reads one reply at a time, for the exchange that expects it."""

    __slots__ = (
        "_complete", "_exchange", "_failed", "_headers", "_heads", "_incoming",
        "_parsed", "_parser", "_room", "_sink", "_stays", "_unseen",
    )  # fmt: skip

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self._heads, self._parsed = heads, False
        self._exchange: Exchange | None = None
        self._incoming: Incoming | None = None
        self._headers: RawHeaders = []
        self._parser = httptools.HttpResponseParser(self)
        self._failed: Exception | None = None
        self._complete = self._stays = False
        self._sink: Sink | None = None
        self._room: memoryview | None = None  # for the rest of a body
        self._unseen = 0

    def _finish(self) -> None:
        """Note that the reply is complete."""
        self._complete = True

    def let_go(self) -> None:
        """Forget the parser, at the end of the connection.

        It holds the connection, which would live on until the garbage is collected.
        """
        with suppress(AttributeError):
            del self._parser

    def expect(self, exchange: Exchange, sink: Sink | None) -> None:
        """Read the reply to *exchange*, its body into *sink*, if there is one."""
        self._headers, self._incoming = [], None
        self._complete, self._unseen, self._parsed = False, 0, False
        self._exchange, self._sink = exchange, sink

    def received(self, data: bytes) -> None:
        """Take what was read where there is no room for it.

        Raises:
            Garbled: It is no HTTP.
            TransportError: The reply is refused.
        """
        exchange, incoming = self._exchange, self._incoming
        assert exchange is not None
        before, size = -1 if incoming is None else incoming.size, len(data)
        exchange.came(data)
        if incoming is None and (rest := self._seen(exchange, data)) is not None:
            data, incoming = rest, self._incoming
        if incoming is None or incoming.length is None:
            self._parse(data)
        else:
            self._take(data, incoming, incoming.length)
        if self._complete:
            return
        if self._failed is not None:
            raise self._failed
        exchange.step()
        exchange.reading()
        self._check_silence(exchange, before, size)
        if self._incoming is not None and self._sink is None:
            self._room = self._incoming.room()

    def _parse(self, data: bytes) -> None:
        self._parsed = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as exc:
            # Ctrl-C for one.
            raise exc.__context__ or exc from None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if self._complete:
                self._stays = False  # what follows a reply is not its fault
                return
            upgrade = isinstance(exc, httptools.HttpParserUpgrade)
            why = "it changes to another protocol" if upgrade else str(exc)
            raise self._failed or Garbled(why) from exc

    def _seen(self, exchange: Exchange, data: bytes) -> bytes | None:
        """Take the head if it came before, and whole; return what follows it."""
        if exchange.head is not data or exchange.out.method == "HEAD":
            return None
        raw = exchange.raw_head()
        head = self._heads.find(raw)
        if head is None:
            return None
        self._incoming = exchange.known(head)
        if self._sink is not None:
            self._sink.begin()
        return data[len(raw) :]

    def _take(self, data: bytes, incoming: Incoming, length: int) -> None:
        """Take a part of a body of known length: the parser would copy it."""
        left = length - incoming.size
        if data:
            self.on_body(data if len(data) <= left else data[:left])
        if incoming.size == length:
            self._whole()

    def filled(self, room: memoryview, size: int) -> None:
        """Note that so much of a body was read into its *room*."""
        exchange, incoming = self._exchange, self._incoming
        assert exchange is not None
        assert incoming is not None
        exchange.arrived += size
        incoming.size += size
        self._room = room[size:] if size < len(room) else None
        room.release()
        if self._room is None:
            self._whole()
        else:
            exchange.step()

    def _whole(self) -> None:
        if not self._parsed:
            self._stays = True
            self._finish()
            return
        self.on_message_complete()
        # To the old one, this body has not ended.
        self._parser = httptools.HttpResponseParser(self)

    def _check_silence(self, exchange: Exchange, before: int, size: int) -> None:
        """Refuse trailers and chunk extensions without end."""
        if self._incoming is None or self._incoming.size != before:
            self._unseen = 0
            return
        self._unseen += size
        exchange.check_end("trailers or chunk extensions", self._unseen)

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._complete:
            self._stays = False  # nobody asked for it

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
            self._stays = self._parser.should_keep_alive()
            # This one waits for a body that will not come.
            self._parser = httptools.HttpResponseParser(self)
            self._finish()

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None and not (self._failed or self._complete):
            if self._sink is not None:
                self._incoming.size += len(body)
                self._sink.put(body)
                return
            try:
                self._incoming.take(body)
            except TransportError as exc:
                self._failed = exc

    def on_message_complete(self) -> None:
        if self._incoming is not None and not (self._failed or self._complete):
            # The parser knows it only now.
            self._stays = self._parser.should_keep_alive()
            self._keep(self._incoming)
            self._finish()

    def _keep(self, incoming: Incoming) -> None:
        """Remember the head, where it alone says all."""
        head, exchange = incoming.head, self._exchange
        assert exchange is not None
        raw = exchange.raw_head()
        # Another status: that one was 100 Continue or its like.
        told = raw[9:12] == b"%d" % head.status
        if told and self._stays and incoming.length == head.length is not None:
            self._heads.keep(raw, head)
