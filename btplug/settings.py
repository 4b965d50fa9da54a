"""Settings in layers, each value with the place it came from."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from btplug._folders import (
    Folders,
    Observation,
    folders,
    load_cached,
    observe,
    settled,
    store_cached,
)
from btplug._userfile import (
    HOST,
    Seen,
    Setting,
    Values,
    host_value,
    parse_user_file,
    read_user_file,
    read_written,
    write_setting,
)
from btplug.logs import on_import

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from btplug.manifest import Manifest

__all__ = ["HOST", "Setting", "Settings", "Values", "host_value", "write_setting"]


class Settings:
    """All layers but the defaults in a plugin's code.

    Highest first: ``--set``, the environment, the project's btplug.yaml,
    ``config set``, the user's config.yaml, the plugin's own ``config:``.

    Args:
        overrides: Plugin to key to text, from ``--set``.
        project: Path, digest and content of a btplug.yaml that the operator trusts.
        log_level: Of the command line; None: as configured.
    """

    def __init__(
        self,
        home: Folders | None = None,
        *,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        log_level: str | None = None,
        log_file: str | None = None,
        project: tuple[str, str, bytes] | None = None,
    ) -> None:
        self.home = home or folders()
        self.overrides = overrides or {}
        self._given = {"log_level": log_level, "log_file": log_file}
        self._project = project
        self._user: dict[str, Values] | None = None
        self._own: dict[str, Values] | None = None
        self._read: dict[str, Values] = {}
        self._uncached: dict[str, tuple[Seen, str]] = {}
        self._logs_ready = True  # only a command line sets logs up: see `own_logs`
        self._json_logs = False
        self._lock = threading.Lock()
        self._undo: list[Callable[[], object]] = []

    def of(self, manifest: Manifest) -> Values:
        """Return the effective settings of a plugin, by key.

        Raises:
            ConfigError: A file of the user's is broken.
        """
        found = {
            key: Setting(value, manifest.path) for key, value in manifest.config.items()
        }
        found.update(self._from_files(manifest.name))
        found.update(self._from_environment(manifest.name))
        for key, text in self.overrides.get(manifest.name, {}).items():
            found[key] = Setting(text, f"--set {key}", is_text=True)
        return found

    def owners(self) -> list[str]:
        """Return the names for which the user has settings, whether or not they exist.

        Raises:
            ConfigError: The user's config.yaml is broken.
        """
        try:
            written = os.listdir(os.path.dirname(self.home.written("x")))
        except OSError:
            written = []
        named = {*self._user_file(), *self._project_file(), *written}
        return sorted(named - {"", "_btplug"})

    def host(self, key: str) -> float | str:
        """Return a setting of btplug itself: see HOST.

        Raises:
            ConfigError: A file is broken, or the value has the wrong type.
        """
        return host_value(key, self.host_setting(key))

    def host_setting(self, key: str) -> Setting:
        """Return a setting of btplug itself with its origin, unchecked."""
        if given := self._given.get(key):
            return Setting(given, f"--{key.replace('_', '-')}", is_text=True)
        name = f"BTPLUG_{key.upper()}"
        if name in os.environ:
            return Setting(os.environ[name], name, is_text=True)
        return self._from_files("").get(key, Setting(HOST[key], "default"))

    def _from_environment(self, plugin: str) -> Values:
        prefix = f"BTPLUG_{plugin.upper().replace('-', '_')}__"
        return {
            name[len(prefix) :].lower(): Setting(text, name, is_text=True)
            for name, text in os.environ.items()
            if name.startswith(prefix)
        }

    def _record(self, owner: str) -> str:
        return os.path.join(self.home.cache, "settings", owner or "_btplug")

    def _seen(self, owner: str) -> Seen:
        folder = self.home.written(owner or "_btplug")
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            names = []
        files = [os.path.join(folder, name) for name in names]
        return tuple(
            (path, _looked_at(path)) for path in (self.home.user_config, *files)
        )

    def _from_files(self, owner: str) -> Values:
        """Return what config.yaml and ``config set`` say for a plugin, or for btplug.

        From the cache where nothing changed: reading YAML costs 20 ms.
        """
        if owner not in self._read:
            # Of the project the digest, not the time: what counts was accepted.
            digest = self._project[1] if self._project else ""
            seen = self._seen(owner), digest
            if not digest and all(observation is None for _, observation in seen[0]):
                self._read[owner] = {}
                return {}
            cached = load_cached(self._record(owner), "settings")
            if cached and cached[0] == seen:
                self._read[owner] = {k: Setting(*v) for k, v in cached[1].items()}
            else:
                self._uncached[owner] = seen
                self._read[owner] = self._from_yaml(owner, seen[0])
        return self._read[owner]

    def _from_yaml(self, owner: str, seen: Seen) -> Values:
        found = dict(self._user_file().get(owner, {}))
        for path, _ in seen[1:]:
            key = os.path.basename(path)
            if not key.startswith("."):
                with suppress(FileNotFoundError):  # unset while we were looking
                    found[key] = Setting(read_written(path), path, is_text=True)
        return found | self._project_file().get(owner, {})

    @property
    def unremembered(self) -> bool:
        """True where something was read that is not in the cache."""
        return bool(self._uncached)

    def remember(self, plugin: str, secret: frozenset[str]) -> None:
        """Cache what the files say for *plugin*, unless a *secret* key is among it."""
        for owner, hidden in ((plugin, secret), ("", frozenset[str]())):
            seen, found = self._uncached.pop(owner, None), self._read.get(owner, {})
            observations = [observation for _, observation in seen[0]] if seen else []
            if seen and settled(*observations) and not hidden & found.keys():
                record = (seen, {k: tuple(v) for k, v in found.items()})
                store_cached(self._record(owner), "settings", record)

    def _user_file(self) -> dict[str, Values]:
        """Return the user's config.yaml by owner, btplug's own keys under ``""``."""
        with self._lock:
            if self._user is None:
                self._user = read_user_file(self.home.user_config)
            return self._user

    def _project_file(self) -> dict[str, Values]:
        """Return the project's btplug.yaml by owner, where the operator trusts it."""
        with self._lock:
            if self._own is None:
                path, _, content = self._project or ("", "", b"")
                self._own = parse_user_file(path, content) if path else {}
            return self._own

    def own_logs(self, *, json: bool = False) -> None:
        """Set logging up in this process: now if it is used, else when it is.

        Args:
            json: Write records to stderr as JSON.

        Raises:
            ConfigError: One of btplug's own settings is wrong, whichever it is.
        """
        self._logs_ready, self._json_logs = False, json
        own = {key: self.host(key) for key in HOST}
        if own["log_file"] or any(self._given.values()):
            self.set_up_logs()
        else:
            self._undo.append(on_import(self.set_up_logs))

    def give_back_logs(self) -> None:
        """Take back what `own_logs` did, where the process goes on without us."""
        self._logs_ready = True
        while self._undo:
            self._undo.pop()()

    def set_up_logs(self) -> None:
        """Set logging up, once, where this process is a command line."""
        with self._lock:
            if self._logs_ready:
                return
            self._logs_ready = True
        from btplug.logs import set_up

        level, file = str(self.host("log_level")), str(self.host("log_file"))
        self._undo.append(set_up(level, file or None, json=self._json_logs))


def _looked_at(path: str) -> Observation:
    """Return what `observe` does; a link that leads nowhere is something, too."""
    return observe(path) or ((0, 0, 0) if os.path.islink(path) else None)
