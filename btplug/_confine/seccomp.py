"""seccomp: which system calls a confined process has.

A filter is a program for the kernel's classic packet filter, run before each call. It
sees numbers only, never what a pointer points to: a call that can be judged by its
arguments alone is judged, any other is there or not.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from btplug._confine.syscalls import YOUNGEST, number

if TYPE_CHECKING:
    from btplug._confine.syscalls import Machine, System

# Not there, as far as a child can see: what has an older form to fall back to.
MISSING = """
clone3 io_uring_enter io_uring_register io_uring_setup memfd_create memfd_secret
mq_getsetattr mq_notify mq_open mq_unlink msgctl msgget msgrcv msgsnd openat2 semctl
semget semop semtimedop shmat shmctl shmdt shmget userfaultfd
"""

# What Landlock does not see, or sees on younger kernels only; and what would reach
# another process, the kernel, or the network by a socket that is there.
DENIED = """
accept accept4 acct add_key adjtimex bind bpf capset chmod chown chroot clock_adjtime
clock_settime connect delete_module execve execveat fanotify_init fanotify_mark fchmod
fchmodat fchmodat2 fchown fchownat file_setattr finit_module fork fremovexattr fsconfig
fsetxattr fsmount fsopen fspick futimesat init_module inotify_add_watch inotify_init
inotify_init1 ioperm iopl ioprio_set kcmp kexec_file_load kexec_load keyctl lchown
listen listmount lookup_dcookie lremovexattr lsetxattr lsm_set_self_attr migrate_pages
modify_ldt mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl
open_by_handle_at open_tree open_tree_attr perf_event_open personality pidfd_getfd
pidfd_open pidfd_send_signal pivot_root process_madvise process_mrelease
process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot removexattr
removexattrat request_key rt_sigqueueinfo rt_tgsigqueueinfo sched_setattr
sched_setparam sched_setscheduler seccomp setdomainname sethostname setns setpgid
setpriority setrlimit setsid settimeofday setxattr setxattrat socket statmount swapoff
swapon _sysctl syslog umount2 unshare uselib utime utimensat utimes vfork vhangup
"""

_CLONE_THREAD, _NEW_NAMESPACES = 0x10000, 0x7E020080
_AF_UNIX, _STREAM, _SEQPACKET = 1, 1, 5
_KIND = 0xF  # of a socket's type; above it are flags
# fcntl: who gets a signal about a file, and which one; leases, for which everybody
# waits who opens the file, the host too; and what is done in a folder. ioctl: the
# same signals; typing into a terminal or taking one.
_SIGNALS_OF_FILES = (8, 10, 15)
_LEASES = (1024, 1026, 1040)
_TERMINALS = (0x5412, 0x541C, 0x540E, 0x8901, 0x8902)
# ioctl: flags, version, more flags, seal and encryption of a file that is read only.
_FLAGS_OF_FILES = (
    0x40086602, 0x40087602, 0x40086604, 0x401C5820, 0x40806685, 0x800C6613,
)  # fmt: skip
# prctl: names of threads and of memory, and questions.
_HARMLESS = (2, 3, 15, 16, 21, 23, 39, 0x53564D41)
# open: a file that is neither read nor written, for ioctl only, Landlock lets through;
# one that is read can be emptied.
_ACCESS_AND_TRUNC, _FOR_IOCTL, _O_TRUNC = 0o1003, (0o3, 0o1003), 0o1000
# A program that is made so lets everybody who may start it act as the user.
_SET_ID = 0o6000
_MAKING = 0o20000100  # O_CREAT or __O_TMPFILE: without them the mode may be anything

_LOAD, _AND, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Return one step: what it does with a value, and how many steps it then skips."""
    jumps = bytes((yes, no))
    return code.to_bytes(2, "little") + jumps + value.to_bytes(4, "little")


_NUMBER, _ARCH = _step(_LOAD, 0), _step(_LOAD, 4)


def _low(argument: int) -> bytes:
    # Where the kernel itself looks at 32 bits, the upper ones are anybody's.
    return _step(_LOAD, 16 + 8 * argument)


def _one_of(values: tuple[int, ...], yes: int, no: int) -> list[bytes]:
    """Return *yes* for one of *values*, else *no*."""
    tests = [_step(_JEQ, v, yes=len(values) - i) for i, v in enumerate(values)]
    return [*tests, _step(_RETURN, no), _step(_RETURN, yes)]


