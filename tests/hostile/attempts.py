"""Ways out of confinement: each is tried confined, where it fails, and unconfined.

An attempt raises what the system answers; one that returns has succeeded. Everything
is imported here: what runs confined may not be able to read more.
"""

import asyncio
import concurrent.futures.thread  # noqa: F401 - what asyncio imports when it is used
import ctypes
import fcntl
import json
import mmap
import os
import pathlib
import resource
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import termios
import threading
import time

from btplug._confine.frames import Channel, Frame, Kind
from btplug._confine.syscalls import machine
from btplug._confine.syscalls import number as number_of

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
HERE = machine()
SECRET = b"the key to everything"

READING, NETWORK, PROCESSES, CHANGING, ALLOWED = {}, {}, {}, {}, {}
# Attempts that do harm, or that few machines allow at all: never tried unconfined.
UNARMED = set()
# What an ordinary user may not do unconfined either.
OF_ROOT = set()


def attempt(table, *, expect, armed=True):
    """Add an attempt; *expect* are the names of the errors it may meet."""

    def add(function):
        name = function.__name__
        table[name] = (function, expect.split())
        if armed == "root":
            OF_ROOT.add(name)
        elif not armed:
            UNARMED.add(name)
        return function

    return add


def call(name, *arguments):
    """Make a system call by its name."""
    number = number_of(name, HERE)
    if number is None:
        raise NotImplementedError(f"{name} is not there on this processor")
    words = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    found = LIBC.syscall(ctypes.c_long(number), *words)
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


def drain(fd):
    found = os.read(fd, 100)
    os.close(fd)
    assert found == SECRET, found


# --- reading ------------------------------------------------------------------------


@attempt(READING, expect="EACCES")
def read_by_open(e):
    with open(e.key, "rb") as file:
        assert file.read() == SECRET


@attempt(READING, expect="EACCES")
def read_by_pathlib(e):
    assert pathlib.Path(e.key).read_bytes() == SECRET


@attempt(READING, expect="EACCES")
def read_by_libc_open(e):
    LIBC.open.restype = ctypes.c_int
    fd = LIBC.open(e.key.encode(), 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open")
    drain(fd)


@attempt(READING, expect="EACCES")
def read_by_openat(e):
    drain(call("openat", -100, e.key.encode() + b"\0", os.O_RDONLY, 0))


@attempt(READING, expect="ENOSYS")
def read_by_openat2(e):
    how = struct.pack("QQQ", os.O_RDONLY, 0, 0)
    drain(call("openat2", -100, e.key.encode() + b"\0", how, len(how)))


@attempt(READING, expect="EACCES")
def read_by_a_path_descriptor(e):
    fd = os.open(e.wallet, os.O_PATH)
    drain(os.open("coldkey", os.O_RDONLY, dir_fd=fd))


@attempt(READING, expect="EACCES")
def read_by_reopening_a_path_descriptor(e):
    fd = os.open(e.key, os.O_PATH)
    drain(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))


@attempt(READING, expect="EBADF", armed=False)
def read_a_path_descriptor(e):
    os.read(os.open(e.key, os.O_PATH), 1)


@attempt(READING, expect="EPERM")
def open_a_key_for_no_access_at_all(e):
    os.close(os.open(e.key, os.O_RDWR | os.O_WRONLY))


@attempt(READING, expect="EPERM", armed="root")
def read_by_a_handle(e):
    """The handle was made by the host: with it no path is needed."""
    if not e.handle:
        raise NotImplementedError("this file system has no handles")
    mount = os.open(e.wallet, os.O_PATH) if e.confined else os.open(e.wallet, 0)
    drain(call("open_by_handle_at", mount, bytes.fromhex(e.handle), os.O_RDONLY))


@attempt(READING, expect="EPERM")
def make_a_handle(e):
    handle, mount = struct.pack("Ii128x", 128, 0), bytes(8)
    call("name_to_handle_at", -100, e.key.encode() + b"\0", handle, mount, 0)


@attempt(READING, expect="EACCES")
def read_by_a_symbolic_link(e):
    link = os.path.join(e.tmp, "link")
    os.symlink(e.key, link)
    drain(os.open(link, os.O_RDONLY))


