"""A wallet, servers and a host to attack; and children of either kind of user."""

import contextlib
import ctypes
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback

import attempts

from btplug import sandbox
from btplug._confine import landlock, rules, seccomp
from btplug._confine.frames import Frame, Kind
from btplug._confine.syscalls import System, machine

# Somebody who may not enter the folder of the interpreter imports it all beforehand.
for name in (
    "_socket", "ctypes", "fcntl", "importlib", "marshal", "resource", "select", "encodings.idna",
):  # fmt: skip
    __import__(name)
KEEP = (rules, landlock, seccomp)
HERE = os.path.dirname(os.path.abspath(__file__))
NOBODY = 65534
VERSION = landlock.version(System(machine())) if machine() else 0


def users():
    """Return who tests can be run as, by name.

    In a checkout that others may not enter, root is only root.
    """
    if os.geteuid():
        return {"user": os.geteuid()}
    open_to_all = all(
        path.stat().st_mode & 0o001 for path in pathlib.Path(HERE).parents
    )
    return {"root": 0, "user": NOBODY} if open_to_all else {"root": 0}


def aside(uid, work, seconds=60):
    """Do *work* in a forked process with one thread, as *uid*; return its value."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(r)
            signal.alarm(seconds)
            if uid != os.geteuid():
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                # Otherwise its own /proc belongs to root.
                ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
            value = json.dumps(work()).encode()
            with open(w, "wb") as file:
                file.write(value)
            code = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(w)
    with open(r, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    assert data, f"it ended with {os.waitstatus_to_exitcode(status)}"
    return json.loads(data)


def interpreter():
    """Return an interpreter that this user may start, and its ``sys.path``, or None.

    One that was installed in somebody's HOME others may not enter.
    """
    wanted = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for found in (sys.executable, f"/usr/bin/{wanted}", f"/usr/local/bin/{wanted}"):
        code = "import sys, ssl, sqlite3; print(*sys.path, sep='\\n')"
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            words = [found, "-I", "-S", "-c", code]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            return found, done.stdout.split()
    return None


class Stage:
    """What attempts aim at, in a folder that *uid* owns."""

    def __init__(self, uid):
        self._open = contextlib.ExitStack()
        base = pathlib.Path(tempfile.mkdtemp(prefix="btplug-stage-"))
        self._open.callback(shutil.rmtree, base)
        home, wallet, lent = base / "home", base / "home/wallet", base / "lent"
        scratch, written = base / "scratch", base / "written"
        for folder in (home, wallet, wallet / "copy", lent, scratch, written):
            folder.mkdir()
        self.page_path = lent / "page"
        self._wallet = wallet
        (wallet / "coldkey").write_bytes(attempts.SECRET)
        (lent / "link").symlink_to(wallet / "coldkey")
        self._base, self._uid = base, uid
        self.restore()
        self.values = {
            "home": str(home), "wallet": str(wallet), "key": str(wallet / "coldkey"),
            "copy": str(wallet / "copy/coldkey"), "lent": str(lent),
            "page": str(lent / "page"), "scratch": str(scratch),
            "written": str(written), "version": VERSION,
            "handle": self._handle(wallet / "coldkey"), "confined": False,
        }  # fmt: skip
        self._serve(base)

    def restore(self):
        """Put back what an attempt may have changed."""
        (self._wallet / "copy").mkdir(exist_ok=True)
        (self._wallet / "copy/coldkey").write_bytes(attempts.SECRET)
        self.page_path.write_text("lent")
        for path in [self._base, *self._base.rglob("*")]:
            if not path.is_symlink() and os.geteuid() == 0:
                os.chown(path, self._uid, self._uid)

    def _handle(self, path):
        buffer, mount = bytearray(136), bytearray(8)
        buffer[0] = 128
        area = (ctypes.c_char * 136).from_buffer(buffer)
        number = {0: 303, 1: 264}[machine().column]
        arguments = (
            ctypes.c_long(-100), str(path).encode(), area,
            (ctypes.c_char * 8).from_buffer(mount), ctypes.c_long(0),
        )  # fmt: skip
        done = attempts.LIBC.syscall(ctypes.c_long(number), *arguments)
        return buffer.hex() if done == 0 else ""

    def _serve(self, base):
        def server(family, kind, address):
            sock = self._open.enter_context(socket.socket(family, kind))
            sock.bind(address)
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
            return sock

        inet, stream, datagram = socket.AF_INET, socket.SOCK_STREAM, socket.SOCK_DGRAM
        listener = server(inet, stream, ("127.0.0.1", 0))
        udp = server(inet, datagram, ("127.0.0.1", 0))
        abstract = f"btplug-{os.getpid()}-{base.name}"
        server(socket.AF_UNIX, stream, str(base / "unix"))
        server(socket.AF_UNIX, datagram, str(base / "datagram"))
        server(socket.AF_UNIX, stream, "\0" + abstract)
        for path in (base / "unix", base / "datagram"):
            path.chmod(0o777)
        tcp6 = 0
        with contextlib.suppress(OSError):
            tcp6 = server(socket.AF_INET6, stream, ("::1", 0)).getsockname()[1]
        connection = self._open.enter_context(
            socket.create_connection(listener.getsockname())
        )
        for sock in (listener, connection):
            sock.set_inheritable(True)
        self.values |= {
            "tcp": listener.getsockname()[1], "udp": udp.getsockname()[1],
            "tcp6": tcp6, "unix": str(base / "unix"), "abstract": abstract,
            "datagram": str(base / "datagram"), "listener": listener.fileno(),
            "connection": connection.fileno(),
        }  # fmt: skip

    def host(self):
        """Add what only the host of a child can: run it in that process."""
        fd = os.open(self.values["key"], os.O_RDONLY)
        os.set_inheritable(fd, True)
        self.memory = ctypes.create_string_buffer(8)
        self.values |= {
            "host": os.getpid(), "fd": fd, "address": ctypes.addressof(self.memory),
        }  # fmt: skip

    def confined(self, *, fork, known):
        """Try everything in a confined child; return how each ended.

        *known* is the version of Landlock that is used, at most.
        """
        self.host()
        if fork:
            landlock.NEWEST = known
            self.values["version"] = known
        os.environ["HOSTILE_TOKEN"] = "x"
        rows, noise = {}, []
        path = [p for p in sys.path if os.path.isabs(p)]
        if not fork:
            sys.executable, path = interpreter()

        def take(frame):
            name, found = json.loads(frame.body)
            rows[name] = found

        child = sandbox.start(
            "attempts:everything", read=[self.values["lent"], HERE],
            write=[self.values["written"]], guarded=[self.values["wallet"]],
            path=[HERE, *path], fork=fork,
        )  # fmt: skip
        with child:
            child.wait_until_confined(noise.append)
            child.post(Frame(Kind.GO, json.dumps(self.values).encode()))
            child.allow(50, "finish")
            child.hear(take, noise.append)
        assert not os.path.exists(child.folder)
        return rows

    def unconfined(self, name):
        """Try one thing in a process that nothing confines."""
        self.host()
        table = next(t for t in attempts.TABLES if name in t)
        terminal = pty.openpty()[1]
        values = {**self.values, "tmp": self.values["scratch"], "terminal": terminal}
        # The host of an attempt is another process, which its user may trace.
        r, w = os.pipe()
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0)
            found = attempts.outcome(table[name][0], attempts.Surroundings(values))
            os.write(w, found.encode())
            os._exit(0)
        assert host == values["host"]
        os.close(w)
        with open(r, "rb") as file:
            found = file.read().decode()
        _, status = os.waitpid(pid, 0)
        # One that became another program says nothing, and ends well.
        return found or ("done" if status == 0 else f"status {status}")

    def close(self):
        self._open.close()
