"""What a Config class can be given: its fields, their types, its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

from btplug.config import Secret
from btplug.errors import ConfigError


class Field(NamedTuple):
    """A parameter of a Config class."""

    name: str
    kind: Any
    required: bool
    default: object = None
    factory: Callable[[], object] | None = None

    def made(self) -> object:
        """Return the default, made anew where it is made; its code is the plugin's."""
        return self.factory() if self.factory else self.default


def fields_of(config: type | None) -> list[Field]:
    """Return what a Config class can be given; of None, nothing.

    Raises:
        ConfigError: An annotation names what is not there at run time.
    """
    if config is None:
        return []
    from dataclasses import MISSING, InitVar

    try:
        hints = get_type_hints(config, include_extras=True)
    except NameError as exc:
        raise ConfigError(
            f"the types of {config.__name__} cannot be read ({exc})",
            fix="import the name outside 'if TYPE_CHECKING:'",
        ) from exc
    if hasattr(config, "__struct_fields__"):
        return [_of_struct(field, hints) for field in _struct_fields(config)]
    found = []
    for name, field in getattr(config, "__dataclass_fields__", {}).items():
        kind = hints[name]
        # An InitVar is a parameter though no field; its own type is inside.
        kind = kind.type if isinstance(kind, InitVar) else kind
        if get_origin(kind) is not ClassVar and kind is not ClassVar and field.init:
            factory = field.default_factory
            made = None if factory is MISSING else factory
            default = None if field.default is MISSING else field.default
            required = made is None and field.default is MISSING
            found.append(Field(name, kind, required, default, made))
    return found


def _struct_fields(config: type) -> tuple[Any, ...]:
    from msgspec import structs

    return structs.fields(config)


def _of_struct(field: Any, hints: dict[str, Any]) -> Field:
    from msgspec import NODEFAULT

    made = None if field.default_factory is NODEFAULT else field.default_factory
    default = None if field.default is NODEFAULT else field.default
    required = made is None and field.default is NODEFAULT
    return Field(field.name, hints[field.name], required, default, made)


def secret_fields(config: type | None) -> frozenset[str]:
    """Return the fields whose type is, or holds, a Secret."""
    return frozenset(f.name for f in fields_of(config) if holds_secret(f.kind))


def holds_secret(kind: Any, seen: tuple[Any, ...] = ()) -> bool:
    """Tell whether a type is Secret, or has one somewhere inside."""
    if isinstance(kind, type) and issubclass(kind, Secret):
        return True
    if kind in seen:
        return False
    inside = list(get_args(kind))
    if hasattr(kind, "__annotations__") and isinstance(kind, type):
        try:
            inside += get_type_hints(kind, include_extras=True).values()
        except NameError:
            return True  # not understood: better hidden
    return any(holds_secret(part, (*seen, kind)) for part in inside)


def _is_plain(value: object) -> bool:
    import msgspec

    try:
        msgspec.to_builtins(value)
    except (TypeError, ValueError):
        return False
    return True


def json_schema(config: type | None) -> dict[str, object]:
    """Return the JSON Schema of a plugin's configuration, for editors."""
    if config is None:
        return {"type": "object"}
    import msgspec

    def hook(kind: type) -> dict[str, object]:
        if isinstance(kind, type) and issubclass(kind, Secret):
            return {"type": "string", "writeOnly": True}
        # Anything may stand there; an empty answer msgspec takes for none.
        return {"title": kind.__name__}

    # Of a mirror: the default of a Secret is nobody's business.
    fields: list[Any] = []
    for field in fields_of(config):
        if field.required:
            fields.append((field.name, field.kind))
        elif holds_secret(field.kind) or not _is_plain(field.default):
            hidden = msgspec.field(default_factory=lambda: None)
            fields.append((field.name, field.kind, hidden))
        elif field.factory:
            made = msgspec.field(default_factory=field.factory)
            fields.append((field.name, field.kind, made))
        else:
            fields.append((field.name, field.kind, field.default))
    doc = {"__doc__": config.__doc__}
    mirror = msgspec.defstruct(config.__name__, fields, kw_only=True, namespace=doc)
    try:
        return msgspec.json.schema(mirror, schema_hook=hook)
    except (TypeError, ValueError):
        # Something deep inside has a default that JSON has not, a Secret perhaps.
        names: dict[str, object] = {field.name: {} for field in fields_of(config)}
        return {"title": config.__name__, "type": "object", "properties": names}
