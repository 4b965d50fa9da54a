"""The settings of the transport; every limit stands here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from btplug import Secret

_NONE = Secret("")


# Not frozen with slots: this is defined at every start, and that doubles its cost.
@dataclass(eq=False)
class HTTPConfig:
    """What may be set under ``http:``.

    Attributes:
        timeout: Seconds for a whole message where the caller gives no limit.
        max_body: Bytes of a reply's body, as it arrives and after decompression.
        max_held: Bytes of replies that may be on their way at once, in the async form;
            of several peers the one that has sent most is given up. 0: a quarter of
            the machine's memory.
        max_head: Bytes of a reply's status line and headers, ``100 Continue`` included.
        max_headers: Number of headers of a reply.
        connections: Connections open at once, for the sync and the async form each;
            twice the turns of `send_many`, so that who is asked again finds his own.
        keep_alive: Seconds an idle connection is kept. Servers close theirs after 2
            to 75 s; staying below that is what keeps a POST from meeting a closed one.
        ca_file: PEM file of the authorities to trust; empty: those of certifi.
        proxy: ``http://host:port``; empty for none.
        proxy_auth: ``user:password`` for the proxy.
        dialect: How peers with a hotkey are spoken to, unless they say otherwise.
        dialects: Key and options of each: ``btauth/1: {key: wallet/hotkey}``.
        serve: Who may ask, ``allow`` and ``deny``, lists of hotkeys; and limits of
            `serve`, by the names of `btplug.serving.Limits`.
        dangerously_skip_tls_verification: Believe any certificate: whoever sits on
            the way can then read and change everything.
    """

    timeout: float = 12.0
    max_body: int = 64 * 1024 * 1024
    max_held: int = 0
    max_head: int = 64 * 1024
    max_headers: int = 200
    connections: int = 1024
    keep_alive: float = 1.5
    ca_file: str = ""
    proxy: str = ""
    proxy_auth: Secret = _NONE
    dialect: str = "btauth/1"
    # Any: what `btplug.dialects.create` takes, and checks.
    dialects: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Any: what `btplug.serving.Limits` takes, and checks.
    serve: dict[str, Any] = field(default_factory=dict)
    dangerously_skip_tls_verification: bool = False

    def __post_init__(self) -> None:
        for name in ("timeout", "max_body", "max_head", "max_headers", "connections"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} is {value}, expected more than 0")
        for name in ("keep_alive", "max_held"):
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"{name} is {value}, expected 0 or more")
        if self.ca_file and not os.path.isfile(self.ca_file):
            raise ValueError(f"ca_file is {self.ca_file!r}, expected a file")
        if "@" in self.proxy:
            raise ValueError("proxy holds a password, expected it in proxy_auth")
        if self.proxy and not _is_url(self.proxy):
            raise ValueError(f"proxy is {self.proxy!r}, expected http://host:port")


def _is_url(text: str) -> bool:
    from btplug.errors import UsageError
    from btplug.network import parse_url

    try:
        return parse_url(text).startswith("http://")
    except UsageError:
        return False