@attempt(READING, expect="EACCES")
def read_by_a_link_that_lay_in_a_lent_folder(e):
    drain(os.open(os.path.join(e.lent, "link"), os.O_RDONLY))


@attempt(READING, expect="EXDEV EACCES")
def read_by_a_hard_link(e):
    link = os.path.join(e.tmp, "hard")
    os.link(e.key, link)
    drain(os.open(link, os.O_RDONLY))


@attempt(READING, expect="EXDEV EACCES")
def move_the_key_to_a_readable_place(e):
    moved = os.path.join(e.tmp, "moved")
    os.rename(e.copy, moved)
    drain(os.open(moved, os.O_RDONLY))


@attempt(READING, expect="EXDEV EACCES")
def move_the_wallet_to_a_readable_place(e):
    os.rename(os.path.dirname(e.copy), os.path.join(e.tmp, "wallet"))


@attempt(READING, expect="EACCES")
def read_by_proc_self_root(e):
    drain(os.open(f"/proc/self/root{e.key}", os.O_RDONLY))


@attempt(READING, expect="EACCES")
def read_by_proc_of_the_host_root(e):
    drain(os.open(f"/proc/{e.host}/root{e.key}", os.O_RDONLY))


@attempt(READING, expect="EACCES")
def read_a_descriptor_of_the_host(e):
    drain(os.open(f"/proc/{e.host}/fd/{e.fd}", os.O_RDONLY))


@attempt(READING, expect="EACCES EPERM")
def list_descriptors_of_the_host(e):
    assert os.listdir(f"/proc/{e.host}/fd")


@attempt(READING, expect="EACCES")
def read_the_environment_of_the_host(e):
    assert pathlib.Path(f"/proc/{e.host}/environ").read_bytes()


@attempt(READING, expect="EACCES")
def read_the_memory_of_the_host(e):
    os.close(os.open(f"/proc/{e.host}/mem", os.O_RDONLY))


@attempt(READING, expect="EACCES")
def read_the_command_line_of_the_host(e):
    assert pathlib.Path(f"/proc/{e.host}/cmdline").read_bytes()


@attempt(READING, expect="EACCES")
def read_its_own_environment_file(e):
    assert pathlib.Path("/proc/self/environ").read_bytes() is not None


@attempt(READING, expect="EBADF")
def read_an_inherited_descriptor(e):
    drain(os.dup(e.fd))


@attempt(READING, expect="EACCES")
def list_the_wallet(e):
    assert os.listdir(e.wallet)


@attempt(READING, expect="EACCES")
def list_home(e):
    assert os.listdir(e.home)


@attempt(READING, expect="EACCES")
def list_the_root_folder(e):
    assert os.listdir("/")


@attempt(READING, expect="EACCES")
def read_after_chdir(e):
    os.chdir(e.wallet)
    drain(os.open("coldkey", os.O_RDONLY))


@attempt(READING, expect="EACCES")
def read_after_fchdir(e):
    os.fchdir(os.open(e.wallet, os.O_PATH))
    drain(os.open("coldkey", os.O_RDONLY))


@attempt(READING, expect="EPERM", armed="root")
def read_after_chroot(e):
    os.chroot(e.wallet)
    drain(os.open("/coldkey", os.O_RDONLY))


@attempt(READING, expect="EACCES")
def read_by_mapping(e):
    with open(e.key, "rb") as file, mmap.mmap(file.fileno(), 0, prot=1) as area:
        assert area[:] == SECRET


@attempt(READING, expect="EACCES")
def read_by_sendfile(e):
    source, (r, w) = os.open(e.key, os.O_RDONLY), os.pipe()
    os.sendfile(w, source, 0, 100)
    drain(r)


@attempt(READING, expect="EACCES")
def read_by_splice(e):
    source, (r, w) = os.open(e.key, os.O_RDONLY), os.pipe()
    os.splice(source, w, 100)
    drain(r)


@attempt(READING, expect="EACCES")
def read_by_copy_file_range(e):
    target = os.open(os.path.join(e.tmp, "copy"), os.O_RDWR | os.O_CREAT)
    os.copy_file_range(os.open(e.key, os.O_RDONLY), target, 100)


