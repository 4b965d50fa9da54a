"""Limits of time: a plugin that hangs costs its limit and nothing else."""

import subprocess
import sys
import threading
import time
from textwrap import dedent

import pytest

import btplug
from btplug import (
    CLIPlugin,
    CLIPluginRegistry,
    Reply,
    TransportPlugin,
    TransportPluginRegistry,
)
from btplug.cli.transports import start_all
from btplug.errors import ConfigError, PluginTimeout
from btplug.manifest import read_manifest

pytestmark = pytest.mark.slow

RAISE_START = "mend it, or wait longer: btplug config set start_limit 30"
RAISE_STOP = "mend it, or wait longer: btplug config set stop_limit 30"


@pytest.fixture
def release(monkeypatch):
    """What hanging plugins wait for; set at the end, so that no thread stays."""
    event = threading.Event()
    monkeypatch.setattr(btplug, "release", event, raising=False)
    monkeypatch.setenv("BTPLUG_START_LIMIT", "0.3")
    monkeypatch.setenv("BTPLUG_STOP_LIMIT", "0.3")
    yield event
    event.set()


class Wire(TransportPlugin):
    schemes = ("wire",)
    hangs = ""

    def initialize(self, config):
        type(self).state = "starting"
        if self.hangs == "initialize":
            btplug.release.wait(20)
        type(self).state = "live"

    def send(self, peer, message, *, timeout=None):
        return Reply(status=200)

    def shutdown(self):
        type(self).state = "ending"
        if self.hangs == "shutdown":
            btplug.release.wait(20)
        type(self).state = "ended"


def wire(name, hangs=""):
    return type(name, (Wire,), {"name": name, "hangs": hangs, "state": ""})


def took(work):
    begun = time.monotonic()
    result = work()
    return result, time.monotonic() - begun


def test_an_import_that_hangs_costs_its_limit(release, make_plugin):
    code = "import btplug\nbtplug.release.wait(20)\nfrom btplug import CLIPlugin\n"
    folder = make_plugin("slow", code)
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(folder)))

    with pytest.raises(PluginTimeout) as caught:
        took(lambda: registry.execute_plugin("slow"))

    assert caught.value.what == "slow did not load in 0.3 s"
    assert (caught.value.fix, caught.value.exit_code) == (RAISE_START, 7)
    assert caught.value.plugin == "slow"
    assert caught.value.where == f"{folder}/config.yaml"


def test_an_initialize_that_hangs_costs_its_limit(release):
    registry = CLIPluginRegistry()

    class Slow(CLIPlugin):
        tries = 0

        def initialize(self, config):
            type(self).tries += 1
            btplug.release.wait(20)

        def execute(self):
            pass

        def shutdown(self):
            pass

    registry.register_plugin(Slow)
    for _ in range(2):
        with pytest.raises(PluginTimeout) as caught:
            registry.execute_plugin("slow")
        assert caught.value.what == "slow did not initialise in 0.3 s"
        assert caught.value.fix == RAISE_START
    assert Slow.tries == 1, "the second use raises the same error at once"


def test_the_waiting_ends_close_to_the_limit(release):
    registry = TransportPluginRegistry()

    def start():
        with pytest.raises(PluginTimeout):
            registry.register_plugin(wire("a", "initialize"))

    _, seconds = took(start)

    assert 0.3 <= seconds < 5


def test_loading_and_initialising_share_one_limit(release, make_plugin):
    code = """
    import btplug, threading
    from btplug import CLIPlugin
    threading.Event().wait(0.2)

    class Plugin(CLIPlugin):
        def initialize(self, config): threading.Event().wait(0.2)
        def execute(self): return "done"
        def shutdown(self): pass
    """
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(make_plugin("slow", code))))
    registry.load_plugin("slow")

    with pytest.raises(PluginTimeout) as caught:
        registry.execute_plugin("slow")

    assert caught.value.what == "slow did not initialise in 0.3 s"


def test_a_second_start_has_the_whole_limit_again(release):
    class Slow(CLIPlugin):
        def initialize(self, config):
            threading.Event().wait(0.2)

        def execute(self):
            return "done"

        def shutdown(self):
            pass

    registry = CLIPluginRegistry()
    registry.register_plugin(Slow)
    for _ in range(3):
        assert registry.execute_plugin("slow") == "done"
        registry.shut_down()


def test_a_plugin_whose_initialize_still_hangs_is_not_shut_down(release):
    registry, cls = TransportPluginRegistry(), wire("a", "initialize")
    with pytest.raises(PluginTimeout):
        registry.register_plugin(cls)

    assert registry.shut_down() == []
    assert cls.state == "starting"
    assert list(registry) == []
    release.set()


@pytest.mark.parametrize("form", ["def", "async def"])
def test_a_transport_that_hangs_costs_its_limit_and_the_others_are_up(
    release, make_plugin, tmp_path, form
):
    wait = (
        "await __import__('asyncio').sleep(20)"
        if "async" in form
        else "btplug.release.wait(20)"
    )
    code = f"""
    import btplug
    from btplug import TransportPlugin

    class Plugin(TransportPlugin):
        schemes = ("slow",)
        {form} initialize(self, config): {wait}
        def send(self, *a, **k): pass
        def shutdown(self): pass
    """
    names = ["a", "slow", "z"]
    manifests = [
        read_manifest(
            str(make_plugin(n, code if n == "slow" else None, kind="transport"))
        )
        for n in names
    ]
    registry = TransportPluginRegistry()

    found, seconds = took(lambda: start_all(manifests, registry))

    assert {name for name, (_, error) in found.items() if error is None} == {"a", "z"}
    assert found["slow"][1].what == "slow did not initialise in 0.3 s"
    assert found["slow"][0] >= 0.3
    assert sorted(registry) == ["a", "z"]
    assert seconds < 5
    registry.shut_down()
    registry.context.close()


