"""The loop in a thread of its own."""

import asyncio
import gc
import subprocess
import sys
import threading
import time

import pytest

from btplug._loop import HomeLoop
from btplug.errors import UsageError


@pytest.fixture
def loop():
    loop = HomeLoop("test loop")
    yield loop
    loop.close()


async def where():
    return threading.current_thread().name


def test_nothing_is_started_before_the_first_need(loop):
    before = threading.active_count()

    assert not loop.here()
    loop.close()

    assert threading.active_count() == before


def test_asyncio_is_not_imported_before_the_first_need():
    code = (
        "import sys; from btplug import Context; c = Context(); c.home.here(); c.work;"
        "c.close(); print('asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "False\n", done.stderr


def test_work_runs_in_the_thread_of_the_loop(loop):
    assert loop.run(where()) == "test loop"


def test_the_thread_does_not_keep_the_process_alive(loop):
    loop.run(where())

    thread = next(t for t in threading.enumerate() if t.name == "test loop")
    assert thread.daemon


def test_twenty_threads_start_one_loop(loop):
    found, gate = [], threading.Barrier(20)

    def use():
        gate.wait()
        found.append(loop.run(identify()))

    async def identify():
        return id(asyncio.get_running_loop()), threading.get_ident()

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(found) == 20
    assert len(set(found)) == 1


def test_what_work_raises_arrives_unchanged(loop):
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        loop.run(fail())


def test_a_sync_call_from_inside_is_refused_and_leaves_nothing_unawaited(loop):
    async def inside():
        loop.run(where())

    with pytest.raises(UsageError) as caught:
        loop.run(inside())

    assert str(caught.value) == (
        "a sync call from inside the loop 'test loop' would never return\n"
        "  fix:   await the async form of that method"
    )


def test_awaiting_from_inside_needs_no_hand_over(loop):
    async def inside():
        return await loop.hand_over(where())

    assert loop.run(inside()) == "test loop"


def test_awaiting_from_another_loop_hands_over(loop):
    assert asyncio.run(loop.hand_over(where())) == "test loop"


def test_work_of_one_loop_may_wait_for_another():
    one, two = HomeLoop("one"), HomeLoop("two")

    async def nested():
        return two.run(where())

    assert one.run(nested()) == "two"
    one.close()
    two.close()


def test_steps_of_an_iterator_run_in_the_loop_one_by_one(loop):
    taken = []

    async def items():
        for n in range(3):
            taken.append(n)
            yield n, threading.current_thread().name

    found = loop.iterate(items())

    assert next(found) == (0, "test loop")
    assert taken == [0]
    assert list(found) == [(1, "test loop"), (2, "test loop")]


def test_an_iterator_that_is_left_early_is_closed_in_the_loop(loop):
    closed = []

    async def items():
        try:
            yield 1
            yield 2
        finally:
            closed.append(threading.current_thread().name)

    found = loop.iterate(items())
    next(found)
    found.close()

    assert closed == ["test loop"]


def test_an_iterator_that_outlives_its_loop_starts_no_new_one(loop):
    closed = []

    async def items():
        try:
            yield 1
            yield 2
        finally:
            closed.append(1)

    found = loop.iterate(items())
    next(found)
    loop.close()
    before = threading.active_count()
    found.close()

    assert closed == [1]
    assert threading.active_count() == before
    assert loop.run(where()) == "test loop"


def test_an_iterator_may_be_dropped_in_the_loop_itself(loop):
    closed = threading.Event()

    async def items():
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    found = [loop.iterate(items())]
    next(found[0])

    async def drop():
        found.clear()  # as the garbage collector does, in whichever thread it runs

    loop.run(drop())
    assert closed.wait(10)


def test_an_iterator_that_raises_is_closed_and_its_error_arrives(loop):
    async def items():
        yield 1
        raise KeyError("x")

    found = loop.iterate(items())
    assert next(found) == 1

    with pytest.raises(KeyError):
        next(found)


def test_none_is_an_item_like_any_other(loop):
    async def items():
        yield None
        yield None

    assert list(loop.iterate(items())) == [None, None]


def test_any_async_iterator_will_do(loop):
    class Items:
        def __init__(self):
            self.left = 2

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    assert list(loop.iterate(Items())) == [1, 0]


def test_closing_cancels_what_runs_and_ends_the_thread(loop):
    ended = threading.Event()

    async def forever():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def begin():
        loop.task = asyncio.ensure_future(forever())
        await asyncio.sleep(0)

    loop.run(begin())
    loop.close()

    assert ended.is_set()
    assert "test loop" not in [t.name for t in threading.enumerate()]


def test_a_closed_loop_may_be_used_again(loop):
    loop.run(where())
    loop.close()

    assert loop.run(where()) == "test loop"


def test_closing_twice_is_closing_once(loop):
    before = loop.run(where())
    loop.close()
    loop.close()

    assert loop.run(where()) == before, "a closed loop may start again"


@pytest.mark.slow
def test_a_loop_that_is_blocked_is_left_to_itself_after_the_limit(loop):
    release = threading.Event()

    async def block():
        loop.blocked = True
        release.wait(10)

    thread = threading.Thread(target=lambda: loop.run(block()), daemon=True)
    thread.start()
    while not getattr(loop, "blocked", False):
        time.sleep(0.001)
    begun = time.monotonic()
    loop.close(limit=0.1)
    took = time.monotonic() - begun
    release.set()
    thread.join(5)

    assert took < 5


@pytest.mark.slow
def test_work_that_refuses_to_be_cancelled_holds_the_close_up_to_its_limit(loop):
    release = threading.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    async def begin():
        loop.task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(0)

    loop.run(begin())
    begun = time.monotonic()
    loop.close(limit=0.1)
    took = time.monotonic() - begun
    release.set()

    assert took < 5


INTERRUPTED = """
import asyncio, os, signal, sys, threading
from btplug._loop import HomeLoop

# Of a job in the background it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
loop, ended = HomeLoop("x"), threading.Event()
main = threading.main_thread().ident

async def work():
    # Not before the main thread waits for us.
    while sys._current_frames()[main].f_code.co_name != "run":
        await asyncio.sleep(0.001)
    try:
        SEND
        await asyncio.sleep(60)
    finally:
        ended.set()

try:
    loop.run(work())
except KeyboardInterrupt:
    print("interrupted", ended.wait(5))
loop.close()
"""


# A signal that another thread takes wakes the main thread as little as one that comes
# in the moment before it waits.
SENT = [
    "os.kill(os.getpid(), signal.SIGINT)",
    "signal.pthread_kill(threading.get_ident(), signal.SIGINT)",
]


@pytest.mark.slow
@pytest.mark.parametrize("send", SENT)
def test_ctrl_c_ends_the_work_that_a_sync_call_waits_for(send):
    code = INTERRUPTED.replace("SEND", send)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
    )

    assert done.stdout == "interrupted True\n", done.stderr


