"""However a confined child ends, the host knows how, and nothing of it is left."""

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import mains
import pytest
from stage import HERE, VERSION, aside, users

from btplug import sandbox
from btplug._confine import landlock, rules, seccomp
from btplug._confine.frames import LONGEST, BadFrame, Frame, Kind
from btplug._confine.offer import offer
from btplug.errors import BtplugError, PluginDied, PluginTimeout, Unconfinable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VERSION, reason="the kernel has no Landlock"),
]
REPORT = "\n  fix:   report it to the plugin's author"


def start(main, **options):
    path = [HERE, *(p for p in sys.path if os.path.isabs(p))]
    options = {"read": [HERE], "path": path, **options}
    return sandbox.start(f"mains:{main}", **options)


class Heard:
    """What one child said and left."""

    def __init__(self, main, told=None, seconds=30.0, doing="finish", **options):
        self.frames, self.noise = [], b""
        self.error = self.last = None
        before = set(os.listdir("/proc/self/fd"))
        with start(main, **options) as child:
            self.pid, self.folder = child.pid, child.folder
            child.wait_until_confined(self._noise)
            child.post(Frame(Kind.GO, json.dumps(told).encode()))
            child.allow(seconds, doing)
            with contextlib.suppress(BtplugError):
                try:
                    self.last = child.hear(self.frames.append, self._noise)
                except BtplugError as exc:
                    self.error = exc
                    raise
        assert not os.path.exists(self.folder)
        assert not os.path.exists(f"/proc/{self.pid}"), "it is there, perhaps a zombie"
        gc.collect()
        assert set(os.listdir("/proc/self/fd")) == before

    def _noise(self, data):
        self.noise += data


@pytest.fixture(params=["fork", "exec"])
def fork(request):
    return request.param == "fork"


def heard(*arguments, fork, uid=None, **options):
    """Return what became of a child, and keep this process out of it."""

    def work():
        found = Heard(*arguments, fork=fork, **options)
        error = found.error
        shown = [type(error).__name__, str(error)] if error else [None, ""]
        last = [found.last.kind, found.last.body.decode()] if found.last else None
        kinds = [int(f.kind) for f in found.frames]
        return [*shown, last, found.noise.decode(errors="replace"), kinds]

    return aside(os.geteuid() if uid is None else uid, work)


DIES = {
    "crash": "the plugin's process was ended by SIGSEGV",
    "abort": "the plugin's process was ended by SIGABRT",
    "leave": "the plugin's process ended without a result (exit code 0)",
    "start_processes": "the plugin's process ended without a result (exit code 70)",
    "write_a_long_file": "the plugin's process ended without a result (exit code 70)",
    "open_files": "the plugin went past its limit of 256 open files",
}


@pytest.mark.parametrize("main", DIES)
def test_a_child_that_ends_is_an_error_that_says_how(main, fork):
    kind, text, *_ = heard(main, fork=fork)

    assert (kind, text) == ("PluginDied", DIES[main] + REPORT)
    assert not list(Path.cwd().glob("core*"))


def test_too_much_memory_is_an_error_that_names_the_limit(fork):
    kind, text, *_ = heard("use_memory", fork=fork)

    assert kind == "PluginDied"
    assert text == (
        "the plugin went past its limit of 4,096 MiB of memory\n"
        "  fix:   give it less to do at once"
    )


def test_what_was_refused_is_in_the_noise(fork):
    *_, noise, _ = heard("start_processes", fork=fork)

    assert "PermissionError: [Errno 1] Operation not permitted" in noise
    assert "os.fork()" in noise


def test_a_loop_in_c_ends_at_the_time_limit(fork):
    kind, text, *_ = heard("loop_in_c", fork=fork, seconds=0.5, doing="load")

    assert kind == "PluginTimeout"
    assert text == (
        "the plugin did not load within 0.5 s\n"
        "  fix:   ask it for less at once, or raise its time limit"
    )


def test_processor_time_is_limited_for_all_threads_together():
    limits = sandbox.Limits(processor=1)
    kind, text, *_ = heard("use_processor_time", fork=True, limits=limits)

    assert kind == "PluginTimeout"
    assert text.startswith("the plugin used up its 1 s of processor time\n")


