"""What signs: a hotkey of a wallet, a development key, or a key that lives elsewhere.

The only module of the dialects that reads files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from btplug.config import Secret, nearest, read_bounded
from btplug.dialects._crypto import SCHEMES, core
from btplug.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 64 * 1024  # bytes of a hotkey file; real ones have less than 1 KiB
_EXPECTED = "expected //Name, wallet/hotkey, or a path to a hotkey file"


class Signer(Protocol):
    """A key that signs; where it lives is its own business.

    Attributes:
        hotkey: Its ss58 address.
        scheme: ``sr25519`` or ``ed25519``.
    """

    @property
    def hotkey(self) -> str: ...

    @property
    def scheme(self) -> str: ...

    def sign(self, data: bytes, /) -> bytes:
        """Return the signature of *data*; it may be called in several threads."""


def load_signer(
    spec: str | Secret | Signer,
    *,
    scheme: str = "sr25519",
    wallets: str | None = None,
    password: Callable[[], str] | None = None,
) -> Signer:
    """Return the signer that *spec* means.

    Args:
        spec: ``//Alice`` (development), ``wallet/hotkey``, a path that begins with
            ``/``, ``./``, ``../`` or ``~`` and ends with ``hotkeys/NAME``, or a
            signer, which is returned.
        scheme: Of a development key; files say their own.
        wallets: Folder of wallets; None: ``~/.bittensor/wallets``.
        password: Asked for only where the file is encrypted.

    Raises:
        ConfigError: It is none of these, is a coldkey, or cannot be read or opened.
        Unsupported: bittensor_core is not installed.
    """
    if isinstance(spec, Secret):
        spec = spec.reveal()
    if not isinstance(spec, str):
        # A configuration may hold a number here.
        if not all(hasattr(spec, name) for name in ("hotkey", "scheme", "sign")):
            raise ConfigError(
                f"found a key of type {type(spec).__name__}, {_EXPECTED}",
                fix="write it as text",
            )
        return spec
    if scheme not in SCHEMES:
        raise ConfigError(
            f"found the scheme {scheme!r}, expected {' or '.join(SCHEMES)}",
            fix=nearest(scheme, SCHEMES) or "leave it out",
        )
    if spec.startswith("//"):
        return _development(spec, scheme)
    return _read(_place(spec, wallets), password)


class _Held:
    """A key in this process; it does not leave it by accident."""

    __slots__ = ("_keypair", "hotkey", "scheme")

    def __init__(self, keypair: Any) -> None:  # bittensor_core has no types
        self._keypair = keypair
        self.hotkey: str = keypair.ss58_address
        self.scheme: str = next(
            name for name, code in SCHEMES.items() if code == keypair.crypto_type
        )

    def sign(self, data: bytes, /) -> bytes:
        signature: bytes = self._keypair.sign(data)
        return signature

    def __repr__(self) -> str:
        return f"<signer of {self.hotkey}>"

    def __copy__(self) -> _Held:
        return self

    def __deepcopy__(self, _: object) -> _Held:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled: it would leave the process readable")


def _development(uri: str, scheme: str) -> _Held:
    try:
        return _Held(core().Keypair.create_from_uri(uri, SCHEMES[scheme]))
    # `from None`, here and below: what the library says may quote what it read.
    except ValueError:
        raise ConfigError(
            "found a development key that cannot be derived, "
            "expected //Name or //Name//0",
            fix="begin with //Alice, which everybody knows",
        ) from None


def _place(spec: str, wallets: str | None) -> str:
    """Return the path of the hotkey file that *spec* names."""
    bare = spec.removeprefix("0x")
    if len(spec.split()) >= 12 or (len(bare) >= 64 and "/" not in spec):
        # Never shown: it may be one.
        raise ConfigError(
            f"found what may be a mnemonic or a seed, {_EXPECTED}",
            fix="make a hotkey file of it with btcli, and remove it from here",
        )
    names = spec.split("/")
    if "\0" not in spec and spec.startswith(("/", "./", "../", "~")):
        return os.path.expanduser(spec)
    if "\0" in spec or len(names) != 2 or {"", ".", ".."} & {*names}:
        raise ConfigError(f"found the key {spec!r}, {_EXPECTED}", fix="write it so")
    folder = os.path.expanduser(wallets or "~/.bittensor/wallets")
    return os.path.join(folder, names[0], "hotkeys", names[1])


def _read(path: str, password: Callable[[], str] | None) -> _Held:
    # Links are followed before anything is decided, and none is left to follow.
    real = os.path.realpath(path)
    _refuse_coldkey(path, real)
    try:
        data = read_bounded(real, _LARGEST, ConfigError)
    except FileNotFoundError:
        raise ConfigError(
            f"found no hotkey file, {_EXPECTED}", where=path, fix=_others(path)
        ) from None
    if len(data) > _LARGEST:
        raise _unreadable(path, f"more than {_LARGEST:,} bytes")
    library = core()
    try:
        if library.keyfile_data_is_encrypted(data):
            data = _decrypted(path, data, password)
        keypair = library.deserialize_keypair_from_keyfile_data(data)
        # A file may hold an address only; that shows here and not in the first call.
        keypair.sign(b"")
    except (library.KeyfileError, ValueError):
        raise _unreadable(path, "no private key that can be read") from None
    return _Held(keypair)


def _refuse_coldkey(path: str, real: str) -> None:
    """Refuse a coldkey by its place, its name and what it is, before it is opened."""
    wallet, hotkeys = os.path.split(os.path.dirname(os.path.abspath(path)))
    cold = os.path.join(wallet, "coldkey")
    # Lower case: a file system may not tell the two apart.
    named = any(os.path.basename(p).lower().startswith("coldkey") for p in (path, real))
    if named or (
        os.path.exists(cold) and os.path.exists(real) and os.path.samefile(cold, real)
    ):
        raise ConfigError(
            "found a coldkey, expected a hotkey: a coldkey is never opened here",
            where=path,
            fix="name a file in the folder hotkeys of the wallet",
        )
    if hotkeys != "hotkeys":
        raise ConfigError(
            f"found a key file outside a folder called hotkeys, {_EXPECTED}",
            where=path,
            fix="name a file in the folder hotkeys of a wallet",
        )


def _decrypted(path: str, data: bytes, password: Callable[[], str] | None) -> bytes:
    if password is None:
        raise ConfigError(
            "found an encrypted hotkey file, expected one that is not",
            where=path,
            fix="give its password, or use a hotkey without one",
        )
    library = core()
    try:
        opened: bytes = library.decrypt_keyfile_data(data, password())
    except library.WrongPasswordError:
        raise ConfigError(
            "the password does not open the hotkey file, expected the right one",
            where=path,
            fix="give the password again",
        ) from None
    return opened


def _unreadable(path: str, found: str) -> ConfigError:
    return ConfigError(
        f"found {found}, expected a hotkey file as btcli writes it",
        where=path,
        fix="restore it with: btcli wallet regen-hotkey",
    )


def _others(path: str) -> str:
    """Return what to do where a hotkey is missing: name one that is there."""
    try:
        there = sorted(os.listdir(os.path.dirname(path)))[:1000]
    except OSError:
        return "look for it with: btcli wallet list"
    return nearest(os.path.basename(path), there) or "btcli wallet list shows them"
