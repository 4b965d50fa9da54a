"""A neuron in one line: answer whoever asks, with a handler that is built in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import click

from btplug import CLIPlugin, Message, Reply, Request, UsageError

if TYPE_CHECKING:
    import asyncio

    from btplug.message import Handler
    from btplug.serving import Application, Server


async def echo(request: Request) -> Message:
    """Answer with the body that came."""
    return request.message


def status() -> Handler:
    """Return a handler that says how it does, and whom it sees."""
    begun, asked = time.monotonic(), 0

    async def answer(request: Request) -> Reply:
        import json

        nonlocal asked
        asked += 1
        seconds = round(time.monotonic() - begun, 3)
        shown = {"seconds": seconds, "requests": asked, "hotkey": request.hotkey}
        body = json.dumps(shown).encode()
        return Reply(status=200, body=body, media_type="application/json")

    return answer


class ServePlugin(CLIPlugin):
    """Answer requests at HOST and PORT until Ctrl-C or SIGTERM.

    HANDLER is echo (the body comes back) or status (JSON: seconds, requests, hotkey).
    Without --key and --dialect, what the settings of the HTTP transport say. A stop
    finishes what has begun.
    """

    def initialize(self, config: object) -> None: ...

    @click.argument("handler", type=click.Choice(["echo", "status"]))
    @click.option(
        "--dialect",
        type=click.Choice(["none", "btauth/1", "v10"]),
        multiple=True,
        help="Who may ask how; may be repeated. With a key: btauth/1",
    )
    @click.option(
        "--key", metavar="KEY", help="wallet/hotkey, a hotkey file, or //Alice"
    )
    @click.option("--host", default="127.0.0.1", show_default=True, help="Address")
    @click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        help="0, or none given: a free one",
    )
    @click.option(
        "--allow",
        multiple=True,
        metavar="HOTKEY",
        help="Answer this one only; may be repeated",
    )
    def execute(
        self,
        *,
        handler: str,
        dialect: tuple[str, ...] = (),
        key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        allow: tuple[str, ...] = (),
    ) -> Iterator[dict[str, object]]:
        """Serve.

        Returns:
            An iterator that gives, once requests are taken, the URL, the hotkey and
            the dialects, and ends when the server does.
        """
        chosen = echo if handler == "echo" else status()
        app, facts = self._application(chosen, dialect, key, allow)
        server = cast("Server", self.context.transports["http"])
        return self._serve(server, app, facts, handler, (host, port))

    def _application(
        self,
        handler: Handler,
        names: tuple[str, ...],
        key: str | None,
        allow: tuple[str, ...],
    ) -> tuple[Handler | Application, dict[str, object]]:
        """Return what is to be served, and what can be told of it."""
        if key is not None and not key.strip():
            # Of an unset variable, perhaps: it must not let everybody in.
            raise UsageError(
                "found an empty --key, expected wallet/hotkey, a hotkey file or //Name",
                fix="name the key, or leave --key out to answer whoever asks",
            )
        names = names or (("btauth/1",) if key else ())
        signed = [name for name in names if name != "none"]
        if signed and not key:
            raise UsageError(
                f"found --dialect {signed[0]} without a key",
                fix="add --key wallet/hotkey, which the requests must be for",
            )
        if allow and not signed:
            raise UsageError(
                "found --allow where nobody has to prove who asks",
                fix="add --key wallet/hotkey",
            )
        if not names:
            return handler, {"hotkey": None, "dialects": None}
        from btplug.dialects import create, load_signer
        from btplug.serving import application

        signer = load_signer(key, password=self._password) if key else None
        app = application(
            handler,
            dialects=[create(name, key=signer) for name in dict.fromkeys(names)],
            allow=frozenset(allow) if allow else None,
            logger=self.context.logger,
        )
        hotkey = signer.hotkey if signer else None
        return app, {"hotkey": hotkey, "dialects": list(app.dialects)}

    def _serve(
        self,
        server: Server,
        app: Handler | Application,
        facts: dict[str, object],
        name: str,
        place: tuple[str, int],
    ) -> Iterator[dict[str, object]]:
        work = self.context.work
        # Patient: the server keeps a limit of its own for what has begun.
        task, url = work.run(_started(server, app, *place), patient=True)
        try:
            if self.context.wants_json:
                yield {"url": url, "handler": name, **facts}
            else:
                with suppress(OSError):  # nobody reads stderr
                    click.echo(f"serving {name} at {url}", err=True)
            work.run(_ended(task), patient=True)
        finally:
            work.run(_stopped(task), patient=True)

    def _password(self) -> str:
        return self.context.ask("Password of the hotkey file", secret=True)

    def shutdown(self) -> None: ...


async def _started(
    server: Server, app: Handler | Application, host: str, port: int
) -> tuple[asyncio.Task[None], str]:
    """Return the task of a server that takes requests, and its URL."""
    import asyncio

    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def ready(url: str) -> None:  # called in the loop of the transport
        loop.call_soon_threadsafe(found.set_result, url)

    task = asyncio.ensure_future(server.aserve(app, host=host, port=port, ready=ready))
    try:
        either: set[asyncio.Future[Any]] = {task, found}  # of two types
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task, await found
    except BaseException:
        await _stopped(task)
        raise


async def _ended(task: asyncio.Task[None]) -> None:
    await task


async def _stopped(task: asyncio.Task[None]) -> None:
    import asyncio

    task.cancel()
    await asyncio.wait({task})
