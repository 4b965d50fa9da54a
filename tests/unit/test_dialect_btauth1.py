"""btauth/1: the published vectors, and everything that must be refused."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug import Message, Peer, Reply, Request
from btplug.dialects import BtAuth1, Replays, load_signer
from btplug.dialects.btauth1 import signed_bytes
from btplug.errors import (
    ConfigError,
    NotAllowed,
    TransportError,
    Unauthentic,
    Unsupported,
    UsageError,
)
from btplug.network import join_url, request_target

VECTORS = json.loads((Path(__file__).parent / "vectors/btauth1.json").read_text())
NOW = 1_752_076_800_000_000_000
SECOND = 1_000_000_000
ALICE, BOB, EVE = (load_signer(f"//{name}") for name in ("Alice", "Bob", "Eve"))
ED = load_signer("//Alice", scheme="ed25519")
PEER = Peer("http://127.0.0.1:8091/api", BOB.hotkey)
MESSAGE = Message(body=b'{"prompt": "hello"}', method="POST", target="/generate?s=1")


def sent(message=MESSAGE, *, peer=PEER, signer=ALICE, now=NOW, sha256=None):
    return BtAuth1(signer).outgoing(
        peer, message, timeout=1.0, now_ns=now, sha256=sha256
    )


def arrived(message, peer=PEER, **changes):
    """Return the request a server sees after *message* was sent to *peer*."""
    changes = {
        "method": message.method.upper(),
        "target": request_target(join_url(peer.url, message.target)),
        **changes,
    }
    return Request(
        message=dataclasses.replace(message, **changes), address="192.0.2.1:4711"
    )


def with_header(request, name, value):
    """Return *request* with another value of a header; None: without it."""
    kept = [(k, value if k == name else v) for k, v in request.message.headers]
    headers = tuple((k, v) for k, v in kept if v is not None)
    if value is not None and name not in dict(headers):
        headers += ((name, value),)
    return dataclasses.replace(
        request, message=dataclasses.replace(request.message, headers=headers)
    )


def server(**options):
    return BtAuth1(BOB, **options)


def refusal(request, now=NOW, error=Unauthentic, dialect=None):
    """Return the refusal of *request*, the same from its headers where they tell."""
    with pytest.raises(error) as caught:
        (dialect or server()).incoming(request, now)
    signature = request.message.header("x-bittensor-signature") or ""
    assert len(signature) < 42 or signature[2:42] not in str(caught.value)
    assert caught.value.fix
    return caught.value


# -- The vectors


def body_of(vector):
    text = vector["body_hex"]
    return bytes(range(256)) * 4 if "range" in text else bytes.fromhex(text)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_the_signed_bytes_are_those_of_the_vector(vector):
    body = body_of(vector)
    data = signed_bytes(
        vector["scheme"], vector["method"].upper(), vector["path"],
        hashlib.sha256(body).hexdigest(), vector["nonce"], vector["sender"],
        vector["receiver"],
    )  # fmt: skip

    assert hashlib.sha256(body).hexdigest() == vector["body_sha256"]
    assert hashlib.sha256(data).hexdigest() == vector["payload_sha256"]
    assert len(data) == vector["payload_len"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_what_is_sent_is_the_vector_and_a_server_takes_it(vector):
    signer = load_signer(vector["uri"], scheme=vector["scheme"])
    peer = Peer("http://h", vector["receiver"])
    message = Message(
        body=body_of(vector), method=vector["method"], target=vector["path"]
    )
    out = sent(message, peer=peer, signer=signer, now=vector["nonce"])
    mine = vector["receiver"] or BOB.hotkey
    dialect = BtAuth1(hotkey=mine, require_receiver=vector["receiver"] is not None)

    assert sorted(dict(out.headers)) == vector["headers"]
    assert vector["signature"] in (None, out.header("X-Bittensor-Signature"))
    assert out.header("X-Bittensor-Nonce") == str(vector["nonce"])
    taken = dialect.incoming(arrived(out, peer), vector["nonce"])
    assert taken.hotkey == vector["sender"]


# -- Sending


def test_a_message_keeps_all_it_had_and_gets_headers():
    message = dataclasses.replace(MESSAGE, headers=(("A", "b"), ("A", "c")))
    out = sent(message)

    assert out.headers[:2] == message.headers
    assert dataclasses.replace(out, headers=message.headers) == message


@pytest.mark.parametrize("signer", [ALICE, ED], ids=["sr25519", "ed25519"])
def test_a_server_learns_who_signed(signer):
    dialect, request = server(), arrived(sent(signer=signer))
    dialect.admit(request, NOW)
    taken = dialect.incoming(request, NOW)

    assert taken.hotkey == signer.hotkey
    assert taken == dataclasses.replace(request, hotkey=signer.hotkey)


def test_a_streamed_body_is_signed_by_its_digest():
    digest = hashlib.sha256(MESSAGE.body).hexdigest()
    out = sent(dataclasses.replace(MESSAGE, body=b""), sha256=digest)

    assert server().incoming(arrived(out, body=MESSAGE.body), NOW).hotkey


@pytest.mark.parametrize("digest", ["", "0x" + "0" * 62, "A" * 64, "0" * 63 + "\n"])
def test_another_digest_is_not_sent(digest):
    with pytest.raises(NotAllowed, match="another sha256"):
        sent(sha256=digest)


@pytest.mark.parametrize("times", [[NOW] * 9, range(NOW, NOW - 9, -1), [NOW, 0, 5]])
def test_nonces_increase_even_where_time_stands_still_or_goes_back(times):
    dialect = BtAuth1(ALICE)
    nonces = [
        int(
            dialect.outgoing(PEER, MESSAGE, timeout=1, now_ns=t).header(
                "X-Bittensor-Nonce"
            )
        )
        for t in times
    ]

    assert nonces == [NOW + n for n in range(len(nonces))]


def test_threads_never_share_a_nonce():
    dialect, seen = BtAuth1(ALICE), []

    def work():
        for _ in range(50):
            out = dialect.outgoing(PEER, MESSAGE, timeout=1, now_ns=NOW)
            seen.append(out.header("X-Bittensor-Nonce"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(seen)) == 400


@pytest.mark.parametrize(
    "name", ["X-Bittensor-Nonce", "x-bittensor-anything", "X-BITTENSOR-HOTKEY"]
)
def test_a_message_with_such_headers_already_is_not_sent(name):
    with pytest.raises(NotAllowed) as caught:
        sent(dataclasses.replace(MESSAGE, headers=((name, "1"),)))

    assert caught.value.what == (
        f"found the header {name!r} in the message, expected none of it"
    )
    assert caught.value.delivered is False


def test_nothing_is_sent_to_what_is_no_hotkey_or_with_line_breaks():
    with pytest.raises(NotAllowed, match="found the hotkey '5Bob', expected an addr"):
        sent(peer=Peer("http://h", "5Bob"))
    with pytest.raises(NotAllowed, match="found line breaks in the request"):
        sent(dataclasses.replace(MESSAGE, method="POST\n/other"))
    with pytest.raises(UsageError):
        sent(dataclasses.replace(MESSAGE, target="/a\nb"))


def test_nothing_is_sent_without_a_key():
    with pytest.raises(Unsupported) as caught:
        BtAuth1(hotkey=BOB.hotkey).outgoing(PEER, MESSAGE, timeout=1, now_ns=NOW)

    assert caught.value.delivered is False


class Large:
    """A signer of a coming scheme."""

    hotkey, scheme = ALICE.hotkey, "falcon512"

    def __init__(self, size):
        self.size = size

    def sign(self, data):
        return b"\x01" * self.size


def test_a_signature_of_a_coming_scheme_fits_up_to_11_kb():
    out = sent(signer=Large(5_499))

    assert len(out.header("X-Bittensor-Signature")) == 11_000
    assert out.header("X-Bittensor-Crypto") == "falcon512"
    with pytest.raises(TransportError, match="found 5,500 bytes as signature of"):
        sent(signer=Large(5_500))
    assert "expected ed25519 or sr25519" in refusal(arrived(out)).what


class Wrong:
    hotkey, scheme = ALICE.hotkey, "sr25519"

    def __init__(self, sign):
        self.sign = sign


@pytest.mark.parametrize(
    ("made", "found"),
    [("text", "a str"), (None, "a NoneType"), (b"", "0 bytes"), (b"x" * 63, "63")],
)
def test_what_a_signer_returns_is_a_signature_or_an_error(made, found):
    with pytest.raises(TransportError) as caught:
        sent(signer=Wrong(lambda data: made))

    assert caught.value.what.startswith(f"found {found}")
    assert caught.value.what.endswith("expected 64 to 5,499 bytes")
    assert caught.value.delivered is False


def test_a_signer_that_fails_is_named_without_what_it_says():
    def sign(data):
        raise OSError("the seed 0xabc cannot be used")

    with pytest.raises(TransportError) as caught:
        sent(signer=Wrong(sign))

    assert caught.value.what == f"the signer of {ALICE.hotkey} failed (OSError)"
    assert caught.value.delivered is False
    assert isinstance(caught.value.__cause__, OSError)


def test_replies_go_both_ways_as_they_are_and_nobody_is_proven():
    answer = Reply(status=200)

    assert server().reply(arrived(sent()), answer) is answer
    assert BtAuth1(ALICE).answer(PEER, sent(), answer) is answer


def test_an_instance_keeps_no_messages():
    dialect, receiver = BtAuth1(ALICE), server(limit=1)
    body = bytes(100_003)
    out = dialect.outgoing(
        PEER, dataclasses.replace(MESSAGE, body=body), timeout=1, now_ns=NOW
    )
    receiver.incoming(arrived(out), NOW)
    del out
    gc.collect()

    holders = [type(o).__name__ for o in gc.get_referrers(body)]
    assert "Message" not in holders


# -- One changed character anywhere


@st.composite
def changed(draw):
    """A good request with one character of what is signed changed."""
    request = arrived(sent(signer=draw(st.sampled_from([ALICE, ED]))))
    message = request.message
    part = draw(st.sampled_from(["method", "target", "body", "nonce", "sender"]))
    if part == "body":
        where = draw(st.integers(0, len(message.body) - 1))
        bit = draw(st.integers(1, 255))
        body = bytearray(message.body)
        body[where] ^= bit
        return arrived(message, body=bytes(body))
    if part in ("method", "target"):
        text = getattr(message, part)
        where = draw(st.integers(0, len(text)))
        mode = draw(st.sampled_from(["insert", "drop", "swap"]))
        letter = draw(st.sampled_from("Aa/?%2\n é\x00"))
        rest = text[where + (mode != "insert") :]
        other = text[:where] + ("" if mode == "drop" else letter) + rest
        if other == text:
            other += "x"
        return arrived(message, **{part: other})
    if part == "nonce":
        other = NOW + draw(st.integers(-9 * SECOND, SECOND).filter(bool))
        return with_header(request, "X-Bittensor-Nonce", str(other))
    other = draw(st.sampled_from([EVE.hotkey, BOB.hotkey]))
    return with_header(request, "X-Bittensor-Hotkey", other)


@given(changed())
def test_a_request_with_one_part_changed_is_refused(request):
    assert "the signature is not of this request" in refusal(request).what


@given(st.integers(0, 511), st.data())
def test_a_signature_with_one_bit_changed_is_refused(bit, data):
    request = arrived(sent(signer=data.draw(st.sampled_from([ALICE, ED]))))
    value = int(request.message.header("X-Bittensor-Signature"), 16) ^ (1 << bit)
    other = with_header(request, "X-Bittensor-Signature", f"0x{value:0128x}")

    assert "the signature is not of this request" in refusal(other).what


def test_a_signature_counts_under_the_declared_scheme_only():
    request = arrived(sent(signer=ED))
    refusal(with_header(request, "X-Bittensor-Crypto", None))
    refusal(with_header(request, "X-Bittensor-Crypto", "sr25519"))
    refusal(with_header(arrived(sent()), "X-Bittensor-Crypto", "ed25519"))


def test_sr25519_may_be_named_though_nobody_needs_to():
    request = with_header(arrived(sent()), "X-Bittensor-Crypto", "sr25519")

    assert server().incoming(request, NOW).hotkey == ALICE.hotkey


def test_a_request_that_was_bound_does_not_pass_as_unbound():
    request = with_header(arrived(sent()), "X-Bittensor-Receiver", None)

    refusal(request, dialect=server(require_receiver=False))


@pytest.mark.parametrize("part", ["method", "target"])
def test_a_line_break_from_a_loose_parser_adds_no_line_to_what_is_signed(part):
    good = signed_bytes("s", "POST", "/a", "d", 1, "x", "y")
    parts = {"method": "POST", "target": "/a"} | {part: "P\nQ"}

    assert good.count(b"\n") == 7
    assert signed_bytes("s", parts["method"], parts["target"], "d", 1, "x", "y") is None
    assert signed_bytes("s", "POST", "/\udc80", "d", 1, "x", None)


# -- Shape


SIGNATURE = dict(sent().headers)["X-Bittensor-Signature"]
MALFORMED = [
    ("X-Bittensor-Version", None, "found no X-Bittensor-Version, expected '1'"),
    ("X-Bittensor-Version", "2", "found X-Bittensor-Version '2', expected '1'"),
    ("X-Bittensor-Version", "01", "Version '01'"),
    ("X-Bittensor-Hotkey", None, "found no X-Bittensor-Hotkey"),
    ("X-Bittensor-Hotkey", ALICE.hotkey[:-1], "expected an ss58 address"),
    ("X-Bittensor-Hotkey", ALICE.hotkey[:-1] + "Z", "expected an ss58 address"),
    ("X-Bittensor-Hotkey", f" {ALICE.hotkey}", "expected an ss58 address"),
    ("X-Bittensor-Hotkey", "1" * 9000, "expected an ss58 address"),
    ("X-Bittensor-Hotkey", SIGNATURE, "expected an ss58 address"),
    ("X-Bittensor-Receiver", "-", "found X-Bittensor-Receiver '-', expected an ss58"),
    ("X-Bittensor-Receiver", "", "expected an ss58 address or none"),
    ("X-Bittensor-Nonce", None, "found no X-Bittensor-Nonce"),
    *(
        ("X-Bittensor-Nonce", text, "expected nanoseconds in plain digits")
        for text in (
            "", "-1", f"+{NOW}", f"0{NOW}", f" {NOW}", f"{NOW}\n", "1_0", "1e18", "0x1",
            "1.0", "\u0661", "1\u0661", "\u00b2", "9" * 21, "9" * 10_000,
        )
    ),
    *(
        ("X-Bittensor-Crypto", text, "expected ed25519 or sr25519")
        for text in ("", "0", "1", "ED25519", "ed25519 ", "ecdsa", "none")
    ),
    ("X-Bittensor-Signature", None, "found no X-Bittensor-Signature"),
    *(
        ("X-Bittensor-Signature", text, "expected 0x and 128 lower-case hex digits")
        for text in (
            "", SIGNATURE[2:], SIGNATURE.upper(), "0x" + SIGNATURE[2:].upper(),
            SIGNATURE[:-1], SIGNATURE[:-2], SIGNATURE + "00", SIGNATURE + "\n",
            "0X" + SIGNATURE[2:], "0x" + " " + SIGNATURE[3:], "0x" + "g" * 128,
            "0x" + "\u0661" * 128, "0x" + "0" * 10_998,
        )
    ),
    ("X-Bittensor-Signature", "0x" + "0" * 10_999, "of 11,001 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "said"), MALFORMED)
def test_a_malformed_header_is_refused_before_the_body_is_read(name, value, said):
    request = with_header(arrived(sent()), name, value)
    with pytest.raises(Unauthentic) as caught:
        server().admit(request, NOW)

    assert said in caught.value.what
    assert caught.value.where == "192.0.2.1:4711"
    assert len(caught.value.what) < 200
    assert refusal(request).what == caught.value.what


def test_not_even_the_start_of_a_malformed_signature_is_shown():
    request = with_header(arrived(sent()), "X-Bittensor-Signature", SIGNATURE[:-1])

    assert SIGNATURE[:8] not in str(refusal(request))


@given(
    st.sampled_from(sorted(dict(sent().headers))),
    st.text(max_size=60) | st.text("0123456789abcdefx-+ _", max_size=140),
)
def test_any_other_header_value_is_refused_with_one_error(name, value):
    request = arrived(sent())
    if value != request.message.header(name):
        said = refusal(with_header(request, name, value))
        assert said.what.isprintable()


@pytest.mark.parametrize("name", sorted(dict(sent(signer=ED).headers)))
@pytest.mark.parametrize("case", [str, str.upper, str.lower])
def test_a_header_that_is_there_twice_is_refused_even_if_both_agree(name, case):
    request = arrived(sent(signer=ED))
    twin = (case(name), request.message.header(name))
    message = dataclasses.replace(
        request.message, headers=(*request.message.headers, twin)
    )

    said = refusal(dataclasses.replace(request, message=message)).what
    assert said == f"found {case(name)} twice, expected it once"


def test_names_of_headers_may_have_any_case_and_others_are_not_looked_at():
    request = arrived(sent())
    headers = (
        *((key.lower(), value) for key, value in request.message.headers),
        ("X-Bittensor-Trace", "1"),
        ("X-Other", "a"),
        ("X-Other", "b"),
    )
    message = dataclasses.replace(request.message, headers=headers)

    assert server().incoming(dataclasses.replace(request, message=message), NOW).hotkey


# -- Receiver


def test_a_request_for_another_is_refused():
    other = Peer(PEER.url, EVE.hotkey)

    assert refusal(arrived(sent(peer=other), other)).what == (
        f"the request is for {EVE.hotkey}, expected one for {BOB.hotkey}"
    )


def test_an_unbound_request_is_refused_unless_that_is_switched_off():
    nobody = Peer(PEER.url)
    request = arrived(sent(peer=nobody), nobody)

    assert "bound to no receiver" in refusal(request).what
    open_ = server(require_receiver=False)
    assert open_.incoming(request, NOW).hotkey == ALICE.hotkey


def test_without_a_hotkey_of_its_own_a_server_takes_no_bound_request():
    dialect = BtAuth1(require_receiver=False)

    assert "no hotkey is configured" in refusal(arrived(sent()), dialect=dialect).what


# -- Freshness


@pytest.mark.parametrize("age", [-2 * SECOND, -1, 0, 10 * SECOND])
def test_a_request_is_fresh_for_ten_seconds_and_two_ahead(age):
    dialect, request = server(), arrived(sent())
    dialect.admit(request, NOW + age)

    assert dialect.incoming(request, NOW + age).hotkey


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (10 * SECOND + 1, "10.000 s old, expected 10 s at most"),
        (86_400 * SECOND, "86400.000 s old"),
        (-2 * SECOND - 1, "2.000 s in the future"),
        (-(10**18), "s in the future, expected 10 s at most, or 2 s in the future"),
    ],
)
def test_a_stale_or_future_request_is_refused(age, said):
    request = arrived(sent())
    with pytest.raises(Unauthentic) as caught:
        server().admit(request, NOW + age)

    assert said in caught.value.what
    assert said in refusal(request, NOW + age).what


def test_freshness_is_that_of_the_headers_so_a_slow_body_passes():
    dialect, slow = server(), arrived(sent())
    dialect.admit(slow, NOW)
    later = NOW + 25 * SECOND
    dialect.incoming(arrived(sent(signer=ED, now=later)), later)

    assert dialect.incoming(slow, NOW).hotkey == ALICE.hotkey


# -- Replay


def test_the_same_request_is_refused_the_second_time():
    dialect, request = server(), arrived(sent())
    dialect.incoming(request, NOW)
    dialect.admit(request, NOW)

    assert "was accepted before" in refusal(request, dialect=dialect).what


def test_a_bad_signature_does_not_use_up_the_nonce():
    dialect, request = server(), arrived(sent())
    refusal(arrived(request.message, body=b"other"), dialect=dialect)

    assert dialect.incoming(request, NOW).hotkey


def test_a_replay_whose_body_was_held_back_is_refused_after_it_is_forgotten():
    """The headers come while they are fresh, the body when nobody remembers."""
    dialect, request = server(upload=1.0), arrived(sent())
    dialect.incoming(request, NOW)
    dialect.admit(request, NOW + 9 * SECOND)
    later = NOW + 20 * SECOND
    dialect.incoming(arrived(sent(signer=ED, now=later)), later)

    said = refusal(request, NOW + 9 * SECOND, dialect=dialect).what
    assert "is older than what is remembered" in said


def test_a_restarted_server_takes_what_is_signed_from_then_on():
    dialect, old = server(), arrived(sent(now=NOW))
    dialect.incoming(old, NOW + SECOND)
    again = server()
    again.replays.begin(NOW + 2 * SECOND)

    said = refusal(old, now=NOW + 3 * SECOND, dialect=again).what
    assert "from before this server started" in said
    new = arrived(sent(now=NOW + 2 * SECOND))
    assert again.incoming(new, NOW + 3 * SECOND).hotkey


def test_a_full_memory_refuses_instead_of_forgetting():
    dialect, first = server(limit=1), arrived(sent())
    dialect.incoming(first, NOW)
    other = arrived(sent(now=NOW + 1))

    assert "is full" in refusal(other, error=NotAllowed, dialect=dialect).what
    assert "before" in refusal(first, dialect=dialect).what


def test_two_servers_of_one_hotkey_share_what_they_accepted():
    memory = Replays(keep=40)
    request = arrived(sent())
    server(replays=memory).incoming(request, NOW)

    assert "before" in refusal(request, dialect=server(replays=memory)).what


def test_a_shared_memory_that_forgets_too_soon_is_refused():
    with pytest.raises(ConfigError, match=r"kept for 9 s, expected the window of 10 s"):
        server(replays=Replays(keep=9))


# -- Options


@pytest.mark.parametrize(
    "options",
    [
        {"hotkey": "5Bob"}, {"hotkey": 7}, {"back": -1}, {"ahead": 3601},
        {"back": float("nan")}, {"back": "10"}, {"upload": -1}, {"limit": 0},
        {"limit": "many"},
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_when_the_dialect_is_made(options):
    with pytest.raises(ConfigError, match="expected"):
        server(**options)
