"""Settings -> a plugin's checked Config object, and its JSON Schema."""

from __future__ import annotations

import re
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from btplug._fields import Field, fields_of, holds_secret, json_schema, secret_fields
from btplug.config import Secret, nearest, parse_yaml, read_bounded, shown
from btplug.errors import ConfigError, reason_of

if TYPE_CHECKING:
    from btplug.settings import Setting, Values

__all__ = ["Field", "fields_of", "json_schema", "resolve", "secret_fields"]

# Types whose values need no conversion when they have them: msgspec, which does all
# the others, costs 9 ms to import.
_PLAIN = (str, int, float, bool)


def resolve(
    config: type | None, values: Values, *, plugin: str, known: frozenset[str]
) -> object:
    """Make the object that `initialize` gets.

    Args:
        config: The plugin's Config class; None: a read-only mapping is made.
        values: Effective settings.
        known: Keys of the ``config:`` block, which stand for fields without a class.

    Raises:
        ConfigError: An unknown key, a wrong type, a missing value; with its origin,
            and never with the value of a Secret.
    """
    try:
        described = fields_of(config)
        fields = {field.name: field.kind for field in described}
    except ConfigError as exc:
        exc.plugin = plugin
        raise
    if config is None:
        fields = dict.fromkeys(known, Any)
    ready: dict[str, object] = {}
    folded = {name.lower(): name for name in fields}
    for key, setting in values.items():
        if key not in fields and setting.origin.startswith("BTPLUG_"):
            key = folded.get(key, key)  # variables are in capitals
        if key not in fields:
            raise ConfigError(
                f"{_exact(setting.origin, plugin, key, ())}: {key}: "
                "found an unknown key, expected "
                + (f"one of {', '.join(sorted(fields))}" if fields else "no settings"),
                fix=nearest(key, fields) or f"remove {key!r}",
                plugin=plugin,
            )
        ready[key] = _convert(setting, fields[key], key, plugin)
    if config is None:
        return MappingProxyType(ready)
    if missing := [f.name for f in described if f.required and f.name not in ready]:
        raise ConfigError(
            f"the configuration of {plugin} is not complete (no {missing[0]!r})",
            fix=f"set it with: btplug config set {plugin}.{missing[0]} VALUE",
            plugin=plugin,
        )
    try:
        return config(**ready)
    # Its __post_init__ may raise anything: it is the plugin's way to refuse.
    except Exception as exc:
        refused = isinstance(exc, ValueError)
        reason = str(exc) if refused else reason_of(exc)
        raise ConfigError(
            f"the configuration of {plugin} does not fit together: {reason}",
            fix=f"look at it with: btplug config show {plugin}"
            if refused
            else "mend __post_init__ of its Config",
            plugin=plugin,
        ) from exc


def _convert(setting: Setting, kind: Any, key: str, plugin: str) -> object:
    if kind in _PLAIN and type(setting.value) is kind:
        return setting.value
    if kind is float and type(setting.value) is int and abs(setting.value) < 1 << 53:
        return float(setting.value)  # msgspec would do the same: 5 ms to import
    if not setting.is_text:
        return _checked(setting, kind, key, plugin)
    text = str(setting.value)
    value = _typed(text)
    # A field that takes text gets it as it stands: a password may look like YAML.
    tries = [text, value] if _takes_text(kind) and value is not None else [value]
    for candidate in tries:
        try:
            return _checked(setting._replace(value=candidate), kind, key, plugin)
        except ConfigError:
            continue
    # The message is about what the text means, where it means a list or a mapping.
    if isinstance(value, (list, dict)):
        setting = setting._replace(value=value)
    return _checked(setting, kind, key, plugin)


def _typed(text: str) -> object:
    """Return *text* as YAML means it: a number, a list; or as it is."""
    try:
        return parse_yaml(text.encode(), where="text").data
    except ConfigError:
        return text


def _takes_text(kind: Any) -> bool:
    if kind in (Any, object):
        return False
    import msgspec

    try:
        msgspec.convert("", kind, dec_hook=_decode)
    except msgspec.ValidationError:
        return False
    return True


def _decode(kind: type, value: object) -> object:
    if not (isinstance(kind, type) and issubclass(kind, Secret)):
        raise NotImplementedError(f"a field of type {kind!r}")
    if isinstance(value, str):
        return kind(value)
    from msgspec import ValidationError

    raise ValidationError("Expected `str`")


