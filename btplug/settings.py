"""Settings in layers, each value with the place it came from."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import (
    Folders,
    Observation,
    folders,
    load_cached,
    observe,
    settled,
    store_cached,
    write_atomic,
)
from btplug.config import nearest, parse_yaml, read_bounded
from btplug.errors import ConfigError, UsageError
from btplug.logs import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from btplug.manifest import Manifest

# Of btplug itself, with their defaults; seconds and the level of logs.
HOST: dict[str, float | str] = {
    "log_file": "",
    "log_level": "warning",
    "start_limit": 5.0,
    "stop_limit": 2.0,
}


class Setting(NamedTuple):
    """One effective value.

    Attributes:
        origin: Where it came from: ``file:line``, a variable, or ``--set``.
        is_text: Written in a place without types: converted to the field's.
    """

    value: object
    origin: str
    is_text: bool = False


Values = dict[str, Setting]
Seen = tuple[tuple[str, Observation], ...]


class Settings:
    """All layers but the defaults in a plugin's code.

    Highest first: ``--set``, the environment, ``config set``, the user's config.yaml,
    the plugin's own ``config:``.

    Args:
        overrides: Plugin to key to text, from ``--set``.
        log_level: Of the command line; None: as configured.
    """

    def __init__(
        self,
        home: Folders | None = None,
        *,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
        log_level: str | None = None,
        log_file: str | None = None,
    ) -> None:
        self.home = home or folders()
        self.overrides = overrides or {}
        self._given = {"log_level": log_level, "log_file": log_file}
        self._user: dict[str, Values] | None = None
        self._read: dict[str, Values] = {}
        self._uncached: dict[str, Seen] = {}
        self._logs_ready = True  # only a command line sets logs up: see `own_logs`
        self._lock = threading.Lock()

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
        return tuple((path, observe(path)) for path in (self.home.user_config, *files))

    def _from_files(self, owner: str) -> Values:
        """Return what config.yaml and ``config set`` say for a plugin, or for btplug.

        From the cache where nothing changed: reading YAML costs 20 ms.
        """
        if owner not in self._read:
            seen = self._seen(owner)
            cached = load_cached(self._record(owner))
            if all(observation is None for _, observation in seen):
                self._read[owner] = {}
            elif isinstance(cached, tuple) and cached[0] == seen:
                self._read[owner] = {k: Setting(*v) for k, v in cached[1].items()}
            else:
                self._uncached[owner] = seen
                self._read[owner] = self._from_yaml(owner, seen)
        return self._read[owner]

    def _from_yaml(self, owner: str, seen: Seen) -> Values:
        found = dict(self._user_file().get(owner, {}))
        for path, _ in seen[1:]:
            key = os.path.basename(path)
            if not key.startswith("."):
                text = read_bounded(path, 65536, ConfigError).decode()
                found[key] = Setting(text, path, is_text=True)
        return found

    @property
    def unremembered(self) -> bool:
        """True where something was read that is not in the cache."""
        return bool(self._uncached)

    def remember(self, plugin: str, secret: frozenset[str]) -> None:
        """Cache what the files say for *plugin*, unless a *secret* key is among it."""
        for owner, hidden in ((plugin, secret), ("", frozenset[str]())):
            seen, found = self._uncached.pop(owner, ()), self._read.get(owner, {})
            observations = [observation for _, observation in seen]
            if seen and settled(*observations) and not hidden & found.keys():
                record = (seen, {k: tuple(v) for k, v in found.items()})
                store_cached(self._record(owner), record)

    def _user_file(self) -> dict[str, Values]:
        """Return the user's config.yaml by owner, btplug's own keys under ``""``."""
        with self._lock:
            if self._user is None:
                self._user = read_user_file(self.home.user_config)
            return self._user

    def own_logs(self) -> None:
        """Say that logs are ours to set up, at the first record or import."""
        self._logs_ready = False

    def set_up_logs_if_used(self) -> None:
        """Set logging up once somebody has imported it; before, there is no need."""
        if "logging" in sys.modules:
            self.set_up_logs()

    def set_up_logs(self) -> None:
        """Set logging up, once, where this process is a command line."""
        with self._lock:
            if self._logs_ready:
                return
            self._logs_ready = True
        from btplug.logs import set_up

        set_up(str(self.host("log_level")), str(self.host("log_file")) or None)


def host_value(key: str, setting: Setting) -> float | str:
    """Check a setting of btplug's own against the type of its default."""
    value, default = setting.value, HOST[key]
    if isinstance(default, str):
        if isinstance(value, str) and (key != "log_level" or value in LEVELS):
            return value
        expected = f"one of {', '.join(LEVELS)}" if key == "log_level" else "a text"
    else:
        expected = "a number of seconds above 0"
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                seconds = float(value)
            except ValueError:
                seconds = 0.0
            if 0 < seconds < 1e6:
                return seconds
    raise ConfigError(
        f"{setting.origin}: {key}: found {value!r}, expected {expected}",
        fix=f"change it, for example to {default!r}",
    )


