"""Registries: a mapping from names to live plugins, one lazy and one eager."""

import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

import pytest

from btplug import (
    BtplugError,
    CLIPlugin,
    CLIPluginRegistry,
    Context,
    PluginError,
    PluginExit,
    PluginRegistry,
    Reply,
    TransportPlugin,
    TransportPluginRegistry,
    UnknownPlugin,
)
from btplug.cli.transports import start_all
from btplug.errors import (
    ConfigError,
    DuplicatePlugin,
    ManifestError,
    PluginFailed,
    PluginLoadError,
    PluginStartError,
    UsageError,
)
from btplug.manifest import read_manifest


class Recorder(CLIPlugin):
    """Notes what happens to it."""

    def __init__(self):
        self.seen = []

    def initialize(self, config):
        self.seen.append("initialize")

    def execute(self, data=None):
        self.seen.append("execute")
        return data

    def shutdown(self):
        self.seen.append("shutdown")


class Wire(TransportPlugin):
    """A transport that notes what happens to it."""

    schemes = ("wire",)
    log = None

    def initialize(self, config):
        self.seen = ["initialize"]
        if self.log is not None:
            self.log.append(("initialize", type(self).__name__))

    def send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=message.body)

    def shutdown(self):
        self.seen.append("shutdown")
        if self.log is not None:
            self.log.append(("shutdown", type(self).__name__))


def named(base, name, **body):
    return type(base.__name__, (base,), {"name": name, **body})


def cli(*names):
    registry = CLIPluginRegistry()
    for name in names:
        registry.register_plugin(named(Recorder, name))
    return registry


# -- a mapping


def test_a_registry_reads_as_a_mapping():
    registry = cli("a", "b")

    assert isinstance(registry, Mapping)
    assert list(registry) == ["a", "b"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry
    assert registry["a"] is registry["a"]
    assert registry.get("c") is None
    assert set(registry.keys()) == {"a", "b"}
    assert [plugin.seen for plugin in registry.values()] == [["initialize"]] * 2


def test_looking_at_names_loads_nothing(landmine):
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(landmine)))

    assert "mine" in registry
    assert list(registry) == ["mine"]
    assert bool(registry)
    assert registry.manifest("mine").summary == "Do mine"


def test_looking_at_the_plugin_runs_the_landmine(landmine):
    """The trap is armed: without this the test above could pass for nothing."""
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(landmine)))

    with pytest.raises(PluginLoadError, match="imported too early"):
        registry["mine"]


def test_an_empty_registry_is_one():
    assert len(CLIPluginRegistry()) == 0
    assert not CLIPluginRegistry()


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r["walet"],
        lambda r: r.get_plugin("walet"),
        lambda r: r.execute_plugin("walet"),
        lambda r: r.deregister_plugin("walet"),
        lambda r: r.load_plugin("walet"),
        lambda r: r.configure("walet"),
        lambda r: r.manifest("walet"),
    ],
)
@pytest.mark.parametrize("registry", [CLIPluginRegistry, TransportPluginRegistry])
def test_an_unknown_name_is_refused_with_the_nearest(ask, registry):
    registry = registry()
    base = Recorder if isinstance(registry, CLIPluginRegistry) else Wire
    registry.register_plugin(named(base, "wallet"))

    with pytest.raises(UnknownPlugin) as caught:
        ask(registry)

    assert str(caught.value) == "no plugin named 'walet'\n  fix:   did you mean wallet?"


def test_an_unknown_name_near_to_none_says_where_to_look():
    with pytest.raises(UnknownPlugin) as caught:
        CLIPluginRegistry()["x"]

    assert caught.value.fix == "see what there is: btplug list"


def test_the_two_registries_are_policies_of_one_generic_registry():
    assert issubclass(CLIPluginRegistry, PluginRegistry)
    assert issubclass(TransportPluginRegistry, PluginRegistry)
    assert PluginRegistry[CLIPlugin]
    assert (CLIPluginRegistry.kind, TransportPluginRegistry.kind) == (
        "cli",
        "transport",
    )


# -- registering


