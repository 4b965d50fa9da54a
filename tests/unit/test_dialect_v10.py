"""v10: both sides of it, its vectors, and what a server must refuse."""

from __future__ import annotations

import base64
import dataclasses
import json

import bittensor_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug import Message, Peer, Reply, Request
from btplug.dialects import V10, load_signer
from btplug.errors import BadReply, ConfigError, NotAllowed, Unauthentic, Unsupported

NOW = 1_752_076_800_000_000_000
SECOND = 1_000_000_000
ALICE, BOB, EVE = (load_signer(f"//{name}") for name in ("Alice", "Bob", "Eve"))
FIELDS = {
    "hash_fields": {"Echo": ("prompt", "numbers")},
    "required_fields": {"Echo": ("prompt",), "Plain": ("prompt",)},
}
PEER = Peer("http://127.0.0.1:8091", BOB.hotkey)
BODY = {"prompt": "hello", "numbers": [1, 2, 3], "scale": 0.5}
NOTHING = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
DENDRITE, AXON = "bt_header_dendrite_", "bt_header_axon_"


def make(signer=BOB, **options):
    return V10(signer, **{**FIELDS, **options})


def message(fields=BODY, name="Echo", **changes):
    body = json.dumps(fields).encode()
    return Message(**{"body": body, "method": "POST", "target": f"/{name}", **changes})


def sent(msg=None, *, peer=PEER, dialect=None, now=NOW, timeout=12.0):
    return (dialect or make(ALICE)).outgoing(
        peer, msg or message(), timeout=timeout, now_ns=now
    )


def arrived(out, **changes):
    return Request(
        message=dataclasses.replace(out, **changes), address="192.0.2.1:4711"
    )


def with_header(request, name, value):
    """Return *request* with another value of a header; None: without it."""
    headers = tuple(
        (k, value if k == name else v)
        for k, v in request.message.headers
        if k != name or value is not None
    )
    return dataclasses.replace(
        request, message=dataclasses.replace(request.message, headers=headers)
    )


def signed(body=b"{}", name="Plain", signer=ALICE, **said):
    """Return a request as a dendrite makes it, signed for Bob, with *said* in it."""
    said = {
        "nonce": str(NOW), "uuid": "u-1", "hotkey": signer.hotkey,
        "version": "10005000", "body_hash": NOTHING, "timeout": "12.0", **said,
    }  # fmt: skip
    parts = said["nonce"], said["hotkey"], BOB.hotkey, said["uuid"], said["body_hash"]
    signature = "0x" + signer.sign(".".join(parts).encode()).hex()
    headers = [
        (DENDRITE + key, said[key]) for key in ("nonce", "uuid", "hotkey", "version")
    ]
    headers += [
        (f"{DENDRITE}signature", signature), (f"{AXON}hotkey", BOB.hotkey),
        ("timeout", said["timeout"]), ("computed_body_hash", said["body_hash"]),
    ]  # fmt: skip
    return Request(
        message=Message(
            body=body, headers=tuple(headers), method="POST", target=f"/{name}"
        ),
        address="192.0.2.1:4711",
    )


def refusal(request, now=NOW, error=Unauthentic, dialect=None):
    with pytest.raises(error) as caught:
        (dialect or make()).incoming(request, now)
    signature = request.message.header(f"{DENDRITE}signature") or ""
    assert len(signature) < 42 or signature[2:42] not in str(caught.value)
    assert caught.value.fix
    return caught.value


def plain(**said):
    return signed(b'{"prompt":"hi"}', **said)


# -- Both sides


def test_our_client_and_our_server_understand_each_other():
    client, server = make(ALICE), make()
    out = client.outgoing(PEER, message(), timeout=12.0, now_ns=NOW)
    server.admit(arrived(out, body=b""), NOW)
    taken = server.incoming(arrived(out), NOW)
    given_back = Reply(status=200, body=b'{"reply":"x"}', media_type="application/json")
    reply = server.reply(taken, given_back)
    answer = client.answer(PEER, out, reply)

    assert taken.hotkey == ALICE.hotkey
    assert {k: json.loads(taken.message.body)[k] for k in BODY} == BODY
    assert answer is reply
    assert answer.json() == {"reply": "x", "prompt": "hello"}
    assert answer.signer is None  # nothing in v10 proves who replied


