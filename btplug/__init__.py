"""Plugin-based command line and transports for decentralised machine learning.

The names below are the promise; each is imported when first used, because
``import btplug`` is paid at every start of every command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from btplug.config import Secret
    from btplug.context import Context
    from btplug.errors import (
        BtplugError,
        PluginError,
        PluginExit,
        PluginFailed,
        TransportError,
        UnknownPlugin,
        UsageError,
    )
    from btplug.logs import get_logger
    from btplug.manifest import Manifest
    from btplug.message import Health, Message, Peer, Reply, Request
    from btplug.outcome import Failure, Outcome
    from btplug.plugin import BasePlugin, CLIPlugin
    from btplug.registry import (
        CLIPluginRegistry,
        PluginRegistry,
        TransportPluginRegistry,
    )
    from btplug.transport import Transport, TransportPlugin

__version__ = "0.1.0"

__all__ = [
    "BasePlugin",
    "BtplugError",
    "CLIPlugin",
    "CLIPluginRegistry",
    "Context",
    "Failure",
    "Health",
    "Manifest",
    "Message",
    "Outcome",
    "Peer",
    "PluginError",
    "PluginExit",
    "PluginFailed",
    "PluginRegistry",
    "Reply",
    "Request",
    "Secret",
    "Transport",
    "TransportError",
    "TransportPlugin",
    "TransportPluginRegistry",
    "UnknownPlugin",
    "UsageError",
    "get_logger",
]

_HOMES = {
    "config": ("Secret",),
    "context": ("Context",),
    "errors": (
        "BtplugError",
        "PluginError",
        "PluginExit",
        "PluginFailed",
        "TransportError",
        "UnknownPlugin",
        "UsageError",
    ),
    "logs": ("get_logger",),
    "manifest": ("Manifest",),
    "message": ("Health", "Message", "Peer", "Reply", "Request"),
    "outcome": ("Failure", "Outcome"),
    "plugin": ("BasePlugin", "CLIPlugin"),
    "registry": ("CLIPluginRegistry", "PluginRegistry", "TransportPluginRegistry"),
    "transport": ("Transport", "TransportPlugin"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value: object = getattr(import_module(f"btplug.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'btplug' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
