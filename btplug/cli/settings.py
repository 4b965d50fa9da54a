"""Settings of a plugin as rows for help pages and listings, secrets masked."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from btplug._secrets import visibility
from btplug._yaml import without_login
from btplug.cli.output import cell
from btplug.errors import BtplugError, reason_of
from btplug.settings import HOST

if TYPE_CHECKING:
    from btplug.manifest import Manifest
    from btplug.schema import Field
    from btplug.settings import Settings

MASK = "***"


class Shown(NamedTuple):
    """One setting as it may be shown."""

    key: str
    value: object
    origin: str


def known_settings(manifest: Manifest, settings: Settings) -> list[Shown]:
    """Return what files and the environment say; runs no plugin code.

    A value is shown only where the source tells that its field is no Secret.

    Raises:
        ConfigError: A file of the user's is broken.
    """
    allowed = visibility(manifest.root)
    return [
        Shown(key, _plain(s.value) if allowed.shows(key) else MASK, s.origin)
        for key, s in sorted(settings.of(manifest).items())
    ]


def rows(
    manifest: Manifest, settings: Settings, config: type | None
) -> list[tuple[str, str]]:
    """Return (key, ``value (origin)``) of a loaded plugin, defaults included."""
    from btplug.schema import fields_of, secret_fields

    try:
        effective = settings.of(manifest)
    except BtplugError as exc:
        return [("cannot be read", exc.what)]
    secret = secret_fields(config)
    fields = {field.name for field in fields_of(config)}

    def hides(key: str) -> bool:
        # A key that no field has may be a secret one mistyped.
        return key in secret or (config is not None and key not in fields)

    found = {
        f.name: ("", "required") if f.required else (_made(f), "default")
        for f in fields_of(config)
    }
    found |= {key: (s.value, s.origin) for key, s in effective.items()}
    return [
        (key, f"{MASK if hides(key) else cell(_plain(value))} ({_near(origin)})")
        for key, (value, origin) in found.items()
    ]


def _plain(value: object) -> object:
    """Return a value as it may be shown: without the password of a proxy, for one."""
    if isinstance(value, str):
        return without_login(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _made(field: Field) -> object:
    try:
        return field.made()
    except Exception as exc:  # a default that is made is the plugin's code
        return reason_of(exc)


def _near(origin: str) -> str:
    """Return a path below the working directory as a person there would type it."""
    with suppress(FileNotFoundError):
        return origin.removeprefix(os.path.join(os.getcwd(), ""))
    return origin


def own_settings(settings: Settings) -> list[Shown]:
    """Return the settings of btplug itself."""
    found = {key: settings.host_setting(key) for key in HOST}
    return [Shown(key, _plain(s.value), s.origin) for key, s in found.items()]