def test_a_synapse_is_sent_with_all_that_an_axon_asks_for():
    out = sent()
    headers = dict(out.headers)
    body = json.loads(out.body)

    assert {k: v for k, v in headers.items() if "uuid" not in k and "sig" not in k} == {
        "name": "Echo", "timeout": "12.0",
        f"{AXON}ip": "127.0.0.1", f"{AXON}port": "8091", f"{AXON}hotkey": BOB.hotkey,
        f"{DENDRITE}version": "10005000", f"{DENDRITE}nonce": str(NOW),
        f"{DENDRITE}hotkey": ALICE.hotkey,
        "computed_body_hash": (
            "3b23b33b8af6f011f0667d57cfd3c9c1fa39e9de4210fd9a463d83d1c457eb65"
        ),
        "bt_header_input_obj_prompt": "IiI=",
    }  # fmt: skip
    assert out.media_type == "application/json"
    assert body == BODY | {
        "name": "Echo", "timeout": 12.0, "axon": {"hotkey": BOB.hotkey},
        "computed_body_hash": headers["computed_body_hash"],
        "dendrite": {
            "version": 10005000, "nonce": NOW, "hotkey": ALICE.hotkey,
            "uuid": headers[f"{DENDRITE}uuid"],
        },
    }  # fmt: skip


def test_headers_of_the_message_stay_before_those_of_v10():
    out = sent(message(headers=(("A", "b"), ("A", "c"))))

    assert out.headers[:3] == (("A", "b"), ("A", "c"), ("name", "Echo"))


def test_what_is_signed_is_nonce_sender_receiver_uuid_and_hash():
    get = sent().header
    text = ".".join(
        (
            str(NOW), ALICE.hotkey, BOB.hotkey, get(f"{DENDRITE}uuid"),
            get("computed_body_hash"),
        )
    )  # fmt: skip
    signature = bytes.fromhex(get(f"{DENDRITE}signature")[2:])

    assert bittensor_core.verify(text.encode(), signature, ALICE.hotkey, 1)


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        (
            {"prompt": "hi", "numbers": [1, 2]},
            "9157167b4160d35bccea1110bdf674e2922546b04a489a9f987d6b20554d9a0c",
        ),
        (
            {"numbers": [1, 2, 3], "prompt": "hello", "more": None},
            "3b23b33b8af6f011f0667d57cfd3c9c1fa39e9de4210fd9a463d83d1c457eb65",
        ),
    ],
)
def test_the_body_hash_is_that_of_the_vectors(fields, digest):
    assert sent(message(fields)).header("computed_body_hash") == digest


def test_a_class_without_hashed_fields_has_the_constant_hash():
    assert sent(message({"prompt": "x"}, "Plain")).header("computed_body_hash") == (
        NOTHING
    )
    assert sent(message({}, "Unknown")).header("computed_body_hash") == NOTHING


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("x", "IiI="), (7, "MA=="), ([1], "W10="), (1.5, "MC4w"), (True, "ZmFsc2U="),
        ({"a": 1}, "e30="), (None, None),
    ],
)  # fmt: skip
def test_a_required_field_is_announced_by_an_empty_value_of_its_type(value, encoded):
    out = sent(message({"prompt": value}, "Plain"))

    assert out.header("bt_header_input_obj_prompt") == encoded
    assert encoded is None or not json.loads(base64.b64decode(encoded))


@pytest.mark.parametrize(
    ("url", "target", "name"),
    [
        ("http://h/Echo", "", "Echo"),
        ("http://h/api", "/Echo", "Echo"),
        ("http://h/", "/v1/Echo?x=/y", "Echo"),
    ],
)
def test_the_class_is_the_last_segment_of_the_target_or_of_the_peer(url, target, name):
    out = sent(message(target=target), peer=Peer(url, BOB.hotkey))

    assert out.header("name") == name


def test_ipv6_stands_without_brackets_in_the_headers():
    get = sent(peer=Peer("https://[2001:db8::1]", BOB.hotkey)).header

    assert (get(f"{AXON}ip"), get(f"{AXON}port")) == ("2001:db8::1", "443")
    taken = make().incoming(
        dataclasses.replace(arrived(sent()), address="[2001:db8::2]:9"), NOW
    )
    shown = json.loads(taken.message.body)["dendrite"]
    assert (shown["ip"], shown["port"]) == ("2001:db8::2", 9)


