"""Dialects from plain configuration, and the one that proves nothing."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import btplug.dialects
from btplug import Message, Peer, Reply, Request, Secret
from btplug.dialects import V10, BtAuth1, NoProof, create, load_signer
from btplug.errors import ConfigError, Unauthentic

ALICE = load_signer("//Alice")
PEER = Peer("http://h?key=1")


@pytest.mark.parametrize(
    ("name", "cls"), [("none", NoProof), ("btauth/1", BtAuth1), ("v10", V10)]
)
@pytest.mark.parametrize("key", ["//Alice", Secret("//Alice"), ALICE])
def test_a_dialect_is_made_of_its_name_and_a_key(name, cls, key):
    made = create(name, key=key)

    assert type(made) is cls
    assert made.name == name


def test_options_reach_the_class_and_those_of_the_key_the_key():
    made = create("btauth/1", key="//Alice", scheme="ed25519", require_receiver=False)
    out = made.outgoing(PEER, Message(method="POST"), timeout=1, now_ns=1)

    assert out.header("X-Bittensor-Crypto") == "ed25519"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("btauth1", "did you mean btauth/1?"),
        ("V10", "did you mean v10?"),
        ("zzz", "name one of them"),
    ],
)
def test_an_unknown_dialect_is_refused_with_the_nearest(name, fix):
    with pytest.raises(ConfigError) as caught:
        create(name)

    assert caught.value.what == (
        f"found the dialect {name!r}, expected one of: none, btauth/1, v10"
    )
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("name", "option", "fix"),
    [
        ("btauth/1", "require_reciever", "did you mean require_receiver?"),
        ("v10", "hash_field", "did you mean hash_fields?"),
        ("none", "hotkey", "remove 'hotkey'"),
        ("v10", "signer", "remove 'signer'"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest(name, option, fix):
    with pytest.raises(ConfigError) as caught:
        create(name, **{option: 1})

    assert f"found the option {option!r} of the dialect {name}" in caught.value.what
    assert caught.value.fix == fix


# -- None


def test_none_sends_and_takes_everything_as_it_is():
    dialect, message, reply = NoProof(), Message(method="POST"), Reply(status=200)
    request = Request(message=message, address="a:1")

    assert dialect.outgoing(PEER, message, timeout=1, now_ns=0) is message
    assert dialect.answer(PEER, message, reply) is reply
    assert dialect.admit(request, 0) is None
    assert dialect.incoming(request, 0) is request
    assert dialect.reply(request, reply) is reply


def test_none_believes_no_hotkey():
    claimed = Request(message=Message(), address="a:1", hotkey=ALICE.hotkey)

    assert NoProof().incoming(claimed, 0) == Request(message=Message(), address="a:1")


def test_none_cannot_satisfy_who_demands_a_hotkey():
    peer = Peer("http://h?key=1", ALICE.hotkey)
    with pytest.raises(Unauthentic) as caught:
        NoProof().outgoing(peer, Message(), timeout=1, now_ns=0)
    with pytest.raises(Unauthentic):
        NoProof().answer(peer, Message(), Reply(status=200))

    assert caught.value.where == "http://h"
    assert caught.value.delivered is False


# -- The package


def loaded_by(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(sorted(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(ast.literal_eval(done.stdout))


def test_importing_the_package_imports_no_dialect():
    before = loaded_by("import typing")
    loaded = loaded_by("import btplug.dialects") - before

    assert {m for m in loaded if m.startswith("btplug")} == {
        "btplug", "btplug.dialects", "btplug.errors",
    }  # fmt: skip
    assert not loaded & {"hashlib", "json", "re", "dataclasses", "bittensor_core"}


@pytest.mark.parametrize("name", ["none", "btauth/1", "v10"])
def test_a_dialect_without_a_key_needs_no_library_of_signatures(name):
    code = f"from btplug.dialects import create; create({name!r})"

    assert "bittensor_core" not in loaded_by(code)


def test_the_public_names_are_there_and_documented():
    for name in btplug.dialects.__all__:
        assert getattr(btplug.dialects, name).__doc__
        assert name in dir(btplug.dialects)
    with pytest.raises(AttributeError, match=r"'btplug\.dialects' has no attribute"):
        btplug.dialects.BtAuth2  # noqa: B018 - the look-up is what fails
