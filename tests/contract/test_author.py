"""What an author is promised: the plugin of CONTRACTS.md, and what surrounds it."""

import json

import pytest

from btplug import (
    CLIPluginRegistry,
    Context,
    TransportPluginRegistry,
    UsageError,
)
from btplug.errors import PluginStartError, Unsupported
from btplug.manifest import read_manifest

PING = '''
"""Ask a peer how it is."""

from dataclasses import dataclass

import click
from btplug import CLIPlugin, Message, Peer


@dataclass(frozen=True, slots=True)
class Config:
    timeout: float = 2.0          # seconds for one answer


class PingPlugin(CLIPlugin):
    """Time one round trip to a peer."""

    Config = Config

    def initialize(self, config: Config) -> None:
        self.config = config

    @click.argument("peer")
    @click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Give up after this long")
    def execute(self, data: object = None, *, peer: str, timeout: float) -> dict[str, object]:
        target = Peer.parse(peer)
        reply = self.context.transport_for(target).send(target, Message(), timeout=timeout)
        return {"peer": target.url, "ok": reply.ok, "timeout": float(reply.text())}

    def shutdown(self) -> None: ...
'''
ECHO = """
from btplug import Reply, TransportPlugin

class Plugin(TransportPlugin):
    schemes = ("echo",)
    def initialize(self, config): pass
    def send(self, peer, message, *, timeout=None):
        return Reply(status=204, body=str(timeout).encode())
    def shutdown(self): pass
"""


@pytest.fixture
def plugins(make_plugin, home):
    """The plugin of CONTRACTS.md and a transport for it, in the user's folder."""
    make_plugin(
        "ping",
        PING,
        where=home / "cli_plugins",
        entry="plugin:PingPlugin",
        transports="[echo]",
    )
    make_plugin("echo", ECHO, kind="transport", where=home / "transport_plugins")
    return home


@pytest.fixture
def commands(plugins):
    context = Context()
    transports = TransportPluginRegistry(context)
    assert transports.discover_plugins(plugins) == []
    registry = CLIPluginRegistry(context)
    assert registry.discover_plugins(plugins) == []
    yield registry
    registry.shut_down()
    transports.shut_down()
    context.close()


def test_the_plugin_of_the_contracts_runs_from_the_library(commands):
    assert commands.execute_plugin("ping", peer="echo://x") == {
        "peer": "echo://x",
        "ok": True,
        "timeout": 2.0,
    }
    assert commands.execute_plugin("ping", peer="echo://x", timeout=7)["timeout"] == 7.0


def test_the_plugin_of_the_contracts_takes_settings(commands, monkeypatch):
    monkeypatch.setenv("BTPLUG_PING__TIMEOUT", "3")

    assert commands.execute_plugin("ping", peer="echo://x")["timeout"] == 3.0


def test_the_plugin_of_the_contracts_needs_a_peer_and_a_transport(commands):
    with pytest.raises(UsageError, match="found no option 'peer'"):
        commands.execute_plugin("ping")
    with pytest.raises(Unsupported, match="no transport for the scheme 'http'"):
        commands.execute_plugin("ping", peer="localhost:1")


@pytest.mark.slow
def test_the_plugin_of_the_contracts_runs_from_the_command_line(btplug, plugins):
    done = btplug("run", "--json", "ping", "echo://x", "--timeout", "5")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"peer": "echo://x", "ok": True, "timeout": 5.0}
    assert json.loads(btplug("ping", "echo://x", "--json").stdout)["timeout"] == 2.0
    assert btplug("run", "ping", "echo://x", "--timeout", "0").returncode == 2
    assert "2.0" in btplug("run", "ping", "--help").stdout


CURIOUS = """
from btplug import CLIPlugin

class Plugin(CLIPlugin):
    def __init__(self):
        assert not hasattr(self, "context")

    def initialize(self, config):
        self.seen = (self.context.plugin, self.context.logger.name, self.context.state_dir)

    def execute(self, data=None):
        return self.seen

    def shutdown(self):
        self.context.logger.debug("still here")
"""


def test_the_context_is_there_from_initialize_to_shutdown(make_plugin, home):
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(make_plugin("curious", CURIOUS))))

    assert registry.execute_plugin("curious") == (
        "curious",
        "btplug.plugin.curious",
        str(home / "state" / "curious"),
    )
    registry.deregister_plugin("curious")


def test_an_instance_has_no_context_before_it_is_initialised():
    """`context: Context` is a promise of the class, not a value of it."""
    from btplug import CLIPlugin

    assert "context" in CLIPlugin.__mro__[1].__annotations__
    assert not hasattr(CLIPlugin, "context")