def test_a_class_an_instance_and_a_manifest_are_registered(make_plugin):
    registry = CLIPluginRegistry()
    instance = named(Recorder, "b")()

    names = [
        registry.register_plugin(named(Recorder, "a")),
        registry.register_plugin(instance),
        registry.register_plugin(read_manifest(str(make_plugin("c")))),
    ]

    assert names == ["a", "b", "c"]
    assert registry["b"] is instance
    assert registry.execute_plugin("c", "x") == "x"


def test_an_instance_is_initialised_itself_even_if_it_is_false():
    class Empty(Recorder):
        def __len__(self):
            return 0

    registry, instance = CLIPluginRegistry(), Empty()
    registry.register_plugin(instance)

    assert registry["empty"] is instance
    assert instance.seen == ["initialize"]


def test_a_command_is_not_initialised_when_registered():
    registry, plugin = CLIPluginRegistry(), Recorder()
    registry.register_plugin(plugin)

    assert plugin.seen == []


def test_a_transport_is_initialised_when_registered_and_lent():
    registry = TransportPluginRegistry()

    name = registry.register_plugin(Wire)

    assert name == "wire"
    assert registry["wire"].seen == ["initialize"]
    assert list(registry.context.transports) == ["wire"]
    assert registry.context.transport_for("wire://x").schemes == ("wire",)


def test_a_name_is_taken_once(make_plugin, tmp_path):
    registry = CLIPluginRegistry()
    one = read_manifest(str(make_plugin("greet", where=tmp_path / "one")))
    two = read_manifest(str(make_plugin("greet", where=tmp_path / "two")))
    registry.register_plugin(one)

    with pytest.raises(DuplicatePlugin) as caught:
        registry.register_plugin(two)

    assert str(caught.value) == (
        "two plugins are named 'greet'\n"
        f"  where: {tmp_path}/one/greet and {tmp_path}/two/greet\n"
        "  fix:   rename one of them in its config.yaml"
    )
    assert caught.value.plugin == "greet"
    assert registry.manifest("greet") == one


def test_a_transport_whose_name_is_taken_is_not_initialised():
    registry, log = TransportPluginRegistry(), []
    registry.register_plugin(named(Wire, "wire"))
    first = registry["wire"]

    with pytest.raises(DuplicatePlugin):
        registry.register_plugin(named(Wire, "wire", log=log))

    assert log == []
    assert registry["wire"] is first
    assert list(registry.context.transports) == ["wire"]


@pytest.mark.parametrize(
    ("registry", "plugin", "what"),
    [
        (
            CLIPluginRegistry,
            Wire,
            "found Wire that is no CLIPlugin, expected a subclass of it",
        ),
        (
            TransportPluginRegistry,
            Recorder,
            "found Recorder that is no TransportPlugin, expected a subclass of it",
        ),
        (
            CLIPluginRegistry,
            CLIPlugin,
            (
                "found CLIPlugin without execute, initialize, shutdown, "
                "expected all of the methods"
            ),
        ),
    ],
)
def test_what_is_no_plugin_of_the_kind_is_refused(registry, plugin, what):
    registry = registry()

    with pytest.raises(PluginLoadError) as caught:
        registry.register_plugin(plugin)

    assert caught.value.what == what
    assert len(registry) == 0


def test_a_manifest_of_the_other_kind_is_refused(make_plugin):
    manifest = read_manifest(str(make_plugin("wire", kind="transport")))

    with pytest.raises(PluginLoadError) as caught:
        CLIPluginRegistry().register_plugin(manifest)

    assert str(caught.value) == (
        "found 'wire' of kind transport, expected kind cli\n"
        f"  where: {manifest.path}\n"
        "  fix:   register it in the other registry"
    )