def test_a_host_is_no_class():
    with pytest.raises(NotAllowed, match="found POST to ''"):
        sent(message(target=""), peer=Peer("http://localhost", BOB.hotkey))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "GET"}, "found GET to '/Echo', expected POST to a path that ends"),
        ({"target": "/"}, "found POST to '/'"),
        ({"target": "/a-b"}, "found POST to '/a-b'"),
        ({"body": b"[1]"}, "found a body with list, expected a JSON object"),
        ({"body": b"{"}, "found a body of 1 bytes"),
        ({"body": b'{"prompt":NaN}'}, "NaN is not JSON"),
        ({"body": b'{"prompt":"x"}'}, "found no field 'numbers' in the body of Echo"),
        ({"body": b""}, "found no field 'prompt' in the body of Echo"),
        ({"body": b'{"dendrite":{}}'}, "found the field 'dendrite', expected those"),
        ({"headers": (("Timeout", "1"),)}, "found the header 'Timeout', expected none"),
        ({"headers": ((f"{DENDRITE}ip", "1"),)}, "expected none of v10"),
        ({"body": b'{"prompt":"\\ud800","numbers":1}'}, "half a surrogate pair"),
    ],
)
def test_what_is_no_synapse_is_not_sent(changes, said):
    with pytest.raises(NotAllowed) as caught:
        sent(dataclasses.replace(message(), **changes))

    assert said in caught.value.what
    assert caught.value.delivered is False


@pytest.mark.parametrize("hotkey", [None, "5Bob"])
def test_nothing_is_sent_to_a_peer_without_a_hotkey(hotkey):
    with pytest.raises(NotAllowed, match="signs for nobody else"):
        sent(peer=Peer("http://h", hotkey))


@pytest.mark.parametrize("timeout", [float("inf"), float("nan")])
def test_a_timeout_that_json_has_not_is_not_sent(timeout):
    with pytest.raises(NotAllowed, match=r"body\.timeout"):
        sent(timeout=timeout)


def test_only_an_sr25519_key_sends_and_only_a_body_in_memory():
    with pytest.raises(Unsupported, match="found no key"):
        sent(dialect=make(None, hotkey=BOB.hotkey))
    with pytest.raises(Unsupported, match="key of ed25519, expected one of sr25519"):
        sent(dialect=make(load_signer("//Alice", scheme="ed25519")))
    with pytest.raises(Unsupported, match="found a streamed body"):
        make(ALICE).outgoing(PEER, message(), timeout=1, now_ns=NOW, sha256="0" * 64)


def test_nonces_of_one_instance_increase_and_its_uuid_stays():
    dialect = make(ALICE)
    outs = [sent(dialect=dialect, now=NOW - n) for n in range(4)]

    nonces = [int(out.header(f"{DENDRITE}nonce")) for out in outs]
    assert nonces == [NOW + n for n in range(4)]
    assert len({out.header(f"{DENDRITE}uuid") for out in outs}) == 1
    assert sent().header(f"{DENDRITE}uuid") != sent().header(f"{DENDRITE}uuid")


# -- What the reference gets wrong


def test_the_sender_a_handler_sees_is_the_one_that_signed_not_that_of_the_body():
    fields = {
        "prompt": "hi", "name": "Other", "timeout": 9e9, "computed_body_hash": "x", "total_size": 9,
        "dendrite": {"hotkey": EVE.hotkey, "ip": "10.0.0.1", "status_code": 200},
        "axon": {"hotkey": EVE.hotkey},
    }  # fmt: skip
    taken = make().incoming(signed(json.dumps(fields).encode()), NOW)

    assert taken.hotkey == ALICE.hotkey
    assert json.loads(taken.message.body) == {
        "prompt": "hi", "name": "Plain", "timeout": 12.0,
        "dendrite": {
            "hotkey": ALICE.hotkey, "ip": "192.0.2.1", "port": 4711, "nonce": NOW,
            "uuid": "u-1", "version": 10005000,
        },
        "axon": {"hotkey": BOB.hotkey}, "computed_body_hash": NOTHING,
    }  # fmt: skip
    assert EVE.hotkey not in taken.message.body.decode()


