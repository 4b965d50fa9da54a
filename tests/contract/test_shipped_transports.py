"""Every transport that comes with btplug passes the contract suite."""

from __future__ import annotations

from typing import ClassVar

import pytest
from given_peers import in_memory, wired
from hostile_server import SHIPPED

from btplug.testing import MemoryTransportPlugin, TransportContract


class TestMemory(TransportContract):
    plugin = MemoryTransportPlugin
    brief: ClassVar = {"timeout": 0.5}

    def peers(self):
        return in_memory(super().peers())


@pytest.mark.slow
class TestHTTP(TransportContract):
    plugin = SHIPPED / "http"
    brief: ClassVar = {"timeout": 0.5}

    def peers(self):
        return wired()


def test_every_shipped_transport_is_judged_here():
    judged = {"http"}

    assert {path.parent.name for path in SHIPPED.glob("*/config.yaml")} == judged
