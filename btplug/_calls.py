"""Calling a plugin: its options, its errors, its limits, its async forms."""

from __future__ import annotations

import threading
from inspect import Parameter, signature
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from btplug._loader import place
from btplug._options import (
    VARIADIC,
    by_name,
    click_parameters,
    configured,
    data_parameter,
    default_of,
)
from btplug.config import nearest
from btplug.errors import (
    BtplugError,
    PluginExit,
    PluginFailed,
    PluginTimeout,
    Terminated,
    UsageError,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from btplug._loop import HomeLoop
    from btplug.manifest import Manifest
    from btplug.plugin import BasePlugin

R = TypeVar("R")

# What passes through a plugin's code unchanged.
_PASSED = (BtplugError, PluginExit, KeyboardInterrupt, Terminated)


class Call:
    """What `execute_plugin` does once a plugin is live; prepared, because it is hot.

    Attributes:
        data_name: Parameter that *data* fills; None where execute takes no data.
        defaults: Options that were not given, by name.
    """

    __slots__ = (
        "_after", "_before", "_data_default", "_execute", "_factories", "_known",
        "_position", "_required", "_root", "data_name", "defaults", "loop", "name",
    )  # fmt: skip

    def __init__(
        self, plugin: BasePlugin, config: object, manifest: Manifest, loop: HomeLoop
    ) -> None:
        self.name, self._root, self.loop = manifest.name, manifest.root, loop
        self._before, self._after = plugin.before_execute, plugin.after_execute
        self._execute = plugin.execute
        declared = by_name(click_parameters(type(plugin)))
        own = signature(plugin.execute).parameters
        self.data_name = data_parameter(own.values(), declared)
        kind = own[self.data_name].kind if self.data_name else None
        self._position = kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
        self.defaults: dict[str, object] = {}
        self._factories: dict[str, Callable[[], object]] = {}
        required = []
        for name, parameter in own.items():
            if name == self.data_name or parameter.kind in VARIADIC:
                continue
            has, value = default_of(config, name, declared.get(name), parameter)
            if not has:
                required.append(name)
            elif callable(value) and name in declared:
                self._factories[name] = value
            else:
                self.defaults[name] = value
        open_ended = any(p.kind is Parameter.VAR_KEYWORD for p in own.values())
        names = {*self.defaults, *self._factories, *required}
        self._known = None if open_ended else names
        self._required = tuple(required)
        given = self.data_name in declared and configured(config, self.data_name)
        self._data_default = given[1] if given else None

    def __call__(self, data: object, options: Mapping[str, object]) -> Any:
        """Run the hooks and execute; see `PluginRegistry.execute_plugin`."""
        if options or self._known:
            options = self._completed(options)
        if data is None:
            data = self._data_default
        try:
            data = self._before(data)
            if type(data) is CoroutineType:
                data = self.loop.run(data)
            if self.data_name is None:
                if data is not None:
                    raise UsageError(
                        f"{self.name} takes no data",
                        fix="pass options only",
                        plugin=self.name,
                    )
                result = self._execute(**options)
            elif self._position:
                result = self._execute(data, **options)
            else:
                result = self._execute(**{self.data_name: data}, **options)
            if type(result) is CoroutineType:
                result = self.loop.run(result)
            if hasattr(result, "__aiter__"):
                result = self.loop.iterate(aiter(result))
            result = self._after(result)
            if type(result) is CoroutineType:
                result = self.loop.run(result)
        except (BtplugError, PluginExit) as exc:
            exc.plugin = exc.plugin or self.name
            raise
        except _PASSED:
            raise
        except BaseException as exc:
            raise failure(exc, self.name, self._root) from exc
        if hasattr(result, "__aiter__"):  # of the hook
            result = self.loop.iterate(aiter(result))
        return self._watched(result) if hasattr(result, "__next__") else result

    def finish(self, result: object) -> object:
        """Wait for what an ``async def`` of the plugin returned."""
        return self.loop.run(result) if type(result) is CoroutineType else result

    def _watched(self, items: Iterator[object]) -> Iterator[object]:
        """Turn what a plugin raises while it is iterated into PluginFailed."""
        try:
            yield from items
        # GeneratorExit: nobody wants the rest.
        except (*_PASSED, GeneratorExit):
            raise
        except BaseException as exc:
            raise failure(exc, self.name, self._root) from exc

    def _completed(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """Check the options that were given and add those that were not."""
        if self._known is not None:
            for name in options:
                if name not in self._known:
                    known = sorted(self._known)
                    raise UsageError(
                        f"{self.name}: found the option {name!r}, expected "
                        + (f"one of {', '.join(known)}" if known else "none"),
                        fix=nearest(name, known) or "leave it out",
                        plugin=self.name,
                    )
        for name in self._required:
            if name not in options:
                raise UsageError(
                    f"{self.name}: found no option {name!r}, expected a value",
                    fix=f"pass {name}=…",
                    plugin=self.name,
                )
        made = {n: f() for n, f in self._factories.items() if n not in options}
        return {**self.defaults, **made, **options}


def failure(
    exc: BaseException,
    name: str,
    root: str,
    error: type[BtplugError] = PluginFailed,
    what: str = "",
) -> BtplugError:
    """Make our error from what a plugin raised; chain it with ``from``."""
    if isinstance(exc, SystemExit):
        reason = f"it called exit with {exc.code!r}"
    else:
        reason = reason_of(exc)
    fix = "see the traceback with BTPLUG_DEBUG=1"
    if isinstance(exc, SystemExit):
        fix = "return, or raise btplug.PluginExit(CODE) to choose the exit code"
    return error(
        f"{what or f'{name} failed'}: {reason}",
        where=place(exc, root),
        fix=fix,
        plugin=name,
    )


def guarded(
    work: Callable[[], R], manifest: Manifest, error: type[BtplugError], what: str
) -> R:
    """Run plugin code; what it raises becomes *error*, ours passes unchanged."""
    try:
        return work()
    except BtplugError:
        raise
    # Interrupts as well: signals reach the main thread, and this is another.
    except BaseException as exc:
        raise failure(exc, manifest.name, manifest.root, error, what) from exc


class Timed(Generic[R]):
    """Work in a daemon thread, for which somebody waits only so long."""

    def __init__(self, work: Callable[[], R], name: str) -> None:
        self._work, self._name = work, name
        self._done: list[R] = []
        self._raised: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, name=f"btplug: {name}", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except BaseException as exc:
            self._raised.append(exc)

    def result(
        self, limit: float, left: float, doing: Callable[[], str], setting: str
    ) -> R:
        """Wait until *limit* seconds are over, of which *left* are left.

        Args:
            doing: Says, when it is too late, what was not done.
            setting: Name of the limit.

        Raises:
            PluginTimeout: It is not done by then; the thread is left to itself.
        """
        self._thread.join(max(0.0, left))
        if self._raised:
            # The frames of the other thread stay in its traceback.
            raise self._raised[0]
        if not self._done:
            raise PluginTimeout(
                f"{self._name} {doing()} in {limit:g} s",
                fix="mend it, or wait longer: "
                f"btplug config set {setting} {max(30, 2 * limit):g}",
            )
        return self._done[0]