@pytest.mark.parametrize(
    ("timeout", "age"),
    [("3000.0", 16), ("1.0", 5), ("0.0", 4), ("999999999", 16), ("1e-05", 4)],
)
def test_a_timeout_widens_the_window_up_to_the_cap_only(timeout, age):
    taken = make().incoming(plain(timeout=timeout), NOW + age * SECOND)
    said = refusal(plain(timeout=timeout), NOW + age * SECOND + 10**8).what

    assert f"expected {age} s at most" in said or "e-05" in timeout
    shown = json.loads(taken.message.body)["timeout"]
    assert shown == min(float(timeout), 12.0)


@pytest.mark.parametrize("version", ["7001999", "0", "610"])
def test_versions_below_7_2_0_are_refused(version):
    said = refusal(plain(version=version), error=NotAllowed).what

    assert said == (f"found the version {version}, expected 7002000 (7.2.0) or later")
    assert make().incoming(plain(version="7002000"), NOW).hotkey


def test_a_nonce_of_the_future_is_refused():
    assert make().incoming(plain(), NOW - 2 * SECOND).hotkey
    assert "in the future" in refusal(plain(), NOW - 2 * SECOND - 1).what
    assert "in the future" in refusal(plain(nonce="9" * 20)).what


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "found no bt_header_dendrite_signature, expected 0x, 128 lower-case"),
        ("", "found bt_header_dendrite_signature of 0 characters"),
        ("0x", "of 2 characters"),
        ("0x" + "AB" * 64, "of 130 characters"),
        ("None", "of 4 characters"),
    ],
)
def test_a_missing_signature_is_refused_always(value, said):
    request = with_header(plain(), f"{DENDRITE}signature", value)
    with pytest.raises(Unauthentic) as caught:
        make().admit(request, NOW)

    assert said in caught.value.what
    assert said in refusal(request).what


def test_no_hotkey_is_given_out_before_it_is_verified():
    """Who is black-listed is asked with a hotkey, so this one must be proven."""
    dialect, forged = make(), with_header(plain(), f"{DENDRITE}hotkey", EVE.hotkey)

    assert dialect.admit(forged, NOW) is None
    assert f"is not of this request by {EVE.hotkey}" in refusal(forged).what


def test_no_error_shows_a_signature_or_what_was_signed():
    request = signed(b"{}", signer=EVE)
    request = with_header(request, f"{DENDRITE}uuid", "other")
    said = str(refusal(request))

    assert request.message.header(f"{DENDRITE}signature")[2:] not in said
    assert BOB.hotkey not in said
    assert "other" not in said


def test_not_even_the_start_of_a_malformed_signature_is_shown():
    value = plain().message.header(f"{DENDRITE}signature")[:-1]

    assert value[:8] not in str(
        refusal(with_header(plain(), f"{DENDRITE}signature", value))
    )


# -- Tampering


@pytest.mark.parametrize("header", ["nonce", "uuid", "hotkey", "signature"])
def test_a_signed_header_cannot_be_changed(header):
    others = {
        "nonce": str(NOW + 1), "uuid": "u-2", "hotkey": EVE.hotkey,
        "signature": signed(signer=EVE).message.header(f"{DENDRITE}signature"),
    }  # fmt: skip
    request = with_header(plain(), DENDRITE + header, others[header])

    assert "the signature is not of this request" in refusal(request).what


def test_a_signed_hash_cannot_be_changed():
    request = with_header(plain(), "computed_body_hash", "0" * 64)

    assert "the signature is not of this request" in refusal(request).what


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers()


@given(
    st.sampled_from(["prompt", "numbers"]),
    st.recursive(st.none() | st.text() | NUMBERS, st.lists).filter(
        lambda value: str(value) not in ("hello", "[1, 2, 3]")
    ),
)
def test_a_hashed_field_cannot_be_changed(field, value):
    out = sent()
    body = json.loads(out.body) | {field: value}
    said = refusal(arrived(out, body=json.dumps(body).encode())).what

    assert said.startswith("the body of Echo hashes to ")


def test_a_list_can_become_the_text_that_python_writes_for_it():
    """v10 hashes str() of a field, and both have the same: handlers check types."""
    out = sent()
    body = json.loads(out.body) | {"numbers": "[1, 2, 3]"}

    assert make().incoming(arrived(out, body=json.dumps(body).encode()), NOW).hotkey


