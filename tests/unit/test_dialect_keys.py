"""What signs: development keys, hotkey files, keys that live elsewhere."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import traceback

import bittensor_core
import pytest

from btplug import Secret
from btplug.dialects import load_signer
from btplug.dialects._crypto import verify
from btplug.errors import ConfigError

PAIR = bittensor_core.Keypair.create_from_uri("//Charlie")
FILE = bytes(bittensor_core.serialized_keypair_to_keyfile_data(PAIR))
PRIVATE = json.loads(FILE)["privateKey"]


@pytest.fixture
def wallet(fence):
    """A wallet of the standard layout, with a hotkey and a coldkey."""
    folder = fence / ".bittensor" / "wallets" / "mine"
    (folder / "hotkeys").mkdir(parents=True)
    (folder / "hotkeys" / "default").write_bytes(FILE)
    (folder / "coldkey").write_bytes(FILE)
    (folder / "coldkeypub.txt").write_bytes(FILE)
    return folder


def refusal(spec, **options):
    with pytest.raises(ConfigError) as caught:
        load_signer(spec, **options)
    told = "".join(traceback.format_exception(caught.value))
    for secret in (PRIVATE, PRIVATE[2:30], "legal winner"):
        assert secret not in told
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519"])
def test_a_development_key_signs_under_its_scheme(scheme):
    signer = load_signer("//Alice", scheme=scheme)

    assert signer.scheme == scheme
    assert verify(scheme, signer.hotkey, b"x", signer.sign(b"x"))
    assert load_signer(Secret("//Alice"), scheme=scheme).hotkey == signer.hotkey


def test_a_wallet_and_a_hotkey_name_a_file_below_the_wallets(wallet, tmp_path):
    assert load_signer("mine/default").hotkey == PAIR.ss58_address
    signer = load_signer("mine/default", wallets=str(wallet.parent))
    assert signer.hotkey == PAIR.ss58_address
    assert load_signer("mine/default", wallets="~/.bittensor/wallets")
    assert "found no hotkey file" in refusal("mine/default", wallets=str(tmp_path)).what


def test_a_path_names_a_hotkey_file(wallet, monkeypatch):
    monkeypatch.chdir(wallet)
    home = "~/.bittensor/wallets/mine/hotkeys/default"

    for path in (str(wallet / "hotkeys/default"), "./hotkeys/default", home):
        assert load_signer(path).hotkey == PAIR.ss58_address


def test_a_file_says_its_own_scheme(wallet):
    pair = bittensor_core.Keypair.create_from_uri("//Dave", crypto_type=0)
    data = bittensor_core.serialized_keypair_to_keyfile_data(pair)
    (wallet / "hotkeys/ed").write_bytes(data)
    signer = load_signer("mine/ed")

    assert (signer.scheme, signer.hotkey) == ("ed25519", pair.ss58_address)
    assert verify("ed25519", signer.hotkey, b"x", signer.sign(b"x"))


def test_a_signer_is_taken_as_it_is():
    class Remote:
        hotkey, scheme = PAIR.ss58_address, "sr25519"

        def sign(self, data):
            return b""

    remote = Remote()
    assert load_signer(remote) is remote


@pytest.mark.parametrize("spec", [7, True, ["//Alice"], None])
def test_what_is_neither_text_nor_a_signer_is_refused(spec):
    assert f"found a key of type {type(spec).__name__}" in refusal(spec).what


# -- Coldkeys


@pytest.fixture
def no_reading(monkeypatch):
    """Fail the test if a file is opened."""

    def opened(*_, **__):
        raise AssertionError("a file was opened")

    monkeypatch.setattr("btplug.dialects.keys.read_bounded", opened)


@pytest.mark.parametrize(
    "name", ["coldkey", "coldkeypub.txt", "hotkeys/../coldkey", "hotkeys/Coldkey"]
)
def test_a_coldkey_is_refused_by_its_name_before_it_is_opened(wallet, name, no_reading):
    error = refusal(str(wallet / name))

    assert error.what.startswith("found a coldkey, expected a hotkey")
    assert error.where == str(wallet / name)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_coldkey_is_refused_under_another_name_too(wallet, link, no_reading):
    link(wallet / "coldkey", wallet / "hotkeys" / "other")

    assert refusal("mine/other").what.startswith("found a coldkey")


def test_a_link_to_a_coldkey_elsewhere_is_refused(wallet, tmp_path, no_reading):
    (tmp_path / "coldkey").write_bytes(FILE)
    (wallet / "hotkeys/other").symlink_to(tmp_path / "coldkey")

    assert refusal("mine/other").what.startswith("found a coldkey")


def test_a_key_outside_a_folder_of_hotkeys_is_not_opened(tmp_path, no_reading):
    (tmp_path / "key").write_bytes(FILE)

    assert "outside a folder called hotkeys" in refusal(str(tmp_path / "key")).what


def test_a_hotkey_is_read_where_reading_fails_the_test(wallet, no_reading):
    """The trap is armed."""
    with pytest.raises(AssertionError, match="a file was opened"):
        load_signer("mine/default")


# -- Files that cannot be used


def test_an_encrypted_hotkey_is_refused_where_no_password_can_be_given(wallet):
    (wallet / "hotkeys/locked").write_bytes(b"$NACL" + bytes(400))

    error = refusal("mine/locked")
    assert error.what == "found an encrypted hotkey file, expected one that is not"


@pytest.mark.slow  # the library stretches passwords: two seconds for each
def test_an_encrypted_hotkey_is_opened_by_its_password_only(wallet):
    data = bittensor_core.encrypt_keyfile_data(FILE, "correct horse")
    (wallet / "hotkeys/locked").write_bytes(data)

    signer = load_signer("mine/locked", password=lambda: "correct horse")
    assert signer.hotkey == PAIR.ss58_address
    error = refusal("mine/locked", password=lambda: "wrong battery")
    assert error.what.startswith("the password does not open the hotkey file")
    assert "battery" not in "".join(traceback.format_exception(error))


def test_the_password_is_asked_for_only_where_it_is_needed(wallet):
    def asked():
        raise AssertionError("asked")

    assert load_signer("mine/default", password=asked)


SECRET_PHRASE = b"legal winner thank year wave sausage worth useful legal winner"
BROKEN = [
    b"", b"{}", b"garbage", b"\xff\xfe", b"[1]",
    b'{"secretSeed": "0xzz"}', FILE[:-20], b"[" * 60_000,
    b'{"secretPhrase": "' + SECRET_PHRASE + b'"}',
    b'{"ss58Address": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"}',
    FILE.replace(PRIVATE[2:6].encode(), b"zzzz"),
]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_a_file_without_a_private_key_is_one_error_that_shows_nothing_of_it(
    wallet, data
):
    (wallet / "hotkeys/broken").write_bytes(data)
    error = refusal("mine/broken", password=lambda: "correct horse")

    assert "expected" in error.what
    assert error.where == str(wallet / "hotkeys/broken")
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.slow
def test_an_encrypted_file_that_was_cut_is_the_same_error(wallet):
    (wallet / "hotkeys/cut").write_bytes(b"$NACLxxxx")

    assert "expected" in refusal("mine/cut", password=lambda: "correct horse").what


def test_a_file_of_another_kind_is_refused(wallet):
    (wallet / "hotkeys/folder").mkdir()
    (wallet / "hotkeys/large").write_bytes(FILE + b" " * 70_000)
    os.mkfifo(wallet / "hotkeys/pipe")

    assert "found a folder" in refusal("mine/folder").what
    assert "found more than 65,536 bytes" in refusal("mine/large").what
    assert "found a pipe" in refusal("mine/pipe").what


def test_a_missing_hotkey_offers_the_nearest_one(wallet):
    assert refusal("mine/defualt").fix == "did you mean default?"
    assert refusal("mine/x").fix == "btcli wallet list shows them"
    assert refusal("other/default").fix == "look for it with: btcli wallet list"


@pytest.mark.parametrize(
    "spec", ["", "mine", "a/b/c", "a/", "b/", "a/..", "../b\0", "a/b\0", "/a\0"]
)
def test_what_names_no_key_is_refused_with_what_does(spec):
    assert "expected //Name, wallet/hotkey, or a path" in refusal(spec).what


@pytest.mark.parametrize(
    "spec", [" ".join(["legal winner"] * 6), PRIVATE, PRIVATE[2:66]]
)
def test_what_may_be_a_secret_is_never_shown(spec):
    error = refusal(spec)

    assert error.what.startswith("found what may be a mnemonic or a seed")
    assert spec[:12] not in str(error)


def test_a_development_key_that_cannot_be_derived_is_refused():
    class Core:
        class Keypair:
            @staticmethod
            def create_from_uri(*_):
                raise ValueError("//its words")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("btplug.dialects.keys.core", Core)
        assert "its words" not in str(refusal("//x"))


def test_an_unknown_scheme_is_refused_with_the_nearest():
    assert refusal("//Alice", scheme="sr25591").fix == "did you mean sr25519?"


# -- A key does not leave


def test_a_key_is_not_shown_pickled_or_copied(caplog):
    signer = load_signer("//Alice")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="a key is not pickled"):
            pickle.dumps(signer, protocol)
    logging.getLogger("test").warning("%s %r", signer, signer)

    assert repr(signer) == f"<signer of {signer.hotkey}>"
    assert f"<signer of {signer.hotkey}> <signer" in caplog.text
    assert copy.copy(signer) is copy.deepcopy(signer) is signer
    assert not hasattr(signer, "__dict__")
