"""What a plugin is: BasePlugin and CLIPlugin; transport.py has TransportPlugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from btplug.context import Context


class BasePlugin(ABC):
    """Base of all plugins: the life of one, and its hooks.

    Every method may be written as ``async def``; it then runs in a loop of the host.

    Attributes:
        Config: A dataclass or msgspec.Struct; its defaults are the plugin's. Without
            one, `initialize` gets a read-only mapping of the ``config:`` block.
        context: Set by the host before `initialize`.
    """

    Config: ClassVar[type | None] = None
    context: Context

    # Any, here and below: authors narrow it to their Config and their options.
    @abstractmethod
    def initialize(self, config: Any) -> object:
        """Open what the plugin needs; runs once, perhaps not in the main thread."""

    @abstractmethod
    def execute(self, *args: Any, **options: Any) -> Any:
        """Do the work.

        The first argument, if any, is *data*; options arrive by name.

        Returns:
            None, text, bytes, one mapping, or an iterable of mappings or of text.
        """

    @abstractmethod
    def shutdown(self) -> object:
        """Release everything; runs once, perhaps not in the main thread."""

    def before_execute(self, data: Any) -> Any:
        """See, and perhaps replace, what goes into `execute`."""
        return data

    def after_execute(self, result: Any) -> Any:
        """See, and perhaps replace, what came out of `execute`."""
        return result


class CLIPlugin(BasePlugin):
    """A command, loaded when somebody calls it.

    Options and arguments are declared with Click's decorators on `execute`.
    """
