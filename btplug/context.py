"""What plugins are handed: the one shared context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from btplug._lending import Transports
from btplug._loop import HomeLoop
from btplug.errors import (
    BtplugError,
    UsageError,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from btplug.message import Peer
    from btplug.settings import Settings
    from btplug.transport import Transport

T = TypeVar("T")


def nobody(question: str) -> UsageError:
    """Make the error of a question that nobody can answer."""
    return UsageError(
        f"nobody can be asked: {question}",
        fix="give the answer as an option or in the configuration",
    )


class Screen:
    """What the host draws for a plugin; this one, of a library, draws nothing."""

    def status(self, text: str) -> AbstractContextManager[object]:
        from contextlib import nullcontext

        return nullcontext()

    def progress(
        self, items: Iterable[T], label: str, total: int | None
    ) -> Iterator[T]:
        return iter(items)

    def ask(self, question: str, default: str | None, secret: bool) -> str:
        if default is not None:
            return default
        raise nobody(question)

    def confirm(self, question: str, default: bool | None) -> bool:
        if default is not None:
            return default
        raise nobody(question)


class _Shared:
    """What all views of one context have in common."""

    __slots__ = ("home", "screen", "settings", "transports", "wants_json", "work")

    def __init__(
        self,
        settings: Settings | None,
        screen: Screen | None,
        transports: Transports | None,
    ) -> None:
        from btplug.settings import Settings as Default

        self.settings = settings or Default()
        self.transports = Transports() if transports is None else transports
        self.home = HomeLoop("btplug home loop")
        self.work = HomeLoop("btplug plugin loop")
        self.screen = screen or Screen()
        self.wants_json = False


class Context:
    """Shared by all plugins of a run; each sees it with its own logger and folder.

    Attributes:
        plugin: Name of the plugin that was handed this view, or ``""``.
    """

    __slots__ = ("_place", "_shared", "plugin")

    def __init__(
        self,
        settings: Settings | None = None,
        screen: Screen | None = None,
        transports: Transports | None = None,
    ) -> None:
        self._shared = _Shared(settings, screen, transports)
        self.plugin, self._place = "", ("", "")

    def bound(self, plugin: str, *, source: str = "", root: str = "") -> Context:
        """Return the same context as *plugin* sees it.

        Args:
            source: Kind of place it was found in, as its manifest has it.
            root: Its folder.
        """
        view = object.__new__(Context)
        view._shared = self._shared
        view.plugin = plugin
        view._place = source, root
        return view

    @property
    def transports(self) -> Transports:
        """The started transports by name."""
        return self._shared.transports

    def transport_for(self, target: Peer | str) -> Transport:
        """Return the transport that serves the scheme of a peer or URL.

        Raises:
            Unsupported: None does.
            PluginError: None does, and one did not start: the reason is raised.
        """
        url = target if isinstance(target, str) else target.url
        scheme, found, _ = url.partition("://")
        if not found:
            raise UsageError(
                f"found {url!r}, expected a URL such as http://host:port",
                fix="put the scheme in front",
            )
        return self._shared.transports.for_scheme(scheme.lower())

    @property
    def settings(self) -> Settings:
        """The layered settings of this run."""
        return self._shared.settings

    @property
    def wants_json(self) -> bool:
        """True where the result will be printed as JSON: return records, not text."""
        return self._shared.wants_json

    @wants_json.setter
    def wants_json(self, value: bool) -> None:
        self._shared.wants_json = value

    @property
    def logger(self) -> logging.Logger:
        """The plugin's logger; records go to stderr or the log file."""
        from btplug.logs import get_logger

        self._shared.settings.set_up_logs()
        return get_logger(self.plugin)

    @property
    def state_dir(self) -> str:
        """The plugin's own folder for what it keeps, made when first asked for."""
        try:
            home, plugin = self._shared.settings.home, self.plugin or "btplug"
            return home.state(plugin, *self._place)
        except OSError as exc:
            raise BtplugError(
                f"the folder for a plugin's state cannot be made ({exc.strerror})",
                where=exc.filename,
                fix="make the folder writable, or choose another with BTPLUG_HOME",
            ) from exc

    @property
    def home(self) -> HomeLoop:
        """The loop in which everything async of transports lives."""
        return self._shared.home

    @property
    def work(self) -> HomeLoop:
        """The loop of async CLI plugins: not home, so sync sends in it just wait."""
        return self._shared.work

    def close(self) -> None:
        """End the loops; the host calls it after the last shutdown."""
        self._shared.work.close()
        self._shared.home.close()

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show *text* on the terminal while the ``with`` block runs."""
        return self._shared.screen.status(text)

    def progress(
        self, items: Iterable[T], *, label: str = "", total: int | None = None
    ) -> Iterator[T]:
        """Yield from *items* and draw how far it is; *total* where it has no length."""
        return self._shared.screen.progress(items, label, total)

    def ask(
        self, question: str, *, default: str | None = None, secret: bool = False
    ) -> str:
        """Ask the operator; without a terminal *default*, or a UsageError."""
        return self._shared.screen.ask(question, default, secret)

    def confirm(self, question: str, *, default: bool | None = None) -> bool:
        """Ask yes or no; without a terminal *default*, or a UsageError."""
        return self._shared.screen.confirm(question, default)
