"""``btplug trust``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from btplug.cli.lazy import complete_name, host_of
from btplug.cli.report import say
from btplug.errors import BtplugError, TrustError, Unconfinable, UsageError
from btplug.logs import escape

if TYPE_CHECKING:
    from btplug.cli.host import Host
    from btplug.cli.subjects import Subject
    from btplug.manifest import Manifest
    from btplug.trust import Accepted

_WORDS = """\
In btplug's own process {name} can do all that you can do: read the keys in your
wallet folder, send them anywhere, change every file of yours. Nothing confines it.
"""


@click.command("trust")
@click.argument(
    "name", metavar="NAME|PATH", required=False, shell_complete=complete_name
)
@click.option(
    "--in-process", is_flag=True, help="Let it run in btplug's own process, unconfined."
)
@click.option(
    "--digest", metavar="h1:…", help="Accept exactly this, without a question."
)
@click.option("--list", "as_list", is_flag=True, help="Show what is accepted.")
@click.option("--json", "as_json", is_flag=True, help="With --list: a JSON array.")
@click.pass_context
def command(
    ctx: click.Context,
    name: str | None,
    in_process: bool,
    digest: str | None,
    as_list: bool,
    as_json: bool,
) -> None:
    """Show what a plugin consists of and asks for, and accept exactly that.

    NAME|PATH is a plugin, its folder, or a project's folder ('.'), which stands for its
    btplug.yaml and all its plugins. What changes later has to be accepted again.
    """
    host = host_of(ctx)
    if as_list:
        if name is not None:
            raise UsageError(
                f"found --list and {name!r}, expected one of them",
                fix=f"see one plugin with: btplug info {name}",
            )
        if in_process or digest is not None:
            option = "--in-process" if in_process else "--digest"
            raise UsageError(
                f"found --list and {option}, expected one of them",
                fix="see what is accepted, or name what to accept",
            )
        _list(host, as_json)
        return
    if as_json:
        raise UsageError(
            "found --json without --list",
            fix="see what is accepted with: btplug trust --list --json",
        )
    if not in_process:
        _check_confinement(name)
    if name is None:
        raise UsageError(
            "found no name, expected the plugin to accept",
            fix="name it, or see what is accepted with: btplug trust --list",
        )
    from btplug.cli.subjects import digest_over, subjects

    found = subjects(name, host, in_process=in_process)
    for subject in found:
        _show(subject, host)
    now = digest_over(found)
    if all(_is_accepted(subject, host) for subject in found):
        say(f"{escape(name)} is trusted already, exactly so")
        return
    if digest is not None:
        _compare(digest, now, name)
    else:
        _ask(found, name, now, in_process=in_process)
    _accept(found, host)
    for subject in found:
        where = " in btplug's own process" if subject.consent.in_process else ""
        say(f"{escape(subject.consent.name)} is trusted{where}")


def _check_confinement(name: str | None) -> None:
    """Refuse a consent that could never be used.

    Raises:
        Unconfinable: Nothing can be confined here.
    """
    from btplug._confine.offer import offer

    if missing := offer().missing:
        from shlex import quote

        word = quote(name) if name else "NAME"
        raise Unconfinable(
            f"plugins cannot be confined here: {missing}",
            fix="accept it for btplug's own process, where it can do all that you can: "
            f"btplug trust --in-process {word}",
        )


def _is_accepted(subject: Subject, host: Host) -> bool:
    return host.gate.store.find(subject.consent.path) == subject.consent


def _accept(found: list[Subject], host: Host) -> None:
    files = {}
    for subject in found:
        lines = sorted(subject.hashes.items())
        text = "".join(f"{hashed}  {path}\n" for path, hashed in lines)
        files[subject.consent.digest] = text
    host.gate.store.accept(*(subject.consent for subject in found), files=files)


def _compare(given: str, now: str, name: str) -> None:
    if given != now:
        raise TrustError(
            f"found the digest {now}, expected {given}: nothing was accepted",
            where=name,
            fix="look at what is there now before you accept it",
        )


def _ask(found: list[Subject], word: str, digest: str, *, in_process: bool) -> None:
    """Let the operator type what is accepted.

    Raises:
        TrustError: Something else was typed, or nobody is there to ask.
    """
    name = found[0].consent.name
    if len(found) > 1:
        name = os.path.basename(os.path.abspath(word)) or os.sep
    # A folder may be called as it likes; what is shown is typed.
    name = escape(name)
    option = "--in-process " if in_process else ""
    if sys.stdin is None or not sys.stdin.isatty():
        from shlex import quote

        raise TrustError(
            "nobody can be asked: nothing was accepted",
            where=found[0].consent.path,
            fix=f"look at it, and accept exactly this with: "
            f"btplug trust {option}{quote(word)} --digest {digest}",
        )
    expected = name
    if in_process:
        click.echo(_WORDS.format(name=name), err=True)
        expected = f"{name} in process"
    typed = _typed(f"To accept exactly this, type '{expected}'")
    # Whatever it is called, an empty answer says nothing.
    if not typed or typed != expected.strip():
        raise TrustError(
            f"found {typed[:80]!r}, expected '{expected}': nothing was accepted",
            where=found[0].consent.path,
            fix="type it as it is asked for, or leave it",
        )


def _typed(question: str) -> str:
    try:
        answer: str = click.prompt(question, default="", show_default=False, err=True)
    except click.Abort as exc:
        # Click makes one of Ctrl-C and of the end of the input, which is an answer.
        if not isinstance(exc.__context__, EOFError):
            raise
        click.echo(err=True)
        return ""
    return answer.strip()


def _show(subject: Subject, host: Host) -> None:
    from btplug.cli.output import show_mapping, show_rows

    consent, manifest = subject.consent, subject.manifest
    before = host.gate.store.find(consent.path)
    facts: dict[str, object] = {"name": consent.name, "kind": consent.kind}
    if manifest is not None:
        facts |= {"version": manifest.version, "summary": manifest.summary}
    facts |= {"path": consent.path, "owner": _owner(consent.path)}
    if manifest is not None:
        if consent.kind == "cli":
            facts |= _asked(manifest, confined=not consent.in_process)
        facts["runs"] = (
            "in btplug's own process, with all that you may do"
            if consent.in_process
            else "confined"
        )
    facts |= {"digest": consent.digest, "before": _before(subject, before, host)}
    show_mapping(facts, host.out)
    host.out.write("\n")
    show_rows(
        [{"file": f, "bytes": size} for f, size in subject.sizes.items()], host.out
    )
    host.out.write("\n")


def _asked(manifest: Manifest, *, confined: bool) -> dict[str, object]:
    """Return what a command asks for; what a transport may do has no bounds."""
    from btplug.cli.lent import ALWAYS
    from btplug.manifest import asked_text

    asked, used = manifest.permissions, manifest.transports
    found = {key: asked_text(getattr(asked, key)) for key in asked._fields}
    return {
        **found,
        **({"lent": ALWAYS} if confined else {}),
        "transports": "all" if used is None else " ".join(used) or "none",
    }


def _owner(path: str) -> str:
    import pwd
    import stat

    found = os.stat(path)
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        name = str(found.st_uid)
    return f"{name}, mode {stat.S_IMODE(found.st_mode):04o}"


def _before(subject: Subject, before: Accepted | None, host: Host) -> str:
    from btplug._trust.consent import changes

    if before is None:
        return "nothing was accepted here"
    now = subject.consent
    if before == now:
        return "accepted, exactly so"
    found = changes(
        host.gate.store, before, now.digest, subject.hashes, now.permissions
    )
    text = found.text() or "accepted, the same files"
    if before.in_process != now.in_process:
        text += (
            "; it ran in btplug's own process" if before.in_process else "; confined"
        )
    return text


def _list(host: Host, as_json: bool) -> None:
    from btplug.cli.output import show_json, show_rows

    rows = [
        {**accepted._asdict(), "permissions": accepted.permissions._asdict()}
        for accepted in host.gate.store.all().values()
    ]
    if as_json:
        show_json(rows, host.out)
        return
    shown = ("name", "kind", "version", "in_process", "digest", "path")
    show_rows([{key: row[key] for key in shown} for row in rows], host.out)


def unaccept(word: str, host: Host) -> list[Accepted]:
    """Take back what was accepted under a name, at a path, or in a project's folder.

    Raises:
        BtplugError: Nothing was.
    """
    from btplug._discovery import FOLDERS
    from btplug.cli.project import FILE

    real = os.path.realpath(word)
    above = [os.path.join(real, folder, "") for folder in FOLDERS.values()]
    paths = [
        path
        for path, accepted in host.gate.store.all().items()
        if (accepted.name == word and accepted.kind != "settings")
        or path in (real, os.path.join(real, FILE))
        or any(path.startswith(folder) for folder in above)
    ]
    gone = host.gate.store.withdraw(*paths) if paths else []
    if not gone:
        raise BtplugError(
            f"nothing was accepted as {word!r}",
            fix="see what was with: btplug trust --list",
        )
    return gone
