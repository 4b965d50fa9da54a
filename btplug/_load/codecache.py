"""Compiled code of pinned plugins, kept privately: one file for each plugin.

What is read back is run, so a checksum would not do: whoever can write the cache (a
CI system that restores it, say) could replace both. Each file begins with a keyed
hash; the key lies with what the operator trusts, not in the cache. A file that was
damaged, poisoned, or written with another key counts as missing.

All bytes of the plugin are hashed with it: what is read back was made of exactly
these. So their SHA-256 is kept too, which takes three times as long.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from btplug._folders import make_private, write_atomic

if TYPE_CHECKING:
    from _blake2 import blake2b
    from types import CodeType

    from btplug._folders import Folders
    from btplug._load.pinned import Pinned

_MOST = 64 * 1024 * 1024
_KEY = 32


class CodeCache:
    """The code of one plugin: its bytes, and what was compiled from them before.

    Args:
        home: Where compiled code is kept; None: nowhere.
        package: Of the plugin, where others lie in the same folder.
        codes: What was compiled before, by somebody who is trusted.

    Attributes:
        pinned: The bytes.
        codes: Path to compiled code, as marshal writes it.
        manifest: What was kept of it with the code, as plain values.
    """

    def __init__(
        self,
        home: Folders | None,
        pinned: Pinned,
        *,
        package: str = "",
        codes: dict[str, bytes] | None = None,
    ) -> None:
        self.pinned, self._home, self._package = pinned, home, package
        self.codes = codes or {}
        self._fresh = False
        self.manifest: tuple[Any, ...] | None = None
        self._key = _read_key(home) if home else None
        if home and self._key:
            self._read(home, self._key)

    def _made(self, key: bytes) -> tuple[str, blake2b]:
        """Return the name of the file, and the hash of what it was made of."""
        from _blake2 import blake2b

        pinned = self.pinned
        about = os.fsencode(f"{_stamp()}\n{pinned.root}\n{self._package}\n")
        name = blake2b(about, digest_size=16).hexdigest()
        made = blake2b(about, key=key, digest_size=_KEY)
        if not pinned.whole:
            made.update(pinned.digest.encode())
            return name, made
        made.update(b"%d\n" % len(pinned.files))
        for path in sorted(pinned.files):
            content = pinned.files[path]
            made.update(b"%b\n%d\n" % (os.fsencode(path), len(content)))
            made.update(content)
        return name, made

    def _read(self, home: Folders, key: bytes) -> None:
        import marshal

        name, made = self._made(key)
        try:
            fd = os.open(_place(home, name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            content = os.read(fd, min(os.fstat(fd).st_size, _MOST))
        except OSError:  # a folder, say
            return
        finally:
            os.close(fd)
        body = content[_KEY:]
        made.update(body)
        if _same(content[:_KEY], made.digest()):
            known, self.manifest, self.codes = marshal.loads(body)
            self.pinned.recall(known)

    def code(self, path: str) -> CodeType:
        """Return the code of a file, compiled from the pinned bytes if it is new.

        Raises:
            SyntaxError: As Python's own import would raise it.
            ValueError: The source has a null byte.
        """
        import marshal

        if found := self.codes.get(path):
            code: CodeType = marshal.loads(found)
            return code
        source = self.pinned.files[path]
        code = compile(source, self.pinned.place(path), "exec", dont_inherit=True)
        self.codes[path] = marshal.dumps(code)
        self._fresh = True
        return code

    def compile_all(self) -> None:
        """Compile every file, before a child that cannot write the cache starts."""
        for path in self.pinned.files:
            if path.endswith(".py"):
                # A file that nothing imports may hold anything.
                with suppress(SyntaxError, ValueError):
                    self.code(path)

    def keep(self, manifest: tuple[Any, ...] | None = None) -> None:
        """Write what is new; that it cannot be written is normal."""
        if manifest is not None and self.manifest is None:
            self.manifest, self._fresh = manifest, True
        if not self._fresh or self._home is None:
            return
        import marshal

        self._fresh = False
        with suppress(OSError, ValueError):
            key = self._key = self._key or _make_key(self._home)
            name, made = self._made(key)
            body = marshal.dumps((self.pinned.digest, self.manifest, self.codes))
            made.update(body)
            write_atomic(_place(self._home, name), made.digest() + body)


def _place(home: Folders, name: str) -> str:
    return os.path.join(home.cache, "code", name)


def _stamp() -> str:
    # `importlib.util` has it too, and imports more.
    from _frozen_importlib_external import MAGIC_NUMBER

    from btplug import __version__

    return f"{__version__} {MAGIC_NUMBER.hex()} {sys.flags.optimize}"


def _same(first: bytes, second: bytes) -> bool:
    from _operator import _compare_digest

    return bool(_compare_digest(first, second))


def _key_path(home: Folders) -> str:
    return os.path.join(home.trust, "key")


def _read_key(home: Folders) -> bytes | None:
    """Return the key of the cache; None where there is none that is private."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(_key_path(home), flags)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        key = os.read(fd, _KEY + 1) if private else b""
    except OSError:
        return None
    finally:
        os.close(fd)
    return key if len(key) == _KEY else None


def _make_key(home: Folders) -> bytes:
    make_private(home.trust)
    key = os.urandom(_KEY)
    write_atomic(_key_path(home), key)
    # Of two processes the later one's key stays.
    return _read_key(home) or key
