"""Addresses, ports and URLs: helpers for transports and their authors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from btplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address
    from typing import TypeAlias

    # Tells whether a transport may connect: host and port as they were written, and
    # the IP address they stand for. It must not wait, and may be asked in any thread.
    Allow: TypeAlias = Callable[[str, int, str], bool]


def parse_url(text: str) -> str:
    """Check an absolute URL and return it, IPv6 in brackets.

    User and password in a URL are refused: URLs are logged and shown.

    Raises:
        UsageError: *text* is no absolute URL with a host; the message never holds a
            password.
    """
    from urllib.parse import urlsplit

    shown = repr(text) if "@" not in text else "one with '@' in it"
    expected = "expected scheme://host[:port][/path]"
    if text.strip() != text or not text.isprintable() or " " in text:
        raise UsageError(
            f"found the URL {shown}, expected no spaces or control characters",
            fix="percent-encode them",
        )
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname
    except ValueError as exc:
        raise UsageError(
            f"found the URL {shown}, {expected} ({exc})",
            fix="write IPv6 in brackets and the port as a number",
        ) from exc
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "found a URL with user or password, expected one without",
            fix="put the credentials into a header or the transport's configuration",
        )
    if not parts.scheme or not host or port == 0:
        raise UsageError(f"found the URL {shown}, {expected}", fix="write it in full")
    return text


def bracket(host: str) -> str:
    """Return *host* as it stands in a URL: IPv6 in brackets, all else unchanged."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def sender_of(host: str) -> str:
    """Return under what name the senders at an IP address are counted.

    Of IPv6 that is its network of 64 bits: one host has all the addresses of one.
    """
    if ":" not in host:
        return host
    from ipaddress import IPv6Address

    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.packed[:8].hex()


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open Internet.

    False for loopback, private, shared, link-local, multicast and reserved ones, for
    an IPv6 address that stands for such an IPv4 one, and for what is no address, as
    ``localhost`` or ``2130706433``: a name is looked up first.
    """
    from ipaddress import IPv6Address, ip_address

    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        carried = found.ipv4_mapped or _translated(found)
        if carried is None:
            # All else is unassigned or of one site; 6to4 and Teredo lead to any IPv4.
            tunnel = found.sixtofour is not None or found.teredo is not None
            return found.packed[0] >> 5 == 1 and found.is_global and not tunnel
        found = carried
    return found.is_global and not found.is_multicast


def _translated(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address behind a NAT64 (RFC 6052, 2.1: 64:ff9b::/96)."""
    from ipaddress import IPv4Address

    packed = address.packed
    known = packed[:12] == b"\0\x64\xff\x9b" + bytes(8)
    return IPv4Address(packed[12:]) if known else None


def parse_address(text: str, *, default_port: int | None = None) -> tuple[str, int]:
    """Split ``host:port`` or ``[ipv6]:port`` into host (without brackets) and port.

    Args:
        default_port: Used where *text* names none; None: a port is required.

    Raises:
        UsageError: *text* is neither, or the port is not 1 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        inside, closed, rest = text[1:].partition("]")
        host, colon, port = inside, rest[:1], rest[1:]
        good = bool(closed) and (rest[:1] in ("", ":"))
    else:
        if not colon:
            host, port = text, ""
        good = ":" not in host
    if not port and not colon and default_port is not None:
        port = str(default_port)
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not good or not host or not 1 <= number <= 65535:
        raise UsageError(
            f"found the address {text!r}, expected host:port or [ipv6]:port",
            fix="give a port from 1 to 65535",
        )
    return host, number


def join_url(url: str, target: str) -> str:
    """Append *target* (a path, perhaps with ``?query``) to the path of *url*.

    An empty target leaves the URL as it is; the query of *url* gives way to the
    target's own.

    Raises:
        UsageError: *target* holds spaces, control characters or a fragment.
    """
    if not target:
        return url
    # urlsplit drops line breaks without a word, and a fragment would not be sent.
    if not target.isprintable() or " " in target or "#" in target:
        raise UsageError(
            f"found the target {target[:80]!r}, "
            "expected a path and query without spaces, control characters or '#'",
            fix="percent-encode them",
        )
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    path, question, query = target.partition("?")
    joined = f"{parts.path.rstrip('/')}/{path.lstrip('/')}" if path else parts.path
    return urlunsplit(
        (parts.scheme, parts.netloc, joined, query if question else parts.query, "")
    )


# RFC 3986: what may stand in a path or query as it is; '%' begins an escape.
_SENT = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    b"-._~!$&'()*+,;=:@/?%"
)


def request_target(url: str) -> str:
    """Return path and query of *url* exactly as they are sent and signed.

    Every byte that may not stand there is percent-encoded as UTF-8; escapes that are
    there stay as they are; an empty path is ``/``.
    """
    rest = url.partition("://")[2].partition("#")[0]
    start = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=-1)
    target = rest[start:] if start >= 0 else "/"
    if not target.startswith("/"):
        target = f"/{target}"
    return "".join(
        chr(byte) if byte in _SENT else f"%{byte:02X}" for byte in target.encode()
    )


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port nobody listens on at *host*.

    Another process may take it before the caller does: where a server can be asked to
    bind port 0, that is better.
    """
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
