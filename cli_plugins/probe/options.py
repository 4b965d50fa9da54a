"""What the words of the command line mean: --data, --method, --dialect."""

from __future__ import annotations

import re

import click

from btplug.message import read_body

# Of methods: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_data(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> str | bytes | None:
    """Return what ``--data`` means: text, a file's content, or standard input."""
    # PEERS is eager, so it is there by now.
    if text == "-" and "-" in ctx.params.get("peers", ()):
        raise click.BadParameter("stdin is read for PEERS already", ctx, option)
    return None if text is None else read_body(text)


def read_method(ctx: click.Context, option: click.Parameter, text: str) -> str:
    """Return ``--method`` in capitals, which is how every protocol writes it."""
    if text and not _TOKEN.fullmatch(text):
        raise click.BadParameter("expected a word such as PUT", ctx, option)
    return text.upper()
