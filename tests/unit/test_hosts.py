"""Whom a confined plugin's messages may reach: by name, and at connecting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug._broker.hosts import Hosts
from btplug.cli.confined import _places
from btplug.cli.lent import texts
from btplug.errors import NotAllowed

RULES = ["good.example", "Other.Example:8091", "*.deep.example", "10.0.0.0/8",
         "192.0.2.7", "[2001:db8::1]:443", "localhost"]  # fmt: skip

BY_NAME = {
    "http://good.example/x?q": "good.example:80",
    "https://GOOD.example": "good.example:443",
    "http://good.example.:81": "good.example:81",
    "http://other.example:8091": "other.example:8091",
    "http://a.deep.example": "a.deep.example:80",
    "http://a.b.deep.example": "a.b.deep.example:80",
    "http://10.1.2.3:9": "10.1.2.3:9",
    "http://192.0.2.7": "192.0.2.7:80",
    "https://[2001:db8::1]": "[2001:db8::1]:443",
    "https://[2001:DB8:0::1]": "[2001:db8:0::1]:443",
    "http://[::ffff:10.1.2.3]": "[::ffff:10.1.2.3]:80",
    "http://localhost:1": "localhost:1",
}
NOT_BY_NAME = [
    "http://evil.example", "http://good.example.evil.example", "http://xgood.example",
    "http://other.example", "http://other.example:8092", "http://deep.example",
    "http://xdeep.example", "http://11.0.0.1", "http://192.0.2.8",
    "http://[2001:db8::1]:80", "http://[2001:db8::2]", "http://[fe80::1%25eth0]",
    "http://127.0.0.1", "http://2130706433", "http://0x7f000001", "http://0177.1",
    "http://good.example@evil.example", "http://evil.example\\@good.example",
    "http://evil.example\\.deep.example", "http://evil.example#.deep.example",
    "http://evil.example%2f.deep.example", "http://evil.example%00.deep.example",
    "http://\uff47ood.example", "http://", "", "good.example", "http://good.example:x",
    "http://good.example:99999", "http://[good.example", "http:///x",
]  # fmt: skip


@pytest.mark.parametrize("url", BY_NAME)
def test_a_host_that_is_named_may_be_sent_to(url):
    assert Hosts(RULES).check(url) == BY_NAME[url]


@pytest.mark.parametrize("url", NOT_BY_NAME)
def test_any_other_may_not(url):
    with pytest.raises(NotAllowed, match="the plugin may not reach") as caught:
        Hosts(RULES).check(url)
    assert caught.value.delivered is False


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://999 more/", "999%20more:80"),
        ("http://a.example b.example/", "a.example%20b.example:80"),
        ("http://\x1bc/", "%1Bc:80"),
        ("http://x.example\u202e/", "x.example%E2%80%AE:80"),
        ("http://b\u00fccher.example/", "b\u00fccher.example:80"),
        ("http://a_b.example/", "a_b.example:80"),
        ("http://[2001:db8::1]:9/", "[2001:db8::1]:9"),
    ],
)
def test_a_host_looks_like_nothing_else_in_the_log(url, place):
    assert Hosts(["any"]).check(url) == place


def test_no_url_is_longer_than_one_can_be():
    """Taken apart, it would be remembered."""
    most = "http://good.example/".ljust(65_536, "x")

    assert Hosts(RULES).check(most) == "good.example:80"
    with pytest.raises(NotAllowed) as caught:
        Hosts(RULES).check(f"{most}x")
    assert str(caught.value) == (
        "found a URL of 65,537 characters, expected 65,536 at most\n"
        "  fix:   correct the URL"
    )


@pytest.mark.parametrize("rules", [["any"], ["*.good.example"]])
def test_no_host_is_longer_than_a_name_can_be(rules):
    """It would be kept, a thousand of them for each run."""
    most = f"{'a' * (253 - len('.good.example'))}.good.example"

    assert Hosts(rules).check(f"http://{most}") == f"{most}:80"
    with pytest.raises(NotAllowed) as caught:
        Hosts(rules).check(f"http://a{most}")
    assert str(caught.value) == (
        "found a host of 254 characters, expected 253 at most\n  fix:   correct the URL"
    )
    assert caught.value.delivered is False


@pytest.mark.parametrize("url", [*BY_NAME, "http://evil.example", "http://127.1"])
def test_without_rules_nobody_may_and_with_any_everybody(url):
    with pytest.raises(NotAllowed, match="its permissions name: none"):
        Hosts([]).check(url)
    assert Hosts(["any"]).check(url)


CONNECTIONS = [
    # A name stands for public addresses, whatever a name server says.
    ("good.example", 80, "93.184.216.34", True),
    ("good.example", 80, "2606:2800:220:1::1", True),
    ("a.deep.example", 80, "93.184.216.34", True),
    ("other.example", 8091, "93.184.216.34", True),
    ("other.example", 80, "93.184.216.34", False),
    ("evil.example", 80, "93.184.216.34", False),
    ("good.example", 80, "127.0.0.1", False),
    ("good.example", 80, "127.8.8.8", False),
    ("good.example", 80, "::1", False),
    ("good.example", 80, "0.0.0.0", False),
    ("good.example", 80, "::ffff:127.0.0.1", False),
    ("good.example", 80, "64:ff9b::7f00:1", False),
    ("good.example", 80, "2002:7f00:1::", False),
    ("good.example", 80, "169.254.169.254", False),
    ("good.example", 80, "192.168.1.1", False),
    ("good.example", 80, "100.64.0.1", False),
    ("good.example", 80, "224.0.0.1", False),
    ("good.example", 80, "fe80::1", False),
    ("good.example", 80, "fe80::1%eth0", False),
    ("good.example", 80, "fec0::1", False),
    ("good.example", 80, "::127.0.0.1", False),
    ("good.example", 80, "64:ff9b:1::7f00:1", False),
    ("good.example", 80, "nonsense", False),
    # Unless the address is named as well.
    ("good.example", 80, "10.9.9.9", True),
    ("evil.example", 80, "10.9.9.9", False),
    ("10.9.9.9", 80, "10.9.9.9", True),
    ("localhost", 80, "127.0.0.1", True),
    ("localhost", 80, "::1", True),
    ("localhost", 80, "192.168.1.1", False),
    ("192.0.2.7", 80, "192.0.2.7", True),
    ("192.0.2.7", 80, "192.0.2.8", False),
]


@pytest.mark.parametrize(("host", "port", "address", "may"), CONNECTIONS)
def test_a_connection_is_judged_by_the_address_it_is_made_to(host, port, address, may):
    assert Hosts(RULES).allows(host, port, address) is may


def test_with_any_every_address_may_be_connected_to_but_names_lead_to_public_ones():
    hosts = Hosts(["any"])

    assert hosts.allows("10.0.0.1", 1, "10.0.0.1")
    assert hosts.allows("localhost", 1, "127.0.0.1")
    assert hosts.allows("x.test", 1, "8.8.8.8")
    for private in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"):
        assert not hosts.allows("x.test", 1, private)
    assert not Hosts([]).allows("x", 1, "93.184.216.34")


def test_the_message_names_the_host_and_what_is_permitted():
    with pytest.raises(NotAllowed) as caught:
        Hosts(["a.example", "10.0.0.0/8"]).check("http://evil.example/?key=secret")

    assert str(caught.value) == (
        "the plugin may not reach evil.example:80; its permissions name: a.example, "
        "10.0.0.0/8\n  fix:   add the host to 'permissions: network:' in the plugin's "
        "config.yaml, and trust it again"
    )


PIECES = st.sampled_from(
    ["http://", "good.example", "evil.example", "@", "\\", "#", "?", "/", ":", "80", ".",
     "%40", "[", "]", "::1", "\t", "\n", " ", "\0", "\uff0e", "deep.example", "//"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map("".join))
def test_whatever_is_written_another_parser_finds_the_same_host(text):
    """The transport reads the URL once more, with httpx."""
    import httpx

    try:
        place = Hosts(RULES).check(text)
    except NotAllowed:
        return
    try:
        found = httpx.URL(text)
    except httpx.InvalidURL:
        return
    assert found.host.rstrip(".") == place.rpartition(":")[0].strip("[]")


@pytest.mark.parametrize(
    "word",
    [
        "any", "x://any", "spool://any", "--peer=foo://any/path", "5Fx@any:80",
        "*.com:443", "http://*.com/", "x://*.com", "x://*", "http://.com/", ".com:80",
        "x://.com.", "10.0.0.0/8", "x://10.0.0.0/8", "http://[::]/0", "x://0.0.0.0",
    ],
)  # fmt: skip
def test_a_word_of_the_command_line_names_one_host_at_most(word):
    """Whoever can have a word typed would open all others."""
    hosts = Hosts(_places(texts([word])))

    for host, address in (("evil.com", "8.8.8.8"), ("8.8.8.8", "8.8.8.8"),
                          ("10.1.2.3", "10.1.2.3"), ("x.com", "8.8.4.4")):  # fmt: skip
        for port in (80, 443):
            assert not hosts.allows(host, port, address)
            with pytest.raises(NotAllowed):
                hosts.check(f"http://{host}:{port}/")


@pytest.mark.parametrize(
    ("word", "url", "address"),
    [
        ("http://any/", "http://any/", "8.8.8.8"),
        ("good.com:443", "https://good.com/x", "8.8.8.8"),
        ("5Fx@10.1.2.3:9", "http://10.1.2.3:9/", "10.1.2.3"),
        ("--peer=http://[2001:db8::1]:9/a", "http://[2001:db8::1]:9/", "2001:db8::1"),
        ("x://[2001:db8::1]", "http://[2001:db8::1]:9/", "2001:db8::1"),
    ],
)
def test_a_word_of_the_command_line_names_its_host(word, url, address):
    hosts = Hosts(_places(texts([word])))
    place = hosts.check(url)
    host, _, port = place.rpartition(":")

    assert hosts.allows(host.strip("[]"), int(port), address)