BROKEN = {
    "import": "raise ValueError('at import')",
    "initialize": "class Plugin(Base):\n    def initialize(self, config): raise ValueError('late')",
    "constructor": "class Plugin(Base):\n    def __init__(self): raise ValueError('made')",
    "exit": "class Plugin(Base):\n    def initialize(self, config): raise SystemExit(3)",
    "own exit": "class Plugin(Base):\n    def initialize(self, config): raise PluginExit(3)",
    "interrupt": "class Plugin(Base):\n    def initialize(self, config): raise KeyboardInterrupt",
    "interrupt at import": "raise KeyboardInterrupt",
    "usage": "class Plugin(Base):\n    def initialize(self, config): raise UsageError('mine')",
    "unsupported": "class Plugin(Base):\n    def initialize(self, config): self.receive(None)",
    "config": "class Plugin(Base):\n    Config = 3",
    "no text": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\n"
        "class Plugin(Base):\n    def initialize(self, config): raise Odd"
    ),
}
HEAD = """
from btplug import *
class Base(TransportPlugin):
    def initialize(self, config): pass
    def send(self, *a, **k): pass
    def shutdown(self): pass
"""


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_a_transport_that_does_not_start_is_not_registered_at_all(make_plugin, code):
    registry = TransportPluginRegistry()
    manifest = read_manifest(str(make_plugin("wire", HEAD + code, kind="transport")))

    with pytest.raises((BtplugError, PluginExit)):
        registry.register_plugin(manifest)

    assert list(registry) == []
    assert list(registry.context.transports) == []
    assert registry.shut_down() == []


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_a_transport_that_does_not_start_is_one_error_of_the_discovery(
    make_plugin, tmp_path, code
):
    """Never raises for what lies in a plugin's folder."""
    make_plugin("bad", HEAD + code, kind="transport")
    make_plugin("good", kind="transport")
    registry = TransportPluginRegistry()

    errors = registry.discover_plugins(tmp_path / "plugins")

    assert [error.plugin for error in errors] == ["bad"]
    assert all(isinstance(error, PluginError) for error in errors)
    assert list(registry) == ["good"]
    registry.shut_down()


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_a_transport_that_does_not_start_leaves_those_beside_it_up(make_plugin, code):
    """Each in a thread of its own: what one raises must not get lost there."""
    bad = read_manifest(str(make_plugin("bad", HEAD + code, kind="transport")))
    good = read_manifest(str(make_plugin("good", kind="transport")))
    other = read_manifest(str(make_plugin("other", kind="transport")))
    registry = TransportPluginRegistry()

    took = start_all([good, bad, other], registry)
    took |= start_all([bad], registry)

    assert {name: error is None for name, (_, error) in took.items()} == {
        "good": True,
        "bad": False,
        "other": True,
    }
    assert all(seconds >= 0 for seconds, _ in took.values())
    assert sorted(registry) == ["good", "other"]
    registry.shut_down()


def test_a_transport_that_was_mended_may_be_registered_again(make_plugin, tmp_path):
    folder = make_plugin("wire", "raise ValueError('first')", kind="transport")
    registry = TransportPluginRegistry()
    with pytest.raises(PluginLoadError, match="first"):
        registry.register_plugin(read_manifest(str(folder)))

    body = "class Plugin(Base):\n    def initialize(self, config): raise ValueError('second')"
    (folder / "plugin.py").write_text(HEAD + body)
    with pytest.raises(PluginStartError, match="second"):
        registry.register_plugin(read_manifest(str(folder)))

    (folder / "plugin.py").write_text(HEAD + "class Plugin(Base): pass\n")
    assert registry.register_plugin(read_manifest(str(folder))) == "wire"
    registry.shut_down()


def test_starting_no_transports_takes_nothing():
    assert start_all([], TransportPluginRegistry()) == {}


def test_transports_start_side_by_side(make_plugin):
    """Two that wait for each other: one after the other they would never start."""
    code = """
    import threading
    import btplug
    from btplug import Reply, TransportPlugin

    btplug.barrier = getattr(btplug, "barrier", None) or threading.Barrier(2)

    class Plugin(TransportPlugin):
        schemes = ()
        def initialize(self, config):
            btplug.barrier.wait(5)
        def send(self, *a, **k): pass
        def shutdown(self): pass
    """
    import btplug

    registry = TransportPluginRegistry()
    manifests = [
        read_manifest(str(make_plugin(name, code, kind="transport")))
        for name in ("left", "right")
    ]
    btplug.barrier = threading.Barrier(2)
    try:
        took = start_all(manifests, registry)
    finally:
        del btplug.barrier

    assert [error for _, error in took.values()] == [None, None]
    registry.shut_down()


# -- discovering


