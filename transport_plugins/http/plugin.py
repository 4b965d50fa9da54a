"""Messages over HTTP and HTTPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from btplug import TransportPlugin

from .settings import HTTPConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from btplug import Health, Message, Peer, Reply
    from btplug.message import Buffer, Handler
    from btplug.network import Allow
    from btplug.serving import Application
    from btplug.transport import AsyncStream

    from .engine import Engine
    from .serving import Servers


class HTTPTransportPlugin(TransportPlugin):
    """Send a message as a POST, receive with a GET; each within one time limit.

    Both forms are written here, as one-line doors to the same exchange: a sync
    message without asyncio saves its import (45 ms) and is nearly three times as fast
    as one handed to a loop.
    """

    schemes = ("http", "https")
    Config = HTTPConfig
    _engine: Engine | None = None
    _servers: Servers | None = None
    _limited: tuple[HTTPTransportPlugin, ...] = ()

    def initialize(self, config: HTTPConfig) -> None:
        # Imported here: whoever only reads the class or its Config needs no httpx.
        from .engine import Engine

        if config.dangerously_skip_tls_verification:
            self.context.logger.warning(
                "certificates are not checked: whoever is on the way can read and "
                "change what is sent"
            )
        self._engine, self._config = Engine(config), config
        if config.serve:
            self._serving()  # a wrong limit is an error of the start

    def send(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        return self._open().send(peer, message, timeout, "POST")

    async def asend(
        self, peer: Peer, message: Message, *, timeout: float | None = None
    ) -> Reply:
        return await self._open().asend(peer, message, timeout, "POST")

    def receive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        from btplug import Message

        return self._open().send(peer, Message(), timeout, "GET")

    async def areceive(self, peer: Peer, *, timeout: float | None = None) -> Reply:
        from btplug import Message

        return await self._open().asend(peer, Message(), timeout, "GET")

    def astream(
        self,
        peer: Peer,
        message: Message,
        chunks: AsyncIterable[Buffer] | Iterable[Buffer] | None = None,
        *,
        timeout: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncStream]:
        return self._open().astream(peer, message, chunks, timeout)

    async def aserve(
        self,
        handler: Handler | Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Answer HTTP in the configured dialects; without any, whoever asks.

        An `Application` brings its own dialects and limits. Cancelled, it finishes
        what has begun within `Limits.stop_time`.
        """
        self._open()
        await self._serving().run(handler, host, port, ready)

    def limited_to(self, allow: Allow) -> HTTPTransportPlugin:
        """Return this transport with connections of its own, made only if they may be.

        *allow* is asked with the very address that is then connected to: a name that
        stands for another one a moment later changes nothing.

        Raises:
            Unsupported: There is a proxy, which looks names up by itself.
        """
        engine = self._open()
        if self._config.proxy:
            from btplug.errors import Unsupported

            raise Unsupported(
                "addresses cannot be checked behind a proxy, which looks names up",
                fix="do without http.proxy",
                delivered=False,
            )
        from copy import copy

        limited = copy(self)
        limited._engine, limited._servers = engine.limited(allow), None
        limited._limited = ()
        live = [one for one in self._limited if one._engine is not None]
        self._limited = (*live, limited)
        return limited

    def health(self) -> Health:
        from btplug import Health

        if self._engine is None:
            return Health(ok=False, detail="closed")
        return Health(ok=True, detail=self._engine.state())

    def shutdown(self) -> None:
        limited, self._limited = self._limited, ()
        for one in limited:
            one.shutdown()
        engine, self._engine = self._engine, None
        servers, self._servers = self._servers, None
        if servers is not None and servers.count:
            self.context.home.run(servers.close())
        if engine is not None and (rest := engine.close()):
            self.context.home.run(rest.close())

    def _serving(self) -> Servers:
        if self._servers is None:
            from .serving import Servers

            self._servers = Servers(self._config, self.context.logger)
        return self._servers

    def _open(self) -> Engine:
        if self._engine is None:
            from btplug.errors import NotAllowed

            raise NotAllowed(
                "the HTTP transport is not open",
                fix="send between initialize and shutdown",
                delivered=False,
            )
        return self._engine
