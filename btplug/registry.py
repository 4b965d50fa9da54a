"""Registries of plugins: one lazy for commands, one eager for transports."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from btplug._life import Life
from btplug.config import nearest
from btplug.context import Context
from btplug.errors import (
    BtplugError,
    DuplicatePlugin,
    PluginError,
    PluginStartError,
    UnknownPlugin,
)
from btplug.manifest import Manifest
from btplug.plugin import BasePlugin, CLIPlugin
from btplug.transport import TransportPlugin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from btplug._load.codecache import CodeCache
    from btplug._loop import HomeLoop

T = TypeVar("T", bound=BasePlugin)


class PluginRegistry(Mapping[str, T], Generic[T]):
    """Name to plugin, for one kind of plugin; safe to use from several threads.

    Reads as a mapping of live plugins: a look-up loads and initialises.

    Args:
        context: Shared with other registries of a host; None makes a plain one, whose
            loop for these plugins ends with the last of them.
    """

    kind: ClassVar[str]

    def __init__(self, context: Context | None = None) -> None:
        self.context = context or Context()
        self._own = context is None
        # Bytes of plugins by folder, where a host has read and checked them.
        self.checked: dict[str, CodeCache] = {}
        self._lives: dict[str, Life[T]] = {}
        self._lock = threading.RLock()

    # -- finding and removing

    def discover_plugins(self, directory: str | Path) -> Sequence[PluginError]:
        """Register every good plugin of this kind that lies in *directory*.

        Plugin folders lie in it, or in ``cli_plugins`` and ``transport_plugins`` below.

        Returns:
            One error for each plugin that could not be registered; never raises for
            what lies in a plugin's folder.

        Raises:
            PluginError: *directory* is no folder.
        """
        from btplug._discovery import scan_directory

        errors: list[PluginError] = []
        for found in scan_directory(os.fspath(directory), self.kind):
            try:
                if isinstance(found, PluginError):
                    raise found
                if found.kind == self.kind:
                    self.register_plugin(found)
            except PluginError as exc:
                errors.append(exc)
            except BtplugError as exc:
                errors.append(
                    PluginStartError(
                        exc.what, where=exc.where, fix=exc.fix, plugin=exc.plugin
                    )
                )
        return errors

    def register_plugin(self, plugin: type[T] | T | Manifest) -> str:
        """Add a class, an instance or a manifest; all or nothing.

        A class or an instance is named after its ``name``, or after its class:
        ``HTTPTransportPlugin`` is ``http-transport``. An instance must not have been
        initialised.

        Returns:
            The name it has here.

        Raises:
            DuplicatePlugin: The name is taken.
            PluginLoadError: It is no complete plugin of this registry's kind.
        """
        root = plugin.root if isinstance(plugin, Manifest) else ""
        code = self.checked.get(root)
        life = Life.of(plugin, self.kind, self.context, self._loop(), code)
        name = life.manifest.name
        with self._lock:
            if twin := self._lives.get(name):
                raise DuplicatePlugin(
                    f"two plugins are named {name!r}",
                    where=f"{twin.manifest.root} and {life.manifest.root}",
                    fix="rename one of them in its config.yaml",
                    plugin=name,
                )
            self._lives = {**self._lives, name: life}
        return name

    def deregister_plugin(self, name: str) -> None:
        """Shut the plugin down if it is live, and forget it.

        Raises:
            UnknownPlugin: There is none of that name.
            BtplugError: Its shutdown failed or took too long; it is forgotten anyway.
        """
        with self._lock:
            life = self._found(name)
            self._lives = {k: v for k, v in self._lives.items() if k != name}
            life.removed = True
        try:
            self._stop(life)
        finally:
            life.unload()
            if not self._lives:
                self._end()

    # -- using

    def get_plugin(self, name: str) -> T:
        """Return the live plugin, loading and initialising it where needed.

        Raises:
            UnknownPlugin: There is none of that name.
            PluginError: It is broken; the same error every time.
        """
        life = self._found(name)
        life.start()
        plugin = life.plugin
        if plugin is None:  # deregistered by another thread meanwhile
            raise self._unknown(name)
        return plugin

    def load_plugin(self, name: str) -> type[T]:
        """Import the plugin's code, without initialising it, and return its class."""
        return self._found(name).load()

    def configure(self, name: str) -> object:
        """Return the checked configuration that `initialize` of a plugin gets."""
        life = self._found(name)
        life.load()
        return life.configure()

    def execute_plugin(
        self, name: str, /, data: object = None, **options: object
    ) -> Any:  # what a plugin returns is its own affair
        """Run a plugin: before_execute, execute, after_execute.

        Args:
            name: By position only: a plugin may well have an option called so.
            options: Passed by name, unconverted; a missing one takes the default of
                the plugin's configuration or of its option.

        Raises:
            UnknownPlugin: There is none of that name.
            PluginFailed: The plugin raised; what it raised is the cause.
            BtplugError: btplug's own errors pass unchanged, so does `PluginExit`.
        """
        life = self._lives.get(name)
        call = life.call if life is not None else None
        if call is None:
            self.get_plugin(name)
            call = self._found(name).call
            if call is None:
                raise self._unknown(name)
        return call(data, options)

    def _found(self, name: str) -> Life[T]:
        life = self._lives.get(name)
        if life is None:
            raise self._unknown(name)
        return life

    def _unknown(self, name: str) -> UnknownPlugin:
        return UnknownPlugin(
            f"no plugin named {name!r}",
            fix=nearest(str(name), self._lives) or "see what there is: btplug list",
        )

    def shut_down(self) -> list[BtplugError]:
        """Shut all live plugins down, the last started first; return what failed."""
        errors: list[BtplugError] = []
        # One that is still starting holds its lock; nobody waits for it here.
        lives = [life for life in self._lives.values() if life.call is not None]
        for life in sorted(lives, key=lambda life: life.since, reverse=True):
            try:
                self._stop(life)
            except BtplugError as exc:
                errors.append(exc)
        self._end()
        return errors

    def _end(self) -> None:
        """End the loop, if no host does; whoever comes back starts it again."""
        if self._own and not self._loop().here():
            self._loop().close()

    def _stop(self, life: Life[T]) -> None:
        life.stop()

    def _loop(self) -> HomeLoop:
        return self.context.work

    # -- a mapping, and facts about it

    def manifest(self, name: str) -> Manifest:
        """Return what is known of a plugin without loading it."""
        return self._found(name).manifest

    def __getitem__(self, name: str) -> T:
        return self.get_plugin(name)

    def __contains__(self, name: object) -> bool:
        return name in self._lives

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lives))

    def __len__(self) -> int:
        return len(self._lives)