def test_discovering_registers_the_good_ones_and_returns_the_errors(
    make_plugin, tmp_path
):
    make_plugin("good")
    make_plugin("table-display")
    make_plugin("no-version", version=None)
    (tmp_path / "plugins" / "broken").mkdir()
    (tmp_path / "plugins" / "broken" / "config.yaml").write_text("a: [")
    make_plugin("wire", kind="transport")
    registry = CLIPluginRegistry()

    errors = registry.discover_plugins(str(tmp_path / "plugins"))

    assert sorted(registry) == ["good", "table-display"]
    assert {error.plugin for error in errors} == {"broken", "no-version"}
    assert all(isinstance(error, ManifestError) for error in errors)


def test_discovering_runs_no_code_of_commands(landmine):
    registry = CLIPluginRegistry()

    assert registry.discover_plugins(landmine.parent) == []
    assert list(registry) == ["mine"]


def test_discovering_initialises_transports(make_plugin, tmp_path):
    make_plugin("wire", kind="transport")
    registry = TransportPluginRegistry()

    assert registry.discover_plugins(tmp_path / "plugins") == []

    assert list(registry.context.transports) == ["wire"]
    registry.shut_down()


def test_discovering_twice_keeps_what_is_there(make_plugin, tmp_path):
    make_plugin("greet")
    registry = CLIPluginRegistry()
    registry.discover_plugins(tmp_path / "plugins")
    plugin = registry["greet"]

    errors = registry.discover_plugins(tmp_path / "plugins")

    assert [type(error) for error in errors] == [DuplicatePlugin]
    assert registry["greet"] is plugin


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PluginError) as caught:
        CLIPluginRegistry().discover_plugins(str(tmp_path / "gone"))

    assert str(caught.value) == (
        f"found no folder '{tmp_path}/gone', expected one that holds plugin folders\n"
        f"  where: {tmp_path}/gone\n"
        "  fix:   give the folder above the plugin's own"
    )


# -- deregistering and shutting down


def test_deregistering_shuts_a_live_plugin_down_and_forgets_it():
    registry = cli("a")
    plugin = registry["a"]

    registry.deregister_plugin("a")

    assert plugin.seen == ["initialize", "shutdown"]
    assert "a" not in registry
    assert registry.shut_down() == []


def test_deregistering_what_was_never_used_starts_nothing(landmine):
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(landmine)))

    registry.deregister_plugin("mine")

    assert list(registry) == []


def test_a_name_is_free_again_after_deregistering():
    registry = cli("a")
    first = registry["a"]
    registry.deregister_plugin("a")

    registry.register_plugin(named(Recorder, "a"))

    assert registry["a"] is not first
    assert first.seen == ["initialize", "shutdown"]


def test_a_folder_plugin_is_read_again_after_deregistering(make_plugin):
    folder = make_plugin("greet")
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(folder)))
    assert registry.execute_plugin("greet", "x") == "x"
    registry.deregister_plugin("greet")

    text = (folder / "plugin.py").read_text()
    (folder / "plugin.py").write_text(
        text.replace("return data", "return 'new ' + data")
    )
    registry.register_plugin(read_manifest(str(folder)))

    assert registry.execute_plugin("greet", "x") == "new x"


def test_deregistering_a_transport_takes_it_back_from_the_plugins():
    registry = TransportPluginRegistry()
    registry.register_plugin(Wire)
    plugin = registry["wire"]

    registry.deregister_plugin("wire")

    assert list(registry.context.transports) == []
    assert plugin.seen == ["initialize", "shutdown"]


def test_a_registry_takes_back_only_what_it_lent():
    context = Context()
    one, two = TransportPluginRegistry(context), TransportPluginRegistry(context)
    one.register_plugin(Wire)

    with pytest.raises(UnknownPlugin):
        two.deregister_plugin("wire")

    assert list(context.transports) == ["wire"]
    one.shut_down()


def test_a_failing_shutdown_is_reported_and_the_plugin_forgotten_anyway():
    class Clingy(Recorder):
        def shutdown(self):
            raise ValueError("not me")

    registry = CLIPluginRegistry()
    registry.register_plugin(Clingy)
    registry.execute_plugin("clingy")

    with pytest.raises(PluginFailed) as caught:
        registry.deregister_plugin("clingy")

    assert caught.value.what == "clingy failed to shut down: ValueError: not me"
    assert caught.value.plugin == "clingy"
    assert isinstance(caught.value.__cause__, ValueError)
    assert "clingy" not in registry