@pytest.mark.parametrize("field", ["prompt", "numbers"])
def test_a_hashed_field_cannot_be_left_out(field):
    out = sent()
    body = {k: v for k, v in json.loads(out.body).items() if k != field}

    said = refusal(arrived(out, body=json.dumps(body).encode()), error=NotAllowed).what
    assert said == f"found no field {field!r} in the body of Echo, expected it"


def test_a_required_field_cannot_be_left_out_on_either_side():
    said = "found no field 'prompt' in the body of Plain, expected it"
    with pytest.raises(NotAllowed) as caught:
        sent(message({}, "Plain"))

    assert caught.value.what == said
    assert refusal(signed(b"{}"), error=NotAllowed).what == said


def test_what_no_class_hashes_is_not_protected():
    """v10 cannot: the constant hash is signed for any body and any such class."""
    request = plain()
    other = dataclasses.replace(
        request.message, body=b'{"prompt":"other"}', target="/Other"
    )

    taken = make().incoming(dataclasses.replace(request, message=other), NOW)
    assert json.loads(taken.message.body)["prompt"] == "other"


def test_a_request_for_another_is_refused_with_and_without_saying_so():
    other = arrived(sent(peer=Peer(PEER.url, EVE.hotkey)))

    assert f"the request is for {EVE.hotkey}, expected" in refusal(other).what
    hidden = with_header(other, f"{AXON}hotkey", BOB.hotkey)
    assert "the signature is not of this request" in refusal(hidden).what
    assert "no hotkey is configured" in refusal(plain(), dialect=make(None)).what


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":1}', b'"x"', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body):
    said = refusal(signed(body), error=NotAllowed).what

    assert "expected a JSON object with the fields of the synapse" in said


@pytest.mark.parametrize("sign", ["[],", "{},", "1,", '",",'])
def test_a_body_with_too_much_in_it_is_refused_before_it_is_decoded(sign):
    """It is no JSON either: a decoder would say that."""
    body = b'{"a":[' + sign.encode() * 1000
    error = refusal(signed(body), error=NotAllowed, dialect=make(max_items=1000))

    assert error.what == (
        f"found a body of {len(body):,} bytes with more than 1,000 commas and opening "
        "brackets (those in text count too), expected fewer"
    )
    assert "max_items" in (error.fix or "")


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_body_with_a_long_integer_is_refused(sign):
    """One of 4,000 digits takes as long to read as a hundred of forty."""
    long = sign.encode() + b"9" * 81
    said = refusal(signed(b'{"a":[1,' + long + b"]}"), error=NotAllowed).what

    assert "(an integer of 81 digits, expected at most 80)" in said


@pytest.mark.parametrize(
    "value",
    [b"9" * 80, b"-" + b"9" * 80, b'"' + b"9" * 5000 + b'"', b"0." + b"9" * 90],
    ids=["80 digits", "80 and a sign", "text", "a fraction"],
)
def test_digits_are_counted_in_integers_only(value):
    request = signed(b'{"a":[1,' + value + b"]}", "Open")

    assert make().incoming(request, NOW).hotkey


def test_a_body_with_as_much_in_it_as_is_allowed_is_taken():
    request = signed(
        b'{"a":[' + b"1," * 97 + b'1,"[,"]}', "Open"
    )  # 2, 98 and 2 in the text

    assert make(max_items=102).incoming(request, NOW).hotkey
    assert (
        "more than 101"
        in refusal(request, error=NotAllowed, dialect=make(max_items=101)).what
    )


def test_what_real_synapses_carry_is_taken_without_an_option():
    request = signed(json.dumps({"a": [0.5] * 150_000}).encode(), "Open")

    assert make().incoming(request, NOW).hotkey


@pytest.mark.parametrize(
    ("changes"), [{"method": "GET"}, {"target": "/"}, {"target": "/a.b"}]
)
def test_another_method_or_path_is_no_synapse(changes):
    request = plain()
    other = dataclasses.replace(request.message, **changes)
    said = refusal(dataclasses.replace(request, message=other), error=NotAllowed).what

    assert "expected POST to a path that ends with the class of a synapse" in said


