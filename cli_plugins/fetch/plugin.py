"""Fetch what a peer has to give."""

from __future__ import annotations

from collections.abc import Iterator

import click

from btplug import CLIPlugin, Peer, Reply


class FetchPlugin(CLIPlugin):
    """Fetch URL and print the body of the reply.

    The exit code is 5 where the peer's status is not 200 to 299; the body is printed
    all the same. Status and headers are shown with -v.
    """

    def initialize(self, config: object) -> None: ...

    @click.argument("url")
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Give up after this long",
    )
    def execute(self, *, url: str, timeout: float | None = None) -> object:
        """Fetch *url*.

        Returns:
            The body, or with JSON wanted a mapping; where the status is not 200 to
            299, an iterator that gives the same and then raises BadReply.
        """
        peer = Peer.parse(url)
        reply = self.context.transport_for(peer).receive(peer, timeout=timeout)
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
