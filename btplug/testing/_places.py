"""Where memory servers are found: names of one process, and who answers there."""

from __future__ import annotations

import asyncio
import threading
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from btplug.errors import NotAllowed, Unauthentic, UsageError
from btplug.message import Message, Reply, Request
from btplug.network import bracket, parse_url

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from btplug._loop import HomeLoop
    from btplug.dialects import Dialect
    from btplug.message import Handler

# Of the process and not of a context, as ports are: a miner and a validator under
# test have a context each, and are to find each other.
_taken: dict[str, Server] = {}
_lock = threading.Lock()


class Server:
    """A handler in the home loop of whoever serves it.

    Attributes:
        ended: Set by whoever wants it to stop.
    """

    def __init__(
        self,
        handler: Handler,
        home: HomeLoop,
        dialect: Dialect | None,
        logger: Callable[[], logging.Logger],
    ) -> None:
        self._handler, self._home, self._dialect = handler, home, dialect
        self._logger = logger
        self._begun: set[asyncio.Task[Reply]] = set()
        self.ended = asyncio.Event()

    async def ask(self, request: Request, now_ns: int) -> Reply:
        """Return what the handler makes of *request*, from whichever loop."""
        return await self._home.hand_over(self._begin(request, now_ns))

    def stop(self) -> None:
        """Let it end soon; for any thread."""
        self._home.post(self.ended.set)

    async def finish(self, seconds: float) -> None:
        """Let what has begun go on for *seconds*, then cancel it."""
        if self._begun:
            await asyncio.wait(self._begun, timeout=seconds)
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)

    async def _begin(self, request: Request, now_ns: int) -> Reply:
        # A task of its own: the end of a server cancels it, and not who asked.
        task = asyncio.ensure_future(self._answer(request, now_ns))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        try:
            return await task
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or me.cancelling():
                raise
            # It was the end of the server, and nobody's of those who ask.
            raise ConnectionResetError from None

    async def _answer(self, request: Request, now_ns: int) -> Reply:
        dialect = self._dialect
        if dialect is None:
            return await self._handled(request)
        try:
            dialect.admit(request, now_ns)
            request = dialect.incoming(request, now_ns)
        except Unauthentic:
            # Why is for the owner of the server: it would help whoever guesses.
            return Reply(status=401)
        except NotAllowed:
            return Reply(status=403)
        return dialect.reply(request, await self._handled(request))

    async def _handled(self, request: Request) -> Reply:
        try:
            if iscoroutinefunction(self._handler):
                found = await self._handler(request)
            else:
                found = await asyncio.to_thread(self._handler, request)
                if not isinstance(found, (Reply, Message)):
                    found = await found
            if isinstance(found, Message):
                found = Reply(
                    status=200, body=found.body, media_type=found.media_type,
                    headers=found.headers,
                )  # fmt: skip
            if not isinstance(found, Reply):
                raise TypeError(f"found a {type(found).__name__}, expected a Reply")
            # bytes(5) is five zero bytes.
            if not isinstance(found.body, (bytes, bytearray, memoryview)):
                kind = type(found.body).__name__
                raise TypeError(f"found a body of type {kind}, expected bytes")
        except Exception:
            self._logger().exception("the handler of a memory server failed")
            return Reply(status=500)
        return found


def take(host: str, port: int, server: Server) -> str:
    """Give *server* a name and return it, as it stands in a URL.

    Args:
        port: 0: *host* alone, or with the first number that is free.

    Raises:
        UsageError: Somebody serves there, or no URL can hold the name.
    """
    name = bracket(host.lower())
    parse_url(f"memory://{name}:{port or 1}")
    with _lock:
        found = f"{name}:{port}" if port else name
        number = 0
        while not port and found in _taken:
            number += 1
            found = f"{name}:{number}"
        if found in _taken:
            raise UsageError(
                f"found a server at memory://{found}, expected a name that is free",
                fix="stop it, or choose another host or port",
            )
        _taken[found] = server
    return found


def leave(name: str, server: Server) -> None:
    """Take the name back, if it is still *server*'s."""
    with _lock:
        if _taken.get(name) is server:
            del _taken[name]


def find(name: str) -> Server | None:
    """Return who answers to *name*; None: nobody does."""
    return _taken.get(name.lower())
