"""The sync form on httpx's transport, the async one on connections of our own.

`httpx.Client` itself is not used: its time limit is for each read, it follows the
``Location`` of redirects far enough to fail on a bad one, keeps cookies and writes
whole URLs to its log. Going straight to the transport is also 1.3 times as fast.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from btplug.errors import Late, Unsupported

from .flow import CURRENT, carry, finish
from .library import httpcore, httpx
from .tls import Trust
from .wires import SyncBackend

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from btplug import Message, Peer, Reply
    from btplug.dialects import Dialects
    from btplug.network import Allow

    from .exchange import Exchange
    from .pool import Pool
    from .request import Flow
    from .settings import HTTPConfig
    from .streaming import HTTPStream

_IDLE = 20  # idle connections kept at most


class Direct(httpx.BaseTransport):
    """httpx's sync transport."""

    def __init__(self, config: HTTPConfig, trust: Trust, allow: Allow | None) -> None:
        self.pool = httpcore.ConnectionPool(
            network_backend=SyncBackend(allow), **_options(config, trust)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        found = self.pool.handle_request(_translated(request))
        return httpx.Response(
            found.status, headers=found.headers, stream=_Body(found.stream)
        )

    async def once(self, exchange: Exchange) -> Reply:
        """Send the message and return the reply; waits, but for no loop."""
        out = exchange.out
        request = httpx.Request(
            out.method,
            out.place.url,
            headers=out.headers,
            # As `content` it would be measured, and the headers prepared, once more.
            stream=httpx.ByteStream(out.body),
            # The limit for a free connection; wires.py sees to all others.
            extensions={"timeout": {"pool": exchange.left()}},
        )
        token = CURRENT.set(exchange)
        try:
            response = self.handle_request(request)
            try:
                incoming = exchange.answered(response.status_code, response.headers.raw)
                for chunk in cast("_Body", response.stream):
                    incoming.take(chunk)
                exchange.rest()
                return exchange.reply()
            finally:
                response.close()
        finally:
            CURRENT.reset(token)

    def close(self) -> None:
        self.pool.close()


class Engine:
    """The sync way, made at once, and the async one, made when it is needed."""

    def __init__(self, config: HTTPConfig) -> None:
        self._config, self._trust = config, Trust(config)
        self._allow: Allow | None = None
        self._sync = Direct(config, self._trust, None)
        self._pool: Pool | None = None
        self._dialects: Dialects | None = None
        if config.dialects:
            self._dialects = _dialects(config)  # a wrong key is an error of the start

    def send(
        self, peer: Peer, message: Message, timeout: float | None, method: str
    ) -> Reply:
        exchange = self._exchange(peer, message, timeout, method)
        return finish(carry(self._sync.once, exchange))

    def asend(
        self, peer: Peer, message: Message, timeout: float | None, method: str
    ) -> Awaitable[Reply]:
        if self._config.proxy:
            # Proxies are spoken to in one place; few have one.
            from asyncio import to_thread

            return to_thread(self.send, peer, message, timeout, method)
        exchange = self._exchange(peer, message, timeout, method)
        return carry(self.pool().once, exchange)

    def _exchange(
        self,
        peer: Peer,
        message: Message,
        timeout: float | None,
        method: str,
        flow: Flow | None = None,
    ) -> Exchange:
        dialect = None
        if peer.hotkey or peer.dialect:
            if self._dialects is None:
                self._dialects = _dialects(self._config)
            dialect = self._dialects.of(peer)
        return _exchange()(peer, message, self._config, timeout, method, dialect, flow)

    @asynccontextmanager
    async def astream(
        self, peer: Peer, message: Message, chunks: Any, timeout: float | None
    ) -> AsyncIterator[HTTPStream]:
        """Send *chunks*, or the body of *message*; see `TransportPlugin.stream`."""
        import asyncio

        from .streaming import HTTPStream, Source

        if self._config.proxy:
            raise Unsupported(
                "streams do not go through a proxy",
                fix="send it whole, or without http.proxy",
                delivered=False,
            )
        source = Source(chunks)
        try:
            signed = bool(peer.hotkey or peer.dialect not in (None, "none"))
            where = peer.url.partition("?")[0]
            began = monotonic()
            try:
                async with asyncio.timeout(timeout) as limit:
                    flow = await source.flow(signed=signed, shown=where)
            except TimeoutError as exc:
                if not limit.expired():
                    raise
                raise Late(
                    f"waited {timeout:g} s for the digest of what is to be sent",
                    where=where,
                    fix="raise the limit: timeout=",
                    delivered=False,
                ) from exc
            exchange = self._exchange(peer, message, timeout, "POST", flow)
            if timeout is not None:
                exchange.deadline = began + exchange.seconds
            async with HTTPStream(self.pool(), exchange, source) as stream:
                yield stream
        finally:
            await source.close()

    def limited(self, allow: Allow) -> Engine:
        """Return one with the same keys, and connections of its own."""
        from copy import copy

        made, outer = copy(self), self._allow
        made._allow = allow
        if outer is not None:
            made._allow = lambda *place: outer(*place) and allow(*place)
        made._sync = Direct(self._config, self._trust, made._allow)
        made._pool = None
        return made

    def pool(self) -> Pool:
        """Return the connections of the async form; they belong to one loop."""
        if self._pool is None:
            from .pool import Pool

            self._pool = Pool(self._config, self._trust, self._allow)
        return self._pool

    def state(self) -> str:
        """Say how many connections there are."""
        every = [one.is_idle() for one in self._sync.pool.connections]
        count, idle = len(every), sum(every)
        if self._pool is not None:
            count, idle = count + self._pool.count, idle + self._pool.idle
        return f"connections: {count}, idle: {idle}"

    def close(self) -> Pool | None:
        """Close the sync connections; return what is to be closed in its loop."""
        self._sync.close()
        return self._pool


class _Body(httpx.SyncByteStream):
    """The body of a reply; httpcore leaves the type of its stream open."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()


@cache
def _exchange() -> type[Exchange]:
    """Import it with the first message: a start that sends nothing does not pay."""
    from .exchange import Exchange

    return Exchange


def _dialects(config: HTTPConfig) -> Dialects:
    from btplug.dialects import Dialects

    return Dialects(config.dialects, default=config.dialect)


def _translated(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=url.raw_scheme,
            host=url.raw_host,
            port=url.port,
            # httpx would write some characters in another way than they were signed.
            target=CURRENT.get().out.place.target,
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _options(config: HTTPConfig, trust: Trust) -> dict[str, Any]:  # of either pool
    proxy = None
    if config.proxy:
        user, _, password = config.proxy_auth.reveal().partition(":")
        proxy = httpcore.Proxy(config.proxy, auth=(user, password) if user else None)
    return {
        # httpcore only hands it on to our `start_tls`.
        "ssl_context": cast("ssl.SSLContext", trust),
        "max_connections": config.connections,
        "max_keepalive_connections": _IDLE if config.keep_alive else 0,
        "keepalive_expiry": config.keep_alive,
        "proxy": proxy,
    }
