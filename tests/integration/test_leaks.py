"""Ten thousand calls in any form leave no descriptor, task, thread or memory behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLS = 10_000
ALLOWED = 4 * 1024 * 1024  # bytes: a KiB lost by each call is more than twice that
BUSY = 80  # connections of all calls at once, at both ends, and some

SERVER = """
import asyncio, sys
from benchmarks.echo import Echo
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@contextmanager
def echo_server():
    """Serve from another process, so that what a server holds counts for nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate()


def left_by(*words):
    """Run many calls in a process of their own and return what they left."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "leaking.py"), *words],
        capture_output=True, text=True, timeout=300, env={**os.environ}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def check(found):
    before, warm, after, end = (
        found[n] for n in ("before", "warm", "after", "end")
    )  # fmt: skip
    assert after["memory"] - warm["memory"] < ALLOWED, found
    assert after["tasks"] <= warm["tasks"], found
    assert after["descriptors"] <= before["descriptors"] + BUSY, found
    assert after["threads"] <= warm["threads"] + 1, found
    assert end["descriptors"] == before["descriptors"], found
    assert end["threads"] == before["threads"], found


@pytest.mark.slow
@pytest.mark.parametrize("form", ["send", "asend", "send_many", "stream"])
def test_calls_over_http_leave_nothing(form):
    with echo_server() as url:
        check(left_by("http", form, str(CALLS), url))


@pytest.mark.slow
def test_serving_over_http_leaves_nothing():
    check(left_by("http", "send_many", str(CALLS)))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["send", "asend", "send_many"])
def test_calling_and_serving_in_memory_leaves_nothing(form):
    check(left_by("memory", form, str(CALLS)))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is not told")
def test_a_kib_lost_by_each_call_is_found():
    """The trap is armed: without this the tests above could pass for nothing."""
    found = left_by("memory", "leak", str(CALLS))

    with pytest.raises(AssertionError):
        check(found)
    assert found["after"]["memory"] - found["warm"]["memory"] > 2 * ALLOWED
