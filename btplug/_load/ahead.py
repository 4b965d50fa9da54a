"""Compiles source that nobody vouches for, in a process that is bounded.

A kilobyte can take a gigabyte to compile, 250 take sixteen and a minute; meanwhile
Python hears no signal. And a warning shows a line of it, escape sequences and all.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

# Of memory, beside what the process has. Two megabytes of usual source take a second
# and 200 MiB.
_MEMORY, _PROCESSOR = 512 * 1024 * 1024, 5
_MOST = 16 * 1024 * 1024  # bytes of code, where usual source has 4 at the most
_SIZE = 4


def compiled(sources: Sequence[tuple[str, bytes]]) -> list[bytes] | None:
    """Return the code of files as marshal writes it; nothing of it is read here.

    Args:
        sources: Where each file lies, and its bytes.

    Returns:
        Empty bytes for a file that cannot be compiled. Less than all where a limit was
        reached; None where this process cannot be copied safely.
    """
    import signal

    try:
        if sys.platform != "linux" or len(os.listdir("/proc/self/task")) > 1:
            return None
        read, write = os.pipe()
    except OSError:  # too many files, or no /proc
        return None
    with open(read, "rb") as pipe, open(write, "wb") as back:
        try:
            pid = os.fork()
        except OSError:  # too many processes
            return None
        if not pid:
            try:
                pipe.close()  # else it would wait for itself where the host is gone
                _compile(sources, back)
            finally:
                os._exit(0)
        try:
            back.close()
            data = pipe.read(_MOST)
        finally:
            # Ctrl-C ends it as well, and that it makes too much.
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    return [*_parts(data)]


def _compile(sources: Sequence[tuple[str, bytes]], back: BinaryIO) -> None:
    import marshal
    import resource
    import signal
    import warnings

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Handlers are the host's, and would not be heard; what is ignored stays so.
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    with open("/proc/self/statm") as file:
        has = int(file.read().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, has + _MEMORY),
        (resource.RLIMIT_CPU, _PROCESSOR),
    ):
        known = [n for n in resource.getrlimit(what) if n != resource.RLIM_INFINITY]
        resource.setrlimit(what, (min([most, *known]),) * 2)
    warnings.simplefilter("ignore")
    for place, source in sources:
        data = b""
        # A file that nothing imports may hold anything.
        with suppress(Exception):
            data = marshal.dumps(compile(source, place, "exec", dont_inherit=True))
        back.write(len(data).to_bytes(_SIZE, "big") + data)
        back.flush()


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield what is there as a whole."""
    start = _SIZE
    while start <= len(data):
        end = start + int.from_bytes(data[start - _SIZE : start], "big")
        if end > len(data):
            return
        yield data[start:end]
        start = end + _SIZE
