"""How the contract suite judges: what was found, what was expected, what is left."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from btplug.errors import BtplugError, TransportError, reason_of
from btplug.message import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from btplug._loop import HomeLoop

T = TypeVar("T")
E = TypeVar("E", bound=TransportError)


def expect(good: object, found: str, expected: str, fix: str = "") -> None:
    """Fail unless *good*, saying what was found instead of what."""
    if not good:
        raise AssertionError(
            f"found {found}, expected {expected}" + (f"\n  fix:   {fix}" if fix else "")
        )


def within(seconds: float, what: str, call: Callable[[], T]) -> T:
    """Return what *call* returns; fail if it takes longer.

    It runs in a daemon thread, so that a transport that never returns fails one check
    and does not stop all others.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=work, name="btplug contract", daemon=True)
    thread.start()
    thread.join(seconds)
    expect(
        not thread.is_alive(),
        f"{what} still at work after {seconds:g} s",
        "it to be over by then",
        "keep the whole call within its timeout, and never block the loop",
    )
    if errors:
        raise errors[0]
    return results[0]


def is_reply(reply: object, what: str) -> Reply:
    """Return *reply*; fail if it is none, or one with parts of another type."""
    expect(
        isinstance(reply, Reply),
        f"a value of type {type(reply).__name__} from {what}",
        "a btplug.Reply",
    )
    assert isinstance(reply, Reply)
    expect(
        isinstance(reply.body, bytes),
        f"a body of type {type(reply.body).__name__} from {what}",
        "bytes",
    )
    return reply


def answers(what: str, call: Callable[[], object]) -> Reply:
    """Return the reply that *call* returns; fail if it raises instead."""
    try:
        return is_reply(call(), what)
    except AssertionError:
        raise
    except Exception as exc:
        raise AssertionError(
            f"found {_told(exc)} from {what}, expected a Reply"
        ) from exc


def fails(kind: type[E], what: str, call: Callable[[], object]) -> E:
    """Return the error that *call* raises; fail if it is another one, or none.

    An error that is no TransportError, or says no remedy, is not good enough.
    """
    try:
        result = call()
    except kind as exc:
        is_whole(exc, what)
        return exc
    except AssertionError:
        raise
    except Exception as exc:
        found = f"{_told(exc)} from {what}"
        fix = "map errors of libraries where they are raised: raise … from exc"
        raise AssertionError(
            f"found {found}, expected btplug.errors.{kind.__name__}\n  fix:   {fix}"
        ) from exc
    raise AssertionError(
        f"found {result!r:.100} from {what}, expected btplug.errors.{kind.__name__}"
    )


def _told(exc: Exception) -> str:
    """Return type and text, without the remedy that btplug's errors say as well."""
    if isinstance(exc, BtplugError):
        return f"{type(exc).__name__}: {exc.what}"
    return reason_of(exc)


def is_whole(error: TransportError, what: str) -> None:
    """Fail if *error* does not say what went wrong and what to do about it."""
    kind = type(error).__name__
    expect(error.what, f"{kind} without a text from {what}", "one sentence")
    expect(
        error.fix,
        f"{kind} without 'fix' from {what}: {error.what}",
        "what the reader can do next",
    )
    # A query may hold a key, and errors are logged.
    shown = f"{error.what} {error.where or ''} {error.fix}"
    expect(
        "contract-secret" not in shown,
        f"the query of the peer's URL in an error of {what}: {shown}",
        "an address without it",
    )


class Held:
    """What a process holds: threads, tasks of a loop, and what it has open.

    Descriptors of every kind count, where the system tells of them: a file, a pipe or
    an epoll that each message leaves is what ends a neuron after a day.

    Args:
        home: Whose tasks count; None: none do.
    """

    def __init__(self, home: HomeLoop | None = None) -> None:
        self._home = home
        self._before = self._now()

    def settle(self, seconds: float, after: str) -> None:
        """Fail if, *seconds* from now, more is held than there was."""
        until = time.monotonic() + seconds
        while left := self._now() - self._before:
            if time.monotonic() > until:
                names = "; ".join(sorted(name for _, name in left.elements())[:5])
                raise AssertionError(
                    f"found {left.total()} left open after {after}: {names}, "
                    "expected nothing\n  fix:   close what was opened, also where "
                    "the call is cancelled"
                )
            time.sleep(0.005)

    def _now(self) -> Counter[tuple[int, str]]:
        # While a loop runs, it keeps the threads of its pool.
        names = ("asyncio_", "uvloop_", "btplug home loop_")
        pool = names if self._home is not None else ()
        found = Counter(
            (id(thread), f"thread {thread.name}")
            for thread in threading.enumerate()
            if not thread.name.startswith(pool)
        )
        descriptors = "/proc/self/fd"
        for name in os.listdir(descriptors) if os.path.isdir(descriptors) else ():
            with suppress(OSError):
                # Counted, because all epolls have one name, and so has a file.
                found[0, os.readlink(f"{descriptors}/{name}")] += 1
        if self._home is not None:
            found += within(5.0, "the home loop", lambda: _tasks_of(self._home))
        return found


def _tasks_of(home: HomeLoop | None) -> Counter[tuple[int, str]]:
    import asyncio

    async def tasks() -> Counter[tuple[int, str]]:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        return Counter((id(task), f"task {task.get_coro()!r:.120}") for task in others)

    assert home is not None
    return home.run(tasks())


@contextmanager
def timed(low: float, high: float, what: str) -> Iterator[None]:
    """Fail if the block takes less than *low* or more than *high* seconds."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    expect(
        low <= seconds <= high,
        f"{what} over after {seconds:.2f} s",
        f"{low:.2f} to {high:.2f} s",
        "the limit covers the whole call, and nothing but the limit ends it early",
    )
