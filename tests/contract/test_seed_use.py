"""The seed's own use, pasted into a script: no command line, no context by hand."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(tmp_path):
    """Run a script in a process of its own, outside the repository."""

    def run(text, **env):
        path = tmp_path / "use.py"
        path.write_text(dedent(text))
        return subprocess.run(
            [sys.executable, "-W", "error", str(path)],
            cwd=tmp_path,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_commands_are_used_as_in_the_seed(script, make_plugin, tmp_path):
    make_plugin("upper", UPPER, where=tmp_path / "cli_plugins")
    done = script(
        """
        from btplug import CLIPluginRegistry

        registry = CLIPluginRegistry()
        registry.discover_plugins("cli_plugins")
        print(registry.execute_plugin("upper", "rows"))
        registry.deregister_plugin("upper")
        print(list(registry))
        """
    )

    assert (done.stdout, done.stderr, done.returncode) == (
        "initialize\nROWS\nshutdown\n[]\n",
        "",
        0,
    )


UPPER = """
from btplug import CLIPlugin

class Plugin(CLIPlugin):
    def initialize(self, config):
        print("initialize")

    def execute(self, data=None):
        return data.upper()

    def shutdown(self):
        print("shutdown")
"""

ECHO = """
from btplug import Reply, TransportPlugin

class Plugin(TransportPlugin):
    schemes = ("echo",)

    def initialize(self, config):
        print("initialize")

    {form} send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=message.body + peer.url.encode())

    def shutdown(self):
        print("shutdown")
"""


@pytest.mark.parametrize("form", ["def", "async def a"])
def test_transports_are_used_as_in_the_seed(script, make_plugin, tmp_path, form):
    code = ECHO.replace("{form} send", f"{form} send".replace("a send", "asend"))
    make_plugin("echo", code, kind="transport", where=tmp_path / "transport_plugins")
    done = script(
        """
        from btplug import TransportPluginRegistry

        registry = TransportPluginRegistry()
        registry.discover_plugins("transport_plugins")
        print("discovered")
        print(registry.execute_plugin("echo", "hi ", peer="echo://x").text())
        registry.deregister_plugin("echo")
        print(list(registry))
        """
    )

    assert (done.stdout, done.stderr, done.returncode) == (
        "initialize\ndiscovered\nhi echo://x\nshutdown\n[]\n",
        "",
        0,
    )


def test_a_command_uses_the_transport_of_a_shared_context(
    script, make_plugin, tmp_path
):
    send = """
    from btplug import CLIPlugin, Message, Peer

    class Plugin(CLIPlugin):
        def initialize(self, config): pass
        def execute(self, data=None, *, url):
            peer = Peer.parse(url)
            return self.context.transport_for(peer).send(peer, Message.of(data)).text()
        def shutdown(self): pass
    """
    make_plugin("send", send, where=tmp_path / "both" / "cli_plugins")
    code = ECHO.replace("{form}", "def")
    make_plugin(
        "echo", code, kind="transport", where=tmp_path / "both" / "transport_plugins"
    )
    done = script(
        """
        from btplug import CLIPluginRegistry, Context, TransportPluginRegistry

        context = Context()
        transports, commands = TransportPluginRegistry(context), CLIPluginRegistry(context)
        transports.discover_plugins("both")
        commands.discover_plugins("both")
        print(commands.execute_plugin("send", "hi ", url="echo://y"))
        commands.deregister_plugin("send")
        transports.deregister_plugin("echo")
        """
    )

    assert done.stdout == "initialize\nhi echo://y\nshutdown\n", done.stderr
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_script_that_deregisters_nothing_ends_all_the_same(
    script, make_plugin, tmp_path
):
    """Also with an async transport, whose loop still runs in its thread."""
    code = ECHO.replace("{form} send", "async def asend")
    make_plugin("echo", code, kind="transport", where=tmp_path / "transport_plugins")
    make_plugin("upper", UPPER, where=tmp_path / "cli_plugins")
    done = script(
        """
        from btplug import CLIPluginRegistry, TransportPluginRegistry

        registry = TransportPluginRegistry()
        registry.discover_plugins("transport_plugins")
        registry.execute_plugin("echo", "hi ", peer="echo://x")
        commands = CLIPluginRegistry()
        commands.discover_plugins("cli_plugins")
        commands.execute_plugin("upper", "x")
        """
    )

    assert (done.stderr, done.returncode) == ("", 0)


def test_a_script_asks_nobody_and_keeps_nothing(script, make_plugin, tmp_path, home):
    """The caller's code already runs here: no consent, no cache, no settings."""
    make_plugin("upper", UPPER, where=tmp_path / "cli_plugins")
    done = script(
        """
        from btplug import CLIPluginRegistry

        registry = CLIPluginRegistry()
        registry.discover_plugins("cli_plugins")
        registry.execute_plugin("upper", "x")
        registry.deregister_plugin("upper")
        """
    )

    assert done.returncode == 0, done.stderr
    assert not home.exists()


def test_a_script_sets_up_no_logging(script, make_plugin, tmp_path):
    code = UPPER.replace('print("initialize")', "self.context.logger.info('x')")
    make_plugin("upper", code, where=tmp_path / "cli_plugins")
    done = script(
        """
        import logging
        from btplug import CLIPluginRegistry

        registry = CLIPluginRegistry()
        registry.discover_plugins("cli_plugins")
        registry.execute_plugin("upper", "x")
        registry.deregister_plugin("upper")
        print(logging.getLogger().handlers, logging.getLogger("btplug").level)
        """
    )

    assert done.stdout == "shutdown\n[] 0\n", done.stderr


@pytest.mark.slow
def test_the_shipped_table_is_drawn_as_in_the_seed(script):
    done = script(
        f"""
        from btplug import CLIPluginRegistry

        registry = CLIPluginRegistry()
        errors = registry.discover_plugins({str(ROOT / "cli_plugins")!r})
        assert not errors, errors
        rows = [{{"uid": 0, "stake": 12.5}}, {{"uid": 1, "stake": 7}}]
        result = registry.execute_plugin("table-display", rows)
        print(result if isinstance(result, str) else "".join(map(str, result)))
        registry.deregister_plugin("table-display")
        """
    )

    assert done.returncode == 0, done.stderr
    assert "12.5" in done.stdout
    assert "uid" in done.stdout.lower()


@pytest.mark.slow
def test_the_shipped_transports_start_and_stop_as_in_the_seed(script):
    done = script(
        f"""
        from btplug import TransportPluginRegistry

        registry = TransportPluginRegistry()
        errors = registry.discover_plugins({str(ROOT / "transport_plugins")!r})
        assert not errors, errors
        print(list(registry), sorted(registry.context.transports))
        registry.deregister_plugin("http")
        print(list(registry))
        """
    )

    assert done.stdout == "['http'] ['http']\n[]\n", done.stderr
    assert done.returncode == 0