def test_live_plugins_are_shut_down_in_reverse_order_of_their_start():
    registry, log = TransportPluginRegistry(), []
    for name in ("c", "a", "b"):
        registry.register_plugin(type(name, (Wire,), {"name": name, "log": log}))
    log.clear()

    assert registry.shut_down() == []

    assert log == [("shutdown", "b"), ("shutdown", "a"), ("shutdown", "c")]


def test_commands_are_shut_down_in_reverse_order_of_their_first_use():
    log = []

    class Noting(Recorder):
        def shutdown(self):
            log.append(self.context.plugin)

    registry = CLIPluginRegistry()
    for name in ("a", "b", "c"):
        registry.register_plugin(named(Noting, name))
    for name in ("b", "a", "b"):
        registry.execute_plugin(name)

    registry.shut_down()

    assert log == ["a", "b"]


def test_a_failing_shutdown_does_not_stop_the_others():
    registry, log = TransportPluginRegistry(), []

    def fail(self):
        raise ValueError("stuck")

    for name in ("a", "b", "c"):
        body = {"name": name, "log": log} | ({"shutdown": fail} if name == "b" else {})
        registry.register_plugin(type(name, (Wire,), body))
    log.clear()

    errors = registry.shut_down()

    assert [error.what for error in errors] == [
        "b failed to shut down: ValueError: stuck"
    ]
    assert [error.plugin for error in errors] == ["b"]
    assert log == [("shutdown", "c"), ("shutdown", "a")]


@pytest.mark.parametrize(
    "raised", ["SystemExit(3)", "KeyboardInterrupt()", "PluginExit(3)"]
)
def test_a_shutdown_that_exits_does_not_stop_the_others(raised):
    registry, log = TransportPluginRegistry(), []

    def leave(self):
        raise eval(raised)

    for name in ("a", "b", "c"):
        body = {"name": name, "log": log} | ({"shutdown": leave} if name == "b" else {})
        registry.register_plugin(type(name, (Wire,), body))
    log.clear()

    errors = registry.shut_down()

    assert len(errors) == 1
    assert log == [("shutdown", "c"), ("shutdown", "a")]


def test_shutdown_runs_once():
    registry = cli("a")
    plugin = registry["a"]

    registry.shut_down()
    registry.shut_down()
    registry.deregister_plugin("a")

    assert plugin.seen == ["initialize", "shutdown"]


def test_a_transport_that_was_shut_down_is_lent_no_more():
    registry = TransportPluginRegistry()
    registry.register_plugin(Wire)

    registry.shut_down()

    assert list(registry.context.transports) == []


def test_a_plugin_may_be_used_again_after_the_shutdown():
    registry = cli("a")
    registry.execute_plugin("a")
    registry.shut_down()

    assert registry.execute_plugin("a", "x") == "x"


# -- errors that stay


def test_a_broken_plugin_raises_the_same_error_every_time_and_starts_once():
    class Broken(Recorder):
        tries = 0

        def initialize(self, config):
            type(self).tries += 1
            raise ValueError("no")

    registry = CLIPluginRegistry()
    registry.register_plugin(Broken)
    errors = []
    for _ in range(3):
        with pytest.raises(PluginStartError) as caught:
            registry.execute_plugin("broken")
        errors.append(caught.value)

    assert Broken.tries == 1
    assert errors[0] is errors[1] is errors[2]
    assert errors[0].what == "broken failed to initialise: ValueError: no"
    assert errors[0].plugin == "broken"


def test_a_plugin_that_ends_the_run_while_it_starts_does_so_every_time():
    class Leaving(Recorder):
        tries = 0

        def initialize(self, config):
            type(self).tries += 1
            raise PluginExit(7, "not today")

    registry = CLIPluginRegistry()
    registry.register_plugin(Leaving)
    for _ in range(2):
        with pytest.raises(PluginExit) as caught:
            registry.execute_plugin("leaving")
        assert caught.value.code == 7

    assert Leaving.tries == 1


def test_a_plugin_that_failed_to_start_is_not_shut_down():
    class Broken(Recorder):
        ended = False

        def initialize(self, config):
            raise ValueError("no")

        def shutdown(self):
            type(self).ended = True

    registry = CLIPluginRegistry()
    registry.register_plugin(Broken)
    with pytest.raises(PluginStartError):
        registry["broken"]
    assert registry.shut_down() == []
    registry.deregister_plugin("broken")

    assert not Broken.ended