class CLIPluginRegistry(PluginRegistry[CLIPlugin]):
    """Commands: loaded and initialised when first asked for."""

    kind = "cli"


class TransportPluginRegistry(PluginRegistry[TransportPlugin]):
    """Transports: initialised when registered, and lent to plugins by the context."""

    kind = "transport"

    def register_plugin(
        self, plugin: type[TransportPlugin] | TransportPlugin | Manifest
    ) -> str:
        """Add a transport and initialise it; all or nothing, see the base class."""
        name = super().register_plugin(plugin)
        life = self._found(name)
        try:
            live = self.get_plugin(name)
            with self._lock:
                if life.removed:
                    raise self._unknown(name)
                self.context.transports.lend(name, live)
        except BaseException as exc:
            with self._lock:
                self._lives = {k: v for k, v in self._lives.items() if v is not life}
            life.unload()
            if not self._lives:
                self._end()
            if isinstance(exc, BtplugError):
                schemes = life.cls.schemes if life.cls else ()
                self.context.transports.mark_broken(name, exc, schemes)
            raise
        return name

    def _stop(self, life: Life[TransportPlugin]) -> None:
        """Take the transport back before it is shut down."""
        if life.plugin is not None:
            self.context.transports.withdraw(life.manifest.name, life.plugin)
        super()._stop(life)

    def _loop(self) -> HomeLoop:
        return self.context.home