BAD = [
    (f"{DENDRITE}version", ["10.5.0", "", "-1", "1e9", " 10005000"]),
    (f"{DENDRITE}hotkey", ["", ALICE.hotkey[:-1], "x" * 9000]),
    (f"{DENDRITE}nonce", ["", "-1", f"0{NOW}", "1.0", "\u0661", "9" * 21]),
    (f"{DENDRITE}uuid", ["", "a.b", "a b", "a" * 65, "\n"]),
    (f"{AXON}hotkey", ["", "None"]),
    ("timeout", ["", "inf", "nan", "-1", "1_0", "0x1", "1e9", "None", "12.", "\u0661"]),
    ("computed_body_hash", ["", NOTHING.upper(), NOTHING[:-1], f"{NOTHING}\n"]),
]


@pytest.mark.parametrize(
    ("header", "value"), [(h, v) for h, values in BAD for v in [None, *values]]
)
def test_a_malformed_header_is_refused_before_the_body_is_read(header, value):
    request = with_header(plain(), header, value)
    with pytest.raises(Unauthentic) as caught:
        make().admit(request, NOW)

    assert header in caught.value.what
    assert len(caught.value.what) < 160
    assert caught.value.what.isprintable()
    assert refusal(request).what == caught.value.what


@pytest.mark.parametrize("header", [name for name, _ in plain().message.headers])
def test_a_header_that_is_there_twice_is_refused(header):
    request = plain()
    twin = (header.upper(), request.message.header(header))
    other = dataclasses.replace(
        request.message, headers=(*request.message.headers, twin)
    )

    said = refusal(dataclasses.replace(request, message=other)).what
    assert said == f"found {header} twice, expected it once"


# -- Replay


def test_a_replay_is_refused_also_under_another_class_or_timeout():
    dialect = make()
    dialect.incoming(plain(), NOW)

    for again in (plain(), plain(timeout="1.0"), plain(name="Other")):
        assert "was accepted before" in refusal(again, dialect=dialect).what


def test_requests_that_overtake_each_other_are_accepted():
    """The reference refuses these: it wants each nonce larger than the last."""
    dialect = make()
    dialect.incoming(plain(nonce=str(NOW + 1)), NOW)

    assert dialect.incoming(plain(), NOW).hotkey == ALICE.hotkey


def test_a_changed_body_does_not_use_up_the_nonce():
    dialect, out = make(), sent()
    refusal(arrived(out, body=b'{"prompt":"x","numbers":1}'), dialect=dialect)

    assert dialect.incoming(arrived(out), NOW).hotkey


def test_a_restarted_server_takes_what_is_signed_from_then_on():
    dialect, old = make(), plain(nonce=str(NOW))
    dialect.incoming(old, NOW + SECOND)
    again = make()
    again.replays.begin(NOW + 2 * SECOND)

    said = refusal(old, now=NOW + 3 * SECOND, dialect=again).what
    assert "from before this server started" in said
    new = plain(nonce=str(NOW + 2 * SECOND))
    assert again.incoming(new, NOW + 3 * SECOND).hotkey


def test_a_full_memory_refuses():
    dialect = make(limit=1)
    dialect.incoming(plain(), NOW)

    other = plain(nonce=str(NOW + 1))
    assert "is full" in refusal(other, error=NotAllowed, dialect=dialect).what


# -- Replies


def taken(fields=BODY, name="Echo"):
    return make().incoming(arrived(sent(message(fields, name))), NOW)


@pytest.mark.parametrize(
    ("status", "words"), [(200, "Success"), (403, "Forbidden"), (599, "599")]
)
def test_a_reply_says_its_status_as_a_dendrite_reads_it(status, words):
    given_back = Reply(status=status, headers=(("a", "b"), (f"{AXON}status_code", "9")))
    reply = make().reply(taken(), given_back)

    assert reply.headers == (
        ("a", "b"), ("name", "Echo"), (f"{AXON}status_code", str(status)),
        (f"{AXON}status_message", words), (f"{AXON}hotkey", BOB.hotkey),
    )  # fmt: skip