# -- configuration and loading without starting


def test_a_plugin_is_loaded_without_being_initialised(make_plugin):
    code = "from btplug import CLIPlugin\nclass Plugin(CLIPlugin):\n    def initialize(self, c): raise ValueError\n    def execute(self): pass\n    def shutdown(self): pass\n"
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(make_plugin("greet", code))))

    assert registry.load_plugin("greet").__name__ == "Plugin"
    assert dict(registry.configure("greet")) == {}


def test_a_wrong_configuration_is_an_error_before_initialize(make_plugin, monkeypatch):
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(make_plugin("greet"))))
    monkeypatch.setenv("BTPLUG_GREET__LEVEL", "3")

    for call in (registry.configure, registry.get_plugin, registry.execute_plugin):
        with pytest.raises(ConfigError) as caught:
            call("greet")
        assert caught.value.what == (
            "BTPLUG_GREET__LEVEL: level: found an unknown key, expected no settings"
        )
        assert caught.value.plugin == "greet"


# -- threads


def at_once(count, work):
    gate, raised = threading.Barrier(count), []

    def run(n):
        gate.wait(10)
        try:
            work(n)
        except Exception as exc:
            raised.append(exc)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


def test_twenty_threads_initialise_once_and_before_any_execute():
    class Counting(Recorder):
        started = 0
        ready = False
        early = False

        def initialize(self, config):
            type(self).started += 1
            threading.Event().wait(0.05)  # give the others time to come too early
            type(self).ready = True

        def execute(self, data=None):
            if not self.ready:
                type(self).early = True
            return data

    registry, results = CLIPluginRegistry(), []
    registry.register_plugin(Counting)

    raised = at_once(
        20, lambda n: results.append(registry.execute_plugin("counting", n))
    )

    assert raised == []
    assert sorted(results) == list(range(20))
    assert Counting.started == 1
    assert not Counting.early


def test_twenty_threads_load_the_code_once(make_plugin):
    code = "import btplug\nbtplug.loads.append(1)\n"
    rest = "from btplug import CLIPlugin\nclass Plugin(CLIPlugin):\n    def initialize(self, c): pass\n    def execute(self): pass\n    def shutdown(self): pass\n"
    import btplug

    btplug.loads = []
    try:
        registry = CLIPluginRegistry()
        registry.register_plugin(read_manifest(str(make_plugin("greet", code + rest))))
        raised = at_once(20, lambda n: registry.load_plugin("greet"))
        assert raised == []
        assert btplug.loads == [1]
    finally:
        del btplug.loads


def test_execute_runs_in_several_threads_at_once():
    class Meeting(Recorder):
        gate = threading.Barrier(4)

        def execute(self, data=None):
            return self.gate.wait(10)

    registry, found = CLIPluginRegistry(), []
    registry.register_plugin(Meeting)

    raised = at_once(4, lambda n: found.append(registry.execute_plugin("meeting")))

    assert raised == []
    assert sorted(found) == [0, 1, 2, 3]


def test_of_twenty_threads_that_register_one_name_one_wins():
    registry, won = CLIPluginRegistry(), []

    raised = at_once(
        20, lambda n: won.append(registry.register_plugin(named(Recorder, "one")))
    )

    assert won == ["one"]
    assert len(raised) == 19
    assert {type(exc) for exc in raised} == {DuplicatePlugin}


def test_of_twenty_threads_that_deregister_one_name_one_shuts_it_down():
    class Ending(Recorder):
        ended = 0

        def shutdown(self):
            type(self).ended += 1

    registry = CLIPluginRegistry()
    registry.register_plugin(Ending)
    registry.get_plugin("ending")

    raised = at_once(20, lambda n: registry.deregister_plugin("ending"))

    assert Ending.ended == 1
    assert {type(exc) for exc in raised} == {UnknownPlugin}


