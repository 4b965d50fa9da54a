"""Addresses, ports and URLs."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug.errors import UsageError
from btplug.network import (
    bracket,
    free_port,
    is_public,
    join_url,
    parse_address,
    parse_url,
    request_target,
    sender_of,
)


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "http://host:8080/path?query#fragment",
        "https://[::1]:443/",
        "memory://name",
        "http://127.0.0.1:65535",
    ],
)
def test_a_whole_url_is_returned_as_it_is(url):
    assert parse_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "host", "//host", "http://", "http:///path", "http://host:0",
        "http://host:65536", "http://host:x", "http://[::1", "http://a b",
        " http://host", "http://host\n", "http://host/\x1b[31m", "http://ho\rst",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(url):
    with pytest.raises(UsageError) as caught:
        parse_url(url)

    assert caught.value.fix
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:pa55@host/", "http://pa55@host", "http://host\\@pa55.org/",
        "http://me:pa55@host:99999/", "http://me:pa55@/", " http://me:pa55@host",
    ],
)  # fmt: skip
def test_a_url_with_a_password_is_refused_without_showing_it(url):
    with pytest.raises(UsageError) as caught:
        parse_url(url)

    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "shown"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("a.b", "a.b")]
)
def test_only_ipv6_gets_brackets(host, shown):
    assert bracket(host) == shown


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:1", ("host", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("host", ("host", 80)),
        ("[::1]", ("::1", 80)),
    ],
)
def test_an_address_is_split(text, address):
    assert parse_address(text, default_port=80) == address


@pytest.mark.parametrize(
    "text",
    ["", ":1", "host:", "host:0", "host:65536", "host:²", "::1:80", "[::1", "[]:1",
     "[::1]x:1", "host:-1", "host:+1", "host: 1", "[::1]80"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match=r"expected host:port or \[ipv6\]:port"):
        parse_address(text, default_port=80 if ":" in text else None)


def test_an_address_needs_a_port_where_none_is_the_default():
    with pytest.raises(UsageError):
        parse_address("host")


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_bracket_and_parse_address_are_inverse(host, port):
    assert parse_address(f"{bracket(str(host))}:{port}") == (str(host), port)


@pytest.mark.parametrize(
    ("url", "target", "joined"),
    [
        ("http://h/a?b#c", "", "http://h/a?b#c"),
        ("http://h", "/x", "http://h/x"),
        ("http://h/", "x", "http://h/x"),
        ("http://h/a", "b/c", "http://h/a/b/c"),
        ("http://h/a/", "/b", "http://h/a/b"),
        ("http://h/a?old=1", "/b", "http://h/a/b?old=1"),
        ("http://h/a?old=1", "/b?new=2", "http://h/a/b?new=2"),
        ("http://h/a?old=1", "?new=2", "http://h/a?new=2"),
        ("http://h/a#f", "b", "http://h/a/b"),
        ("http://[::1]:8/a", "b", "http://[::1]:8/a/b"),
        ("http://h/a", "//evil.org/b", "http://h/a/evil.org/b"),
        ("http://h", "@evil.org", "http://h/@evil.org"),
    ],
)
def test_a_target_is_appended_to_the_path(url, target, joined):
    assert join_url(url, target) == joined


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: 1", "/a\x00", "/a\tb", "/a#b"])
def test_a_target_that_would_change_on_its_way_is_refused(target):
    with pytest.raises(UsageError) as caught:
        join_url("http://h", target)

    assert caught.value.what.endswith("without spaces, control characters or '#'")
    assert "\r" not in str(caught.value)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20))
def test_a_target_never_reaches_another_host(target):
    try:
        joined = join_url("http://good.test:81/base", target)
    except UsageError:
        return
    assert joined.startswith("http://good.test:81/base")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_can_be_bound(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        port = free_port(host)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind((host, port))

        assert server.getsockname()[1] == port


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://h", "/"),
        ("http://h:1/", "/"),
        ("http://h?a=b", "/?a=b"),
        ("http://[::1]:1/a/b?c=d/e?f", "/a/b?c=d/e?f"),
        ("http://h/a%2fb%zz", "/a%2fb%zz"),
        ('http://h/é|{}"<>^`\\', "/%C3%A9%7C%7B%7D%22%3C%3E%5E%60%5C"),
        ("http://h/a#fragment", "/a"),
    ],
)
def test_a_request_target_is_path_and_query_as_they_are_sent(url, target):
    assert request_target(url) == target


@given(st.text())
def test_a_request_target_is_printable_ascii_and_stays_itself(text):
    target = request_target(f"http://h/{text}")

    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    assert request_target(f"http://h{target}") == target


@pytest.mark.parametrize(
    ("host", "sender"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "20010db800000000"),
        ("2001:db8::ffff:1", "20010db800000000"),
        ("2001:db8:0:1::1", "20010db800000001"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_an_address_is_counted_as_its_host(host, sender):
    assert sender_of(host) == sender


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8",
     "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_an_address_of_the_open_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1",
        "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.1",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1",
        "fec0::1", "ff02::1", "2001:db8::1", "100::1", "::7f00:1", "::8.8.8.8",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0", "::ffff:0:8.8.8.8",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8",
        "2002:7f00:1::1", "2002:808:808::1", "2001:0:808:808::1", "5f00::1", "4000::1",
        "", "localhost", "2130706433", "0x7f.1", "127.1", "8.8.8.8 ", "8.8.8.8:80",
        "[2606:4700::1111]", "%eth0",
    ],
)  # fmt: skip
def test_any_other_address_and_what_is_none_is_not(address):
    assert not is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_as_public_in_the_forms_of_ipv6(number):
    from ipaddress import IPv4Address

    address = IPv4Address(number)
    assert is_public(f"::ffff:{address}") is is_public(str(address))
    assert is_public(f"64:ff9b::{address}") is is_public(str(address))
