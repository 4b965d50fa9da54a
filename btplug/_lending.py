"""The transports of a run as plugins see them: by name, read-only, checked."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from btplug._reached import Reached
from btplug.errors import BtplugError, PluginFailed, Unsupported, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from btplug.transport import Transport, TransportPlugin


class Transports(Mapping[str, "Transport"]):
    """The started transports by name, read-only.

    A broken one is not iterated over; asking for it raises why it is broken.
    """

    def __init__(self) -> None:
        self._live: dict[str, Transport] = {}
        self._broken: dict[str, BtplugError] = {}
        self._broken_schemes: dict[str, BtplugError] = {}
        self._lock = threading.Lock()  # transports start side by side
        # What to do for those that were not asked to start (the host's part).
        self.withheld: list[str] = []
        # Beginnings of URLs that were sent to, for the log of runs (the host's part).
        self.reached = Reached()

    def __getitem__(self, name: str) -> Transport:
        if error := self._broken.get(name):
            raise error
        return self._live[name]

    def __contains__(self, name: object) -> bool:
        return name in self._live

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._live))

    def __len__(self) -> int:
        return len(self._live)

    def lend(self, name: str, plugin: TransportPlugin) -> None:
        """Add a started transport (the host's part)."""
        lent = cast("Transport", _Lent(name, plugin, self._watched))
        with self._lock:
            self._broken = {k: v for k, v in self._broken.items() if k != name}
            reasons = list(self._broken.values())
            self._broken_schemes = {
                s: e for s, e in self._broken_schemes.items() if e in reasons
            }
            # By name, not by who was ready first: of two that serve a scheme the
            # same one sends every time.
            self._live = dict(sorted({**self._live, name: lent}.items()))

    def _watched(self, form: str, args: Any, keywords: Any) -> Any:
        """Remember whom a call sends to; return its arguments."""
        if form in ("send_many", "asend_many"):
            peers = keywords.get("peers", args[0] if args else None)
            if isinstance(peers, Collection):
                for peer in peers:
                    self._note(peer)
            elif args and isinstance(peers, AsyncIterator):
                return (self._noted_later(peers), *args[1:])
            elif args and isinstance(peers, Iterator):
                return (map(self._note, peers), *args[1:])
        else:
            # What `execute` is given first is data.
            first = args[0] if args and form != "execute" else None
            self._note(keywords.get("peer", first))
        return args

    def _note(self, peer: Any) -> Any:
        url = getattr(peer, "url", peer)
        if isinstance(url, str):
            whole = url if "://" in url else f"http://{url}"
            # Not the path: of one host there may be any number.
            self.reached.add("/".join(whole.split("/", 3)[:3]))
        return peer

    async def _noted_later(self, peers: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for peer in peers:
            yield self._note(peer)

    def mark_broken(
        self, name: str, error: BtplugError, schemes: tuple[str, ...] = ()
    ) -> None:
        """Keep why a transport did not start (the host's part).

        Args:
            schemes: What it serves; empty where its code could not be loaded.
        """
        # Code that did not load does not say its schemes; its name is the best guess.
        served = dict.fromkeys(schemes or (name,), error)
        with self._lock:
            self._broken_schemes = {**self._broken_schemes, **served}
            self._broken = {**self._broken, name: error}

    @property
    def broken(self) -> dict[str, tuple[BtplugError, tuple[str, ...]]]:
        """Why transports did not start, and which schemes they serve."""
        return {
            name: (
                error,
                tuple(s for s, e in self._broken_schemes.items() if e is error),
            )
            for name, error in self._broken.items()
        }

    def withdraw(self, name: str, plugin: TransportPlugin | None = None) -> None:
        """Forget a transport that was lent, if it is *plugin* (the host's part)."""
        with self._lock:
            lent = self._live.get(name)
            if lent is not None and (
                plugin is None or cast("_Lent", lent)._is_of(plugin)
            ):
                self._live = {k: v for k, v in self._live.items() if k != name}

    def for_scheme(self, scheme: str) -> Transport:
        for transport in self._live.values():
            if scheme in transport.schemes:
                return transport
        if error := self._broken_schemes.get(scheme):
            raise error
        known = sorted({s for t in self._live.values() for s in t.schemes})
        fix = f"install a transport for {scheme}; what there is: btplug list"
        raise Unsupported(
            f"no transport for the scheme {scheme!r}, "
            f"expected one of {', '.join(known) or 'none: no transport is started'}",
            fix="; ".join(self.withheld) or fix,
            delivered=False,
        )

    def prefer(self, names: Sequence[str]) -> list[tuple[str, str, str]]:
        """Let transports serve in this order, whichever was ready first.

        Returns:
            (scheme, who serves it, who does not) for each that two of them name.
        """
        with self._lock:
            rank = {name: index for index, name in enumerate(names)}
            found = sorted(self._live, key=lambda name: rank.get(name, len(rank)))
            self._live = {name: self._live[name] for name in found}
        first: dict[str, str] = {}
        return [
            (scheme, first[scheme], name)
            for name in found
            for scheme in self._live[name].schemes
            if first.setdefault(scheme, name) != name
        ]


_PLAIN = ("asend_many", "astream", "execute", "send_many", "stream")


class _Lent:
    """The contract's methods of a transport and nothing else of it.

    A plugin sees the same whether it runs in this process or in a confined one, but
    for `serve` (see `btplug.serving.Server`): it is lent in this process only.
    """

    __slots__ = (
        "_plugin", "areceive", "asend", "asend_many", "aserve", "astream", "execute",
        "health", "receive", "schemes", "send", "send_many", "serve", "stream",
    )  # fmt: skip

    def __init__(
        self, name: str, plugin: TransportPlugin, watched: Callable[..., Any]
    ) -> None:
        self._plugin, self.schemes = plugin, plugin.schemes
        module = sys.modules.get(type(plugin).__module__)
        root = os.path.join(os.path.dirname(getattr(module, "__file__", "") or ""), "")
        self.aserve = _achecked(name, root, plugin.aserve, _unchanged)
        for plain in ("health", "serve"):
            method = _checked(name, root, getattr(plugin, plain), _unchanged)
            setattr(self, plain, method)
        for form in _PLAIN:
            method = _watching(form, watched, getattr(plugin, form))
            setattr(self, form, _checked(name, root, method, _unchanged))
        for form in ("send", "receive"):
            method = _watching(form, watched, getattr(plugin, form))
            setattr(self, form, _checked(name, root, method, _reply))
            method = _watching(form, watched, getattr(plugin, f"a{form}"))
            setattr(self, f"a{form}", _achecked(name, root, method, _reply))

    def _is_of(self, plugin: TransportPlugin) -> bool:
        return self._plugin is plugin


def _watching(
    form: str, watched: Callable[..., Any], method: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(method)
    def watching(*args: Any, **keywords: Any) -> Any:
        return method(*watched(form, args, keywords), **keywords)

    return watching


# What a transport's code raises, or returns, is the transport's fault and not that of
# the plugin that called it.
def _checked(
    name: str,
    root: str,
    method: Callable[..., Any],
    check: Callable[[str, object], object],
) -> Callable[..., Any]:
    @wraps(method)
    def checked(*args: Any, **keywords: Any) -> Any:
        try:
            return check(name, method(*args, **keywords))
        except BtplugError:
            raise
        except Exception as exc:
            raise _of_transport(name, root, exc) from exc

    return checked


def _achecked(
    name: str,
    root: str,
    method: Callable[..., Any],
    check: Callable[[str, object], object],
) -> Callable[..., Any]:
    @wraps(method)
    async def checked(*args: Any, **keywords: Any) -> Any:
        try:
            return check(name, await method(*args, **keywords))
        except BtplugError:
            raise
        except Exception as exc:
            raise _of_transport(name, root, exc) from exc

    return checked


def _unchanged(_: str, result: object) -> object:
    return result


def _reply(name: str, reply: object) -> object:
    from btplug.message import Reply

    if not isinstance(reply, Reply):
        raise PluginFailed(
            f"{name} returned a value of type {type(reply).__name__}, expected a Reply",
            fix="return btplug.Reply(status=…, body=…)",
            plugin=name,
        )
    return reply


def _of_transport(name: str, root: str, exc: Exception) -> PluginFailed:
    trace, where = exc.__traceback__, None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(root):
            where = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return PluginFailed(
        f"{name} failed: {reason_of(exc)}",
        where=where,
        fix="see the traceback with BTPLUG_DEBUG=1",
        plugin=name,
    )
