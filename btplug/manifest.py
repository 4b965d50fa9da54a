"""config.yaml -> Manifest, without running any of the plugin's code."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from btplug.config import Limits, nearest, parse_yaml, read_bounded, shown
from btplug.errors import ManifestError

API = 1
FILE = "config.yaml"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"
# Texts, not compiled patterns: a start from the cache checks no manifest.
_NAME = r"[a-z0-9][a-z0-9-]{0,39}"
_ENTRY = r"(?a:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)"
_VERSION = r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,39}"
_HOST = r"(\*\.)?[A-Za-z0-9_.:\[\]/-]{1,253}"
_PLAIN = r"[A-Za-z0-9_./~@%+=:,*\[\]-]+"
# What stands for something else where permissions are shown, and is no path or host.
_SAID = ("all", "any", "arguments", "none", "state")

Value = dict[str, object]

_BLOCK = """add this at the top and adapt it:
plugin:
  name: {name}
  kind: cli
  entry: plugin:MyPlugin
  summary: What it does
  version: 1.0.0
  api: 1"""


class Permissions(NamedTuple):
    """What a plugin may do when it is confined.

    Attributes:
        network: ``("none",)``, ``("arguments",)``, ``("any",)``, or hosts.
        read: ``arguments``, ``state``, or paths.
        write: The same for writing.
    """

    network: tuple[str, ...] = ("none",)
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


def asked_text(asked: tuple[str, ...]) -> str:
    """Return a part of `Permissions` as it is shown: each word from end to end."""
    # Letters of other scripts may look like ours, or turn the line around.
    words = [word if re.fullmatch(_PLAIN, word) else ascii(word) for word in asked]
    return " ".join(words) or "none"


class Manifest(NamedTuple):
    """What a plugin says of itself in the ``plugin:`` part of its config.yaml.

    A NamedTuple, not a dataclass: one is defined at every start (0.3 ms for 1.8).

    Attributes:
        name: The command, or the transport's name: ``[a-z0-9][a-z0-9-]{0,39}``.
        kind: ``"cli"`` is loaded when called, ``"transport"`` at start-up.
        entry: ``"module:Class"`` inside *root*.
        summary: Row shown by ``--help``; at most 60 characters.
        transports: Transports a CLI plugin needs; None: every enabled one.
        config: Defaults of the plugin's settings, as written.
        root: Folder that holds config.yaml.
        package: Importable name of *root* in an installed distribution, else ``""``.
        source: Kind of place it was found in: ``shipped``, ``user``, …
        record: The folder ``….dist-info`` of its distribution, else ``""``.
    """

    name: str
    kind: str
    entry: str
    summary: str
    version: str
    api: int
    transports: tuple[str, ...] | None
    permissions: Permissions
    config: Value
    root: str
    package: str = ""
    source: str = ""
    record: str = ""

    @property
    def path(self) -> str:
        """The config.yaml itself."""
        return os.path.join(self.root, FILE)


def folder_names(name: str) -> tuple[str, ...]:
    """Return what the folder of plugin *name* may be called."""
    other = name.replace("-", "_")
    return (name,) if other == name else (name, other)


def is_name(text: str) -> bool:
    """Tell whether *text* can be the name of a plugin."""
    return 0 < len(text) <= 40 and text[0] != "-" and not text.strip(_LETTERS)


def read_manifest(
    root: str, *, package: str = "", source: str = "", record: str = "",
    content: bytes | None = None,
) -> Manifest:  # fmt: skip
    """Read and check the config.yaml in folder *root*.

    Args:
        content: Of the file, where it was read before.

    Raises:
        ManifestError: It is missing, unreadable, or not what DESIGN asks for;
            the message has file, line, what was found and what was expected.
    """
    path = os.path.join(root, FILE)
    limits = Limits()
    try:
        if content is None:
            content = read_bounded(path, limits.size, ManifestError)
    except FileNotFoundError as exc:
        raise ManifestError(
            f"{path}: found no such file, expected one beside the plugin's code",
            fix=_BLOCK.format(name=_suggestion(root)),
        ) from exc
    document = parse_yaml(content, where=path, limits=limits, error=ManifestError)
    found = _Check(path, document.lines).manifest(document.data, root)
    return found._replace(package=package, source=source, record=record)


def _suggestion(root: str) -> str:
    name = os.path.basename(root).replace("_", "-").lower()
    return name if is_name(name) else "my-plugin"


class _Check:
    def __init__(self, path: str, lines: dict[tuple[str | int, ...], int]) -> None:
        self.path, self.lines = path, lines

    def fail(
        self, at: tuple[str | int, ...], found: object, expected: str, fix: str = ""
    ) -> ManifestError:
        line = self.lines.get(at) or self.lines.get(at[:-1]) or 1
        key = ".".join(map(str, at))
        words = found if isinstance(found, _Words) else shown(found)
        return ManifestError(
            f"{self.path}:{line}: {key}: found {words}, expected {expected}",
            fix=fix
            or f"{'add' if found is _NOTHING else 'change'} the '{at[-1]}' line",
        )

    def manifest(self, data: object, root: str) -> Manifest:
        if not isinstance(data, dict) or "plugin" not in data:
            raise ManifestError(
                f"{self.path}:1: plugin: found nothing, "
                "expected the block that says what the plugin is",
                fix=_BLOCK.format(name=_suggestion(root)),
            )
        self.keys((), data, ("plugin", "config"))
        block = data["plugin"]
        if not isinstance(block, dict):
            raise self.fail(("plugin",), block, "a mapping")
        self.keys(("plugin",), block, _KEYS)
        config = data.get("config")
        if config is None:
            config = {}
        elif not isinstance(config, dict):
            # Not shown: with a blank forgotten, it is "token:" and a secret.
            found = _Words(f"a value of type {type(config).__name__}")
            raise self.fail(("config",), found, "keys and values, as in 'key: value'")
        values = {key: self.text(block, key, *rule) for key, rule in _RULES.items()}
        return Manifest(
            **values,
            api=self.api(block),
            transports=self.transports(block),
            permissions=self.permissions(block),
            config=config,
            root=root,
        )

    def keys(self, at: tuple[str, ...], block: Value, known: tuple[str, ...]) -> None:
        for key in block:
            if key not in known:
                hint = nearest(key, known)
                raise self.fail(
                    (*at, key),
                    _Words("an unknown key"),
                    f"one of {', '.join(known)}",
                    fix=hint or f"remove the '{key}' line",
                )

    def text(self, block: Value, key: str, rule: str, expected: str) -> str:
        # YAML reads `name: on` as True, so ask for a text before matching.
        value = block.get(key)
        good = isinstance(value, str) and re.fullmatch(rule, value)
        # It is shown on terminals: nothing in it may steer one.
        if not isinstance(value, str) or not good or not value.isprintable():
            raise self.fail(("plugin", key), block.get(key, _NOTHING), expected)
        return value

    def api(self, block: Value) -> int:
        value = block.get("api", _NOTHING)
        if type(value) is not int or value != API:
            fits = "install a version of the plugin, or of btplug, that fits"
            raise self.fail(
                ("plugin", "api"),
                value,
                f"{API}, the plugin API of this btplug",
                fix=f"add the line: api: {API}" if value is _NOTHING else fits,
            )
        return API

    def names(
        self, at: tuple[str, ...], value: object, expected: str = "a list of texts"
    ) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.fail(at, value, expected)
        for index, item in enumerate(value):
            if not isinstance(item, str) or not item:
                raise self.fail((*at, index), item, "a text")
        return tuple(value)

    def paths(self, at: tuple[str, ...], value: object) -> tuple[str, ...]:
        paths = self.names(at, value)
        for index, path in enumerate(paths):
            # The operator accepts what is shown: it has to be what is meant.
            if path.lower() in _SAID and path not in ("arguments", "state"):
                fix = f"write ./{path} where a path is called so; [] is none"
                raise self.fail((*at, index), path, "arguments, state or a path", fix)
            if path != path.strip() or not path.isprintable():
                expected = "a printable path without blanks at its ends"
                raise self.fail((*at, index), path, expected)
        return paths

    def transports(self, block: Value) -> tuple[str, ...] | None:
        at = ("plugin", "transports")
        value = block.get("transports")
        if "transports" in block and block["kind"] != "cli":
            raise self.fail(at, value, "none: only a plugin of kind cli names them")
        if value is None:
            return None
        names = self.names(at, value)
        for index, name in enumerate(names):
            if not is_name(name) or name in ("all", "none"):
                raise self.fail((*at, index), name, "the name of a transport")
        return names

    def permissions(self, block: Value) -> Permissions:
        at = ("plugin", "permissions")
        asked = block.get("permissions")
        if asked is None:
            asked = {}
        if not isinstance(asked, dict):
            raise self.fail(at, asked, "a mapping")
        self.keys(at, asked, Permissions._fields)
        network: object = asked.get("network")
        hosts: tuple[str, ...]
        if network is None:
            hosts = ("arguments",) if block.get("transports") else ("none",)
        elif network in ("none", "arguments", "any"):
            hosts = (str(network),)
        else:
            expected = "none, arguments, any, or a list of hosts"
            hosts = self.names((*at, "network"), network, expected)
            for index, host in enumerate(hosts):
                good = host.lower() not in _SAID or host == "arguments"
                # Alone such a word is the same as without brackets.
                good = good or hosts in (("any",), ("none",))
                if not (good and re.fullmatch(_HOST, host)):
                    raise self.fail((*at, "network", index), host, expected)
        return Permissions(
            hosts,
            self.paths((*at, "read"), asked.get("read")),
            self.paths((*at, "write"), asked.get("write")),
        )


class _Words(str):
    """Words of ours inside a message: shown without quotes."""

    __slots__ = ()


_NOTHING = _Words("nothing")


_RULES = {
    "name": (_NAME, "[a-z0-9][a-z0-9-]{0,39}"),
    "kind": ("cli|transport", "cli or transport"),
    "entry": (_ENTRY, "module:Class, such as plugin:MyPlugin"),
    "summary": (r".{1,60}", "one line of 1 to 60 characters"),
    "version": (_VERSION, "a version in quotes, such as '1.0.0'"),
}
_KEYS = (*_RULES, "api", "transports", "permissions")