@pytest.mark.slow
def test_plugins_that_come_and_go_while_they_are_used_break_nothing():
    class Counting(Recorder):
        live = 0
        lock = threading.Lock()

        def initialize(self, config):
            with self.lock:
                type(self).live += 1

        def shutdown(self):
            with self.lock:
                type(self).live -= 1

    registry = CLIPluginRegistry()
    raised, interval = [], sys.getswitchinterval()

    def work(n):
        while time.monotonic() < end:
            if n % 2:
                with suppress(DuplicatePlugin):
                    registry.register_plugin(named(Counting, "one"))
                with suppress(UnknownPlugin):
                    registry.deregister_plugin("one")
            else:
                try:
                    with suppress(UnknownPlugin):
                        assert registry.execute_plugin("one", n) == n
                    with suppress(UnknownPlugin):
                        assert isinstance(registry["one"], Counting)
                except BaseException as exc:
                    raised.append(exc)

    sys.setswitchinterval(1e-6)  # change threads between any two steps
    end = time.monotonic() + 1
    try:
        raised += at_once(6, work)
    finally:
        sys.setswitchinterval(interval)
    registry.shut_down()

    assert raised == []
    assert Counting.live == 0, "a plugin was started and never shut down"


def test_a_plugin_that_was_removed_is_not_brought_back_to_life():
    """As by a thread that had found it just before; it would never be shut down."""
    starts = []

    class Started(Recorder):
        def initialize(self, config):
            starts.append(self)

    registry = CLIPluginRegistry()
    registry.register_plugin(Started)
    found = registry._lives["started"]
    registry.deregister_plugin("started")

    found.start()

    assert starts == []


def test_a_plugin_that_is_being_removed_is_unknown_already():
    """Between two steps of another thread's deregister_plugin."""
    registry = cli("wallet")
    registry._lives["wallet"].removed = True

    for ask in (registry.get_plugin, registry.execute_plugin, registry.__getitem__):
        with pytest.raises(UnknownPlugin, match="no plugin named 'wallet'"):
            ask("wallet")


def test_a_transport_that_is_removed_while_it_starts_is_neither_lent_nor_left_open():
    begun, go, raised = threading.Event(), threading.Event(), []

    class Slow(Wire):
        seen = None

        def initialize(self, config):
            super().initialize(config)
            type(self).seen = self.seen
            begun.set()
            go.wait(10)

    registry = TransportPluginRegistry()

    def register():
        try:
            registry.register_plugin(Slow)
        except BtplugError as exc:
            raised.append(type(exc))

    threads = [threading.Thread(target=register)]
    threads[0].start()
    assert begun.wait(10)
    threads.append(threading.Thread(target=registry.deregister_plugin, args=("slow",)))
    threads[1].start()
    while "slow" in registry:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join(10)

    assert raised == [UnknownPlugin]
    assert Slow.seen == ["initialize", "shutdown"]
    assert list(registry.context.transports) == []


def test_initialize_and_shutdown_may_run_off_the_main_thread():
    class Where(Recorder):
        def initialize(self, config):
            self.seen.append(threading.current_thread().name)

        def shutdown(self):
            self.seen.append(threading.current_thread().name)

    registry = CLIPluginRegistry()
    registry.register_plugin(Where)
    plugin = registry["where"]
    registry.shut_down()

    assert plugin.seen == ["btplug: where", "btplug: where"]


@pytest.mark.parametrize("what", [3, "greet", None])
def test_what_is_no_plugin_at_all_is_wrong_usage(what):
    registry = CLIPluginRegistry()

    with pytest.raises(UsageError) as caught:
        registry.register_plugin(what)

    assert caught.value.what == (
        f"found {type(what).__name__}, expected a class, an instance or a Manifest"
    )
    assert caught.value.fix == "to register what lies in a folder use discover_plugins"


def test_a_key_that_is_no_text_is_no_plugin():
    registry = CLIPluginRegistry()

    assert registry.get(3) is None
    assert None not in registry


def test_a_transport_that_does_not_start_leaves_no_loop_behind():
    class Broken(TransportPlugin):
        name, schemes = "broken", ("broken",)

        async def initialize(self, config):
            raise OSError("no way")

        def shutdown(self):
            pass

        def send(self, peer, message, *, timeout=None):
            raise NotImplementedError

    def loops():
        return [one for one in threading.enumerate() if one.name == "btplug home loop"]

    before, registry = loops(), TransportPluginRegistry()
    with pytest.raises(PluginStartError):
        registry.register_plugin(Broken)

    assert loops() == before
