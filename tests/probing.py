"""The command `probe` from the library; a test module imports the fixtures it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_server import OK, Hostile, answering

from btplug import CLIPluginRegistry, Context, TransportPluginRegistry

ROOT = Path(__file__).resolve().parent.parent
DEAD = "http://127.0.0.1:1/"  # nobody listens on port 1
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.fixture
def commands():
    """The registry of commands; its context has the HTTP transport and wants JSON."""
    context = Context()
    context.wants_json = True
    registry = CLIPluginRegistry(context)
    transports = TransportPluginRegistry(context)
    registry.transports = transports
    registry.discover_plugins(ROOT / "cli_plugins")
    transports.discover_plugins(ROOT / "transport_plugins")
    yield registry
    assert not registry.shut_down()
    assert not transports.shut_down()
    context.close()


@pytest.fixture
def probe(commands):
    """Run `probe`, and return its rows; nothing has to answer."""

    def run(*peers, quorum=0, **options):
        options.setdefault("peers", peers)
        found = commands.execute_plugin("probe", quorum=quorum, **options)
        return list(found)

    return run


@pytest.fixture
def server():
    """A peer that is well."""
    with Hostile(answering(OK)) as one:
        yield one