def test_three_hanging_transports_cost_one_limit_and_not_three(release, make_plugin):
    code = """
    import btplug
    from btplug import TransportPlugin

    class Plugin(TransportPlugin):
        def initialize(self, config): btplug.release.wait(20)
        def send(self, *a, **k): pass
        def shutdown(self): pass
    """
    manifests = [
        read_manifest(str(make_plugin(f"slow{n}", code, kind="transport")))
        for n in range(6)
    ]
    registry = TransportPluginRegistry()

    found, seconds = took(lambda: start_all(manifests, registry))

    assert all(isinstance(error, PluginTimeout) for _, error in found.values())
    assert seconds < 6 * 0.3


def test_a_hanging_transport_is_one_error_of_the_discovery(
    release, make_plugin, tmp_path
):
    code = """
    import btplug
    from btplug import TransportPlugin

    class Plugin(TransportPlugin):
        def initialize(self, config): btplug.release.wait(20)
        def send(self, *a, **k): pass
        def shutdown(self): pass
    """
    make_plugin("slow", code, kind="transport")
    make_plugin("good", kind="transport")
    registry = TransportPluginRegistry()

    errors = registry.discover_plugins(tmp_path / "plugins")

    assert [(error.plugin, error.what) for error in errors] == [
        ("slow", "slow did not initialise in 0.3 s")
    ]
    assert list(registry) == ["good"]
    registry.shut_down()


def test_a_shutdown_that_hangs_costs_its_limit(release):
    registry = TransportPluginRegistry()
    registry.register_plugin(wire("a", "shutdown"))

    with pytest.raises(PluginTimeout) as caught:
        registry.deregister_plugin("a")

    assert caught.value.what == "a did not shut down in 0.3 s"
    assert caught.value.fix == RAISE_STOP
    assert caught.value.plugin == "a"
    assert "a" not in registry


def test_an_async_shutdown_that_hangs_costs_its_limit(release):
    class Slow(Wire):
        async def shutdown(self):
            import asyncio

            await asyncio.sleep(20)

    registry = TransportPluginRegistry()
    registry.register_plugin(Slow)

    errors = registry.shut_down()

    assert [error.what for error in errors] == ["slow did not shut down in 0.3 s"]
    registry.context.close()


def test_a_shutdown_that_hangs_does_not_stop_the_others(release):
    registry = TransportPluginRegistry()
    classes = [wire("a"), wire("b", "shutdown"), wire("c")]
    for cls in classes:
        registry.register_plugin(cls)

    errors = registry.shut_down()

    assert [error.what for error in errors] == ["b did not shut down in 0.3 s"]
    assert [error.plugin for error in errors] == ["b"]
    assert [cls.state for cls in classes] == ["ended", "ending", "ended"]


def test_a_wrong_limit_for_the_start_is_an_error_of_the_configuration(
    release, monkeypatch
):
    monkeypatch.setenv("BTPLUG_START_LIMIT", "soon")
    registry = TransportPluginRegistry()

    with pytest.raises(ConfigError) as caught:
        registry.register_plugin(wire("a"))

    assert caught.value.what == (
        "BTPLUG_START_LIMIT: start_limit: found 'soon', "
        "expected a number of seconds above 0"
    )


def test_a_wrong_limit_for_the_end_is_found_before_anything_is_open(
    release, monkeypatch
):
    monkeypatch.setenv("BTPLUG_STOP_LIMIT", "soon")
    registry, cls = TransportPluginRegistry(), wire("a")

    with pytest.raises(
        ConfigError, match=r"^BTPLUG_STOP_LIMIT: stop_limit: found 'soon'"
    ):
        registry.register_plugin(cls)

    assert cls.state == ""


def test_a_limit_that_turns_wrong_leaves_nothing_open(release, monkeypatch):
    registry, cls = TransportPluginRegistry(), wire("a")
    registry.register_plugin(cls)
    monkeypatch.setenv("BTPLUG_STOP_LIMIT", "soon")

    registry.deregister_plugin("a")

    assert cls.state == "ended"


def test_a_script_with_a_hanging_plugin_ends(make_plugin, tmp_path):
    """Abandoned threads are daemons: the interpreter does not wait for them."""
    make_plugin("slow", "import time\ntime.sleep(60)\n")
    code = f"""
    from btplug import CLIPluginRegistry, BtplugError
    registry = CLIPluginRegistry()
    registry.discover_plugins({str(tmp_path / "plugins")!r})
    try:
        registry.execute_plugin("slow")
    except BtplugError as exc:
        print(exc.what)
    """
    import os

    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env={**os.environ, "BTPLUG_START_LIMIT": "0.2"},
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert done.stdout == "slow did not load in 0.2 s\n", done.stderr
    assert done.returncode == 0
