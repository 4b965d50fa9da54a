"""What a server takes from others at most."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from btplug.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server takes from others, and for how long; all of it stands here.

    Attributes:
        headers: Number of headers of a request.
        head: Bytes of its target and headers.
        head_time: Seconds for them to arrive (kept by the server below).
        body: Bytes of a body.
        body_time: Seconds for it to arrive.
        memory: Bytes of all bodies that are held at once; of one address a quarter,
            but one body. Replies that wait for their readers have as much again
            (kept by the server below).
        connections: Connections open at once (kept by the server below): at most half
            of the files that the system lets it open.
        address_connections: Those of one address (kept by the server below).
        address_running: Requests in flight of one address; of IPv6, of 64 bits of it.
        address_rate: Requests each second of one address.
        hotkey_running: Requests in flight of one verified hotkey.
        hotkey_rate: Requests each second of one verified hotkey.
        remembered: Addresses, and hotkeys, whose rate is known.
        running: Handlers at once; a sync one takes a thread, see `threads`.
        threads: Sync handlers at once.
        waiting: Requests that wait for their turn.
        wait_time: Seconds one waits.
        handler_time: Seconds a handler takes. A sync one that is late keeps its
            thread until it returns.
        keep_alive: Seconds an idle connection is kept (by the server below).
        stop_time: Seconds for what has begun, at a stop.

    Raises:
        ConfigError: One of them is not more than 0, or infinite, or no number.
    """

    headers: int = 100
    # A coming signature has 11 kB.
    head: int = 32 * 1024
    head_time: float = 10.0
    body: int = 16 * 1024 * 1024
    # What the dialects remember accepted requests for, beyond their window.
    body_time: float = 30.0
    memory: int = 256 * 1024 * 1024
    connections: int = 1024
    address_connections: int = 256
    address_running: int = 128
    address_rate: float = 500.0
    hotkey_running: int = 64
    hotkey_rate: float = 200.0
    remembered: int = 10_000
    running: int = 64
    threads: int = 16
    waiting: int = 256
    wait_time: float = 10.0
    handler_time: float = 60.0
    # Longer than clients keep theirs: who closes first must not be the server.
    keep_alive: float = 5.0
    stop_time: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int,) if isinstance(field.default, int) else (int, float)
            number = isinstance(value, kinds) and not isinstance(value, bool)
            # Infinity is no time that a timer takes.
            if not number or not 0 < value < inf:
                raise ConfigError(
                    f"found the limit {field.name} {value!r}, expected "
                    f"{'a whole' if kinds == (int,) else 'a finite'} number above 0",
                    fix=f"leave {field.name!r} out: it is then {field.default}",
                )
