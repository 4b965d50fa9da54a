"""What a child does to itself before anything of a plugin is in it.

What `ctypes` is made of is imported here and nowhere else, late.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from btplug._confine.frames import Channel, Frame, Kind
from btplug._confine.syscalls import System, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How the process ends where an error of the system says which limit it met.
PAST_MEMORY, PAST_FILES, BROKEN = 71, 72, 70
_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVS = 1, 4, 38  # of prctl
_CAPABILITIES = (0x20080522).to_bytes(4, "little") + bytes(4)  # version, own pid
KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "NO_COLOR", "COLUMNS")
# Of asm-generic/resource.h, which both processors have.
_PROCESSOR, _FILE_SIZE, _CORE, _FILES, _MEMORY = 0, 1, 4, 7, 9
_AF_UNIX, _AF_INET, _STREAM = 1, 2, 1
_HEAPS, _STACK = 4, 2 * 1024 * 1024
_CHANNEL = 3  # its descriptor in an interpreter of its own


# No named tuples, here and in order.py: to define one costs each start 0.3 ms.
class Limits:
    """What a confined process may use.

    Attributes:
        memory: Bytes of address space.
        files: Descriptors open at once.
        file_size: Bytes of a file it writes.
        processor: Seconds of processor time, of all its threads together.
    """

    def __init__(
        self,
        memory: int = 4 * 1024**3,
        files: int = 256,
        file_size: int = 1024**3,
        processor: int = 3600,
    ) -> None:
        self.memory, self.files = memory, files
        self.file_size, self.processor = file_size, processor


class Plan:
    """What a child is to become; plain values, so that marshal carries it.

    Attributes:
        main: ``module:function``; called with the channel's descriptor.
        path: The child's ``sys.path``.
        usual: What every program reads: files, and folders with all they hold.
        read: What it may read besides, by resolved paths.
        write: The same for writing; *folder* comes on top.
        folder: Its own, for temporary files.
        guarded: What it has to prove that it cannot open.
        parent: Process id of the host.
    """

    def __init__(
        self, main: str, path: list[str], usual: list[str], read: list[str],
        write: list[str], folder: str, guarded: list[str], parent: int, limits: Limits,
    ) -> None:  # fmt: skip
        self.main, self.path, self.usual = main, path, usual
        self.read, self.write, self.folder = read, write, folder
        self.guarded, self.parent, self.limits = guarded, parent, limits

    def packed(self) -> bytes:
        """Return it with its length, for an interpreter of the same version."""
        import marshal

        data = marshal.dumps({**vars(self), "limits": vars(self.limits)})
        return len(data).to_bytes(4, "big") + data

    @classmethod
    def unpacked(cls, data: bytes) -> Plan:
        """Return what `packed` made, without its length; the host alone is asked."""
        import marshal

        values = marshal.loads(data)
        return cls(**{**values, "limits": Limits(**values["limits"])})


class Loose(Exception):
    """The child is not confined, and why."""


def fresh() -> NoReturn:
    """Be the child, in an interpreter of its own; the plan comes over the channel."""
    length = int.from_bytes(_exactly(4), "big")
    begin(Plan.unpacked(_exactly(length)), _CHANNEL)


def _exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = os.read(_CHANNEL, length - len(data))
        if not part:
            os._exit(BROKEN)  # the host is gone
        data += part
    return data


def begin(plan: Plan, channel: int) -> NoReturn:
    """Confine this process, prove it, and run what the plan says; never return.

    Standard input, output and errors are in place; *channel* is the only other
    descriptor that stays.
    """
    code = BROKEN
    try:
        try:
            _confine(plan, channel)
        except (Loose, OSError) as exc:
            # Before the first byte of a plugin: this is our own word.
            Channel(channel).send(Frame(Kind.FAILURE, str(exc).encode()))
        else:
            Channel(channel).send(Frame(Kind.READY))
            code = _run(plan.main, channel)
    finally:
        # The frames below belong to the host in a forked child.
        os._exit(code)


def _run(main: str, channel: int) -> int:
    from importlib import import_module

    code = 0
    try:
        module, _, name = main.partition(":")
        getattr(import_module(module), name)(channel)
    except MemoryError:
        code = PAST_MEMORY
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else bool(exc.code)
    except BaseException as exc:
        past = isinstance(exc, OSError) and exc.errno == errno.EMFILE
        code = PAST_FILES if past else BROKEN
        if not past:  # the host has words for that
            sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    return code


def _confine(plan: Plan, channel: int) -> None:
    os.setsid()
    at = machine()
    if at is None:
        raise Loose(f"plugins are not confined on {os.uname().machine}")
    system = System(at)
    system.call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != plan.parent:
        raise Loose("the host ended meanwhile")
    # Files of the host, closed here by their number, must not be closed once more
    # when that number is another file's.
    gc.freeze()
    _close_all_but(channel)
    _renew_streams()
    _quiet_signals()
    _erase_environment(system, plan.folder)
    sys.path[:] = plan.path
    os.umask(0o077)
    _limit(system, plan.limits)
    # Addresses are limited, and hundreds of threads would take all of them.
    system.share_heaps(_HEAPS)
    threading.stack_size(_STACK)
    # As root too: no power over files, processes or the network of others is left.
    system.call("capset", _CAPABILITIES, bytes(24))
    system.call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    _forbid(system, plan)
    _prove(system, plan.guarded)


def _close_all_but(channel: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != channel:
            try:
                os.close(fd)
            except OSError:  # the one that listed them
                continue


def _renew_streams() -> None:
    # The host's may be no files, or hold something back. Noise is shown escaped.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays
    sys.stdout, sys.stderr = (
        open(fd, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115 - so
        for fd in (1, 2)
    )


def _quiet_signals() -> None:
    signal.set_wakeup_fd(-1)
    # `signal` itself makes an enum of each number.
    from _signal import getsignal  # type: ignore[import-not-found]  # it has no stub

    for number in range(1, signal.NSIG):
        # Handlers are the host's; what was ignored stays so, SIGPIPE for one.
        if callable(getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _erase_environment(system: System, folder: str) -> None:
    """Leave of the environment what does no harm, in memory too.

    Cleared alone, it stays readable where the kernel put it.
    """
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    values = list(os.environb.values())
    os.environ.clear()
    with open("/proc/self/stat", "rb") as file:
        # proc(5), fields 50 and 51; the second one may hold anything in brackets.
        fields = file.read().rpartition(b")")[2].split()
    system.erase(int(fields[47]), int(fields[48]))
    for value in values:
        if len(value) > 1:  # shorter ones are shared by all of Python
            at = system.address(value)
            system.erase(at, at + len(value))
    os.environ.update(kept, HOME=folder, TMPDIR=folder)
    # In a forked child it remembers the host's.
    if "tempfile" in sys.modules:
        import tempfile

        tempfile.tempdir = None


def _limit(system: System, limits: Limits) -> None:
    for what, value, more in (
        (_CORE, 0, 0),
        (_MEMORY, limits.memory, 0),
        (_FILES, limits.files, 0),
        (_FILE_SIZE, limits.file_size, 0),
        # At the first it gets a signal that says why, at the second it is killed.
        (_PROCESSOR, limits.processor, 1),
    ):
        now = bytes(16)  # filled by the kernel: two numbers, the second is the most
        system.call("prlimit64", 0, what, 0, now)
        most = int.from_bytes(now[8:], "little")
        asked = min(value, most) | min(value + more, most) << 64
        system.call("prlimit64", 0, what, asked.to_bytes(16, "little"), 0)


def _forbid(system: System, plan: Plan) -> None:
    from btplug._confine import landlock, seccomp

    known = landlock.version(system)
    if not known:
        raise Loose("the kernel has no Landlock, or it is switched off")
    code = seccomp.program(system.machine, os.getpid(), known)
    landlock.restrict(system, known, plan.usual, plan.read, plan.write, plan.folder)
    system.call("prctl", _DUMPABLE, 0, 0, 0, 0)
    seccomp.install(system, code)


def _prove(system: System, guarded: Sequence[str]) -> None:
    """Try what must not succeed, ahead of whoever means it."""
    for path in ("/", *guarded):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (PermissionError, FileNotFoundError, NotADirectoryError):
            continue
        os.close(fd)
        raise Loose(f"the process could still open {path}")
    for family in (_AF_INET, _AF_UNIX):
        if not _denied(partial(system.call, "socket", family, _STREAM, 0)):
            raise Loose("the process could still make a socket")
    # Without a filter the answer is another one: a folder is no program.
    if not _denied(lambda: os.execv("/", ["/"])):
        raise Loose("the process could still run programs")


def _denied(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as exc:
        return exc.errno == errno.EPERM
    return False
