"""Live plugins and live servers, for as long as a ``with`` block lasts."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from btplug.config import Secret
from btplug.context import Context
from btplug.manifest import read_manifest
from btplug.message import Reply
from btplug.plugin import CLIPlugin
from btplug.registry import CLIPluginRegistry, TransportPluginRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from btplug.message import Handler, Request
    from btplug.transport import TransportPlugin


@contextmanager
def running(
    plugin: Any, /, *, context: Context | None = None, **config: object
) -> Iterator[Any]:  # the plugin, of whatever class the author gave
    """Initialise a plugin as btplug does, yield it, and shut it down.

    Args:
        plugin: Its class, or the folder with its ``config.yaml``.
        context: Of another plugin that runs: ``context=transport.context`` lets a
            command use that transport. None: one of its own.
        config: Settings; they win over what is configured elsewhere.

    Raises:
        BtplugError: It could not be started, or not be shut down.
    """
    made = context or Context()
    manifest = None if isinstance(plugin, type) else read_manifest(str(plugin))
    kind = manifest.kind if manifest else ""
    is_command = kind == "cli" or (
        isinstance(plugin, type) and issubclass(plugin, CLIPlugin)
    )
    # Any: the two registries differ in what they hold.
    registry: Any = (CLIPluginRegistry if is_command else TransportPluginRegistry)(made)
    try:
        name = _name_of(manifest or plugin, made)
        settings = made.settings
        texts = {key: _text(value) for key, value in config.items()}
        settings.overrides = {**settings.overrides, name: texts}
        registry.register_plugin(manifest or plugin)
        yield registry[name]
    finally:
        errors = registry.shut_down()
        if context is None:
            made.close()
    if errors:
        raise errors[0]


def _name_of(plugin: Any, context: Context) -> str:
    if not isinstance(plugin, type):
        return str(plugin.name)
    from btplug._loader import manifest_of

    return manifest_of(plugin, "cli").name


def _text(value: object) -> str:
    """Return *value* as it would be written after ``--set``."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, (str, Path)):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def serving(
    transport: TransportPlugin,
    handler: Handler,
    *,
    host: str = "",
    port: int = 0,
    limit: float = 10.0,
) -> Iterator[str]:
    """Serve *handler* until the ``with`` block ends; yield the URL.

    Args:
        host: Empty: the transport's default.
        limit: Seconds it may take to be ready, and to stop.

    Raises:
        RuntimeError: It took longer, or ended before it was ready.
        Exception: What `aserve` raised, at once or at its end.
    """
    told: list[str] = []
    is_ready, stop = threading.Event(), asyncio.Event()
    place: dict[str, Any] = {"host": host} if host else {}

    def ready(url: str) -> None:
        told.append(url)
        is_ready.set()

    async def serve() -> None:
        serving = asyncio.ensure_future(
            transport.aserve(handler, port=port, ready=ready, **place)
        )
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({serving, stopping}, return_when="FIRST_COMPLETED")
        stopping.cancel()
        serving.cancel()
        (ended,) = await asyncio.gather(serving, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    errors: list[BaseException] = []

    def work() -> None:
        try:
            transport.context.home.run(serve())
        except BaseException as exc:
            errors.append(exc)
        finally:
            is_ready.set()

    thread = threading.Thread(target=work, name="btplug serving", daemon=True)
    thread.start()
    try:
        is_ready.wait(limit)
        if told:
            yield told[0]
    finally:
        transport.context.home.post(stop.set)
        thread.join(limit)
    if errors:
        raise errors[0]
    if not told:
        raise RuntimeError("found a server that is not ready, expected ready(url)")
    if thread.is_alive():
        raise RuntimeError(f"found a server still at work {limit:g} s after its stop")


async def echo(request: Request) -> Reply:
    """Answer with body, media type and ``X-…`` headers of the request.

    The status is 200, or what the header ``X-Status`` says.
    """
    message = request.message
    kept = tuple(pair for pair in message.headers if pair[0].lower().startswith("x-"))
    return Reply(
        status=int(message.header("x-status") or 200),
        body=message.body,
        media_type=message.media_type,
        headers=kept,
    )


async def hang(request: Request) -> Reply:
    """Never answer; let go when who asked does."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