def read_user_file(path: str) -> dict[str, Values]:
    """Read a user's config.yaml: btplug's own keys, and ``plugins:`` by name.

    Returns:
        Owner (a plugin, or ``""`` for btplug) to key to setting.

    Raises:
        ConfigError: It is broken; the message has file and line.
    """
    try:
        content = read_bounded(path, 65536, ConfigError)
    except FileNotFoundError:
        return {}
    data, lines = parse_yaml(content, where=path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}:1: found a {type(data).__name__}, expected keys and values",
            fix="write lines such as 'log_level: info'",
        )
    found: dict[str, Values] = {"": {}}
    for key, value in data.items():
        line = lines[(key,)]
        if key == "plugins" and (value is None or isinstance(value, dict)):
            for name, block in (value or {}).items():
                where = f"{path}:{lines[('plugins', name)]}"
                if not isinstance(block, dict):
                    raise ConfigError(
                        f"{where}: plugins.{name}: found {block!r}, expected a mapping",
                        fix="indent the plugin's settings below its name",
                    )
                found[name] = {
                    k: Setting(v, f"{path}:{lines[('plugins', name, k)]}")
                    for k, v in block.items()
                }
        elif key in HOST:
            found[""][key] = Setting(value, f"{path}:{line}")
        else:
            known = [*HOST, "plugins"]
            raise ConfigError(
                f"{path}:{line}: {key}: found an unknown key, "
                f"expected one of {', '.join(known)}",
                fix=nearest(key, known) or "put a plugin's settings below 'plugins:'",
            )
    return found


def write_setting(home: Folders, key: str, text: str | None) -> str:
    """Write (or with None remove) what ``config set`` was given.

    Args:
        key: ``NAME.key`` of a plugin, or a key of btplug's own.

    Returns:
        The file that was written or removed.

    Raises:
        UsageError: The key is of neither form, or there is nothing to remove.
    """
    owner, dot, name = key.rpartition(".")
    good = owner.replace("-", "").isalnum() if dot else key in HOST
    if not good or not name.isidentifier() or not key.isascii():
        raise UsageError(
            f"found the key {key!r}, expected PLUGIN.KEY or one of {', '.join(HOST)}",
            fix=nearest(key, HOST) or "see the keys with: btplug config show PLUGIN",
        )
    path = os.path.join(home.written(owner or "_btplug"), name)
    if text is not None:
        if not dot:
            host_value(name, Setting(text, "config set", is_text=True))
        write_atomic(path, text.encode())
        return path
    try:
        os.unlink(path)
    except FileNotFoundError as exc:
        raise UsageError(
            f"the key {key!r} was not set by 'btplug config set'",
            fix="see where its value comes from with: btplug config show PLUGIN",
        ) from exc
    return path
