"""Starts and confines a child process, hears what it says, and ends it.

It speaks frames and knows no plugin: what the child does is a function named by the
caller, who keeps the host's side of the conversation too. Linux only.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from btplug._confine.rules import KEPT, Limits, Plan, begin
from btplug._confine.scratch import make_folder, remove, sweep
from btplug.errors import Unconfinable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from btplug._confine.process import Child

__all__ = ["Limits", "readable", "start", "sweep"]

_LOWEST = 10  # of our descriptors: below may be a standard one that is closed


def readable() -> list[str]:
    """Return what any Python program reads: the library, packages, system files."""
    here = os.path.dirname(os.path.abspath(__file__))
    packages = ("site-packages", "dist-packages")
    return [
        os.path.dirname(os.__file__),
        here,
        # Nothing else of sys.path: a project's folder may stand on it, or HOME.
        *(p for p in sys.path if os.path.basename(p) in packages),
        *(os.path.join(sys.base_prefix, name) for name in ("lib", "lib64")),
        "/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64",
        "/usr/share/zoneinfo", "/usr/share/locale",
        "/etc/ld.so.cache", "/etc/localtime", "/sys/devices/system/cpu",
        "/dev/null", "/dev/urandom", "/dev/zero",
    ]  # fmt: skip


def start(
    main: str,
    *,
    read: Sequence[str] = (),
    write: Sequence[str] = (),
    guarded: Sequence[str] = (),
    path: Sequence[str] | None = None,
    limits: Limits | None = None,
    stdin: int | None = None,
    fork: bool = False,
) -> Child:
    """Start a child that confines itself and then runs *main*.

    The thread that calls this has to outlive the child: the kernel ends the child
    with it. `sweep` removes the folders of hosts that were killed.

    Args:
        main: ``module:function``, called with the descriptor of the channel.
        read: Files, and folders with all they hold, resolved: a path with a link in it
            is left out. `readable` comes on top.
        write: The same, for reading and writing.
        guarded: What the child has to prove that it cannot open.
        path: The child's ``sys.path``; None: the absolute ones of this process.
        stdin: A pipe or file that is open for reading only, None for an empty one.
        fork: Copy this process, which is fast, if it has one thread; the copy holds
            what this process holds in memory, but for the environment.

    Raises:
        Unconfinable: There is no such thing here.
    """
    if sys.platform != "linux":
        raise Unconfinable(
            f"plugins are not confined on {sys.platform}", fix=Unconfinable.OTHERWISE
        )
    if path is None:
        path = [p for p in sys.path if os.path.isabs(p)]
    folder, owned = make_folder()
    plan = Plan(
        main, [*path], readable(), [*read], [*write, "/dev/null"],
        folder, [*guarded], os.getpid(), limits or Limits(),
    )  # fmt: skip
    from _socket import AF_UNIX, SOCK_STREAM, socketpair  # socket costs 8 ms

    pair = [_high(end.detach()) for end in socketpair(AF_UNIX, SOCK_STREAM)]
    noise = [_high(end) for end in os.pipe()]
    forked = fork and _alone()
    try:
        run = _forked if forked else _executed
        pid = run(plan, pair[1], stdin, noise[1])
    except BaseException:
        for fd in (pair[0], noise[0], owned):
            os.close(fd)
        remove(folder)
        raise
    finally:
        for fd in (pair[1], noise[1]):
            os.close(fd)
    # While the child gets ready.
    from btplug._confine.process import Child

    child = Child(pid, pair[0], noise[0], folder, owned, plan.limits)
    if not forked:
        child.tell(plan.packed())
    return child


def _high(fd: int) -> int:
    from fcntl import F_DUPFD_CLOEXEC, fcntl

    try:
        return fcntl(fd, F_DUPFD_CLOEXEC, _LOWEST)
    finally:
        os.close(fd)


def _alone() -> bool:
    return len(os.listdir("/proc/self/task")) == 1


def _forked(plan: Plan, channel: int, stdin: int | None, noise: int) -> int:
    for stream in (sys.stdout, sys.stderr):
        # What waits in their buffers would be written twice.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        quiet = os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin
        for fd, standard in ((quiet, 0), (noise, 1), (noise, 2)):
            os.dup2(fd, standard)
        begin(plan, channel)
    finally:
        os._exit(1)


def _executed(plan: Plan, channel: int, stdin: int | None, noise: int) -> int:
    # Only what finds this package: the plan itself comes over the channel.
    code = (
        "import sys; sys.path.append(sys.argv[1]); "
        "from btplug._confine.rules import fresh; fresh()"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    standard = ((noise, 1), (noise, 2), (channel, 3))
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        if stdin is None
        else (os.POSIX_SPAWN_DUP2, stdin, 0),
        *((os.POSIX_SPAWN_DUP2, a, b) for a, b in standard),
    ]
    words = [sys.executable, "-I", "-S", "-c", code, root]
    return os.posix_spawn(sys.executable, words, kept, file_actions=actions)
