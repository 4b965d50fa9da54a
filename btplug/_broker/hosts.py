"""Whom a confined plugin's messages may reach."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from btplug.errors import NotAllowed
from btplug.network import bracket, is_public

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    Network = IPv4Network | IPv6Network

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
_LONGEST = 253  # characters of a name; RFC 1035, 2.3.4
_LONGEST_URL = 65_536  # characters; Python's urlsplit remembers 128 of them
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class _Rule(NamedTuple):
    """One line of the permissions.

    Attributes:
        name: In lower case; ``.domain`` for all below it; empty for a network.
        port: None: any.
    """

    name: str
    network: Network | None
    port: int | None


class Hosts:
    """The hosts that were permitted.

    A name permits the public addresses it stands for, at the moment of connecting;
    ``localhost`` those of this machine. Any other address, of a private network for
    one, has to be named itself: a name of somebody else's could lead there.

    Args:
        rules: ``any`` (every address, and names of public ones), or hosts: a name, an
            address, a network, ``*.domain``, each but the last two also with ``:port``;
            none at all: nothing.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self._shown = [*rules]
        self._any = "any" in self._shown
        self._rules = [_rule(text) for text in self._shown if text != "any"]

    def check(self, url: str) -> str:
        """Return ``host:port`` of a URL that may be sent to, by its name alone.

        Raises:
            NotAllowed: It may not.
        """
        if len(url) > _LONGEST_URL:
            raise _too_long("URL", len(url), _LONGEST_URL)
        try:
            parts = urlsplit(url)
            host, port, netloc = parts.hostname or "", parts.port, parts.netloc
        except ValueError:
            host, port, netloc = "", None, "@"
        host = host.rstrip(".")
        if len(host) > _LONGEST:
            raise _too_long("host", len(host), _LONGEST)
        port = port or PORTS.get(url.partition("://")[0].lower(), 0)
        place = f"{_shown(host)}:{port}"
        if not self._any:
            literal = _address(host)
            # Nothing that two parsers of URLs could read differently.
            clean = "@" not in netloc and (
                literal is not None or (host and set(host) <= _NAME)
            )
            if not clean or not any(
                _names(rule, host, literal, port) for rule in self._rules
            ):
                raise self._refused(place if clean else repr(url[:80]))
        return place

    def allows(self, host: str, port: int, address: str) -> bool:
        """Tell whether a transport may connect to *address*, found for *host*."""
        found, literal = _address(address), _address(host)
        if found is None:
            return False
        name = host.lower().rstrip(".")
        if self._any:
            # A name of somebody else could lead into a private network.
            local = name == "localhost" and found.is_loopback
            return local or literal is not None or is_public(address)
        for rule in self._rules:
            if rule.port not in (None, port):
                continue
            there = rule.network is not None and _within(found, rule.network)
            if there and (literal is not None or self._named(name, port)):
                return True
            if rule.name and literal is None and _names(rule, name, None, port):
                local = rule.name == "localhost" and found.is_loopback
                if local or is_public(address):
                    return True
        return False

    def _named(self, name: str, port: int) -> bool:
        return any(_names(rule, name, None, port) for rule in self._rules)

    def _refused(self, place: str) -> NotAllowed:
        only = ", ".join(self._shown[:8]) or "none"
        return NotAllowed(
            f"the plugin may not reach {place}; its permissions name: {only}",
            fix="add the host to 'permissions: network:' in the plugin's config.yaml, "
            "and trust it again",
            delivered=False,
        )


def _shown(host: str) -> str:
    """Return a host as it stands in the log of runs, where ``9 more`` is none."""
    if set(host) <= _NAME:
        return host
    if _address(host) is not None:
        return bracket(host)
    return "".join(
        one if one.isalnum() or one in _NAME else quote(one, errors="replace")
        for one in host
    )


def _too_long(what: str, length: int, most: int) -> NotAllowed:
    return NotAllowed(
        f"found a {what} of {length:,} characters, expected {most:,} at most",
        fix="correct the URL",
        delivered=False,
    )


def names_one(text: str) -> bool:
    """Tell whether a rule permits one host only, whatever it looks like."""
    rule = _rule(text)
    if rule.network is not None:
        return rule.network.num_addresses == 1
    return text != "any" and "*" not in text and not rule.name.startswith(".")


def _names(
    rule: _Rule, host: str, literal: IPv4Address | IPv6Address | None, port: int
) -> bool:
    if rule.port not in (None, port):
        return False
    if rule.network is not None:
        return literal is not None and _within(literal, rule.network)
    if rule.name.startswith("."):
        return literal is None and host.endswith(rule.name) and host != rule.name
    return host == rule.name


def _rule(text: str) -> _Rule:
    lower = text.lower()
    try:
        return _Rule("", ip_network(lower, strict=False), None)
    except ValueError:
        pass
    host, colon, digits = lower.rpartition(":")
    port = int(digits) if colon and digits.isascii() and digits.isdigit() else None
    if port is None:
        host = lower
    host = host.removeprefix("[").removesuffix("]").rstrip(".")
    literal = _address(host)
    if literal is not None:
        return _Rule("", ip_network(literal), port)
    return _Rule(host.removeprefix("*"), None, port)


def _within(address: IPv4Address | IPv6Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.strip("[]"))
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        # It is the same machine by another name.
        carried = found.ipv4_mapped
        if carried is None and found.packed[:12] == b"\0\x64\xff\x9b" + bytes(8):
            return ip_address(found.packed[12:])
        if carried is None and (found.sixtofour or found.teredo or found.scope_id):
            return None
        return carried or found
    return found