@attempt(READING, expect="EACCES")
def attach_the_key_to_a_database(e):
    try:
        sqlite3.connect(f"file:{e.key}?mode=ro", uri=True).execute("select 1 from x")
    except sqlite3.OperationalError as exc:
        raise PermissionError(13, str(exc)) from exc
    except sqlite3.DatabaseError:
        return  # it was opened and is no database


@attempt(READING, expect="EPERM", armed="root")
def mount_the_wallet_elsewhere(e):
    """In a namespace of its own, where that is allowed at all."""
    call("unshare", 0x00020000)
    LIBC.mount(None, b"/", None, 0x44000, None)
    target = os.path.join(e.tmp, "mounted")
    os.mkdir(target)
    call("mount", e.wallet.encode() + b"\0", target.encode() + b"\0", 0, 4096, 0)
    drain(os.open(os.path.join(target, "coldkey"), os.O_RDONLY))


@attempt(READING, expect="EPERM", armed="root")
def open_a_tree_of_mounts(e):
    call("open_tree", -100, e.wallet.encode() + b"\0", 1)


@attempt(READING, expect="EPERM")
def watch_the_wallet(e):
    call(
        "inotify_add_watch", call("inotify_init1", 0), e.wallet.encode() + b"\0", 0x100
    )


@attempt(READING, expect="EPERM", armed="root")
def watch_all_that_is_opened(e):
    call("fanotify_init", 0, 0)


@attempt(READING, expect="EPERM", armed="root")
def trace_the_host(e):
    call("ptrace", 0x4206, e.host, 0, 0)  # PTRACE_SEIZE


@attempt(READING, expect="EPERM")
def let_itself_be_traced(e):
    call("ptrace", 0, 0, 0, 0)


@attempt(READING, expect="EPERM", armed="root")
def read_memory_of_the_host(e):
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("PN", ctypes.addressof(buffer), 8)
    remote = struct.pack("PN", e.address, 8)
    call("process_vm_readv", e.host, local, 1, remote, 1, 0)


@attempt(READING, expect="EPERM")
def open_the_process_of_the_host(e):
    call("pidfd_open", e.host, 0)


@attempt(READING, expect="EPERM", armed="root")
def take_a_descriptor_of_the_host(e):
    # The handle is lent, as if it had been come by.
    drain(call("pidfd_getfd", os.pidfd_open(e.host) if not e.confined else 0, e.fd, 0))


@attempt(READING, expect="ENOSYS")
def use_io_uring(e):
    call("io_uring_setup", 1, bytes(120))


@attempt(READING, expect="ENOSYS")
def share_memory_by_number(e):
    call("shmget", 0, 4096, 0o1600)


@attempt(READING, expect="ENOSYS")
def open_a_message_queue(e):
    name = f"btplug-{os.getpid()}".encode() + b"\0"
    os.close(call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, 0))
    call("mq_unlink", name)


@attempt(READING, expect="EPERM", armed=False)
def read_keys_of_the_kernel(e):
    call("keyctl", 0, -3, 0)


@attempt(READING, expect="EPERM", armed=False)
def add_a_key_of_the_kernel(e):
    call("add_key", b"user\0", b"x\0", b"y", 1, -3)


@attempt(READING, expect="EPERM", armed=False)
def load_a_program_into_the_kernel(e):
    call("bpf", 0, bytes(120), 120)


@attempt(READING, expect="EPERM", armed=False)
def count_events_of_others(e):
    call("perf_event_open", bytes(120), 0, -1, -1, 0)


@attempt(READING, expect="ENOSYS", armed="root")
def handle_page_faults(e):
    os.close(call("userfaultfd", 0))


# --- changing -----------------------------------------------------------------------


@attempt(CHANGING, expect="EACCES")
def write_the_key(e):
    with open(e.copy, "ab") as file:
        file.write(b"x")


@attempt(CHANGING, expect="EACCES")
def write_a_lent_file(e):
    with open(e.page, "ab") as file:
        file.write(b"x")


@attempt(CHANGING, expect="EACCES EPERM")
def empty_a_lent_file_by_opening_it(e):
    os.close(os.open(e.page, os.O_RDONLY | os.O_TRUNC))
    assert os.stat(e.page).st_size == 0


