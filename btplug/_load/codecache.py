"""Compiled code of pinned plugins, kept privately: one file for each plugin.

What is read back is run, so it lies with what the operator accepted, not in the cache:
a CI system that restores a cache, say, brings no code. Each file holds the source it
was made of, which is compared: little has to be hashed. The SHA-256 of the plugin is
kept too, for it takes longer than all the rest.
"""

from __future__ import annotations

import os
import sys

# `importlib.util` has it too, and imports more.
from _frozen_importlib_external import MAGIC_NUMBER
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from btplug import __version__
from btplug._folders import digest, write_atomic

if TYPE_CHECKING:
    from types import CodeType

    from btplug._folders import Folders
    from btplug._load.pinned import Pinned

_MOST = 64 * 1024 * 1024
_MOST_FILES = 200
_LONGEST_AHEAD, _MOST_AHEAD = 256 * 1024, 2 * 1024 * 1024  # bytes of source
_SUM = 4
# Whose code can be read back: this btplug's, by this Python.
# The last number goes up with what a manifest, which is kept too, is checked for.
_STAMP = f"{__version__} {MAGIC_NUMBER.hex()} {sys.flags.optimize} 2"


class CodeCache:
    """The code of one plugin: its bytes, and what was compiled from them before.

    Args:
        home: Where compiled code is kept; None: nowhere.
        package: Of the plugin, where others lie in the same folder.
        codes: What was compiled before, by somebody who is trusted.

    Attributes:
        pinned: The bytes.
        codes: Path to compiled code, as marshal writes it; empty bytes where what
            was to be compiled ahead cannot be.
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
        if home:
            self._read(home)

    def _place(self, home: Folders) -> str:
        return os.path.join(home.trust, "code", digest(self._about()))

    def _about(self) -> str:
        return f"{_STAMP}\n{self.pinned.root}\n{self._package}"

    def _made_of(self) -> dict[str, bytes] | str:
        """Return what the code is made of, and nothing else can be."""
        pinned = self.pinned
        if not pinned.whole:
            return pinned.digest
        from _blake2 import blake2b

        # A manifest may hold a secret: of what is no code, the hash alone is kept.
        return {
            path: data if path.endswith(".py") else blake2b(data).digest()
            for path, data in pinned.files.items()
        }

    def _read(self, home: Folders) -> None:
        import marshal
        from binascii import crc32

        body = memoryview(_owned(self._place(home)))
        # Damage of a disk, which marshal does not survive.
        if len(body) <= _SUM or crc32(body[_SUM:]).to_bytes(_SUM, "big") != body[:_SUM]:
            return
        about, made_of, known, manifest, codes = marshal.loads(body[_SUM:])
        if about == self._about() and made_of == self._made_of():
            self.manifest, self.codes = manifest, codes
            self.pinned.recall(known)

    def code(self, path: str) -> CodeType:
        """Return the code of a file, compiled from the pinned bytes if it is new.

        Raises:
            SyntaxError: As Python's own import would raise it.
            ValueError: The source has a null byte.
            MemoryError, RecursionError: It is nested too deeply.
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

    def compile_ahead(self) -> None:
        """Compile what is of ordinary size, before a child that cannot write the cache.

        Source can take a thousand times its size to compile, and more: what is longer,
        or takes too much, the child compiles itself when it imports it, within its own
        limits.
        """
        left, paths = _MOST_AHEAD, []
        for path, source in self.pinned.files.items():
            if not path.endswith(".py") or path in self.codes:
                continue
            if len(source) <= min(left, _LONGEST_AHEAD):
                left -= len(source)
                paths.append(path)
        if not paths:
            return
        from btplug._load.ahead import compiled

        place, files = self.pinned.place, self.pinned.files
        codes = compiled([(place(path), files[path]) for path in paths])
        if codes is None:
            return
        if len(codes) < len(paths):
            codes.append(b"")  # that reached a limit, and would each time
        # What comes after it has its turn with the next run.
        self.codes.update(zip(paths, codes, strict=False))
        self._fresh = True

    def keep(self, manifest: tuple[Any, ...] | None = None) -> None:
        """Write what is new; that it cannot be written is normal."""
        if manifest is not None and self.manifest is None:
            self.manifest, self._fresh = manifest, True
        if not self._fresh or self._home is None:
            return
        import marshal
        from binascii import crc32

        self._fresh = False
        known = self.pinned.digest
        values = self._about(), self._made_of(), known, self.manifest, self.codes
        with suppress(OSError, ValueError):
            body = marshal.dumps(cast("Any", values))
            path = self._place(self._home)
            write_atomic(path, crc32(body).to_bytes(_SUM, "big") + body)
            _drop_oldest(os.path.dirname(path))


def _drop_oldest(folder: str) -> None:
    with os.scandir(folder) as found:
        kept = sorted((entry.stat().st_mtime_ns, entry.path) for entry in found)
    for _, path in kept[:-_MOST_FILES]:
        os.unlink(path)


def _owned(path: str) -> bytes:
    """Return a file that is the user's alone; nothing where there is none."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(path, flags)
    except OSError:
        return b""
    try:
        found = os.fstat(fd)
        private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        return os.read(fd, min(found.st_size, _MOST)) if private else b""
    except OSError:  # a folder, say
        return b""
    finally:
        os.close(fd)