def _checked(setting: Setting, kind: Any, key: str, plugin: str) -> object:
    if kind in (Any, object):
        return setting.value
    import msgspec

    secret = holds_secret(kind)
    try:
        _refuse_unknown(setting.value, msgspec.inspect.type_info(kind), ())
        return msgspec.convert(
            setting.value, kind, strict=not setting.is_text, dec_hook=_decode
        )
    except _UnknownKey as exc:
        path, expected, fix = exc.path, exc.expected, exc.fix
        found = "an unknown key"
    except (msgspec.ValidationError, NotImplementedError, TypeError) as exc:
        text, _, at = str(exc).partition(" - at `$")
        path = tuple(
            int(part) if part.isdigit() else part
            for part in re.findall(r"[^.\[\]`]+", at)
        )
        expected = re.sub(r"^Expected ", "", text.replace("`", ""))
        expected = re.sub(r", got .*$", "", expected)
        if expected.startswith("Invalid enum value"):
            expected = _choices(kind) or "one of its choices"
        fix = f"see the types with: btplug info {plugin} --schema"
        if "[...]" in at:
            path = _entry(setting.value, kind)
        # Where a mapping was forgotten, what stands there may be what it keeps: a key.
        found = _found(setting.value, path, secret or expected == "object")
    origin = _exact(setting.origin, plugin, key, path)
    dotted = ".".join(map(str, (key, *path)))
    raise ConfigError(
        f"{origin}: {dotted}: found {found}, expected {expected}",
        fix=fix,
        plugin=plugin,
    )


def _choices(kind: Any) -> str:
    """Return the values of a Literal, also of an optional one."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    return next(filter(None, map(_choices, get_args(kind))), "")


def _entry(value: Any, kind: Any) -> tuple[str | int, ...]:
    """Return the key of a mapping's first wrong value, which msgspec does not name."""
    import msgspec

    for key, item in value.items() if isinstance(value, dict) else ():
        try:
            msgspec.convert(item, get_args(kind)[-1], dec_hook=_decode)
        except (msgspec.ValidationError, IndexError, NotImplementedError, TypeError):
            return (key,)
    return ()


def _found(value: Any, path: tuple[str | int, ...], secret: bool) -> str:
    for part in path:
        # msgspec writes [...] where it does not name the key of a mapping.
        with suppress(LookupError, TypeError):
            value = value[part]
    return f"a value of type {type(value).__name__}" if secret else shown(value)


class _UnknownKey(Exception):
    def __init__(self, path: tuple[str | int, ...], known: list[str]) -> None:
        self.path = path
        self.expected = f"one of {', '.join(known)}"
        self.fix = nearest(str(path[-1]), known) or f"remove {path[-1]!r}"


def _refuse_unknown(value: object, info: Any, path: tuple[str | int, ...]) -> None:
    """Find keys inside *value* that no field has; msgspec passes over them."""
    from msgspec import inspect

    if isinstance(info, inspect.UnionType):
        fits = [
            t for t in info.types if hasattr(t, "fields") or hasattr(t, "item_type")
        ]
        if len(fits) == 1:
            _refuse_unknown(value, fits[0], path)
    elif isinstance(value, dict) and hasattr(info, "fields"):
        fields = {field.encode_name: field.type for field in info.fields}
        for key, inner in value.items():
            if key not in fields:
                raise _UnknownKey((*path, key), list(fields))
            _refuse_unknown(inner, fields[key], (*path, key))
    elif isinstance(value, dict) and isinstance(info, inspect.DictType):
        for key, inner in value.items():
            _refuse_unknown(inner, info.value_type, (*path, key))
    elif isinstance(value, list) and hasattr(info, "item_type"):
        for index, inner in enumerate(value):
            _refuse_unknown(inner, info.item_type, (*path, index))


def _exact(origin: str, plugin: str, key: str, path: tuple[str | int, ...]) -> str:
    """Return ``file:line`` of the very value, where *origin* is a YAML file."""
    file, colon, line = origin.rpartition(":")
    if not (colon and line.isdigit()):
        file = origin
    if not file.endswith(".yaml"):
        return origin
    try:
        document = parse_yaml(read_bounded(file, 65536, ConfigError), where=file)
    except (ConfigError, OSError):
        return origin
    for start in (("config",), ("plugins", plugin)):
        for end in range(len(path), -1, -1):
            if found := document.lines.get((*start, key, *path[:end])):
                return f"{file}:{found}"
    return origin
