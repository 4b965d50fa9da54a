"""A transport that is lent to a confined plugin passes the suite like its owner."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import ClassVar

import pytest
from hostile_server import SHIPPED
from lending import lent
from test_shipped_transports import TestHTTP as HTTP

from btplug import TransportPlugin, TransportPluginRegistry
from btplug._broker.broker import MOST_CALLS
from btplug._broker.proxies import Proxy


class LentHTTP(Proxy):
    """The shipped transport, behind a broker."""

    schemes = ("http", "https")

    def __init__(self):
        self._stack = ExitStack()

    def initialize(self, config):
        registry = TransportPluginRegistry(self.context)
        self._stack.callback(registry.shut_down)
        registry.discover_plugins(SHIPPED)
        transport = registry["http"]
        proxy = self._stack.enter_context(lent(transport))
        self.name, self._line = "http", proxy._line
        # The suite counts threads: the broker's are all there before it does.
        together = threading.Barrier(MOST_CALLS)
        for _ in range(MOST_CALLS):
            proxy.lent.broker._threads.submit(together.wait)

    def shutdown(self):
        self._stack.close()


assert issubclass(LentHTTP, TransportPlugin)


@pytest.mark.slow
class TestLentHTTP(HTTP):
    plugin = LentHTTP
    brief: ClassVar = {}  # it has no settings of its own


del HTTP
