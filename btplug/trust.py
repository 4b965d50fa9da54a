"""What the operator accepted: exactly these bytes, with exactly these permissions."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from btplug._folders import make_private, write_atomic
from btplug._trust import blocktext
from btplug._trust.blocktext import BadBlocks
from btplug._trust.hashes import is_digest, sha256
from btplug._trust.owners import read_owned
from btplug.errors import BtplugError, TrustError
from btplug.manifest import Permissions, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from btplug._folders import Folders

__all__ = ["Accepted", "TrustStore"]

_HEAD = "btplug-trust: 1"
_KEYS = frozenset(
    {
        "digest", "for", "in-process", "kind", "name", "network", "path", "read",
        "version", "write",
    }
)  # fmt: skip
_MOST = 16 * 1024 * 1024
# Seconds to wait for another process that writes the store.
_PATIENCE = 10.0
KINDS = ("cli", "transport", "settings")


class Accepted(NamedTuple):
    """One consent.

    Attributes:
        path: Where it lies, without links: a plugin's folder, or a btplug.yaml.
        kind: ``cli``, ``transport``, or ``settings`` of a project.
        digest: Of all its files.
        in_process: It may run in btplug's own process, unconfined.
    """

    path: str
    name: str
    kind: str
    version: str
    digest: str
    permissions: Permissions = Permissions()
    in_process: bool = False


class TrustStore:
    """The file of what was accepted: private, written whole, and never guessed at.

    Where it is damaged, every question about it is refused: to go on as if nothing had
    been accepted, and write that, would forget what was.
    """

    def __init__(self, home: Folders) -> None:
        self.home, self._folder = home, home.trust
        self.path = home.accepted
        self._body: str | None = None

    def find(self, path: str) -> Accepted | None:
        """Return what was accepted at *path*, whatever lies there now.

        Raises:
            TrustError: The store is damaged.
        """
        body = self._checked()
        # Of many consents a run asks for one: the others are not parsed.
        begin = body.find(f"\n\npath: {blocktext.escape(path)}\n")
        if begin < 0:
            return None
        end = body.find("\n\n", begin + 2)
        block = body[begin + 2 : end] if end >= 0 else body[begin + 2 :]
        return next(iter(self._parsed(block).values()))

    def all(self) -> Mapping[str, Accepted]:
        """Return all that was accepted, by path.

        Raises:
            TrustError: The store is damaged, or others may write it.
        """
        return self._parsed(self._checked().partition("\n\n")[2])

    def accept(self, *consents: Accepted, files: Mapping[str, str]) -> None:
        """Record consents, in place of what was accepted at the same paths.

        Args:
            files: Digest to the lines of which it is the digest, to tell later which
                file has changed.

        Raises:
            TrustError: The store is damaged: nothing is recorded.
            BtplugError: It cannot be written; what was there is untouched.
        """
        with self._locked():
            found = dict(self.all())
            found |= {consent.path: consent for consent in consents}
            for digest, lines in files.items():
                write_atomic(self._files(digest), lines.encode())
            self._save(found)

    def withdraw(self, *paths: str) -> list[Accepted]:
        """Forget what was accepted at *paths* and return it.

        Raises:
            TrustError: The store is damaged.
            BtplugError: It cannot be written.
        """
        with self._locked():
            found = dict(self.all())
            gone = [found.pop(path) for path in paths if path in found]
            if gone:
                self._save(found)
            return gone

    def hashes(self, accepted: Accepted) -> dict[str, str] | None:
        """Return the hash of each file that was accepted; None: that is not known."""
        try:
            text = read_owned(self._files(accepted.digest), _MOST).decode()
        except (TrustError, FileNotFoundError, ValueError):
            return None
        if f"h1:{sha256(text.encode())}" != accepted.digest:
            return None
        lines = (line.partition("  ") for line in text.splitlines())
        return {path: found for found, _, path in lines}

    def _files(self, digest: str) -> str:
        return os.path.join(self._folder, "files", digest.removeprefix("h1:"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers out; a process that is killed lets go by itself."""
        import fcntl
        import time

        until = time.monotonic() + _PATIENCE
        try:
            make_private(self._folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(os.path.join(self._folder, "lock"), flags, 0o600)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._body = None
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as exc:
                    if time.monotonic() > until:
                        raise BtplugError(
                            "another process has been writing the trust store for "
                            f"{_PATIENCE:g} seconds",
                            where=self.path,
                            fix="end it, and try again",
                        ) from exc
                    time.sleep(0.01)
            try:
                yield
            except OSError as exc:
                raise self._unwritable(exc) from exc
        finally:
            os.close(fd)
            self._body = None

    def _unwritable(self, exc: OSError) -> BtplugError:
        return BtplugError(
            f"the trust store cannot be written: {exc.strerror}",
            where=exc.filename or self.path,
            fix="make room and the folder writable, or choose another with BTPLUG_HOME",
        )

    def _save(self, found: Mapping[str, Accepted]) -> None:
        blocks = [_block(found[path]) for path in sorted(found)]
        os.chmod(self._folder, 0o700)
        write_atomic(self.path, self._text(blocks).encode())
        used = {os.path.basename(self._files(a.digest)) for a in found.values()}
        folder = os.path.join(self._folder, "files")
        with suppress(OSError):
            for name in set(os.listdir(folder)) - used:
                if not name.startswith(".tmp-"):  # another process writes it
                    os.unlink(os.path.join(folder, name))

    def _text(self, blocks: list[blocktext.Block]) -> str:
        # The place is part of it: a store that came with a clone or an archive
        # accepts nothing where it lands.
        body = blocktext.write(_first(os.path.realpath(self._folder)), blocks)
        return f"{body}\nsum: {sha256(body.encode())}\n"

    def _checked(self) -> str:
        """Return the content, once it is known to be what was written here."""
        if self._body is not None:
            return self._body
        try:
            content = read_owned(self.path, _MOST)
        except FileNotFoundError:
            self._body = ""
            return ""
        body, _, last = content.rpartition(b"\nsum: ")
        if last != f"{sha256(body)}\n".encode():
            raise self._damaged("its sum does not fit its content")
        text = body.decode("utf-8", "replace")
        first = text.partition("\n\n")[0].removesuffix("\n")
        places = (os.path.abspath, os.path.realpath)  # mostly there is no link
        if all(first != _first(place(self._folder)) for place in places):
            raise self._damaged("it was made for another folder or user")
        self._body = text
        return text

    def _parsed(self, body: str) -> dict[str, Accepted]:
        try:
            blocks = blocktext.read(f"{_HEAD}\n\n{body}", _HEAD, _KEYS)
            found = [_accepted(block) for block in blocks]
        except ValueError as exc:
            raise self._damaged(str(exc)) from exc
        return {accepted.path: accepted for accepted in found}

    def _damaged(self, reason: str) -> TrustError:
        return TrustError(
            f"the trust store is damaged ({reason}): nothing in it counts, and "
            "nothing is added",
            where=self.path,
            fix="put back a copy of it, or remove it and trust your plugins again",
        )


def _first(folder: str) -> str:
    """Return the first lines of a store that lies in *folder*."""
    return f"{_HEAD}\nfor: {os.geteuid()} {blocktext.escape(folder)}"


def _block(accepted: Accepted) -> blocktext.Block:
    return {
        "path": [(accepted.path,)],
        "name": [(accepted.name,)],
        "kind": [(accepted.kind,)],
        "version": [(accepted.version,)],
        **permission_lines(accepted.permissions),
        "digest": [(accepted.digest,)],
        "in-process": [("yes" if accepted.in_process else "no",)],
    }


def permission_lines(permissions: Permissions) -> blocktext.Block:
    """Return permissions as lines of a block."""
    return {
        "network": [permissions.network],
        "read": [permissions.read],
        "write": [permissions.write],
    }


def permissions_in(block: blocktext.Block) -> Permissions:
    """Return what `permission_lines` wrote.

    Raises:
        BadBlocks: A line is missing.
    """
    return Permissions(*(blocktext.one(block, key) for key in Permissions._fields))


def _accepted(block: blocktext.Block) -> Accepted:
    found = Accepted(
        blocktext.word(block, "path"),
        blocktext.word(block, "name"),
        blocktext.word(block, "kind"),
        blocktext.word(block, "version"),
        blocktext.word(block, "digest"),
        permissions_in(block),
        blocktext.word(block, "in-process") == "yes",
    )
    if not (is_name(found.name) or found.kind == "settings") or found.kind not in KINDS:
        raise BadBlocks(f"found {found.name!r} of kind {found.kind!r}")
    if not is_digest(found.digest):
        raise BadBlocks(f"found the digest {found.digest[:80]!r}")
    return found
