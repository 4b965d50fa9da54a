"""What many calls leave in a process: ``python leaking.py TRANSPORT FORM CALLS [URL]``.

After calls that do not count it makes CALLS more, of which one in eight fails, and
prints as JSON what was held before and after them, and after the end of all.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress

from hostile_server import SHIPPED

from btplug import Message, Peer
from btplug.errors import Refused
from btplug.testing import MemoryTransportPlugin, echo, running, serving

WARM = 3_000
AT_ONCE = 32
MESSAGE = Message(body=b"x" * 1024)
KEPT: list[bytes] = []  # where a leak is planted


def peers(good, dead, count):
    return [dead if n % 8 == 7 else good for n in range(count)]


def send(transport, good, dead, count):
    for peer in peers(good, dead, count):
        try:
            assert transport.send(peer, MESSAGE).ok
        except Refused:
            assert peer is dead


def asend(transport, good, dead, count):
    async def one(peer):
        try:
            assert (await transport.asend(peer, MESSAGE)).ok
        except Refused:
            assert peer is dead

    async def some(given):
        await asyncio.gather(*map(one, given))

    given = peers(good, dead, count)
    for start in range(0, count, AT_ONCE):
        asyncio.run(some(given[start : start + AT_ONCE]))


def send_many(transport, good, dead, count):
    given = peers(good, dead, count)
    for start in range(0, count, 500):
        outcomes = transport.send_many(
            given[start : start + 500], MESSAGE, limit=AT_ONCE
        )
        for one in outcomes:
            assert one.reply if one.peer is good else one.failure.kind == "refused"


def stream(transport, good, dead, count):
    for peer in peers(good, dead, count):
        try:
            with transport.stream(peer, MESSAGE, MESSAGE.body) as found:
                assert b"".join(found) == MESSAGE.body
        except Refused:
            assert peer is dead


def leak(transport, good, dead, count):
    """Lose a KiB with each call: whoever looks for leaks has to find this one."""
    KEPT.extend(os.urandom(1024) for _ in range(count))
    send_many(transport, good, dead, count)


FORMS = {form.__name__: form for form in (send, asend, send_many, stream, leak)}


def held(home=None):
    """Return what this process holds; memory in bytes, 0 where no one tells."""
    gc.collect()
    with suppress(OSError, AttributeError):
        # glibc keeps what was freed, some MiB more or less each time.
        ctypes.CDLL(None).malloc_trim(0)
    threads = [one.name for one in threading.enumerate()]
    found = {"threads": len(threads), "memory": 0, "descriptors": 0, "tasks": 0}
    if os.path.isdir("/proc/self/fd"):
        found["descriptors"] = len(os.listdir("/proc/self/fd"))
        with open("/proc/self/statm") as file:
            found["memory"] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if home is not None:

        async def tasks():
            return len(asyncio.all_tasks()) - 1

        found["tasks"] = home.run(tasks())
    return found


def main(kind, form, calls, url=""):
    plugin = MemoryTransportPlugin if kind == "memory" else SHIPPED / "http"
    asyncio.run(asyncio.sleep(0))  # what asyncio keeps for ever is there
    before, told = held(), {}
    with ExitStack() as stack:
        transport = stack.enter_context(running(plugin))
        home = transport.context.home
        # With no server given, one of this very process is judged too.
        url = url or stack.enter_context(serving(transport, echo))
        dead = "memory://nobody" if kind == "memory" else "http://127.0.0.1:1"
        work = FORMS[form]
        work(transport, Peer(url), Peer(dead), WARM)
        told["warm"] = held(home)
        work(transport, Peer(url), Peer(dead), calls)
        told["after"] = held(home)
    until = time.monotonic() + 5
    while (end := held())["descriptors"] > before["descriptors"]:
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    sys.stdout.write(json.dumps({"before": before, **told, "end": end}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
