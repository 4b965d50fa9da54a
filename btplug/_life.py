"""The life of one plugin: loaded, initialised, executing, shut down, or broken."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from btplug._calls import Call, Timed, guarded
from btplug._loader import check_class, load, manifest_of, pin, unload
from btplug.errors import (
    BtplugError,
    ConfigError,
    PluginExit,
    PluginFailed,
    PluginLoadError,
    PluginStartError,
    UsageError,
)
from btplug.manifest import Manifest
from btplug.plugin import BasePlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from btplug._load.codecache import CodeCache
    from btplug._loop import HomeLoop
    from btplug.context import Context

T = TypeVar("T", bound=BasePlugin)
R = TypeVar("R")


class Life(Generic[T]):
    """What is known of a plugin and, once it was needed, the live object.

    Attributes:
        call: What executes it; None while it is not live.
        code: Its bytes, as they were read; None where Python's own import has them.
        error: Why it is broken; raised again at every later use.
        removed: Deregistered: it is not started again, whoever still holds it.
        since: When it became live, by the monotonic clock.
        seconds: Spent on loading and initialising so far.
    """

    __slots__ = (
        "_config", "_context", "_loaded", "_lock", "_loop", "_stop_limit", "call",
        "cls", "code", "error", "manifest", "plugin", "removed", "seconds", "since",
    )  # fmt: skip

    def __init__(
        self,
        manifest: Manifest,
        context: Context,
        loop: HomeLoop,
        *,
        cls: type[T] | None = None,
        plugin: T | None = None,
        code: CodeCache | None = None,
    ) -> None:
        self.manifest, self.code = manifest, code
        self.cls, self.plugin = cls, plugin
        self.call: Call | None = None
        self.removed = self._loaded = False
        self.since = 0.0
        self._config: object = None
        self.error: BtplugError | PluginExit | None = None
        self.seconds = self._stop_limit = 0.0
        self._context, self._loop = context, loop
        self._lock = threading.RLock()

    @classmethod
    def of(
        cls,
        plugin: type[T] | T | Manifest,
        kind: str,
        context: Context,
        loop: HomeLoop,
        code: CodeCache | None = None,
    ) -> Life[T]:
        """Begin the life of a class, an instance or a plugin's folder.

        Args:
            code: The bytes of the folder, where they were read before.

        Raises:
            PluginLoadError: It is of another kind, or not complete.
        """
        if isinstance(plugin, Manifest):
            if plugin.kind != kind:
                raise PluginLoadError(
                    f"found {plugin.name!r} of kind {plugin.kind}, "
                    f"expected kind {kind}",
                    where=plugin.path,
                    fix="register it in the other registry",
                )
            return cls(plugin, context, loop, code=code)
        own = plugin if isinstance(plugin, type) else type(plugin)
        if not issubclass(own, BasePlugin) and not isinstance(plugin, type):
            raise UsageError(
                f"found {own.__name__}, expected a class, an instance or a Manifest",
                fix="to register what lies in a folder use discover_plugins",
            )
        check_class(own, kind, own.__name__, own.__module__)
        live = None if isinstance(plugin, type) else plugin
        return cls(manifest_of(own, kind), context, loop, cls=own, plugin=live)

    def load(self) -> type[T]:
        """Import the code, once."""
        with self._lock:
            if self.cls is None:
                self._timed(self._load)
            return cast("type[T]", self.cls)

    def start(self) -> None:
        """Load and initialise, once; not at all once it was deregistered."""
        with self._lock:
            if self.call is None and not self.removed:
                self.plugin, self.call = self._timed(self._initialise)
                self.since = time.monotonic()

    def configure(self) -> object:
        """Return the checked configuration, made once; the code must be loaded."""
        from btplug.schema import resolve

        if self._config is None:
            self._config = resolve(
                cast("type[T]", self.cls).Config,
                self._context.settings.of(self.manifest),
                plugin=self.manifest.name,
                known=frozenset(self.manifest.config),
            )
        return self._config

    def stop(self) -> None:
        """Shut the plugin down if it is live."""
        with self._lock:
            call, self.call = self.call, None
            plugin, self.plugin = self.plugin, None
            self.seconds, self._config = 0.0, None
        if call is None or plugin is None:
            return
        name = self.manifest.name
        shutdown = plugin.shutdown
        work = partial(
            guarded, lambda: call.finish(shutdown()), self.manifest, PluginFailed,
            f"{name} failed to shut down",
        )  # fmt: skip
        limit, task = self._stop_limit, Timed(work, name)
        try:
            task.result(limit, limit, lambda: "did not shut down", "stop_limit")
        except BtplugError as exc:
            self.about(exc)
            raise

    def about(self, error: BtplugError) -> BtplugError:
        """Complete an error with the plugin it is about."""
        error.plugin = error.plugin or self.manifest.name
        # What is wrong with settings names its own file, which may be the user's.
        if not isinstance(error, ConfigError):
            error.where = error.where or self.manifest.path
        return error

    def _doing(self) -> str:
        return "did not load" if self.cls is None else "did not initialise"

    def unload(self) -> None:
        """Forget the code, if it was loaded here."""
        if self._loaded:
            self._loaded = False
            unload(self.manifest, self.code)

    def _load(self) -> None:
        if self.cls is None:
            home = self._context.settings.home
            self.code = self.code or pin(self.manifest, home)
            self._loaded = True
            self.cls = cast("type[T]", load(self.manifest, self.code))

    def _initialise(self) -> tuple[T, Call]:
        # Read before anything is open: a wrong limit must not leave it open.
        self._stop_limit = float(self._context.settings.host("stop_limit"))
        self._load()
        what = f"{self.manifest.name} failed to initialise"

        def initialise() -> tuple[T, Call]:
            plugin = self.plugin
            if plugin is None:
                plugin = cast("type[T]", self.cls)()
            own = self.manifest
            view = self._context.bound(own.name, source=own.source, root=own.root)
            plugin.context = view
            config = self.configure()
            call = Call(plugin, config, self.manifest, self._loop)
            call.finish(plugin.initialize(config))
            return plugin, call

        try:
            return guarded(initialise, self.manifest, PluginStartError, what)
        except PluginStartError as exc:
            ended = exc.__cause__
            # A command may end its run before it begins; a transport may not.
            if isinstance(ended, PluginExit) and self.manifest.kind == "cli":
                ended.plugin = self.manifest.name
                raise ended from None
            raise

    def _timed(self, work: Callable[[], R]) -> R:
        """Run *work* within what is left of the plugin's start-up limit."""
        if self.error is not None:
            raise self.error
        limit = float(self._context.settings.host("start_limit"))
        begun = time.perf_counter()
        try:
            task = Timed(work, self.manifest.name)
            return task.result(limit, limit - self.seconds, self._doing, "start_limit")
        except BtplugError as exc:
            self.error = self.about(exc)
            raise
        except PluginExit as exc:
            self.error = exc
            raise
        finally:
            self.seconds += time.perf_counter() - begun
