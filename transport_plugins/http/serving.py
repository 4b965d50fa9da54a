"""The server: an application of `btplug.serving` on uvicorn, in the home loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from btplug.config import nearest
from btplug.dialects import create
from btplug.errors import ConfigError, Unsupported
from btplug.network import bracket
from btplug.serving import Application, Limits, application

from .listener import BACKLOG, listen

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Callable, Mapping

    from uvicorn import Server

    from btplug.dialects import Dialect
    from btplug.message import Handler

    from .settings import HTTPConfig

_LISTS = ("allow", "deny")  # of hotkeys; all other options are limits


class Servers:
    """The servers of one transport.

    They share their dialects: what one has accepted is a replay for all others.

    Args:
        config: Its ``serve`` says who may ask, and the limits.

    Raises:
        ConfigError: An option is called or valued wrongly, or a key is.
    """

    def __init__(self, config: HTTPConfig, logger: logging.Logger) -> None:
        options = config.serve
        self._allow, self._deny = (_hotkeys(n, options.get(n)) for n in _LISTS)
        self._limits = _limits({k: v for k, v in options.items() if k not in _LISTS})
        self._config, self._logger = config, logger
        self._dialects: list[Dialect] | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def count(self) -> int:
        """How many are running."""
        return len(self._tasks)

    async def run(
        self,
        handler: Handler | Application,
        host: str,
        port: int,
        ready: Callable[[str], None] | None,
    ) -> None:
        """Serve until the task is cancelled; see `serve`."""
        app = handler if isinstance(handler, Application) else self._made(handler)
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._tasks.add(task)
        try:
            await serve(app, host, port, ready)
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """Stop all; what then still runs is cut, for the host waits 2 s."""
        for _ in range(2):
            if tasks := list(self._tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=0.8)

    def _made(self, handler: Handler) -> Application:
        if self._dialects is None:
            # Whoever configured a key wants to know who asks.
            options = self._config.dialects or {"none": {}}
            self._dialects = [create(name, **own) for name, own in options.items()]
        return application(
            handler, dialects=self._dialects, limits=self._limits, allow=self._allow,
            deny=self._deny or (), logger=self._logger,
        )  # fmt: skip


def _limits(options: Mapping[str, Any]) -> Limits:
    known = (*_LISTS, *(field.name for field in fields(Limits)))
    for name in options:
        if name not in known:
            raise ConfigError(
                f"found serve.{name}, expected one of: {', '.join(known)}",
                fix=nearest(name, known) or f"remove {name!r}",
            )
    return Limits(**options)


def _hotkeys(name: str, given: object) -> frozenset[str] | None:
    if given is None:
        return None
    # A text is a container too, and holds each part of itself.
    if not isinstance(given, (list, tuple)) or not all(
        isinstance(one, str) for one in given
    ):
        raise ConfigError(
            f"found serve.{name} of type {type(given).__name__}, "
            "expected a list of hotkeys",
            fix=f"write it as {name}: [ss58, …]",
        )
    return frozenset(given)


async def serve(
    app: Application, host: str, port: int, ready: Callable[[str], None] | None
) -> None:
    """Serve until the task is cancelled; then finish what has begun.

    Raises:
        Unsupported: uvicorn is not installed.
        UsageError: The host is empty, or the port is none.
        Refused: The address cannot be listened on.
    """
    try:
        import uvicorn

        from .guarded import guarded
    except ImportError as exc:
        raise Unsupported(
            f"the HTTP transport serves with uvicorn, which cannot be imported: {exc}",
            fix="pip install 'btplug[serve]'",
            delivered=False,
        ) from exc
    listener = listen(host, port)
    limits = app.limits
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            # All of it is written out: uvicorn would read some from the environment.
            http=guarded(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            workers=1,
            backlog=BACKLOG,  # it listens once more, with its own
            # The application ends what is late before this does.
            timeout_graceful_shutdown=int(limits.stop_time) + 2,
            # Whole seconds are asked for, but call_later takes any.
            timeout_keep_alive=limits.keep_alive,  # type: ignore[arg-type]
        )
    )
    app.start()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, task)
        if ready is not None:
            ready(f"http://{bracket(host)}:{listener.getsockname()[1]}")
        await asyncio.shield(task)
    finally:
        server.should_exit = True
        try:
            await asyncio.gather(app.stop(), task)
        finally:
            # Asked to end at once, or something of uvicorn's failed.
            task.cancel()
            _cut(server, listener)


async def _started(server: Server, task: asyncio.Task[None]) -> None:
    """Return once requests are taken."""
    while not server.started and not task.done():
        await asyncio.sleep(0)
    if task.done():
        task.result()


def _cut(server: Server, listener: socket.socket) -> None:
    """Close what is still open."""
    listener.close()
    for one in getattr(server, "servers", ()):
        one.close()
    for connection in list(server.server_state.connections):
        with suppress(Exception):  # it may be half made
            connection.transport.abort()
