"""What the words of the command line mean: --data, --method, --dialect."""

from __future__ import annotations

import os
import re

import click

# Of methods: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_data(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> str | bytes | None:
    """Return what ``--data`` means: text, a file's content, or standard input."""
    if text == "-":
        # PEERS is eager, so it is there by now.
        if "-" in ctx.params.get("peers", ()):
            raise click.BadParameter("stdin is read for PEERS already", ctx, option)
        with click.open_file("-", "rb") as file:
            content: bytes = file.read()
            return content
    if text is None or not text.startswith("@"):
        return text
    try:
        with open(os.path.expanduser(text[1:]), "rb") as file:
            return file.read()
    except OSError as exc:
        raise click.BadParameter(f"{text[1:]}: {exc.strerror}", ctx, option) from exc


def read_method(ctx: click.Context, option: click.Parameter, text: str) -> str:
    """Return ``--method`` in capitals, which is how every protocol writes it."""
    if text and not _TOKEN.fullmatch(text):
        raise click.BadParameter("expected a word such as PUT", ctx, option)
    return text.upper()
