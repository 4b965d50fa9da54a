"""Exchanges of both forms, on their connections.

Of httpx the URLs are used, not `httpx.Client`: its time limit is for each read, it
follows the ``Location`` of redirects far enough to fail on a bad one, keeps cookies and
writes whole URLs to its log; and it takes two and a half times as long.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from btplug.errors import Late, Unsupported

from .flow import carry, finish
from .syncpool import SyncPool
from .tls import Trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from btplug import Message, Peer, Reply
    from btplug.dialects import Dialects
    from btplug.network import Allow

    from .exchange import Exchange
    from .pool import Pool
    from .request import Flow
    from .settings import HTTPConfig
    from .streaming import HTTPStream


class Engine:
    """The sync form, ready at once, and the async one, made when it is needed."""

    def __init__(self, config: HTTPConfig) -> None:
        self._config, self._trust = config, Trust(config)
        self._allow: Allow | None = None
        self._sync = SyncPool(config, self._trust)
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
        exchange = self._exchange(peer, message, timeout, method)
        if self._config.proxy:
            return self._by_thread(exchange)
        return carry(self.pool().once, exchange)

    async def _by_thread(self, exchange: Exchange) -> Reply:
        """Send as the sync form does: proxies are spoken to in one place."""
        import asyncio

        pool, loop = self._sync, asyncio.get_running_loop()
        sending = loop.run_in_executor(None, lambda: finish(carry(pool.once, exchange)))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            # What came of it counts as seen, should nobody wait any more.
            sending.add_done_callback(lambda done: done.cancelled() or done.exception())
            pool.give_up(exchange)
            await asyncio.wait([sending])
            raise

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
        made._sync = SyncPool(self._config, self._trust, made._allow)
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
        count, idle = self._sync.count()
        if self._pool is not None:
            count, idle = count + self._pool.count, idle + self._pool.idle
        return f"connections: {count}, idle: {idle}"

    def close(self) -> Pool | None:
        """Close the sync connections; return what is to be closed in its loop."""
        self._sync.close()
        return self._pool


@cache
def _exchange() -> type[Exchange]:
    """Import it with the first message: a start that sends nothing does not pay."""
    from .exchange import Exchange

    return Exchange


def _dialects(config: HTTPConfig) -> Dialects:
    from btplug.dialects import Dialects

    return Dialects(config.dialects, default=config.dialect)
