"""What a confined child may do to its host: each is the main of one."""

import ctypes
import json
import os
import threading
import time

from btplug._confine.frames import CHUNK, Channel, Frame, Kind


def after_go(function):
    """Make a main of *function*, which gets the channel and what the host told it."""

    def main(fd):
        channel = Channel(fd)
        told = channel.receive()
        function(channel, json.loads(told.body or b"null"))

    return main


@after_go
def nothing(channel, _):
    channel.send(Frame(Kind.RESULT, b"done"))


@after_go
def open_all(channel, names):
    """Say which of the files can be read, and which written."""
    found = []
    for name in names:
        for mode in ("r", "r+"):
            try:
                open(name, mode).close()
            except OSError:
                continue
            found.append(f"{mode} {name}")
    channel.send(Frame(Kind.RESULT, json.dumps(found).encode()))


@after_go
def crash(channel, _):
    ctypes.string_at(0)


@after_go
def abort(channel, _):
    os.abort()


@after_go
def leave(channel, _):
    os._exit(0)


@after_go
def leave_with_71(channel, _):
    os._exit(71)


@after_go
def loop_in_c(channel, _):
    sum(range(10**11))


@after_go
def use_processor_time(channel, _):
    threads = [threading.Thread(target=sum, args=(range(10**11),)) for _ in range(2)]
    for thread in threads:
        thread.start()


@after_go
def use_memory(channel, _):
    bytearray(50 * 1024**3)


@after_go
def open_files(channel, _):
    held = []
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))


@after_go
def start_processes(channel, _):
    while True:
        os.fork()


@after_go
def write_a_long_file(channel, _):
    with open("long", "wb") as file:
        file.truncate(10 * 1024**3)


@after_go
def close_the_channel(channel, _):
    os.close(channel._fd)
    time.sleep(600)


@after_go
def end_in_a_thread(channel, _):
    threading.Thread(target=time.sleep, args=(600,)).start()
    channel.send(Frame(Kind.RESULT, b"done"))


@after_go
def say_it_is_not_confined(channel, _):
    channel.send(Frame(Kind.FAILURE, b"the plugin cannot be confined here"))


@after_go
def say_ready_again(channel, _):
    channel.send(Frame(Kind.READY))
    time.sleep(600)


@after_go
def send_bytes(channel, told):
    os.write(channel._fd, bytes.fromhex(told))
    time.sleep(600)


@after_go
def flood(channel, told):
    frame = Frame(told["kind"], bytes(CHUNK), told["id"]).packed()
    while True:
        os.write(channel._fd, frame)


@after_go
def never_read(channel, _):
    channel.send(Frame(Kind.STATUS, b"not reading"))
    time.sleep(600)


@after_go
def make_noise(channel, told):
    for _ in range(told):
        os.write(1, bytes(65536))
    channel.send(Frame(Kind.RESULT, b"done"))


@after_go
def leave_a_maze(channel, _):
    """Folders deeper than any path may be long, without rights, and links out."""
    os.chdir(os.environ["TMPDIR"])
    depth = 0
    os.chdir(os.environ["TMPDIR"])
    for _ in range(1500):
        os.mkdir("x" * 20)
        os.symlink("/etc", "link")
        with open("file", "w"):
            pass
        os.chdir("x" * 20)
        depth += 1
    os.mkdir("locked")
    os.mkdir("locked/inner")
    os.umask(0o777)  # it may not chmod, but what it makes can be without rights
    os.mkdir("shut")
    channel.send(Frame(Kind.RESULT, str(depth).encode()))


@after_go
def leave_names_in_the_way(channel, _):
    """Folders that are called as the host may call what it brings up."""
    os.chdir(os.environ["TMPDIR"])
    for number in range(40):
        os.makedirs(f"deep-{number}/inner/inner")
    for number in range(200):
        os.makedirs(f"{os.getppid()}-{number}/full")
    channel.send(Frame(Kind.RESULT))


@after_go
def wait(channel, _):
    channel.send(Frame(Kind.STATUS, str(os.getpid()).encode()))
    time.sleep(600)


@after_go
def ask(channel, _):
    channel.send(Frame(Kind.ASK, b"?"))
    answer = channel.receive()
    channel.send(Frame(Kind.RESULT, answer.body))


@after_go
def read_input(channel, _):
    channel.send(Frame(Kind.RESULT, os.read(0, 100)))


@after_go
def say_its_path(channel, _):
    import sys

    channel.send(Frame(Kind.RESULT, json.dumps(sys.path).encode()))


@after_go
def fetch(channel, told):
    """Send by a transport of the host's, in each form; the main of a plugin, nearly."""
    import asyncio

    from btplug import Context, Message, Peer
    from btplug._broker.line import Line
    from btplug._broker.proxies import Proxy

    context = Context()
    line = Line(channel)
    context.transports.lend("http", proxy := Proxy("http", ("http", "https"), line))
    proxy.context = context.bound("plugin")
    peer, found = Peer(told), []
    http = context.transport_for(peer)
    found.append(http.send(peer, Message(body=b"a")).text())
    found.append(asyncio.run(http.asend(peer, Message(body=b"b"))).text())
    many = http.send_many([peer] * 3, Message(body=b"c"))
    found += [outcome.unwrap().text() for outcome in many]
    with http.stream(peer, Message(body=b"d")) as stream:
        found.append(b"".join(stream).decode())

    async def gathered():
        sends = [http.asend(peer, Message(body=b"e")) for _ in range(200)]
        return {reply.text() for reply in await asyncio.gather(*sends)}

    found += asyncio.run(gathered())
    try:
        http.send(Peer("http://evil.example/"), Message())
    except Exception as exc:
        found.append(type(exc).__name__)
    channel.send(Frame(Kind.RESULT, json.dumps(found).encode()))


@after_go
def fetch_often(channel, told):
    from btplug import Message, Peer
    from btplug._broker.line import Line
    from btplug._broker.proxies import Proxy

    http, peer = Proxy("http", ("http",), Line(channel)), Peer(told["url"])
    http.send(peer, Message(body=b"a"))
    times = []
    for _ in range(told["times"]):
        began = time.perf_counter()
        http.send(peer, Message(body=b"a"))
        times.append(time.perf_counter() - began)
    channel.send(Frame(Kind.RESULT, json.dumps(sorted(times)).encode()))
