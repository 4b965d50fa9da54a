"""The contract suite can fail: for each defect a transport that has it, and no other."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar
from unittest import SkipTest

import pytest
from broken_ends import CASES, STOP, ServesNothing
from broken_sends import CUT, DRIP, STRANGER, LimitsEachRead, Sending
from given_peers import in_memory, wired

from btplug import (
    CLIPlugin,
    Reply,
    TransportPlugin,
)
from btplug.errors import Cut, Late, NotAllowed, Refused
from btplug.network import parse_url
from btplug.testing import (
    Peers,
    TransportContract,
)


class Command(CLIPlugin):
    """No transport."""

    def initialize(self, config):
        pass

    def execute(self, data=None):
        pass

    def shutdown(self):
        pass


def suite(plugin, **members):
    """Return the suite for *plugin*; peers of a class that cannot serve are given."""
    if plugin is ServesNothing:
        members["peers"] = lambda self: nullcontext()
    if plugin is LimitsEachRead:
        members["peers"] = lambda self: wired()
    elif isinstance(plugin, type) and issubclass(plugin, Sending):
        members["peers"] = lambda self: in_memory(self._own_peers())
        members["brief"] = {"timeout": 0.5}
    members = {"plugin": plugin, "tolerance": 0.3, **members}
    return type("Case", (TransportContract,), members)()


@pytest.fixture
def reaper():
    """Let the thread of ForgetsItsThread end with the test."""
    yield
    STOP.set()
    for thread in threading.enumerate():
        if thread.name == "reaper":
            thread.join()
    STOP.clear()


@pytest.mark.slow
@pytest.mark.parametrize(("plugin", "check", "texts"), CASES)
@pytest.mark.usefixtures("reaper")
def test_a_defect_is_found_and_said(plugin, check, texts):
    with pytest.raises(AssertionError) as caught:
        getattr(suite(plugin), f"test_{check}")()

    for text in texts:
        assert text in str(caught.value)


CHECKS = sorted(name for name in dir(TransportContract) if name.startswith("test_"))


def test_every_check_of_the_suite_has_a_defect_that_it_finds():
    assert set(CHECKS) == {f"test_{case.values[1]}" for case in CASES}


@dataclass
class Limits:
    timeout: float = 12.0


class Sync(TransportPlugin):
    """Has a sync send and nothing else."""

    schemes = ("sync",)
    Config = Limits
    open = False
    taken: ClassVar = []

    def initialize(self, config):
        self.open, self.timeout = True, config.timeout

    def send(self, peer, message, *, timeout=None):
        began = time.monotonic()
        if not self.open or peer.hotkey or not parse_url(peer.url):
            raise NotAllowed("it may not be sent", fix="do not", delivered=False)
        if "dead" in peer.url:
            raise Refused("nobody there", fix="look", delivered=False)
        if "cut" in peer.url:
            self.taken.append(message)
            raise Cut("it was cut", fix="send again, if it may arrive twice")
        if "moved" in peer.url:
            body = f"{message.method} /{message.target}".encode()
            return Reply(status=307, body=body, headers=(("Location", "sync://echo"),))
        if "hang" in peer.url or "drip" in peer.url:
            threading.Event().wait(self.timeout if timeout is None else timeout)
            raise Late("it was long", fix="wait")
        kept = tuple(one for one in message.headers if one[0].startswith("X-"))
        return Reply(
            status=int(message.header("x-status") or 200),
            body=message.body,
            media_type=message.media_type,
            headers=kept,
            seconds=time.monotonic() - began,
        )

    def shutdown(self):
        self.open = False


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_a_transport_with_a_sync_send_alone_passes(check):
    given = Peers(
        "sync://echo", "sync://hang", "sync://dead", "sync://moved", "sync://cut",
        "sync://drip", lambda: len(Sync.taken),
    )  # fmt: skip

    case = suite(Sync, peers=lambda self: nullcontext(given), brief={"timeout": 0.5})

    getattr(case, check)()


@pytest.mark.parametrize(
    ("check", "what"),
    [
        (STRANGER, "'moved' in the Peers"),
        (CUT, "'cut' in the Peers"),
        (DRIP, "'drip' in the Peers"),
        ("a_message_without_a_limit_ends_all_the_same", "settings as brief"),
    ],
)
def test_what_needs_more_than_is_given_is_skipped_and_says_so(check, what):
    given = Peers("sync://echo", "sync://hang", "sync://dead")

    with pytest.raises(SkipTest) as caught:
        getattr(suite(Sync, peers=lambda self: nullcontext(given)), f"test_{check}")()

    assert str(caught.value) == (
        f"found no {what} of Case, expected one to judge this with: see btplug.testing"
    )


class Keeps(Sending):
    """One socket to each peer for all its messages, and one thread in the process."""

    poller = None

    def initialize(self, config):
        super().initialize(config)
        self.kept = {}

    async def asend(self, peer, message, *, timeout=None):
        reply = super().asend(peer, message, timeout=timeout)
        if peer.url not in self.kept:
            self.kept[peer.url] = socket.socket()
        if not Keeps.poller:
            Keeps.poller = threading.Thread(target=STOP.wait, args=(60,), name="reaper")
            Keeps.poller.start()
        return await reply

    def shutdown(self):
        super().shutdown()
        for one in self.kept.values():
            one.close()


@pytest.mark.slow
@pytest.mark.usefixtures("reaper")
@pytest.mark.parametrize(
    "check", [name for name in CHECKS if name.endswith(("leaves_nothing_open", "used"))]
)
def test_what_is_kept_for_the_next_message_is_no_leak(check):
    # Each check comes first in its process: only once the thread is not there.
    plugin = type("Keeps", (Keeps,), {})
    Keeps.poller = None

    getattr(suite(plugin), check)()


def test_a_transport_that_cannot_serve_is_told_to_name_its_peers():
    with pytest.raises(AssertionError) as caught:
        suite(Sync).test_health_says_that_a_live_transport_can_be_used()

    assert str(caught.value) == (
        "found no serve in Sync and no peers() in Case, expected one of them\n"
        "  fix:   override peers() with a context manager that yields btplug.testing.Peers"
    )


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (
            None,
            "found no plugin in Case, expected plugin = YourTransportPlugin, or its folder",
        ),
        (Command, "found a Command as plugin of Case, expected a TransportPlugin"),
    ],
    ids=["none", "command"],
)
def test_a_suite_without_a_transport_says_so(plugin, text):
    with pytest.raises(AssertionError) as caught:
        suite(
            plugin, peers=lambda self: nullcontext()
        ).test_health_says_that_a_live_transport_can_be_used()

    assert str(caught.value) == text


def test_the_suite_imports_no_pytest():
    code = "import sys, btplug.testing.contract; print('pytest' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert found.stdout == "False\n", found.stderr