@attempt(CHANGING, expect="EACCES EPERM")
def empty_the_key_by_its_path(e):
    os.truncate(e.copy, 0)


@attempt(CHANGING, expect="EACCES")
def remove_the_key(e):
    os.unlink(e.copy)


@attempt(CHANGING, expect="EACCES")
def leave_a_file_in_the_wallet(e):
    with open(os.path.join(e.wallet, "new"), "w"):
        pass


@attempt(CHANGING, expect="EACCES")
def leave_a_folder_in_home(e):
    os.mkdir(os.path.join(e.home, "new"))


@attempt(CHANGING, expect="EACCES")
def leave_a_link_in_home(e):
    os.symlink("/", os.path.join(e.home, "newlink"))


@attempt(CHANGING, expect="EACCES")
def leave_a_link_in_a_written_folder(e):
    """What it leads to, the next run would be lent."""
    os.symlink(e.key, os.path.join(e.written, "left"))


@attempt(CHANGING, expect="EACCES EXDEV")
def move_a_link_into_a_written_folder(e):
    link = os.path.join(e.tmp, "to-move")
    os.symlink(e.key, link)
    os.rename(link, os.path.join(e.written, "moved"))


@attempt(CHANGING, expect="EACCES EXDEV")
def link_a_link_into_a_written_folder(e):
    link = os.path.join(e.tmp, "to-link")
    os.symlink(e.key, link)
    os.link(link, os.path.join(e.written, "linked"), follow_symlinks=False)


@attempt(CHANGING, expect="EACCES")
def leave_a_pipe_in_a_written_folder(e):
    """Who opens it for the file that it was waits for ever."""
    os.mkfifo(os.path.join(e.written, "pipe"))


@attempt(CHANGING, expect="EACCES")
def leave_a_socket_in_a_written_folder(e):
    os.mknod(os.path.join(e.written, "socket"), 0o140600)


@attempt(CHANGING, expect="EACCES EXDEV")
def move_a_pipe_into_a_written_folder(e):
    pipe = os.path.join(e.tmp, "pipe-to-move")
    os.mkfifo(pipe)
    os.rename(pipe, os.path.join(e.written, "moved-pipe"))


@attempt(CHANGING, expect="EACCES EXDEV")
def link_a_pipe_into_a_written_folder(e):
    pipe = os.path.join(e.tmp, "pipe-to-link")
    os.mkfifo(pipe)
    os.link(pipe, os.path.join(e.written, "linked-pipe"))


@attempt(CHANGING, expect="EACCES EPERM", armed="root")
def make_a_device(e):
    os.mknod(os.path.join(e.tmp, "device"), 0o20600, os.makedev(1, 3))


@attempt(CHANGING, expect="EPERM")
def open_the_key_to_everybody(e):
    os.chmod(e.copy, 0o777)


@attempt(CHANGING, expect="EPERM")
def change_the_mode_of_a_lent_file(e):
    os.fchmod(os.open(e.page, os.O_RDONLY), 0o777)


@attempt(CHANGING, expect="EPERM")
def make_a_program_that_runs_as_its_owner(e):
    os.close(os.open(os.path.join(e.tmp, "as-me"), os.O_CREAT | os.O_RDWR, 0o4755))


@attempt(CHANGING, expect="EPERM")
def make_a_node_that_runs_as_its_owner(e):
    os.mknod(os.path.join(e.tmp, "as-me-too"), 0o104755)


@attempt(CHANGING, expect="EPERM")
def make_a_nameless_program_that_runs_as_its_owner(e):
    os.close(os.open(e.tmp, os.O_TMPFILE | os.O_RDWR, 0o4755))


@attempt(CHANGING, expect="EPERM")
def change_the_flags_of_a_lent_file(e):
    flags = bytearray(8)
    fd = os.open(e.page, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x80086601, flags)
    except OSError as exc:
        raise NotImplementedError(f"this file system has no flags: {exc}") from exc
    fcntl.ioctl(fd, 0x40086602, bytes(flags))


