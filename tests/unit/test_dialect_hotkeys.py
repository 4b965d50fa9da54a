"""Hotkeys as text, and signatures by them."""

from __future__ import annotations

import builtins

import bittensor_core
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug.dialects import load_signer
from btplug.dialects._crypto import core, verify
from btplug.dialects._ss58 import _WEAK, hotkey_of
from btplug.errors import Unsupported

ALICE = load_signer("//Alice")
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@given(st.binary(min_size=32, max_size=32).filter(lambda key: key not in _WEAK))
def test_the_address_of_any_key_is_a_hotkey(key):
    text = bittensor_core.ss58_encode(key)

    assert hotkey_of(text) == text


@given(st.integers(0, 47), st.sampled_from(ALPHABET + "0OIl é\n"))
def test_an_address_with_one_character_changed_is_no_hotkey(where, letter):
    text = ALICE.hotkey[:where] + letter + ALICE.hotkey[where + 1 :]

    assert (hotkey_of(text) is None) == (text != ALICE.hotkey)


@given(st.text(ALPHABET, min_size=46, max_size=50) | st.text(max_size=60))
def test_any_text_is_a_hotkey_only_if_the_library_reads_it(text):
    assert hotkey_of(text) is None or bittensor_core.ss58_decode(text)


@pytest.mark.parametrize("prefix", [0, 2, 41, 43, 63, 64, 255])
def test_a_key_has_one_name_so_addresses_of_other_chains_are_none(prefix):
    key = bittensor_core.ss58_decode(ALICE.hotkey)

    assert hotkey_of(bittensor_core.ss58_encode(key, prefix)) is None


@pytest.mark.parametrize(
    "text", ["", "1" + "5" * 47, f"1{ALICE.hotkey}"[:48], f"1{ALICE.hotkey}", "z" * 48]
)
def test_what_only_looks_like_an_address_is_no_hotkey(text):
    assert hotkey_of(text) is None


def test_the_same_hotkey_is_mostly_the_same_object():
    one, other = (hotkey_of("".join(list(ALICE.hotkey))) for _ in range(2))

    assert one is other


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("key", sorted(_WEAK), ids=bytes.hex)
def test_a_key_for_which_anybody_can_sign_is_no_hotkey(key, sign):
    text = bittensor_core.ss58_encode(key[:31] + bytes((key[31] | sign,)))

    assert hotkey_of(text) is None


@pytest.mark.parametrize(
    ("scheme", "signature"),
    [("sr25519", bytes(63) + b"\x80"), ("ed25519", b"\x01" + bytes(63))],
)
def test_the_library_takes_a_signature_that_nobody_made(scheme, signature):
    """The trap is armed: the default account of the chain signs anything."""
    nobody = bittensor_core.ss58_encode(bytes(32))
    if scheme == "ed25519":
        nobody = bittensor_core.ss58_encode(b"\x01" + bytes(31))

    assert verify(scheme, nobody, b"anything", signature)


@pytest.mark.parametrize("size", [0, 1, 63, 65, 5_000])
def test_a_signature_of_another_length_is_none(size):
    assert not verify("sr25519", ALICE.hotkey, b"x", bytes(size))


def test_a_key_of_one_scheme_does_not_verify_under_the_other():
    signature = ALICE.sign(b"x")

    assert verify("sr25519", ALICE.hotkey, b"x", signature)
    assert not verify("ed25519", ALICE.hotkey, b"x", signature)


def test_without_the_library_the_fix_is_the_command_to_paste(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "bittensor_core":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unsupported) as caught:
        core()
    assert caught.value.fix == "pip install 'btplug[bittensor]'"
    with pytest.raises(Unsupported):
        load_signer("//Alice")
