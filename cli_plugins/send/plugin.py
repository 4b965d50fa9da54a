"""Send one message to a peer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import click

from btplug import CLIPlugin, Message, Peer, Reply
from btplug.message import read_body

# Of methods and names of headers: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_data(
    _ctx: click.Context, _option: click.Parameter, text: str | None
) -> str | bytes | None:
    """Return what ``--data`` means: text, a file's content, or standard input."""
    return None if text is None else read_body(text)


def read_method(ctx: click.Context, option: click.Parameter, text: str) -> str:
    """Return ``--method`` in capitals, which is how every protocol writes it."""
    if text and not _TOKEN.fullmatch(text):
        raise click.BadParameter("expected a word such as PUT", ctx, option)
    return text.upper()


def read_headers(
    ctx: click.Context, option: click.Parameter, lines: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return ``--header`` lines as pairs."""
    pairs = [line.partition(":") for line in lines]
    for name, colon, value in pairs:
        good = colon and _TOKEN.fullmatch(name.strip())
        if not good or not value.strip().isprintable():
            # The line itself may be a secret whose name was forgotten.
            raise click.BadParameter("expected 'Name: value'", ctx, option)
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


class SendPlugin(CLIPlugin):
    """Send a message to URL and print the body of the reply.

    The exit code is 5 where the peer's status is not 200 to 299; the body is printed
    all the same. Status and headers are shown with -v.
    """

    def initialize(self, config: object) -> None: ...

    @click.argument("url")
    @click.option(
        "--data",
        callback=read_data,
        metavar="TEXT|@FILE|-",
        help="Body: a text, a file, or standard input",
    )
    @click.option(
        "--method",
        callback=read_method,
        default="",
        help="Instead of the transport's own",
    )
    @click.option(
        "--header",
        callback=read_headers,
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Add a header; may be repeated",
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Give up after this long",
    )
    def execute(
        self,
        data: str | bytes | Message | None = None,
        *,
        url: str,
        method: str = "",
        header: tuple[tuple[str, str], ...] = (),
        timeout: float | None = None,
    ) -> object:
        """Send *data*.

        Returns:
            The body, or with JSON wanted a mapping; where the status is not 200 to
            299, an iterator that gives the same and then raises BadReply.
        """
        peer, message = Peer.parse(url), Message.of(data)
        message = replace(
            message,
            method=method or message.method,
            headers=(*message.headers, *header),
        )
        transport = self.context.transport_for(peer)
        reply = transport.send(peer, message, timeout=timeout)
        logger = self.context.logger
        logger.info("status %d after %.3f s", reply.status, reply.seconds)
        for name, value in reply.headers:
            logger.info("%s: %s", name, value)
        json = self.context.wants_json
        result: object = {"url": url, **reply.record()} if json else reply.body
        return result if reply.ok else self._then_fail(result, reply, peer)

    def _then_fail(self, result: object, reply: Reply, peer: Peer) -> Iterator[object]:
        yield result
        reply.expect_ok(peer)

    def shutdown(self) -> None: ...
