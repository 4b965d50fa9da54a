"""System calls by name, for the two processors a confined child can run on.

Numbers: x86_64 from ``asm/unistd_64.h``, aarch64 from ``asm-generic/unistd.h`` of
Linux 6.18. Calls that are younger than 2019 have one number everywhere.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class Machine:
    """What a filter must know of a processor.

    Attributes:
        audit: AUDIT_ARCH_… of its own system calls.
        column: Of the table below.
    """

    def __init__(self, audit: int, column: int) -> None:
        self.audit, self.column = audit, column


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}
# The youngest that was looked at: what comes after it is not there for a child.
YOUNGEST = 469

_TABLE = """
accept 43 202           accept4 288 242         acct 163 89
add_key 248 217         adjtimex 159 171        bind 49 200
bpf 321 280             capset 126 91           chmod 90 -
chown 92 -              chroot 161 51           clock_adjtime 305 266
clock_settime 227 112   clone 56 220            connect 42 203
creat 85 -              delete_module 176 106   execve 59 221
execveat 322 281
fanotify_init 300 262   fanotify_mark 301 263   fchmod 91 52
fchmodat 268 53         fchown 93 55            fchownat 260 54
fcntl 72 25             finit_module 313 273    fork 57 -
fremovexattr 199 16     fsetxattr 190 7         futimesat 261 -
init_module 175 105     inotify_add_watch 254 27
inotify_init 253 -      inotify_init1 294 26    ioctl 16 29
ioperm 173 -            iopl 172 -              ioprio_set 251 30
kcmp 312 272            kexec_file_load 320 294 kexec_load 246 104
keyctl 250 219          kill 62 129             lchown 94 -
listen 50 201           lookup_dcookie 212 18   lremovexattr 198 15
lsetxattr 189 6         memfd_create 319 279    migrate_pages 256 238
mknod 133 -             mknodat 259 33
modify_ldt 154 -        mount 165 40            move_pages 279 239
mq_getsetattr 245 185   mq_notify 244 184       mq_open 240 180
mq_unlink 241 181       msgctl 71 187           msgget 68 186
msgrcv 70 188           msgsnd 69 189           name_to_handle_at 303 264
nfsservctl 180 42       open 2 -                open_by_handle_at 304 265
openat 257 56           perf_event_open 298 241 personality 135 92
pivot_root 155 41       prctl 157 167           prlimit64 302 261
process_vm_readv 310 270 process_vm_writev 311 271 ptrace 101 117
quotactl 179 60         reboot 169 142          removexattr 197 14
request_key 249 218     rt_sigqueueinfo 129 138 rt_tgsigqueueinfo 297 240
sched_setaffinity 203 122 sched_setattr 314 274 sched_setparam 142 118
sched_setscheduler 144 119 seccomp 317 277      semctl 66 191
semget 64 190           semop 65 193            semtimedop 220 192
sendto 44 206           setdomainname 171 162
sethostname 170 161     setns 308 268           setpgid 109 154
setpriority 141 140     setrlimit 160 164       setsid 112 157
settimeofday 164 170    setxattr 188 5
shmat 30 196            shmctl 31 195           shmdt 67 197
shmget 29 194           socket 41 198           socketpair 53 199
swapoff 168 225         swapon 167 224          _sysctl 156 -
syslog 103 116          tgkill 234 131          tkill 200 130
truncate 76 45          umount2 166 39          unshare 272 97
uselib 134 -            userfaultfd 323 282     utime 132 -
utimensat 280 88        utimes 235 -            vfork 58 -
vhangup 153 58
fchmodat2 452 452       file_setattr 469 469    fsconfig 431 431
fsmount 432 432         fsopen 430 430          fspick 433 433
io_uring_enter 426 426  io_uring_register 427 427 io_uring_setup 425 425
clone3 435 435          landlock_add_rule 445 445 landlock_create_ruleset 444 444
landlock_restrict_self 446 446 listmount 458 458 lsm_set_self_attr 460 460
memfd_secret 447 447    mount_setattr 442 442   move_mount 429 429
open_tree 428 428       open_tree_attr 467 467  openat2 437 437
pidfd_getfd 438 438     pidfd_open 434 434      pidfd_send_signal 424 424
process_madvise 440 440 process_mrelease 448 448 quotactl_fd 443 443
removexattrat 466 466   setxattrat 463 463      statmount 457 457
"""


# Name to its numbers, as texts: few of them are ever looked up.
_words = iter(_TABLE.split())
NUMBERS = {name: two for name, *two in zip(_words, _words, _words, strict=True)}
_M_ARENA_MAX = -8  # of mallopt(3)


def machine() -> Machine | None:
    """Return the processor this process runs on, None where it is not known."""
    uname = os.uname()
    # A process of 32 bits on a kernel of 64 has other numbers.
    if uname.sysname != "Linux" or sys.maxsize < 2**32:
        return None
    return MACHINES.get(uname.machine)


def number(name: str, at: Machine) -> int | None:
    """Return the number of a system call, None where the processor has none."""
    text = NUMBERS[name][at.column]
    return int(text) if text != "-" else None


class System:
    """The way to system calls that Python has no function for.

    Attributes:
        machine: What they are made on.
    """

    def __init__(self, at: Machine) -> None:
        # What `ctypes` is made of: the rest of it, which is not needed, takes twice as
        # long to import as this, and a child waits for it.
        import _ctypes

        class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # at run time none
            _type_ = "l"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Long

        self.machine, self._long, self._errno = at, Long, _ctypes.get_errno
        self._names, self._find = _ctypes.dlopen(cast("str", None), 0), _ctypes.dlsym
        self._function = Function
        self._syscall = self._named("syscall")

    def _named(self, name: str) -> Callable[..., int]:
        found: Callable[..., int] = self._function(self._find(self._names, name))
        return found

    def call(self, name: str, *arguments: int | bytes) -> int:
        """Make a system call.

        Args:
            arguments: Whole numbers, and bytes whose address is handed over.

        Raises:
            OSError: It failed.
        """
        chosen = number(name, self.machine)
        assert chosen is not None, name
        words = [a if isinstance(a, bytes) else self._long(a) for a in arguments]
        found = self._syscall(self._long(chosen), *words)
        if found < 0:
            code = self._errno()
            raise OSError(code, os.strerror(code), name)
        return found

    def address(self, data: bytes) -> int:
        """Return where *data* lies; the caller keeps it alive."""
        return id(data) + bytes.__basicsize__ - 1  # behind the head of the object

    def erase(self, start: int, end: int) -> None:
        """Overwrite memory with zeros."""
        self._named("memset")(self._long(start), self._long(0), self._long(end - start))

    def share_heaps(self, most: int) -> None:
        """Let threads share heaps: glibc reserves 64 MiB of addresses for each."""
        try:
            mallopt = self._named("mallopt")
        except OSError:  # musl has none, and no need
            return
        mallopt(self._long(_M_ARENA_MAX), self._long(most))
