"""Running a handler for many requests, some at once and the others in turn."""

from __future__ import annotations

import asyncio
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from btplug.message import Message, Reply
from btplug.serving._requests import Refusal
from btplug.serving._threads import Threads
from btplug.serving._turns import Turns
from btplug.values import new_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.message import Handler, Request
    from btplug.serving._clock import Clock
    from btplug.serving._limits import Limits


class Work:
    """Calls a handler: an async one in this loop, a sync one in a thread."""

    __slots__ = (
        "_clock", "_handler", "_limits", "_priority", "_sync", "_threads", "_turns",
    )  # fmt: skip

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        priority: Callable[[Request], float] | None,
        clock: Clock,
    ) -> None:
        self._handler, self._limits, self._priority = handler, limits, priority
        self._clock = clock
        call = getattr(handler, "__call__", None)  # noqa: B004 - of an object
        self._sync = not (iscoroutinefunction(handler) or iscoroutinefunction(call))
        self._threads = Threads()
        places = limits.threads if self._sync else limits.running
        self._turns = Turns(places, limits.waiting)

    async def run(self, request: Request) -> Reply:
        """Return what the handler answers, once it was its turn.

        Raises:
            Refusal: Too many wait, or the handler is late.
            Exception: Whatever the handler raised, or TypeError for what it returned.
        """
        priority = 0.0
        if self._priority is not None:
            priority = float(self._priority(request))
            if priority != priority:
                raise ValueError("found the priority NaN, expected a number")
        if not await self._turns.enter(priority, self._limits.wait_time):
            raise Refusal(503, 1.0)
        thread: asyncio.Future[Any] | None = None
        try:
            with self._clock.limit(self._limits.handler_time) as limit:
                if self._sync:
                    call = partial(_settled, self._handler, request)
                    thread = self._threads.submit(call)
                    # A thread cannot be stopped: it goes on, for nobody.
                    result, error = await asyncio.shield(thread)
                    if error is not None:
                        raise error
                else:
                    result = self._handler(request)
                if isawaitable(result):
                    result = await result
        except TimeoutError:
            if limit.late:
                raise Refusal(408) from None
            raise
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                raise RuntimeError("the handler was cancelled, by itself") from exc
            raise
        finally:
            if thread is None or thread.done():
                self._turns.leave()
            else:
                # The place is free when the thread is: so no queue forms behind it.
                thread.add_done_callback(lambda _: self._turns.leave())
        return _reply(result)

    def open(self) -> None:
        """Keep threads for what comes."""
        self._threads.open()

    def close(self) -> None:
        """Let idle threads end; those that still work end with their work."""
        self._threads.close()


def _settled(handler: Handler, request: Request) -> tuple[Any, BaseException | None]:
    """Return what a handler returned, and what it raised: a future takes not all."""
    try:
        return handler(request), None
    except BaseException as exc:
        return None, exc


def _reply(result: object) -> Reply:
    if isinstance(result, Reply):
        return result
    if isinstance(result, Message):
        return new_reply(status=200, body=result.body, media_type=result.media_type)
    raise TypeError(
        f"the handler returned a value of type {type(result).__name__}, "
        "expected a Reply or a Message"
    )