def test_a_channel_that_is_closed_is_the_end():
    kind, text, *_ = heard("close_the_channel", fork=True)

    assert kind == "PluginDied"
    assert "ended" in text


def test_a_thread_that_is_left_does_not_keep_the_host(fork):
    kind, _, last, *_ = heard("end_in_a_thread", fork=fork)

    assert (kind, last) == (None, [Kind.RESULT, "done"])


def test_a_child_can_be_given_input(tmp_path, fork):
    path = tmp_path / "input"
    path.write_text("given")
    with path.open("rb") as file:
        _, _, last, *_ = heard("read_input", fork=fork, stdin=file.fileno())

    assert last == [Kind.RESULT, "given"]


def test_the_time_a_question_takes_is_not_the_childs():
    def work():
        with start("ask", fork=True) as child:
            child.wait_until_confined(len)
            child.post(Frame(Kind.GO))
            child.allow(2.0, "finish")

            def take(frame):
                child._until -= 1000  # as if the operator had thought for so long
                waited.append(1)
                child._until += 1000
                time.sleep(2.5)
                child.post(Frame(Kind.ANSWER, b"yes"))

            waited = []
            return child.hear(take, len).body.decode()

    assert aside(os.geteuid(), work) == "yes"


# --- rules of the channel -----------------------------------------------------------

RULES = {
    "a frame that is too long": (
        b"\xff\xff\xff\xff\x0b\0\0\0\0\1",
        "4,294,967,295 bytes",
    ),
    "one byte too long": (
        (LONGEST - 9).to_bytes(4, "big") + b"\x0b" + bytes(5),
        "at most",
    ),
    "a kind there is not": (bytes(4) + b"\x63" + bytes(5), "the kind 99"),
    "a kind of the host's": (bytes(4) + bytes([Kind.GO]) + bytes(5), "the kind 2"),
    "a flag there is not": (bytes(4) + bytes([Kind.CALL, 2]) + bytes(4), "the kind 11"),
}


@pytest.mark.parametrize("name", RULES)
def test_bytes_that_are_no_frame_end_the_child(name):
    data, found = RULES[name]
    kind, text, *_ = heard("send_bytes", data.hex(), fork=True)

    assert kind == "BadFrame"
    assert text.startswith(
        "the plugin's process broke the rules of its channel: found "
    )
    assert found in text
    assert BadFrame("x").exit_code == 8


def test_a_child_cannot_say_twice_that_it_is_confined():
    kind, text, *_ = heard("say_ready_again", fork=True)

    assert kind == "BadFrame"
    assert "a second sign that it is confined" in text


def test_a_plugin_cannot_say_that_it_cannot_be_confined():
    """Otherwise it could ask the operator to let it loose, in btplug's words."""
    kind, _, last, *_ = heard("say_it_is_not_confined", fork=True)

    assert kind is None
    assert last[0] == Kind.FAILURE


@pytest.mark.parametrize("kind", [Kind.OUTPUT, Kind.CALL, Kind.CHUNK, Kind.LOG])
def test_a_flood_of_frames_ends_at_the_time_limit_and_fills_no_memory(kind):
    def work():
        count = [0]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with start("flood", fork=True) as child:
            child.wait_until_confined(len)
            told = {"kind": kind, "id": 1}
            child.post(Frame(Kind.GO, json.dumps(told).encode()))
            child.allow(1.0, "finish")
            with pytest.raises(PluginTimeout):
                child.hear(lambda _: count.append(count.pop() + 1), len)
            with open(os.devnull):
                pass
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return [count[0], grown]

    frames, grown = aside(os.geteuid(), work)
    assert frames > 10
    assert grown < 32 * 1024, f"{grown} KiB more"


def test_a_child_that_does_not_read_is_not_sent_for_ever():
    def work():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with start("never_read", fork=True) as child:
            child.wait_until_confined(len)
            child.post(Frame(Kind.GO))
            child.allow(1.0, "finish")
            sent = []

            def take(_):
                while not child._port.full:
                    child.post(Frame(Kind.RETURN, bytes(100_000), 1))
                    sent.append(1)

            with pytest.raises(PluginTimeout):
                child.hear(take, len)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return [len(sent), grown]

    sent, grown = aside(os.geteuid(), work)
    assert sent < 200
    assert grown < 64 * 1024


