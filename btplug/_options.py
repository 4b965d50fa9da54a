"""The parameters of `execute`: what fills each of them, and its default."""

from __future__ import annotations

from enum import Enum
from inspect import Parameter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from btplug.plugin import BasePlugin

VARIADIC = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)


def click_parameters(cls: type[BasePlugin]) -> list[Any]:
    """Return what Click's decorators left on `execute`, in the order written.

    Read from the attribute, because only plugins and the command line import Click.
    """
    return list(reversed(getattr(cls.execute, "__click_params__", [])))


def data_parameter(own: Any, declared: Mapping[str, object]) -> str | None:
    """Return the parameter of execute that *data* fills.

    It is called ``data``, or is the first positional one that is no Click option.
    """
    positional = (
        Parameter.POSITIONAL_ONLY,
        Parameter.POSITIONAL_OR_KEYWORD,
        Parameter.VAR_POSITIONAL,
    )
    found = None
    for parameter in own:
        if parameter.name == "data" and parameter.kind not in VARIADIC:
            return "data"
        if found is None and parameter.kind in positional:
            found = None if parameter.name in declared else str(parameter.name)
    return found


def default_of(
    config: object, name: str, option: Any, parameter: Parameter
) -> tuple[bool, object]:
    """Return whether a parameter has a default, and which."""
    has, value = configured(config, name)
    if not has and option is not None:
        has, value = _declared_default(option)
    if not has and parameter.default is not Parameter.empty:
        has, value = True, parameter.default
    if not has and option is not None and not option.required:
        has, value = True, None
    return has, value


def configured(config: object, name: str | None) -> tuple[bool, object]:
    """Return whether a configuration has a field of that name, and its value."""
    if type(config) is MappingProxyType:
        return name in config, config.get(name)
    marks = ("__dataclass_fields__", "__struct_fields__")
    if name is None or not any(name in getattr(config, mark, ()) for mark in marks):
        return False, None
    return hasattr(config, name), getattr(config, name, None)


def has_default(option: Any) -> bool:
    """Tell whether somebody wrote a default, if only None.

    Click marks "no default" with a member of an enum that is not public.
    """
    value = option.default
    return not (isinstance(value, Enum) and value.name == "UNSET")


def by_name(parameters: Iterable[Any]) -> dict[str, Any]:
    """Return Click's parameters by name; of several, the one that is the default."""
    found: dict[str, Any] = {}
    for parameter in parameters:
        name = parameter.name
        if name not in found or _declared_default(parameter)[1]:
            found[name] = parameter
    return found


def _declared_default(option: Any) -> tuple[bool, object]:
    value = option.default
    flag = getattr(option, "is_flag", False)
    if has_default(option):
        if flag and value is True and option.type.name != "boolean":
            value = option.flag_value
        return value is not None or not option.required, value
    if getattr(option, "multiple", False) or option.nargs == -1:
        return not option.required, ()
    if getattr(option, "count", False):
        return True, 0
    plain = flag and option.type.name == "boolean"
    return plain, False if plain else None