SUPER = """
from btplug import CLIPlugin

class Plugin(CLIPlugin):
    def initialize(self, config):
        super().initialize(config)

    def execute(self, data=None):
        return super().execute(data)

    def before_execute(self, data):
        return super().before_execute(data) + "!"

    def after_execute(self, result):
        return super().after_execute(result)

    def shutdown(self):
        super().shutdown()
"""


def test_an_author_may_call_the_methods_of_the_base(make_plugin):
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(make_plugin("polite", SUPER))))

    assert registry.execute_plugin("polite", "x") is None
    registry.deregister_plugin("polite")


def test_a_plugin_may_lend_its_own_names_to_a_child_plugin(make_plugin, tmp_path):
    """A plugin with files of its own, as the tutorial shows it."""
    code = "from btplug import CLIPlugin\nfrom .table import draw\n\nclass Plugin(CLIPlugin):\n    def initialize(self, config): pass\n    def execute(self, data=None): return draw(data)\n    def shutdown(self): pass\n"
    folder = make_plugin(
        "drawer", code, files={"table.py": "def draw(x): return [x]\n"}
    )
    registry = CLIPluginRegistry()
    registry.discover_plugins(folder.parent)

    assert registry.execute_plugin("drawer", 1) == [1]


def test_a_config_block_gives_defaults_that_the_user_may_override(
    make_plugin, home, monkeypatch
):
    code = """
    from dataclasses import dataclass
    from btplug import CLIPlugin

    @dataclass
    class Config:
        a: int = 1
        b: int = 1
        c: int = 1

    class Plugin(CLIPlugin):
        Config = Config
        def initialize(self, config): self.config = config
        def execute(self, data=None): return self.config.a, self.config.b, self.config.c
        def shutdown(self): pass
    """
    folder = make_plugin("sums", code, config="b: 2\nc: 2")
    home.mkdir()
    (home / "config.yaml").write_text("plugins:\n  sums:\n    c: 3\n")
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(folder)))

    assert registry.execute_plugin("sums") == (1, 2, 3)


def test_a_wrong_default_in_the_block_names_its_line(make_plugin):
    code = """
    from dataclasses import dataclass
    from btplug import CLIPlugin

    @dataclass
    class Config:
        width: int = 1

    class Plugin(CLIPlugin):
        Config = Config
        def initialize(self, config): pass
        def execute(self, data=None): pass
        def shutdown(self): pass
    """
    folder = make_plugin("sums", code, config="width: wide")
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(folder)))

    with pytest.raises(Exception, match="width") as caught:
        registry.execute_plugin("sums")

    assert caught.value.what == (
        f"{folder}/config.yaml:10: width: found 'wide', expected int"
    )
    assert caught.value.exit_code == 4


def test_a_transport_of_an_author_may_need_settings_too(make_plugin, monkeypatch):
    code = """
    import msgspec
    from typing import Annotated
    from btplug import Reply, TransportPlugin

    class Config(msgspec.Struct):
        port: Annotated[int, msgspec.Meta(ge=1, le=65535)]

    class Plugin(TransportPlugin):
        Config = Config
        schemes = ("wire",)
        async def initialize(self, config): self.port = config.port
        async def asend(self, peer, message, *, timeout=None):
            return Reply(status=200, body=str(self.port).encode())
        async def shutdown(self): pass
    """
    folder = make_plugin("wire", code, kind="transport")
    registry = TransportPluginRegistry()
    with pytest.raises(Exception, match=r"is not complete \(no 'port'\)"):
        registry.register_plugin(read_manifest(str(folder)))

    monkeypatch.setenv("BTPLUG_WIRE__PORT", "70000")
    with pytest.raises(Exception, match="found '70000', expected int <= 65535"):
        TransportPluginRegistry().register_plugin(read_manifest(str(folder)))

    monkeypatch.setenv("BTPLUG_WIRE__PORT", "8091")
    registry = TransportPluginRegistry()
    registry.register_plugin(read_manifest(str(folder)))
    assert registry.execute_plugin("wire", peer="wire://x").text() == "8091"
    registry.shut_down()
    registry.context.close()


def test_an_error_in_initialize_names_the_authors_line(make_plugin):
    code = "from btplug import CLIPlugin\n\nclass Plugin(CLIPlugin):\n    def initialize(self, config):\n        open('/nonexistent/x')\n    def execute(self): pass\n    def shutdown(self): pass\n"
    folder = make_plugin("opener", code)
    registry = CLIPluginRegistry()
    registry.register_plugin(read_manifest(str(folder)))

    with pytest.raises(PluginStartError) as caught:
        registry.execute_plugin("opener")

    assert str(caught.value) == (
        "opener failed to initialise: FileNotFoundError: "
        "[Errno 2] No such file or directory: '/nonexistent/x'\n"
        f"  where: {folder}/plugin.py:5\n"
        "  fix:   see the traceback with BTPLUG_DEBUG=1"
    )