def test_noise_of_any_length_is_handed_over_and_not_held(fork):
    def work():
        total = [0]
        with start("make_noise", fork=fork) as child:
            child.wait_until_confined(len)
            child.post(Frame(Kind.GO, b"400"))
            child.allow(30.0, "finish")
            child.hear(len, lambda data: total.append(total.pop() + len(data)))
        return total[0]

    # What is still in the pipe with the last frame may be lost, no more.
    assert 400 * 65536 - 2 * 65536 <= aside(os.geteuid(), work) <= 400 * 65536


# --- nothing is left ----------------------------------------------------------------


@pytest.mark.parametrize("user", users())
def test_a_maze_in_its_folder_is_removed_and_links_are_not_followed(user):
    kind, _, last, *_ = heard("leave_a_maze", fork=True, uid=users()[user])

    assert (kind, last) == (None, [Kind.RESULT, "1500"])
    assert os.path.exists("/etc/passwd")


def test_no_name_in_its_folder_keeps_it_from_being_removed():
    # Whether the folder is gone is looked at for every child that is heard.
    kind, *_ = heard("leave_names_in_the_way", fork=True)

    assert kind is None


def test_a_child_ends_with_its_host():
    """Killed, the host can end nothing any more: the kernel does."""
    r, w = os.pipe()
    host = os.fork()
    if host == 0:
        with contextlib.suppress(BaseException):
            child = start("wait", fork=True)
            child.wait_until_confined(len)
            child.post(Frame(Kind.GO))
            child.allow(60, "finish")
            os.write(w, f"{child.folder}\n".encode())
            child.hear(lambda frame: os.write(w, frame.body + b"\n"), len)
        os._exit(1)
    os.close(w)
    with open(r) as told:
        folder, pid = told.readline().strip(), int(told.readline())
    os.kill(host, signal.SIGKILL)
    os.waitpid(host, 0)
    stat = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + 20
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < until
            time.sleep(0.01)
    os.rmdir(folder)


# --- proof --------------------------------------------------------------------------


def refusal(change, **options):
    """Return why a child said that it is not confined, *change* being made before."""

    def work():
        change()
        with start("nothing", fork=True, **options) as child:
            with pytest.raises(Unconfinable) as caught:
                child.wait_until_confined(len)
        return str(caught.value)

    return aside(os.geteuid(), work)


def told(reason):
    return (
        f"the plugin cannot be confined here: {reason}\n  fix:   let it run in btplug's "
        "own process, unconfined: btplug trust --in-process NAME"
    )


def test_a_wallet_that_can_be_opened_stops_everything(tmp_path):
    found = refusal(lambda: None, read=[HERE, str(tmp_path)], guarded=[str(tmp_path)])

    assert found == told(f"the process could still open {tmp_path}")


def test_a_wallet_that_is_not_there_is_no_reason_to_stop(tmp_path):
    kind, _, last, *_ = heard("nothing", fork=True, guarded=[str(tmp_path / "none")])

    assert (kind, last) == (None, [Kind.RESULT, "done"])


def test_files_that_are_not_kept_stop_everything():
    def change():
        landlock.restrict = lambda *_: None

    assert refusal(change) == told("the process could still open /")


def test_sockets_that_are_not_kept_stop_everything():
    def change():
        seccomp.install = lambda *_: None

    assert refusal(change) == told("the process could still make a socket")


def test_programs_that_are_not_kept_stop_everything():
    def change():
        seccomp.DENIED = seccomp.DENIED.replace("execve ", "")

    assert refusal(change) == told("the process could still run programs")


def test_a_kernel_without_landlock_is_told_apart():
    def change():
        landlock.NEWEST = 0

    assert refusal(change) == told("the kernel has no Landlock, or it is switched off")


def test_another_processor_is_told_apart():
    def change():
        rules.machine = lambda: None

    found = refusal(change)
    assert found == told(f"plugins are not confined on {os.uname().machine}")


