"""The user's own settings: config.yaml, and what ``config set`` writes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import Observation, write_atomic
from btplug.config import nearest, parse_yaml, read_bounded, shown
from btplug.errors import ConfigError, UsageError
from btplug.logs import LEVELS
from btplug.manifest import is_name

if TYPE_CHECKING:
    from btplug._folders import Folders

# Of btplug itself, with their defaults; seconds and the level of logs.
HOST: dict[str, float | str] = {
    "log_file": "",
    "log_level": "warning",
    "run_limit": 86_400.0,
    "start_limit": 5.0,
    "stop_limit": 2.0,
}

MOST_WRITTEN = 65_536  # bytes of a value


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


def read_written(path: str) -> str:
    try:
        return read_bounded(path, MOST_WRITTEN, ConfigError).decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"{path}: found bytes that are no UTF-8, expected what 'config set' wrote",
            fix="remove the file, or set the key again",
        ) from exc


def host_value(key: str, setting: Setting) -> float | str:
    """Check a setting of btplug's own against the type of its default."""
    value, default = setting.value, HOST[key]
    if isinstance(default, str):
        is_level = key == "log_level"
        if (
            isinstance(value, str)
            and "\0" not in value  # no file has one in its name
            and (value in LEVELS or not is_level)
        ):
            return value
        expected = f"one of {', '.join(LEVELS)}" if is_level else "the name of a file"
    else:
        expected = "a number of seconds above 0"
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            try:
                seconds = float(value)
            except (ValueError, OverflowError):
                seconds = 0.0
            if 0 < seconds < 1e6:
                return seconds
    raise ConfigError(
        f"{setting.origin}: {key}: found {shown(value)}, expected {expected}",
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
        return parse_user_file(path, read_bounded(path, 65536, ConfigError))
    except FileNotFoundError:
        return {}


def parse_user_file(path: str, content: bytes) -> dict[str, Values]:
    """Return what `read_user_file` does, of a file that was read before.

    Raises:
        ConfigError: It is broken; the message has file and line.
    """
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
        if key == "plugins":
            if value is not None and not isinstance(value, dict):
                raise ConfigError(
                    f"{path}:{line}: plugins: found a value of type "
                    f"{type(value).__name__}, expected a mapping",
                    fix="write a plugin's name below it, and its settings below that",
                )
            for name, block in (value or {}).items():
                where = f"{path}:{lines[('plugins', name)]}"
                if not is_name(name):
                    raise ConfigError(
                        f"{where}: plugins: found {shown(name)}, "
                        "expected the name of a plugin",
                        fix="write a plugin's name, and its settings below that",
                    )
                if block is None:
                    continue  # only comments below it
                if not isinstance(block, dict):
                    raise ConfigError(
                        # Not shown: with a blank forgotten, it holds a secret.
                        f"{where}: plugins.{name}: found a value of type "
                        f"{type(block).__name__}, "
                        "expected keys and values, as in 'key: value'",
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
    good = is_name(owner) if dot else key in HOST
    if not (good and name.isidentifier() and name.isascii() and len(name) <= 100):
        raise UsageError(
            f"found the key {shown(key.partition('=')[0])}, "
            f"expected PLUGIN.KEY or one of {', '.join(HOST)}",
            fix=nearest(key, HOST) or "see the keys with: btplug config show PLUGIN",
        )
    path = os.path.join(home.written(owner or "_btplug"), name)
    if text is not None:
        if not dot:
            try:
                host_value(name, Setting(text, "config set", is_text=True))
            except ConfigError as exc:
                raise UsageError(exc.what, fix=exc.fix) from exc
        try:
            content = text.encode()
        except UnicodeEncodeError as exc:
            raise UsageError(
                f"{key}: found a value that is no Unicode text",
                fix="set it in a terminal that uses UTF-8",
            ) from exc
        if len(content) > MOST_WRITTEN:
            raise UsageError(
                f"{key}: found a value of more than {MOST_WRITTEN:,} bytes, "
                "expected at most that",
                fix="put it into a file of its own, and the file's name here",
            )
        write_atomic(path, content)
        return path
    try:
        os.unlink(path)
        with suppress(OSError):  # there are other keys of that plugin
            os.rmdir(os.path.dirname(path))
    except FileNotFoundError as exc:
        raise UsageError(
            f"the key {key!r} was not set by 'btplug config set'",
            fix="see where its value comes from with: btplug config show PLUGIN",
        ) from exc
    return path