@attempt(CHANGING, expect="EPERM")
def have_everybody_wait_who_opens_a_lent_file(e):
    fd = os.open(e.page, os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


@attempt(CHANGING, expect="EPERM")
def be_told_what_is_done_in_a_lent_folder(e):
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fcntl.fcntl(os.open(e.lent, os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_CREATE)


@attempt(CHANGING, expect="EPERM")
def give_the_key_away(e):
    os.chown(e.copy, os.getuid(), os.getgid())


@attempt(CHANGING, expect="EPERM")
def change_the_time_of_the_key(e):
    os.utime(e.copy, (0, 0))


@attempt(CHANGING, expect="EPERM")
def mark_the_key(e):
    os.setxattr(e.copy, "user.x", b"y")


@attempt(CHANGING, expect="EPERM", armed=False)
def set_the_clock(e):
    time.clock_settime(time.CLOCK_REALTIME, 0)


@attempt(CHANGING, expect="EPERM", armed=False)
def restart_the_machine(e):
    call("reboot", 0, 0, 0, 0)


@attempt(CHANGING, expect="EPERM", armed=False)
def load_a_module(e):
    call("init_module", b"", 0, b"\0")


@attempt(CHANGING, expect="EPERM", armed=False)
def load_a_kernel(e):
    call("kexec_load", 0, 0, bytes(8), 0)


@attempt(CHANGING, expect="EPERM", armed="root")
def type_into_a_terminal(e):
    fcntl.ioctl(e.terminal if not e.confined else 0, termios.TIOCSTI, b"x")


# --- processes ----------------------------------------------------------------------


def reap(pid):
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@attempt(PROCESSES, expect="EPERM")
def fork(e):
    reap(os.fork())


@attempt(PROCESSES, expect="EPERM")
def vfork(e):
    # Not by itself unconfined: it would return twice into one stack.
    if not e.confined:
        return subprocess.run(["/bin/true"], check=True)
    return call("vfork")


@attempt(PROCESSES, expect="EPERM")
def clone_a_process(e):
    reap(call("clone", int(signal.SIGCHLD), 0, 0, 0, 0))


@attempt(PROCESSES, expect="EPERM")
def clone_a_namespace(e):
    # CLONE_THREAD with namespaces: only confined, the flags exclude one another.
    flags = 0x10000 | 0x20000000 if e.confined else int(signal.SIGCHLD)
    reap(call("clone", flags, 0, 0, 0, 0))


@attempt(PROCESSES, expect="ENOSYS")
def clone3(e):
    how = struct.pack("4Q", 0, 0, 0, 0) + struct.pack(
        "4Q", int(signal.SIGCHLD), 0, 0, 0
    )
    reap(call("clone3", how, len(how)))


@attempt(PROCESSES, expect="EPERM ENOSYS")
def posix_spawn(e):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


@attempt(PROCESSES, expect="EPERM ENOSYS")
def run_a_program(e):
    subprocess.run(["/bin/cat", e.key], check=True, capture_output=True)


@attempt(PROCESSES, expect="EPERM ENOSYS")
def run_a_shell(e):
    code = os.system("exit 0")
    if code:
        # It tells of no error: 127 is what the shell would say, -1 that there is none.
        raise OSError(1, f"system: {code}")


@attempt(PROCESSES, expect="EPERM")
def become_a_program(e):
    os.execv("/bin/true", ["true"])


@attempt(PROCESSES, expect="EPERM")
def become_a_program_of_its_own(e):
    path = os.path.join(e.tmp, "program")
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    if not e.confined:
        os.chmod(path, 0o755)
    os.execv(path, ["x"])


@attempt(PROCESSES, expect="EPERM")
def become_a_descriptor(e):
    fd = os.open("/bin/true", os.O_PATH)
    call("execveat", fd, b"\0", 0, 0, 0x1000)


@attempt(PROCESSES, expect="ENOSYS")
def become_what_it_has_in_memory(e):
    fd = os.memfd_create("x", 0)
    os.write(fd, b"#!/bin/true\n")
    os.execve(fd, ["x"], {})


@attempt(PROCESSES, expect="EPERM", armed=False)
def kill_the_host(e):
    os.kill(e.host, signal.SIGKILL)


@attempt(PROCESSES, expect="EPERM")
def ask_whether_the_host_lives(e):
    os.kill(e.host, 0)


@attempt(PROCESSES, expect="EPERM", armed=False)
def kill_everybody(e):
    os.kill(-1, signal.SIGKILL)


@attempt(PROCESSES, expect="EPERM", armed=False)
def kill_its_group(e):
    os.kill(0, signal.SIGKILL)


@attempt(PROCESSES, expect="EPERM", armed=False)
def kill_a_thread_of_the_host(e):
    call("tgkill", e.host, e.host, int(signal.SIGKILL))


@attempt(PROCESSES, expect="EPERM", armed=False)
def kill_a_thread_by_its_number(e):
    call("tkill", e.host, int(signal.SIGKILL))


@attempt(PROCESSES, expect="EPERM", armed=False)
def send_the_host_a_signal_with_a_value(e):
    call("rt_sigqueueinfo", e.host, int(signal.SIGKILL), bytes(128))


@attempt(PROCESSES, expect="EPERM")
def let_a_pipe_signal_the_host(e):
    r, _ = os.pipe()
    fcntl.fcntl(r, fcntl.F_SETOWN, e.host)


@attempt(PROCESSES, expect="EPERM")
def choose_the_signal_of_a_pipe(e):
    r, _ = os.pipe()
    fcntl.fcntl(r, 10, int(signal.SIGKILL))


@attempt(PROCESSES, expect="EPERM")
def let_a_pipe_signal_the_host_by_ioctl(e):
    left, _ = socket.socketpair()
    fcntl.ioctl(left, 0x8901, struct.pack("i", e.host if e.confined else os.getpid()))


@attempt(PROCESSES, expect="EPERM")
def limit_the_host(e):
    resource.prlimit(e.host, resource.RLIMIT_CORE, (0, 0))


@attempt(PROCESSES, expect="EPERM")
def change_its_own_limits(e):
    limits = struct.pack("QQ", *resource.getrlimit(resource.RLIMIT_NOFILE))
    call("prlimit64", 0, int(resource.RLIMIT_NOFILE), limits, 0)


@attempt(PROCESSES, expect="EPERM")
def change_its_own_limits_the_old_way(e):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    call("setrlimit", int(resource.RLIMIT_NOFILE), struct.pack("QQ", soft, hard))


@attempt(PROCESSES, expect="EPERM")
def slow_the_host_down(e):
    os.setpriority(os.PRIO_PROCESS, e.host, 19)


@attempt(PROCESSES, expect="EPERM")
def move_the_host_to_one_processor(e):
    os.sched_setaffinity(e.host, os.sched_getaffinity(e.host))


@attempt(PROCESSES, expect="EPERM")
def change_how_the_host_is_scheduled(e):
    os.sched_setscheduler(e.host, os.SCHED_BATCH, os.sched_param(0))


@attempt(PROCESSES, expect="EPERM")
def outlive_the_host(e):
    prctl(1, 0)


@attempt(PROCESSES, expect="EPERM")
def become_dumpable(e):
    prctl(4, 1)


@attempt(PROCESSES, expect="EPERM")
def let_somebody_trace_it(e):
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: harmless, and not in the list


@attempt(PROCESSES, expect="EPERM", armed=False)
def take_capabilities_back(e):
    call("capset", struct.pack("Ii", 0x20080522, 0), b"\xff" * 24)


@attempt(PROCESSES, expect="EPERM", armed=False)
def add_a_filter(e):
    call("seccomp", 1, 0, bytes(16))


@attempt(PROCESSES, expect="EPERM")
def lead_a_session(e):
    if not e.confined and os.getpid() == os.getsid(0):
        return
    os.setsid()


@attempt(PROCESSES, expect="EPERM", armed="root")
def leave_its_namespaces(e):
    call("unshare", 0x20000)


@attempt(PROCESSES, expect="EPERM")
def change_its_personality(e):
    call("personality", 0)


def prctl(option, value):
    call("prctl", option, value, 0, 0, 0)


@attempt(PROCESSES, expect="ENOSYS", armed=False)
def make_a_call_of_tomorrow(e):
    if LIBC.syscall(ctypes.c_long(600), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "tomorrow")


@attempt(PROCESSES, expect="ENOSYS", armed=False)
def make_a_call_of_another_kind(e):
    """x32: the same calls under other numbers; getpid is 39."""
    if LIBC.syscall(ctypes.c_long(0x40000000 + 39), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "x32")


# --- network ------------------------------------------------------------------------


@attempt(NETWORK, expect="EPERM")
def tcp(e):
    socket.create_connection(("127.0.0.1", e.tcp), 5).close()


@attempt(NETWORK, expect="EPERM")
def tcp_over_ipv6(e):
    if not e.tcp6:
        raise NotImplementedError("no IPv6 here")
    with socket.socket(socket.AF_INET6) as sock:
        sock.connect(("::1", e.tcp6))


@attempt(NETWORK, expect="EPERM")
def udp(e):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", e.udp))


@attempt(NETWORK, expect="EPERM")
def multipath_tcp(e):
    with needs(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262) as sock:
        sock.connect(("127.0.0.1", e.tcp))


@attempt(NETWORK, expect="EPERM")
def fast_open(e):
    with socket.socket() as sock:
        sock.sendto(b"x", 0x20000000, ("127.0.0.1", e.tcp))


@attempt(NETWORK, expect="EPERM", armed="root")
def raw(e):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()


@attempt(NETWORK, expect="EPERM", armed="root")
def packet(e):
    needs(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0).close()


@attempt(NETWORK, expect="EPERM")
def netlink(e):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@attempt(NETWORK, expect="EPERM")
def vsock(e):
    needs(socket.socket, socket.AF_VSOCK, socket.SOCK_STREAM).close()


@attempt(NETWORK, expect="EPERM")
def crypto(e):
    needs(socket.socket, socket.AF_ALG, socket.SOCK_SEQPACKET).close()


@attempt(NETWORK, expect="EPERM")
def unix_socket(e):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(e.unix)


@attempt(NETWORK, expect="EPERM")
def abstract_unix_socket(e):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + e.abstract)


@attempt(NETWORK, expect="EPERM")
def unix_datagram_from_a_pair(e):
    left, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.sendmsg([b"x"], [], 0, e.datagram)


@attempt(NETWORK, expect="EPERM")
def pair_of_another_family(e):
    if not e.confined:
        raise NotImplementedError("there is no other family with pairs")
    socket.socketpair(socket.AF_INET, socket.SOCK_STREAM)


@attempt(NETWORK, expect="EBADF")
def inherited_connection(e):
    socket.socket(fileno=os.dup(e.connection)).sendall(b"x")


@attempt(NETWORK, expect="EBADF")
def inherited_listener(e):
    socket.socket(fileno=os.dup(e.listener)).getsockname()


@attempt(NETWORK, expect="EPERM")
def connect_a_socket_that_is_there(e):
    left, _ = socket.socketpair()
    if not e.confined:
        left = socket.socket(socket.AF_UNIX)
    left.connect(e.unix)


@attempt(NETWORK, expect="EPERM")
def name_a_socket_that_is_there(e):
    left, _ = socket.socketpair()
    left.bind(os.path.join(e.tmp, "named"))


@attempt(NETWORK, expect="EPERM")
def listen_on_a_socket_that_is_there(e):
    left, _ = socket.socketpair()
    if not e.confined:
        left = socket.socket()
    left.listen()


@attempt(NETWORK, expect="EPERM")
def send_to_an_address(e):
    left, _ = socket.socketpair()
    if not e.confined:
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.sendto(b"x", e.datagram)


@attempt(NETWORK, expect="EPERM")
def look_a_name_up(e):
    try:
        socket.getaddrinfo("localhost", 80)
    except socket.gaierror as exc:
        raise OSError(1, str(exc)) from exc


def needs(make, *arguments):
    """Make what a kernel may have been built without."""
    try:
        return make(*arguments)
    except OSError as exc:
        if exc.errno in (22, 93, 94, 97):  # not supported
            raise NotImplementedError(str(exc)) from exc
        raise


# --- what has to work ---------------------------------------------------------------


def allowed(function):
    ALLOWED[function.__name__] = (function, [])


@allowed
def read_what_is_lent(e):
    assert pathlib.Path(e.page).read_text() == "lent"


@allowed
def write_its_own_folder(e):
    one = pathlib.Path(tempfile.mkdtemp()) / "one"
    assert str(one).startswith(e.tmp)
    one.write_text("x")
    two = pathlib.Path(e.tmp) / "two"
    two.mkdir()
    if e.version >= 2:  # before, nothing can be moved from folder to folder
        one.rename(two / "one")
    if e.version >= 3:  # before, only what is open can be cut
        os.truncate(two / "one", 0)
    os.symlink(two, pathlib.Path(e.tmp) / "three")
    os.mkfifo(two / "pipe")
    (two / "one").touch()
    (two / "one").touch()
    (two / "one").unlink()


@allowed
def write_a_folder_that_is_lent_for_it(e):
    one, two = (pathlib.Path(e.written) / name for name in ("one", "two"))
    one.mkdir()
    (one / "file").write_text("x")
    one.rename(two)
    (two / "file").unlink()
    two.rmdir()


@allowed
def keep_a_database(e):
    with sqlite3.connect(os.path.join(e.tmp, "base")) as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (1)")
    base.close()


@allowed
def use_threads(e):
    found = []
    threads = [threading.Thread(target=found.append, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == list(range(20))


@allowed
def use_many_threads(e):
    """As many as there can be calls of transports; a thread each, for async ones."""
    release, threads = threading.Event(), []
    try:
        for _ in range(512):
            threads.append(threading.Thread(target=release.wait))
            threads[-1].start()
    finally:
        release.set()
        for thread in threads[:-1]:
            thread.join(20)


@allowed
def use_asyncio(e):
    async def main():
        threaded = asyncio.to_thread(time.sleep, 0.001)
        await asyncio.gather(asyncio.sleep(0.001), threaded)
        reader, writer = await asyncio.open_unix_connection(sock=pair[0])
        pair[1].sendall(b"x")
        assert await reader.read(1) == b"x"
        writer.close()

    pair = socket.socketpair()
    asyncio.run(main())
    pair[1].close()


@allowed
def signal_itself(e):
    signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    got = []
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    assert len(got) == 2


@allowed
def see_no_variable_of_the_host(e):
    assert "HOSTILE_TOKEN" not in os.environ
    assert os.environ["HOME"] == os.environ["TMPDIR"] == e.tmp


@allowed
def use_what_every_program_uses(e):
    assert os.urandom(8)
    assert os.cpu_count()
    with open(os.devnull, "w") as nothing:
        nothing.write("x")
    time.localtime()
    assert threading.current_thread() is threading.main_thread()
    assert os.getsid(0) == os.getpid()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


@allowed
def have_no_terminal(e):
    assert not any(os.isatty(fd) for fd in range(3))
    assert os.read(0, 10) == b""
    # Where terminals cannot be opened at all that is an answer too.
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return
    raise AssertionError("/dev/tty could be opened")


@allowed
def have_no_power(e):
    header, data = struct.pack("Ii", 0x20080522, 0), bytearray(24)
    area = (ctypes.c_char * 24).from_buffer(data)
    words = (ctypes.c_long(125 if HERE.column == 0 else 90), header, area)
    assert LIBC.syscall(*words) == 0
    assert data == bytes(24)


# --- running them -------------------------------------------------------------------

TABLES = (READING, CHANGING, PROCESSES, NETWORK, ALLOWED)


class Surroundings:
    """What attempts aim at, by name."""

    def __init__(self, values):
        vars(self).update(values)


def outcome(function, surroundings):
    """Return how an attempt ended, as one word or one line."""
    try:
        function(surroundings)
    except NotImplementedError as exc:
        return f"not here: {exc}"
    except OSError as exc:
        import errno

        return errno.errorcode.get(exc.errno, f"{type(exc).__name__} {exc}")
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"
    return "done"


def everything(fd):
    """Try all of it, confined; the main of a child."""
    channel = Channel(fd)
    values = json.loads(channel.receive().body)
    surroundings = Surroundings(
        {**values, "confined": True, "tmp": os.environ["TMPDIR"]}
    )
    home = os.getcwd()
    rows = [(n, f) for table in TABLES for n, (f, _) in table.items()]
    # First those that need the descriptors as they were when it began.
    for name, function in sorted(rows, key=lambda row: "inherited" not in row[0]):
        found = outcome(function, surroundings)
        os.chdir(home)
        row = json.dumps([name, found]).encode()
        channel.send(Frame(Kind.RESULT, row, more=True))
    channel.send(Frame(Kind.RESULT))
