"""Sync and async forms of a transport's methods: one is written, one is made."""

from __future__ import annotations

from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar

from btplug.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug.transport import TransportPlugin

F = TypeVar("F", bound="Callable[..., Any]")  # Any: a method of any signature


def pair(cls: type[TransportPlugin], base: type, sync: str, asynchronous: str) -> None:
    """Make the other form of a pair for the class that defines one most derived.

    Args:
        base: TransportPlugin, whose own forms count for nothing.
    """
    for owner in cls.__mro__:
        own = vars(owner)
        forms = [n for n in (sync, asynchronous) if n in own and not is_made(own[n])]
        if not forms:
            continue
        # A transport further up has both forms already; a mixin has not.
        if owner is cls or not issubclass(owner, base):
            # A server that is stopped finishes what has begun.
            patient = sync == "serve"
            for name in forms:
                _check_form(own[name], name, wanted=name == asynchronous)
            if asynchronous in forms:
                written = own[asynchronous]  # and not what replaces it
                setattr(cls, asynchronous, _at_home(written, patient))
                if sync not in forms:
                    setattr(cls, sync, posted(written, patient=patient))
            else:
                setattr(cls, asynchronous, _threaded(own[sync]))
        return


def _check_form(function: object, name: str, *, wanted: bool) -> None:
    if iscoroutinefunction(function) != wanted:
        other = name.removeprefix("a") if wanted else f"a{name}"
        found, expected = ("def", "async def") if wanted else ("async def", "def")
        raise TypeError(
            f"found {name} written with {found}, "
            f"expected {expected}, or the name {other}"
        )


def is_made(function: object) -> bool:
    return getattr(function, "_derived", False)


def mark(function: F) -> F:
    function._derived = True  # type: ignore[attr-defined]  # our own mark
    return function


def _at_home(method: F, patient: bool) -> F:
    """Run an async method in the home loop, whichever loop awaits it."""

    @wraps(method)
    async def at_home(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        work = method(self, *args, **keywords)
        return await self.context.home.hand_over(work, patient=patient)

    at_home._inner = method  # type: ignore[attr-defined]  # our own mark
    return at_home  # type: ignore[return-value]  # same signature by wraps


def inner(plugin: TransportPlugin, name: str) -> Callable[..., Any]:
    """Return the async method *name* for callers that run in the home loop already."""
    method = getattr(getattr(plugin, name), "_inner", None)
    return partial(method, plugin) if method else getattr(plugin, name)


# Both call the very function they are made from, not the method of that name: a
# subclass that wraps one form by super() would otherwise call itself for ever.
def posted(method: Callable[..., Any], *, patient: bool = False) -> Callable[..., Any]:
    """Make a sync form that posts to the home loop and waits."""

    def posted(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        work = method(self, *args, **keywords)
        return self.context.home.run(work, patient=patient)

    return mark(posted)


def _threaded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make an async form that lets the sync one work in a thread."""

    async def threaded(self: TransportPlugin, *args: Any, **keywords: Any) -> Any:
        import asyncio

        work = partial(method, self, *args, **keywords)
        # asyncio's own pool has four threads more than there are processors.
        pool = self.context.home.threads()
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    return mark(threaded)


def unsupported(plugin: TransportPlugin, what: str) -> Unsupported:
    """Make the error of a transport that cannot do *what*."""
    context = getattr(plugin, "context", None)
    name = (context and context.plugin) or type(plugin).__name__
    return Unsupported(
        f"{name} does not {what}",
        fix=f"use a transport that can {what}",
        delivered=False,
    )