def test_a_child_that_cannot_even_start_is_not_confined(tmp_path):
    def work():
        sys.executable = "/bin/false"
        with start("nothing") as child:
            with pytest.raises(Unconfinable) as caught:
                child.wait_until_confined(len)
        return [str(caught.value), caught.value.exit_code]

    text, code = aside(os.geteuid(), work)
    assert code == 6
    assert text == (
        "the process that was to be confined did not start: the plugin's process ended "
        "without a result (exit code 1)\n"
        "  fix:   see what it printed, with BTPLUG_DEBUG=1"
    )


def test_the_system_says_what_it_offers():
    found = offer()

    assert found.landlock == VERSION
    assert found.missing == ""
    assert "whether a path exists" in found.open[0]


UNAWARE = """
import signal, sys, threading
from btplug import sandbox
from btplug._confine.frames import Frame, Kind

signal.signal(signal.SIGINT, signal.default_int_handler)
child = sandbox.start("mains:wait", read=[sys.argv[1]], path=[*sys.path, sys.argv[1]])

def interrupt():
    # It wakes the main thread as little as one in the moment before that waits.
    while sys._current_frames()[threading.main_thread().ident].f_code.co_name != "_wait":
        continue
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

with child:
    child.wait_until_confined(len)
    child.post(Frame(Kind.GO))
    try:
        child.hear(lambda _: threading.Thread(target=interrupt).start(), len)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_an_interrupt_that_wakes_nobody_is_noticed():
    words = [sys.executable, "-c", UNAWARE, HERE]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)

    assert done.stdout == "interrupted\n", done.stderr


# --- secrets in memory --------------------------------------------------------------

HOST = """
import os, sys
from btplug import sandbox
from btplug._confine.frames import Frame, Kind
child = sandbox.start("mains:wait", read=[sys.argv[1]], path=[*sys.path, sys.argv[1]],
                      fork=sys.argv[2] == "fork")
with child:
    child.wait_until_confined(len)
    child.post(Frame(Kind.GO))
    child.allow(60, "finish")
    def take(frame):
        print(frame.body.decode(), flush=True)
        sys.stdin.read()
        raise SystemExit
    child.hear(take, len)
"""


def search(pid, secret):
    """Return in how many areas of a process's memory *secret* lies."""
    found = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            area, rights, *_ = line.split()
            if "r" not in rights or "[v" in line:
                continue
            begin, end = (int(word, 16) for word in area.split("-"))
            memory.seek(begin)
            with contextlib.suppress(OSError):
                found += secret in memory.read(end - begin)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another's memory")
def test_no_variable_of_the_host_is_in_the_memory_of_a_child(fork, tmp_path):
    secret = os.urandom(12).hex()
    words = [sys.executable, "-c", HOST, HERE, "fork" if fork else "exec"]
    env = {**os.environ, "SECRET_TOKEN": secret}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=tmp_path
    ) as host:
        pid = int(host.stdout.readline())
        # The trap is armed: it is found where it has to be.
        assert search(host.pid, secret.encode())
        assert not search(pid, secret.encode())
        host.stdin.close()
    assert host.returncode == 0


def test_a_child_of_a_host_with_threads_is_a_fresh_interpreter():
    def work():
        import threading

        release = threading.Event()
        threading.Thread(target=release.wait).start()
        sys.path.append("/only/in/the/host")
        with start("say_its_path", fork=True, path=["/told", HERE, *sys.path]) as child:
            child.wait_until_confined(len)
            command = Path(f"/proc/{child.pid}/cmdline").read_bytes()
            child.post(Frame(Kind.GO))
            found = json.loads(child.hear(len, len).body)
        release.set()
        return [b"-I\0-S\0" in command, found[0]]

    assert aside(os.geteuid(), work) == [True, "/told"]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_standard_streams_that_are_closed_confuse_nobody(closed, fork):
    def work():
        saved = [os.dup(fd) for fd in range(3)]
        for fd in closed:
            os.close(fd)
        try:
            with start("nothing", fork=fork) as child:
                child.wait_until_confined(len)
                child.post(Frame(Kind.GO))
                return child.hear(len, len).body.decode()
        finally:
            for fd, copy in enumerate(saved):
                os.dup2(copy, fd)

    assert aside(os.geteuid(), work) == "done"


def test_errors_have_the_exit_codes_of_the_design():
    assert (PluginDied.exit_code, PluginTimeout.exit_code) == (8, 7)
    assert Unconfinable.exit_code == 6
    assert mains.CHUNK < LONGEST