def test_an_empty_json_reply_becomes_an_object_and_a_full_one_stays():
    json_type = "application/json"
    empty = make().reply(taken({}, "Unknown"), Reply(status=200, media_type=json_type))
    full = Reply(status=200, body=b'{ "prompt": 1 }', media_type=json_type)

    assert empty.body == b"{}"
    assert make().reply(taken(), full).body == full.body
    raw = Reply(status=200, body=b"\x00", media_type="application/octet-stream")
    assert make().reply(taken(), raw).body == b"\x00"


def answer(reply, name="Echo"):
    return make(ALICE).answer(PEER, message(name=name), reply)


def replied(body=b'{"prompt":"x"}', code="200", kind="application/json", status=200):
    headers = ((f"{AXON}status_code", code),) if code is not None else ()
    return Reply(status=status, body=body, media_type=kind, headers=headers)


def test_an_answer_with_header_and_required_fields_is_taken():
    good = replied()

    assert answer(good) is good
    in_body = replied(b'{"prompt":"x","axon":{"status_code":200}}', None)
    assert answer(in_body) is in_body
    stream = replied(b"token token", None, "text/event-stream; charset=utf-8")
    assert answer(stream) is stream
    refused = replied(b"no", None, "text/plain", 403)
    assert answer(refused) is refused


@pytest.mark.parametrize("code", ["500", "408"])
def test_the_status_of_an_axon_counts_more_than_that_of_http(code):
    assert answer(replied(code=code)).status == int(code)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (replied(code=None), "found no bt_header_axon_status_code of 100 to 599"),
        (replied(code=""), "found no bt_header_axon_status_code of 100 to 599"),
        (replied(code="099"), "found no bt_header_axon_status_code of 100 to 599"),
        (replied(code="1000"), "found no bt_header_axon_status_code of 100 to 599"),
        (replied(code="0200"), "found no bt_header_axon_status_code of 100 to 599"),
        (replied(b"{}"), "found no field 'prompt' in the reply, expected all of Echo"),
        (replied(b"[]"), "found no JSON object in the reply"),
        (replied(b"<html>"), "expected JSON"),
        (replied(b'{"axon":7}', None), "of 100 to 599"),
    ],
)
def test_200_that_is_no_answer_of_an_axon_is_an_error(reply, said):
    with pytest.raises(BadReply) as caught:
        answer(reply)

    assert said in caught.value.what


CROWDED = b'{"a":[' + b"[]," * 1000  # no JSON either: a decoder would say that


@pytest.mark.parametrize(("code", "name"), [("200", "Echo"), (None, "Unknown")])
def test_an_answer_with_too_much_in_it_is_refused_before_it_is_decoded(code, name):
    with pytest.raises(BadReply, match=r"more than 1,000 commas .*text") as caught:
        make(ALICE, max_items=1000).answer(
            PEER, message(name=name), replied(CROWDED, code)
        )

    assert "max_items" in (caught.value.fix or "")
    assert caught.value.where == PEER.url


def test_an_answer_with_a_long_integer_is_refused():
    reply = replied(b'{"prompt":1,"a":' + b"9" * 81 + b"}", None)

    with pytest.raises(BadReply, match="an integer of 81 digits") as caught:
        make(ALICE).answer(PEER, message(name="Echo"), reply)

    assert caught.value.where == PEER.url


@pytest.mark.slow
def test_an_answer_may_have_as_many_lists_as_its_limit_says():
    reply = replied(b'{"prompt":[' + b"[]," * 300_000 + b"1]}")

    found = make(ALICE, max_items=10**6).answer(PEER, message(name="Echo"), reply)

    assert found.body == reply.body


def test_an_answer_of_which_nothing_is_asked_is_not_decoded():
    reply = replied(CROWDED)

    assert (
        make(ALICE, max_items=1000).answer(PEER, message(name="Open"), reply) is reply
    )


# -- Options


@pytest.mark.parametrize(
    "options",
    [
        {"hash_fields": {"Echo": "prompt"}}, {"hash_fields": {"E-o": ["x"]}},
        {"required_fields": {"Echo": ["a b"]}}, {"hash_fields": {"Echo": ["axon"]}},
        {"max_timeout": -1}, {"max_timeout": "12"}, {"hotkey": "x"},
        {"max_items": 0}, {"max_items": "many"},
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_when_the_dialect_is_made(options):
    with pytest.raises(ConfigError, match="expected"):
        make(**options)
