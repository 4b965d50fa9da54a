"""httpx's transports, over our connections.

`httpx.Client` itself is not used: its time limit is for each read, it follows the
``Location`` of redirects far enough to fail on a bad one, keeps cookies and writes
whole URLs to its log. Going straight to the transport is also 1.3 times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .flow import carry, finish
from .library import httpcore, httpx
from .tls import Trust
from .wires import SyncBackend

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator

    from btplug import Message, Peer, Reply

    from .exchange import Exchange
    from .settings import HTTPConfig

_IDLE = 20  # idle connections kept at most


class Direct(httpx.BaseTransport):
    """httpx's sync transport."""

    def __init__(self, config: HTTPConfig, trust: Trust) -> None:
        self.pool = httpcore.ConnectionPool(
            network_backend=SyncBackend(), **_options(config, trust)
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        found = self.pool.handle_request(_translated(request))
        return httpx.Response(
            found.status, headers=found.headers, stream=_Body(found.stream)
        )

    async def open(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)

    async def drain(
        self, response: httpx.Response, take: Callable[[bytes], None]
    ) -> None:
        for chunk in cast("_Body", response.stream):
            take(chunk)

    async def leave(self, response: httpx.Response) -> None:
        response.close()

    def close(self) -> None:
        self.pool.close()


class AsyncDirect(httpx.AsyncBaseTransport):
    """httpx's async transport; belongs to the loop of its first message."""

    def __init__(self, config: HTTPConfig, trust: Trust) -> None:
        from .awires import AsyncBackend

        self.pool = httpcore.AsyncConnectionPool(
            network_backend=AsyncBackend(), **_options(config, trust)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        found = await self.pool.handle_async_request(_translated(request))
        return httpx.Response(
            found.status, headers=found.headers, stream=_AsyncBody(found.stream)
        )

    async def open(self, request: httpx.Request) -> httpx.Response:
        return await self.handle_async_request(request)

    async def drain(
        self, response: httpx.Response, take: Callable[[bytes], None]
    ) -> None:
        async for chunk in cast("_AsyncBody", response.stream):
            take(chunk)

    async def leave(self, response: httpx.Response) -> None:
        await response.aclose()

    async def aclose(self) -> None:
        await self.pool.aclose()


class Engine:
    """Both transports: the sync one made at once, the async one when it is needed."""

    def __init__(self, config: HTTPConfig) -> None:
        self._config, self._trust = config, Trust(config)
        self._sync = Direct(config, self._trust)
        self._async: AsyncDirect | None = None

    def send(
        self, peer: Peer, message: Message, timeout: float | None, method: str
    ) -> Reply:
        return finish(
            carry(self._sync, _exchange(peer, message, self._config, timeout, method))
        )

    async def asend(
        self, peer: Peer, message: Message, timeout: float | None, method: str
    ) -> Reply:
        exchange = _exchange(peer, message, self._config, timeout, method)
        if self._async is None:
            self._async = AsyncDirect(self._config, self._trust)
        return await carry(self._async, exchange)

    def state(self) -> str:
        """Say how many connections there are."""
        every = [one.is_idle() for one in self._sync.pool.connections]
        if self._async is not None:
            every += [one.is_idle() for one in self._async.pool.connections]
        return f"connections: {len(every)}, idle: {sum(every)}"

    def close(self) -> AsyncDirect | None:
        """Close the sync connections; return what is to be closed in its loop."""
        self._sync.close()
        return self._async


class _Body(httpx.SyncByteStream):
    """The body of a reply; httpcore leaves the type of its stream open."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()


class _AsyncBody(httpx.AsyncByteStream):
    """The same for the async transport."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return cast("AsyncIterator[bytes]", self._stream.__aiter__())

    async def aclose(self) -> None:
        await self._stream.aclose()


def _exchange(
    peer: Peer, message: Message, config: HTTPConfig, timeout: float | None, method: str
) -> Exchange:
    # Imported with the first message: a start that sends nothing does not pay for it.
    from .exchange import Exchange

    return Exchange(peer, message, config, timeout, method)


def _translated(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
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