def _none(argument: int) -> list[bytes]:
    """Allow where a pointer is none, else deny."""
    upper = _step(_LOAD, 20 + 8 * argument)
    return [
        _low(argument), _step(_JEQ, 0, no=2), upper, _step(_JEQ, 0, yes=1),
        _step(_RETURN, _EPERM), _step(_RETURN, _ALLOW),
    ]  # fmt: skip


def _judged(pid: int, landlock: int) -> dict[str, list[bytes]]:
    """Return the calls that depend on their arguments, each with its program."""
    deny, allow = _step(_RETURN, _EPERM), _step(_RETURN, _ALLOW)
    mine = _one_of((pid,), _ALLOW, _EPERM)
    calls = {
        # A thread is not a process; it is made in no namespace of its own.
        "clone": [
            _low(0), _step(_JSET, _NEW_NAMESPACES, yes=1),
            _step(_JSET, _CLONE_THREAD, yes=1), deny, allow,
        ],
        # A datagram socket could be pointed at any other by sendmsg.
        "socketpair": [
            _low(0), _step(_JEQ, _AF_UNIX, yes=1), deny,
            _low(1), _step(_AND, _KIND),
            *_one_of((_STREAM, _SEQPACKET), _ALLOW, _EPERM),
        ],
        "sendto": _none(4),
        "prlimit64": _none(2),
        "kill": [_low(0), *mine],
        "tgkill": [_low(0), *mine],
        "tkill": [_low(0), *mine],
        "sched_setaffinity": [_low(0), *_one_of((0, pid), _ALLOW, _EPERM)],
        "fcntl": [_low(1), *_one_of((*_SIGNALS_OF_FILES, *_LEASES), _EPERM, _ALLOW)],
        "ioctl": [_low(1), *_one_of((*_TERMINALS, *_FLAGS_OF_FILES), _EPERM, _ALLOW)],
        "prctl": [_low(0), *_one_of(_HARMLESS, _ALLOW, _EPERM)],
    }  # fmt: skip
    # Before version 3 it cannot deny to cut a file, either.
    kept = _FOR_IOCTL if landlock >= 3 else (*_FOR_IOCTL, _O_TRUNC)
    for name, flags in (("open", 1), ("openat", 2)):
        calls[name] = [
            _low(flags), _step(_JSET, _MAKING, no=3),
            _low(flags + 1), _step(_JSET, _SET_ID, no=1), deny,
            _low(flags), _step(_AND, _ACCESS_AND_TRUNC),
            *_one_of(kept, _EPERM, _ALLOW),
        ]  # fmt: skip
    for name, mode in (("creat", 1), ("mknod", 1), ("mknodat", 2)):
        calls[name] = [_low(mode), _step(_JSET, _SET_ID, no=1), deny, allow]
    if landlock < 3:
        calls["truncate"] = [deny]
    return calls


def program(machine: Machine, pid: int, landlock: int) -> bytes:
    """Return the filter for the process *pid*.

    Args:
        landlock: Version that is used besides.
    """
    steps = [
        _ARCH, _step(_JEQ, machine.audit, yes=1), _step(_RETURN, _KILL), _NUMBER,
        # Calls of tomorrow; and those of x32, which have a bit of their own.
        _step(_JGE, YOUNGEST + 1, no=1), _step(_RETURN, _ENOSYS),
    ]  # fmt: skip
    chosen: list[tuple[str, list[bytes]]] = list(_judged(pid, landlock).items())
    chosen += [(name, [_step(_RETURN, _ENOSYS)]) for name in MISSING.split()]
    chosen += [(name, [_step(_RETURN, _EPERM)]) for name in DENIED.split()]
    for name, then in chosen:
        if (wanted := number(name, machine)) is not None:
            steps += [_step(_JEQ, wanted, no=len(then)), *then]
    steps.append(_step(_RETURN, _ALLOW))
    return b"".join(steps)


def install(system: System, code: bytes) -> None:
    """Filter the calls of this thread, and of those it starts, for ever.

    The process must have given up new privileges.

    Raises:
        OSError: The kernel refused.
    """
    # struct sock_fprog: how many steps there are, and where.
    pointer = (len(code) // 8 | system.address(code) << 64).to_bytes(16, "little")
    system.call("prctl", _PR_SET_SECCOMP, _MODE_FILTER, pointer, 0, 0)