# -- Work that keeps a limit of its own when it is cancelled


async def stubborn(begun, gate, ended):
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        while not gate.is_set():
            await asyncio.sleep(0.005)
        ended.append(True)


@pytest.mark.parametrize("patient", [True, False])
def test_a_cancelled_hand_over_waits_for_the_end_of_its_work_if_it_is_patient(
    loop, patient
):
    begun, gate, ended = threading.Event(), threading.Event(), []

    async def outside():
        work = loop.hand_over(stubborn(begun, gate, ended), patient=patient)
        task = asyncio.ensure_future(work)
        while not begun.is_set():
            await asyncio.sleep(0.005)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=0.1)
        assert bool(done) is not patient
        gate.set()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(outside()) is True


@pytest.mark.parametrize("kind", ["run", "hand_over"])
def test_a_patient_call_returns_and_raises_what_any_call_does(loop, kind):
    async def fail():
        raise KeyError("x")

    def call(work):
        if kind == "run":
            return loop.run(work, patient=True)
        return asyncio.run(loop.hand_over(work, patient=True))

    assert call(where()) == "test loop"
    with pytest.raises(KeyError, match="x"):
        call(fail())


def test_patient_work_that_is_cancelled_before_it_begins_is_not_waited_for(loop):
    async def outside():
        work = loop.hand_over(where(), patient=True)
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait({task})
        return task.cancelled()

    assert all(asyncio.run(outside()) for _ in range(50))


