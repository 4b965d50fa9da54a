"""What authors test with: live plugins, live servers, and what importing it costs."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

import btplug.testing
from btplug import CLIPlugin, Message, Peer, PluginFailed, Secret
from btplug.errors import ConfigError, ManifestError, Unsupported
from btplug.testing import MemoryTransportPlugin, echo, running, serving


@dataclass
class Settings:
    word: str = "none"
    count: int = 1
    names: list[str] = field(default_factory=list)
    key: Secret = field(default_factory=lambda: Secret(""))


class Command(CLIPlugin):
    """Notes its life."""

    Config = Settings

    def initialize(self, config):
        self.config, self.ended = config, 0

    def execute(self, data=None, *, peer=None):
        target = Peer(peer)
        return self.context.transport_for(target).send(target, Message.of(data))

    def shutdown(self):
        self.ended += 1


def test_a_plugin_runs_with_its_settings_and_is_shut_down_once():
    key = Secret("k: [")
    with running(Command, word="yes", count=3, names=["a", "b"], key=key) as plugin:
        config = plugin.config
        assert (config.word, config.count, config.names) == ("yes", 3, ["a", "b"])
        assert config.key.reveal() == "k: ["
        assert plugin.ended == 0

    assert plugin.ended == 1


def test_a_plugin_is_shut_down_where_the_test_fails():
    with pytest.raises(ZeroDivisionError), running(Command) as plugin:
        1 / 0  # noqa: B018 - it raises

    assert plugin.ended == 1


def test_what_shutdown_raises_is_told():
    class Failing(Command):
        def shutdown(self):
            raise ValueError("open")

    with pytest.raises(PluginFailed, match="failing failed to shut down: ValueError"):
        with running(Failing):
            pass


def test_settings_are_checked_as_the_host_checks_them():
    with pytest.raises(ConfigError, match="expected one of count, key, names, word"):
        with running(Command, wrod="x"):
            pass


def test_a_folder_runs_as_a_class_does(make_plugin):
    folder = make_plugin("it", config="word: a", kind="transport")

    with running(folder, word="b") as plugin:
        assert plugin.config["word"] == "b"
        assert plugin.send(Peer("it://x"), Message(body=b"y")).body == b"y"


def test_a_command_in_a_folder_runs_too(make_plugin):
    with running(str(make_plugin("it"))) as plugin:
        assert plugin.execute("x") == "x"


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ManifestError), running(tmp_path):
        pass


def test_a_command_uses_the_transport_whose_context_it_is_given():
    with running(MemoryTransportPlugin) as transport, serving(transport, echo) as url:
        with running(Command, context=transport.context, word="w") as command:
            assert command.config.word == "w"
            assert command.execute("hello", peer=url).text() == "hello"
        assert transport.send(Peer(url), Message()).ok


def test_no_thread_is_left():
    before = set(threading.enumerate())
    with running(MemoryTransportPlugin) as transport, serving(transport, echo) as url:
        transport.send(Peer(url), Message())

    assert set(threading.enumerate()) <= before


def test_serving_says_why_it_could_not(make_plugin):
    with running(make_plugin("it", kind="transport")) as plugin:
        with (
            pytest.raises(Unsupported, match="it does not serve"),
            serving(plugin, echo),
        ):
            pass


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_server_that_is_never_ready_is_told(seconds):
    class Idle(MemoryTransportPlugin):
        async def aserve(self, handler, **place):
            await asyncio.sleep(seconds)

    with running(Idle) as plugin:
        with pytest.raises(
            RuntimeError, match="found a server that is not ready, expected"
        ):
            with serving(plugin, echo, limit=0.1):
                pass


def test_a_server_that_does_not_stop_is_told():
    class Deaf(MemoryTransportPlugin):
        async def aserve(self, handler, *, ready, **place):
            ready("memory://deaf")
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)

    with running(Deaf) as plugin:
        with pytest.raises(
            RuntimeError, match=r"found a server still at work 0.1 s after"
        ):
            with serving(plugin, echo, limit=0.1):
                pass


def test_what_a_server_raises_at_its_end_is_told():
    class Sore(MemoryTransportPlugin):
        async def aserve(self, handler, **place):
            try:
                await super().aserve(handler, **place)
            finally:
                raise OSError("sore")

    with running(Sore) as plugin, pytest.raises(OSError, match="sore"):
        with serving(plugin, echo):
            pass


@pytest.mark.parametrize("name", btplug.testing.__all__)
def test_a_public_name_is_what_its_home_defines_and_is_documented(name):
    home = importlib.import_module(f"btplug.testing.{btplug.testing._HOMES[name]}")

    assert getattr(btplug.testing, name) is getattr(home, name)
    assert getattr(btplug.testing, name).__doc__


def test_the_public_names_are_sorted_and_have_one_home_each():
    assert list(btplug.testing.__all__) == sorted(btplug.testing._HOMES)
    assert set(btplug.testing.__all__) <= set(dir(btplug.testing))
    with pytest.raises(AttributeError, match="has no attribute 'x'"):
        btplug.testing.x  # noqa: B018 - the look-up is what fails


def test_no_command_imports_what_is_for_tests():
    code = "import sys, btplug.cli.app; print('btplug.testing' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert found.stdout == "False\n", found.stderr
