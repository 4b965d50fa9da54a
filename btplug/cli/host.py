"""One run of the command line: its options, its plugins, its start and end."""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING, Any, TextIO

from btplug._discovery import Finder, read_spot
from btplug._folders import digest, folders, load_cached, observe, settled, store_cached
from btplug._installed import Spot
from btplug._reached import Reached
from btplug.cli.admission import Admitted, Gate
from btplug.cli.report import fail, warn
from btplug.cli.stream import ResultStream
from btplug.errors import BtplugError, PluginError, UsageError
from btplug.manifest import FILE, Manifest, Permissions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from btplug._confine.process import Child
    from btplug._folders import Observation
    from btplug._index import Listing
    from btplug.cli.made import Made
    from btplug.context import Context
    from btplug.registry import CLIPluginRegistry, TransportPluginRegistry
    from btplug.settings import Settings


class Host:
    """What a run knows; cheap to make, starts nothing by itself.

    Attributes:
        json: The result is printed as JSON.
        json_errors: Errors and warnings are.
        lasting: The process ends with the run: what was changed in it may stay.
    """

    def __init__(
        self,
        *,
        plugin_dirs: tuple[str, ...] = (),
        in_process: bool = False,
        lock: str | None = None,
        log_level: str | None = None,
        log_file: str | None = None,
        json_errors: bool = False,
        stream: ResultStream | None = None,
        lasting: bool = False,
    ) -> None:
        self.home = folders()
        self.finder = Finder(self.home, plugin_dirs)
        self.in_process = in_process
        self.gate = Gate(self.home, in_process=in_process, lock=lock)
        self.json = False
        self.json_errors, self.lasting = json_errors, lasting
        self.stream = stream or ResultStream()
        self._logs = {"log_level": log_level, "log_file": log_file}
        self.overrides: Mapping[str, Mapping[str, str]] = {}
        self.context: Context | None = None
        self.commands: CLIPluginRegistry
        self.transports: TransportPluginRegistry
        # Of this run, for the log of runs: what was called, and which hosts it reached.
        self.begun = time.time()
        self.called: Manifest | None = None
        self.reached = Reached()
        self.told_project = False
        self.child: Child | None = None  # of a plugin that is confined
        self.stdin_flags: int | None = None  # that it could change
        self.made: list[Made] = []  # files for it to write
        self._found: dict[str, Manifest] = {}
        self._unknown: dict[str, tuple[tuple[str, ...], Observation]] = {}

    @property
    def out(self) -> TextIO:
        """Where results are written; nothing else gets there while they are JSON."""
        return self.stream.out

    # -- knowing

    def listing(self) -> Listing:
        """Return the listing of all plugins."""
        from btplug._index import Listing

        return Listing(self.finder, in_process=self.in_process)

    def command_names(self) -> list[tuple[str, str]]:
        """Return (name, summary) of the commands that could be run, from manifests."""
        return [
            (row.name, row.summary or "")
            for row in self.listing().rows("cli")
            if row.state == "ready"
        ]

    def look_up(self, name: str) -> Manifest | None:
        """Return the manifest of a plugin, found by its folder; None: there is none.

        Raises:
            ManifestError: It is broken.
        """
        if name not in self._found:
            spot = self.finder.find(name)
            if spot is None:
                return None
            try:
                self._found[name] = self._manifest(spot)
            except BtplugError as exc:
                exc.plugin = exc.plugin or name
                raise
        return self._found[name]

    def find(self, name: str, kind: str | None = None) -> Manifest:
        """Return the manifest of a plugin that must be there.

        Args:
            kind: What is looked for, to offer the nearest name of.

        Raises:
            UnknownPlugin: There is none of that name.
            ManifestError: It is broken.
        """
        found = self.look_up(name)
        if found is None:
            from btplug.cli.unknown import unknown

            unknown(self, name, kind)
        return found

    def _manifest(self, spot: Spot) -> Manifest:
        """Read a manifest, from the cache if its file is as it was."""
        key = (tuple(spot), observe(os.path.join(spot.root, FILE)))
        cached = load_cached(self._record(spot.name, spot.root), "manifest")
        if cached and cached[0] == key:
            found = Manifest._make(cached[1])
            return found._replace(permissions=Permissions._make(found.permissions))
        self._unknown[spot.name] = key
        return read_spot(spot)

    def _record(self, name: str, root: str) -> str:
        return os.path.join(self.home.cache, "manifests", f"{name}-{digest(root)}")

    def remember(
        self,
        manifest: Manifest,
        settings: Settings,
        secret_of: Callable[[], frozenset[str]],
    ) -> None:
        """Cache what was read for a plugin, now that its secret fields are known.

        A file with a value for one of them stays uncached.
        """
        key = self._unknown.pop(manifest.name, None)
        code = self.gate.admit(manifest).code
        fresh = code is not None and code.manifest is None
        if key is None and not settings.unremembered and not fresh:
            return
        secret = secret_of()
        if code is not None and not secret & manifest.config.keys():
            plain = (*manifest[:7], None, *manifest[8:])
            code.keep((*plain, tuple(manifest.permissions)))
        if key and settled(key[1]) and not secret & manifest.config.keys():
            values = (*manifest[:7], tuple(manifest.permissions), *manifest[8:])
            record = self._record(manifest.name, manifest.root)
            store_cached(record, "manifest", (key, values))
        settings.remember(manifest.name, secret)

    def settings(self, **options: Any) -> Settings:
        """Return the settings of this run, those of a trusted project among them."""
        from btplug.cli.project import trusted_project
        from btplug.settings import Settings

        return Settings(self.home, project=trusted_project(self), **options)

    def admit(self, manifest: Manifest) -> Admitted:
        """Return what may be loaded of a plugin; its bytes go to the registries.

        Raises:
            TrustError: Nobody has accepted it, or not what lies there now.
            PluginError: It is broken.
        """
        found = self.gate.admit(manifest)
        if self.context is not None and found.code is not None:
            registry = self.commands if manifest.kind == "cli" else self.transports
            registry.checked[manifest.root] = found.code
        return found

    # -- starting and stopping

    def start(self, target: Manifest | None) -> Context:
        """Make the context and start the transports that *target* needs into it.

        Args:
            target: The plugin that will run; None starts no transport.

        Raises:
            PluginError: A transport that the target's manifest names did not start.
        """
        from btplug.cli.lazy import check_overrides
        from btplug.context import Context
        from btplug.registry import CLIPluginRegistry, TransportPluginRegistry

        check_overrides(self, target)
        settings = self.settings(overrides=self.overrides, **self._logs)
        settings.own_logs(json=self.json_errors)
        screen = None
        if os.isatty(2):
            from btplug.cli.screen import Terminal

            screen = Terminal()
        context = Context(settings, screen)
        context.wants_json = self.json
        self.commands = CLIPluginRegistry(context)
        self.transports = TransportPluginRegistry(context)
        self.context = context  # last: a signal may come, and `stop` ends all three
        if target is not None:
            from btplug.cli.transports import start_for

            start_for(target, self, self.context)
        return self.context

    def runnable(self, manifest: Manifest) -> None:
        """Refuse what is no command, is disabled, or nobody has accepted.

        Raises:
            UsageError: It is a transport.
            PluginError: It is disabled, or broken.
            TrustError: It is not what the operator accepted.
        """
        if manifest.kind != "cli":
            raise UsageError(
                f"{manifest.name!r} is a transport, expected a command",
                fix="plugins use it: btplug run send URL",
                plugin=manifest.name,
            )
        if self.home.is_disabled(manifest.name):
            raise PluginError(
                f"{manifest.name!r} is disabled",
                where=manifest.path,
                fix=f"enable it with: btplug enable {manifest.name}",
                plugin=manifest.name,
            )
        self.admit(manifest)

    def collect_garbage(self) -> None:
        """Have Python look for garbage, among what is made from now on."""
        if self.lasting:
            gc.freeze()
            gc.enable()

    def end_child(self) -> None:
        """End the child, if there is one; again where a signal broke in."""
        if self.child is not None:
            self.child.end()
        if self.stdin_flags is not None:
            from btplug.cli.piped import give_back

            give_back(self.stdin_flags)
        while self.made:
            self.made.pop().remove_unopened()

    def stop(self, *, failed: bool) -> int:
        """Shut everything down; return the exit code of the plugin's own failure.

        Args:
            failed: The run has failed before, and that decides how it ends.
        """
        if self.child is not None:
            self.child.kill()
        if self.context is None:
            return 0
        own = self.commands.shut_down()
        code = own[0].exit_code if own and not failed else 0
        if code:
            fail(own[0], json=self.json_errors)
        rest = own[1:] if code else own
        for error in (*rest, *self.transports.shut_down()):
            warn(error, json=self.json_errors)
        # Of a confined plugin the broker has told.
        self.reached.merge(self.context.transports.reached)
        self.context.close()
        if not self.lasting:  # otherwise they end with it
            self.context.settings.give_back_logs()
        self.context = None
        return code
