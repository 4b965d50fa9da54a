"""Nonces that a signal or a fork meets halfway."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import chain

from btplug.dialects._parts import Nonces


def test_each_is_larger_in_whatever_thread():
    nonces, found = Nonces(), []

    def take():
        found.append([nonces.next(5) for _ in range(2000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(chain(*found)) == [*range(5, 8005)]
    assert all(one == sorted(one) for one in found)
    assert nonces.next(10_000) == 10_000


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert not done.stderr
    return done.stdout


def test_a_child_signs_though_a_thread_of_its_parent_was_about_to():
    assert (
        run("""
import os, threading
from btplug.dialects._parts import Nonces

nonces, held, over = Nonces(), threading.Event(), threading.Event()

def hold():
    with Nonces._lock:
        held.set()
        over.wait(60)

threading.Thread(target=hold).start()
held.wait()
if child := os.fork():
    os.waitpid(child, 0)
    over.set()
else:
    print(nonces.next(7), flush=True)
    os._exit(0)
""")
        == "7\n"
    )


def test_a_handler_may_sign_while_its_thread_does():
    assert (
        run("""
import signal, sys
from btplug.dialects._parts import Nonces

nonces, found, line = Nonces(), [], [0]

def sign(*_):
    sys.settrace(None)
    found.append(nonces.next(50))

def watch(frame, event, arg):
    if frame.f_code.co_name == "next":
        line[0] += event == "line"
        if line[0] == moment:
            signal.raise_signal(signal.SIGUSR1)
        return watch

signal.signal(signal.SIGUSR1, sign)
for moment in range(1, 6):
    line[0] = 0
    sys.settrace(watch)
    found.append(nonces.next(50))
    sys.settrace(None)
print(len(found) > 7, len(found) - len({*found}))
""")
        == "True 0\n"
    )
