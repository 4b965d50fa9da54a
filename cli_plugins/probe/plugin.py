"""Ask many peers at once and say how they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import click

from btplug import BtplugError, CLIPlugin, Message, Outcome, Peer, UsageError
from btplug.network import join_url

from .options import read_data, read_method
from .peers import FORMATS, read_peers
from .report import SORTS, Row, Tally, check_sort, in_order, needed, table

if TYPE_CHECKING:
    from btplug import Transport


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """Settings of the probe.

    Attributes:
        timeout: Seconds for each peer, from the start of its turn.
        limit: Peers that are asked at once.
        max_peers: In all of PEERS together; a file may have that many KiB.
    """

    timeout: float = 5.0
    limit: int = 512
    max_peers: int = 65536


class ProbePlugin(CLIPlugin):
    """Ask all PEERS at once and show how each is.

    PEERS are peers (http://host:port/path, host:port, hotkey@host:port; IPv6 in
    brackets), files, or - for stdin. A file has one peer a line (# begins a comment),
    or it is CSV, JSON or JSON Lines, told by its ending, how it begins, or --format,
    with the keys url, or ip and port, and hotkey. All are read before the first is
    asked.

    A peer answered if its status was 200 to 299. Where it has a hotkey the request is
    signed for that one, and a server with another key refuses it; but btauth/1 and v10
    do not sign replies, so one that checks nothing is not found out. How many answered,
    and how fast, is one line on stderr. The exit code is 5 where fewer than --quorum
    did; the rows are shown all the same.

    With --json there is one object a line, each as soon as its peer is done.
    """

    Config = ProbeConfig

    def initialize(self, config: ProbeConfig) -> None:
        self._open: set[Callable[[], None]] = set()

    @click.argument("peers", nargs=-1, required=True, is_eager=True, metavar="PEERS...")
    @click.option(
        "--format",
        type=click.Choice(list(FORMATS)),
        help="What the files are, where neither ending nor beginning tells.",
    )
    @click.option(
        "--data",
        callback=read_data,
        metavar="TEXT|@FILE|-",
        help="Body: a text, a file, or standard input.",
    )
    @click.option(
        "--method",
        callback=read_method,
        default="",
        help="Instead of the transport's own.",
    )
    @click.option(
        "--target",
        "--path",
        "target",
        default="",
        metavar="PATH",
        help="Appended to the path of every peer.",
    )
    @click.option(
        "--dialect",
        metavar="NAME",
        help="How all peers prove who they are, instead of the transport's default: "
        "none, btauth/1 or v10.",
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        show_default=True,
        help="For each peer.",
    )
    @click.option(
        "--deadline",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="For all together.",
    )
    @click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        show_default=True,
        help="Ask N at once.",
    )
    @click.option(
        "--quorum",
        default="1",
        metavar="N|N%",
        show_default=True,
        help="How many have to answer; 0 for none.",
    )
    @click.option(
        "--sort",
        metavar="[-]KEY",
        help=f"Order by {', '.join(SORTS)}; with -, downwards. Without it a table has "
        "the order given, and JSON that in which peers are done.",
    )
    @click.option(
        "--max-peers",
        type=click.IntRange(min=1),
        metavar="N",
        show_default=True,
        help="Refuse more than N peers, and a file of more than N KiB.",
    )
    def execute(
        self,
        data: str | bytes | Message | None = None,
        *,
        peers: str | Peer | Iterable[str | Peer],
        format: str | None = None,
        method: str = "",
        target: str = "",
        dialect: str | None = None,
        timeout: float = 5.0,
        deadline: float | None = None,
        limit: int = 512,
        quorum: str | int = "1",
        sort: str | None = None,
        max_peers: int = 65536,
    ) -> Iterator[str | Row]:
        """Send *data* to all *peers*; nothing is sent before the result is read.

        Returns:
            An iterator of mappings where JSON is wanted, else of one text, the table.
            After them it raises QuorumMissed where too few peers answered.

        Raises:
            UsageError: An option or a peer is wrong.
        """
        if format is not None and format not in FORMATS:
            raise UsageError(
                f"--format: found {format!r}, expected one of {', '.join(FORMATS)}",
                fix="choose one of them",
            )
        if sort is not None:
            check_sort(sort)
        given = (peers,) if isinstance(peers, (str, Peer)) else peers
        asked = read_peers(given, format, max_peers)
        if dialect is not None:
            _check_dialect(dialect)
            asked = [replace(peer, dialect=dialect) for peer in asked]
        tally = Tally(len(asked), needed(quorum, len(asked)))
        message = Message.of(data)
        message = replace(
            message, method=method or message.method, target=target or message.target
        )
        join_url(asked[0].url, message.target)  # a wrong target is nobody's failure
        outcomes = self._outcomes(asked, message, timeout, deadline, limit)
        return self._shown(outcomes, tally, len(asked), sort)

    def shutdown(self) -> None:
        while self._open:
            self._open.pop()()

    def _outcomes(
        self,
        peers: list[Peer],
        message: Message,
        timeout: float,
        deadline: float | None,
        limit: int,
    ) -> Generator[Outcome, None, None]:
        many = self._transport(peers).send_many(
            peers, message, timeout=timeout, deadline=deadline, limit=limit
        )
        self._open.add(many.close)
        try:
            with many:
                yield from many
        finally:
            self._open.discard(many.close)

    def _transport(self, peers: list[Peer]) -> Transport:
        """Return the transport of all peers, or one made of several."""
        from .mixed import Mixed, scheme_of

        found: dict[str, Transport | BtplugError] = {}
        for peer in peers:
            scheme = scheme_of(peer)
            if scheme not in found:
                try:
                    found[scheme] = self.context.transport_for(peer)
                except BtplugError as exc:
                    found[scheme] = exc
        first, *others = found.values()
        if not isinstance(first, BtplugError) and all(one is first for one in others):
            return first
        mixed = Mixed(found)
        mixed.context = self.context
        return cast("Transport", mixed)

    def _shown(
        self,
        outcomes: Generator[Outcome, None, None],
        tally: Tally,
        total: int,
        sort: str | None,
    ) -> Iterator[str | Row]:
        json = self.context.wants_json
        # Also where a row cannot be written: `| head` must not leave peers waiting.
        with closing(outcomes):
            if json and sort is None:
                # The rows themselves tell how far it is.
                yield from map(tally.row, outcomes)
            else:
                done = self.context.progress(outcomes, label="Probing", total=total)
                rows = in_order([tally.row(one) for one in done], sort or "index")
                yield from rows if json else [table(rows)]
        self._say(tally)
        tally.check()

    def _say(self, tally: Tally) -> None:
        """Tell the summary: a command line on stderr, others in the log."""
        import logging

        logger = self.context.logger
        if click.get_current_context(silent=True) is None:
            logger.info("%s", tally.sentence())
        elif logger.isEnabledFor(logging.WARNING):
            with suppress(OSError):  # nobody reads stderr
                click.echo(self._line(tally), sys.stderr)

    def _line(self, tally: Tally) -> str:
        if not self.context.wants_json:
            return tally.sentence()
        import json

        # What all lines on stderr have while the result is JSON, and the figures.
        line = {"level": "info", "what": tally.sentence(), "where": None, "fix": None}
        rest = {"plugin": self.context.plugin, "exit_code": 0}
        return json.dumps({**line, **rest, **tally.figures()})


def _check_dialect(name: str) -> None:
    from btplug.config import nearest
    from btplug.dialects.chosen import NAMES

    if name not in NAMES:
        raise UsageError(
            f"--dialect: found {name!r}, expected one of {', '.join(NAMES)}",
            fix=nearest(name, NAMES) or "choose one of them",
        )