def test_an_interrupt_at_any_moment_leaves_the_loop_usable():
    # A second interrupt of the same call would be the user's second Ctrl-C.
    code = """
import asyncio, faulthandler, random, signal
from btplug._loop import HomeLoop

def interrupt(*_):
    raise KeyboardInterrupt

async def work():
    await asyncio.sleep(0.0002)
    return 1

signal.signal(signal.SIGALRM, interrupt)
loop, interrupted = HomeLoop("x"), 0
for _ in range(5000):
    faulthandler.dump_traceback_later(10, exit=True)
    waiting = work()
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 6e-4))
        loop.run(waiting)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    assert loop.run(work()) == 1
print(interrupted > 500)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )

    assert done.stdout == "True\n", done.stderr


def test_sync_plugins_that_wait_for_the_loop_leave_it_threads_of_its_own():
    loop = HomeLoop("x")
    count = loop.threads()._max_workers
    together = threading.Barrier(count)

    def turn(number):
        together.wait(60)  # all threads of sync plugins are in use
        return loop.run(asyncio.to_thread(lambda: number))

    async def all_turns():
        own, run = loop.threads(), asyncio.get_running_loop().run_in_executor
        return sum(await asyncio.gather(*(run(own, turn, n) for n in range(count))))

    assert loop.run(all_turns()) == count * (count - 1) // 2
    loop.close()


def test_work_that_is_cancelled_by_the_end_may_still_use_a_thread():
    loop, saved = HomeLoop("x"), []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(saved.append, "all")

    async def begin():
        tasks.append(asyncio.create_task(work()))
        await asyncio.sleep(0)

    tasks = []
    loop.run(begin())
    loop.close()

    assert saved == ["all"]


@pytest.mark.parametrize("kind", ["run", "hand_over"])
def test_who_comes_in_the_last_moment_of_a_loop_does_not_wait_for_ever(kind):
    """Between its last turn and its close: nothing it is given is ever done."""

    class Busy(HomeLoop):
        def _started(self):
            loop = super()._started()
            if threading.current_thread() is late:
                asked.set()
                gate.wait(10)
            return loop

    def call():
        try:
            if kind == "run":
                home.run(where())
            else:
                asyncio.run(home.hand_over(where()))
        except RuntimeError as exc:
            raised.append(str(exc))

    async def inside():
        return asyncio.get_running_loop()

    def stop():
        was_stop()
        gate.set()
        given.wait(10)

    def soon(*what):
        handle = was_soon(*what)
        if threading.current_thread() is late:
            given.set()
        return handle

    late = threading.Thread(target=call, daemon=True)
    asked, gate, given, raised = (*(threading.Event() for _ in range(3)), [])
    home = Busy("x")
    loop = home.run(inside())
    was_stop, was_soon = loop.stop, loop.call_soon_threadsafe
    loop.stop, loop.call_soon_threadsafe = stop, soon
    late.start()
    assert asked.wait(10)
    home.close()
    late.join(10)

    assert given.is_set()
    assert raised == ["the loop was closed before this was done"]
    assert not home._jobs


def test_a_child_process_is_told_that_the_loop_stayed_behind():
    code = """
import os
from btplug._loop import HomeLoop
from btplug.errors import UsageError

async def work():
    return "done"

loop = HomeLoop("test loop")
loop.run(work())
child = os.fork()
if child:  # first the child, then its parent: two lines at once would be mixed
    print(os.waitpid(child, 0)[1])
try:
    print(loop.run(work()), flush=True)
except UsageError as exc:
    print(exc, flush=True)
loop.close()
if not child:
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    found = "found a process that was forked after the loop 'test loop' had begun, "
    found += "expected one with a context of its own"
    assert not done.stderr
    assert done.stdout.splitlines() == [
        found,
        "  fix:   open the context in the child, or start it with 'spawn'",
        "0",
        "done",
    ]


def test_a_loop_that_nobody_has_any_more_ends():
    before = {*threading.enumerate()}
    loop, ended = HomeLoop("dropped"), []

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def begin():
        tasks.append(asyncio.create_task(wait()))
        await asyncio.sleep(0)

    tasks = []
    loop.run(begin())
    (thread,) = {*threading.enumerate()} - before
    del loop
    thread.join(20)

    assert not thread.is_alive()
    assert ended == ["cancelled"]


def test_a_handler_of_a_signal_may_need_the_loop_while_it_starts():
    code = """
import asyncio, signal, sys
from btplug._loop import HomeLoop

async def work():
    return "done"

def send(*_):
    sys.settrace(None)
    found.append(loop.run(work()))

def watch(frame, event, arg):
    if frame.f_code.co_name == "_started":
        line[0] += event == "line"
        if line[0] == moment:
            signal.raise_signal(signal.SIGUSR1)
        return watch

signal.signal(signal.SIGUSR1, send)
for moment in range(1, 40):
    loop, found, line = HomeLoop("interrupted"), [], [0]
    sys.settrace(watch)
    found.append(loop.run(work()))
    sys.settrace(None)
    if len(found) == 1:
        break
    assert found == ["done", "done"], (moment, found)
    loop.close()
print(moment)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )

    assert int(done.stdout) > 8, done.stderr


def test_the_end_of_a_process_waits_for_no_thread_of_a_plugin():
    code = """
import asyncio, threading
from btplug._loop import HomeLoop

loop, begun = HomeLoop("x"), threading.Semaphore(0)

def hang():
    begun.release()
    threading.Event().wait(50)

async def begin():
    run = asyncio.get_running_loop().run_in_executor
    run(loop.threads(), hang)
    run(None, hang)

loop.run(begin())
begun.acquire()
begun.acquire()
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=45)

    assert time.monotonic() - began < 40


def test_a_child_has_threads_of_its_own():
    code = """
import os
from btplug._loop import HomeLoop

loop = HomeLoop("x")
loop.threads().submit(print, "parent", flush=True).result()
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    loop.threads().submit(print, "child", flush=True).result()
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=45
    )

    assert done.stdout == "parent\nchild\n", done.stderr


def test_threads_that_nobody_has_any_more_end():
    before = {*threading.enumerate()}
    loop = HomeLoop("dropped")
    loop.threads().submit(int).result()
    (thread,) = {*threading.enumerate()} - before
    del loop
    gc.collect()
    thread.join(20)

    assert not thread.is_alive()
