"""config.yaml -> Manifest: every field, good and bad, and its exact message."""

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug.errors import ManifestError
from btplug.manifest import (
    Manifest,
    Permissions,
    asked_text,
    folder_names,
    is_name,
    read_manifest,
)

GOOD = """\
plugin:
  name: greet
  kind: cli
  entry: plugin:GreetPlugin
  summary: Greet someone
  version: 1.0.0
  api: 1
"""
BLOCK = """add this at the top and adapt it:
plugin:
  name: {}
  kind: cli
  entry: plugin:MyPlugin
  summary: What it does
  version: 1.0.0
  api: 1"""
NAME_RULE = "[a-z0-9][a-z0-9-]{0,39}"


@pytest.fixture
def write(tmp_path):
    """Write a config.yaml and return its folder."""
    root = tmp_path / "greet"
    root.mkdir()

    def write(text):
        if isinstance(text, str):
            text = text.encode()
        (root / "config.yaml").write_bytes(text)
        return str(root)

    return write


def refusal(root):
    """Return the error without the path in front of it: ``LINE: …``."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(root)
    path = os.path.join(root, "config.yaml")
    assert caught.value.what.startswith(f"{path}:")
    return caught.value.what.removeprefix(f"{path}:"), caught.value.fix


def changed(key, value):
    """Return the good file with one line of the block changed, added or removed."""
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"  {key}:")]
    at = next(
        (n for n, line in enumerate(GOOD.splitlines()) if line.startswith(f"  {key}:")),
        len(lines),
    )
    if value is not None:
        lines.insert(at, f"  {key}: {value}")
    return "\n".join(lines) + "\n"


# -- good ones


def test_a_short_manifest_has_defaults_for_the_rest(write):
    root = write(GOOD)

    assert read_manifest(root) == Manifest(
        name="greet",
        kind="cli",
        entry="plugin:GreetPlugin",
        summary="Greet someone",
        version="1.0.0",
        api=1,
        transports=None,
        permissions=Permissions(network=("none",), read=(), write=()),
        config={},
        root=root,
        package="",
        source="",
    )


def test_a_long_manifest_is_read_whole(write):
    root = write(
        GOOD
        + "  transports: [http, nats-2]\n"
        + "  permissions: {network: [a.org, 'b:80'], read: [arguments, /data], write: [state]}\n"
        + "config:\n  columns: [{key: uid}]\n  limit: 3\n"
    )

    found = read_manifest(root, package="dist.greet", source="installed")

    assert found.transports == ("http", "nats-2")
    assert found.permissions == Permissions(
        ("a.org", "b:80"), ("arguments", "/data"), ("state",)
    )
    assert found.config == {"columns": [{"key": "uid"}], "limit": 3}
    assert (found.package, found.source) == ("dist.greet", "installed")
    assert found.path == os.path.join(root, "config.yaml")


def test_a_manifest_is_data_that_no_one_can_change(write):
    manifest = read_manifest(write(GOOD))

    with pytest.raises(AttributeError):
        manifest.name = "other"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", "a", "a"),
        ("name", "'0'", "0"),
        ("name", "0-", "0-"),
        ("name", "a" * 40, "a" * 40),
        ("name", "con", "con"),
        ("entry", "a.b.c:D", "a.b.c:D"),
        ("entry", "_m1:_C", "_m1:_C"),
        ("summary", "x" * 60, "x" * 60),
        ("summary", "表を表示する", "表を表示する"),
        ("summary", "'true'", "true"),
        ("version", "'1.10'", "1.10"),
        ("version", "1.0rc1+x86-64", "1.0rc1+x86-64"),
        ("version", "1!2.0_a", "1!2.0_a"),
        ("version", "x" * 40, "x" * 40),
        ("transports", "[]", ()),
        ("transports", "", None),
        ("config", "", {}),
    ],
)
def test_a_good_value_is_kept(write, key, value, expected):
    text = GOOD + f"{key}: {value}\n" if key == "config" else changed(key, value)

    assert getattr(read_manifest(write(text)), key) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", ("none",)),
        ("  transports: []\n", ("none",)),
        ("  transports: [http]\n", ("arguments",)),
        ("  permissions:\n", ("none",)),
        ("  permissions: {}\n", ("none",)),
        ("  transports: [http]\n  permissions: {read: [state]}\n", ("arguments",)),
        ("  permissions: {network: none}\n", ("none",)),
        ("  permissions: {network: arguments}\n", ("arguments",)),
        ("  permissions: {network: any}\n", ("any",)),
        ("  transports: [http]\n  permissions: {network: none}\n", ("none",)),
        ("  permissions: {network: []}\n", ()),
        (
            "  permissions: {network: [a.org, 'a.org:443', '*.b.org', 10.0.0.0/8, '::1', '[::1]:80', fd00::/8]}\n",
            ("a.org", "a.org:443", "*.b.org", "10.0.0.0/8", "::1", "[::1]:80", "fd00::/8"),
        ),
    ],
)  # fmt: skip
def test_the_network_left_out_is_arguments_where_transports_are_named(
    write, lines, expected
):
    assert read_manifest(write(GOOD + lines)).permissions.network == expected


# -- bad ones


TEXT_FIELDS = [
    # key, value in YAML, how it is shown
    ("name", None, "nothing"),
    ("name", "on", "True (bool)"),
    ("name", "7", "7 (int)"),
    ("name", "", "None (NoneType)"),
    ("name", "''", "''"),
    ("name", "[greet]", "['greet'] (list)"),
    ("name", "{a: 1}", "{'a': 1} (dict)"),
    ("name", "Greet", "'Greet'"),
    ("name", "greet_me", "'greet_me'"),
    ("name", "-greet", "'-greet'"),
    ("name", "../x", "'../x'"),
    ("name", "/abs", "'/abs'"),
    ("name", ".", "'.'"),
    ("name", "..", "'..'"),
    ("name", "a/b", "'a/b'"),
    ("name", "CON", "'CON'"),
    ("name", '"a\\0"', "'a\\x00'"),
    ("name", '"greet\\n"', "'greet\\n'"),
    ("name", '"\\e[31m"', "'\\x1b[31m'"),
    ("name", "é", "'é'"),
    ("name", "٣", "'٣'"),
    ("name", "a" * 41, repr("a" * 41)),
    ("name", "a" * 4096, "'" + "a" * 56 + "..."),
    ("kind", None, "nothing"),
    ("kind", "both", "'both'"),
    ("kind", "CLI", "'CLI'"),
    ("kind", "[cli]", "['cli'] (list)"),
    ("entry", None, "nothing"),
    ("entry", "GreetPlugin", "'GreetPlugin'"),
    ("entry", "'plugin:'", "'plugin:'"),
    ("entry", "':Greet'", "':Greet'"),
    ("entry", "../x:Y", "'../x:Y'"),
    ("entry", "a/b:Y", "'a/b:Y'"),
    ("entry", ".a:Y", "'.a:Y'"),
    ("entry", "a:Y.Z", "'a:Y.Z'"),
    ("entry", "'plugin: Greet'", "'plugin: Greet'"),
    ("entry", "pluginé:Y", "'pluginé:Y'"),
    ("entry", '"a:Y\\n"', "'a:Y\\n'"),
    ("summary", None, "nothing"),
    ("summary", "x" * 61, "'" + "x" * 56 + "..."),
    ("summary", "''", "''"),
    ("summary", "12", "12 (int)"),
    ("summary", '"two\\nlines"', "'two\\nlines'"),
    ("summary", '"ret\\rurn"', "'ret\\rurn'"),
    ("summary", '"\\e[2J"', "'\\x1b[2J'"),
    ("summary", '"bell\\a"', "'bell\\x07'"),
    ("summary", '"c1 \\x9b"', "'c1 \\x9b'"),
    ("summary", '"bidi \\u202e"', "'bidi \\u202e'"),
    ("summary", '"isolate \\u2066"', "'isolate \\u2066'"),
    ("summary", '"mark \\u200f"', "'mark \\u200f'"),
    ("summary", '"mark \\u200e"', "'mark \\u200e'"),
    ("summary", '"mark \\u061c"', "'mark \\u061c'"),
    ("summary", '"line \\u2028"', "'line \\u2028'"),
    ("version", None, "nothing"),
    ("version", "1.0", "1.0 (float)"),
    ("version", "1", "1 (int)"),
    ("version", "''", "''"),
    ("version", "../1", "'../1'"),
    ("version", ".x", "'.x'"),
    ("version", "'1 0'", "'1 0'"),
    ("version", "1/0", "'1/0'"),
    ("version", "'1\\0'", "'1\\\\0'"),
    ("version", "x" * 41, repr("x" * 41)),
    ("version", "2026-01-02T03:04:05Z", "'2026-01-02T03:04:05Z'"),
]  # fmt: skip
EXPECTED = {
    "name": NAME_RULE,
    "kind": "cli or transport",
    "entry": "module:Class, such as plugin:MyPlugin",
    "summary": "one line of 1 to 60 characters",
    "version": "a version in quotes, such as '1.0.0'",
}
LINE = {"name": 2, "kind": 3, "entry": 4, "summary": 5, "version": 6, "api": 7}


@pytest.mark.parametrize(("key", "value", "shown"), TEXT_FIELDS)
def test_a_bad_text_is_refused_with_line_what_was_found_and_expected(
    write, key, value, shown
):
    # A missing line is reported where the block begins.
    line = 1 if value is None else LINE[key]

    what, fix = refusal(write(changed(key, value)))

    assert what == f"{line}: plugin.{key}: found {shown}, expected {EXPECTED[key]}"
    assert fix == f"{'add' if value is None else 'change'} the '{key}' line"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        ("2", "2 (int)"),
        ("0", "0 (int)"),
        ("'1'", "'1'"),
        ("yes", "True (bool)"),
        ("1.0", "1.0 (float)"),
        ("", "None (NoneType)"),
        ("[1]", "[1] (list)"),
    ],
)
def test_another_plugin_api_is_refused_naming_both(write, value, shown):
    line = 1 if value is None else 7

    assert refusal(write(changed("api", value))) == (
        f"{line}: plugin.api: found {shown}, expected 1, the plugin API of this btplug",
        "add the line: api: 1"
        if value is None
        else "install a version of the plugin, or of btplug, that fits",
    )


HEX = "0x" + "f" * 5000


@pytest.mark.parametrize("key", [*EXPECTED, "api", "transports", "permissions"])
def test_a_number_that_cannot_be_printed_is_refused_like_any_other(write, key):
    """Python refuses to print it, so whoever shows it in a message fails."""
    what, _ = refusal(write(changed(key, HEX)))

    assert re.match(r"\d+: ", what)


@pytest.mark.parametrize(
    ("lines", "what", "fix"),
    [
        ("transports: http", "8: plugin.transports: found 'http', expected a list of texts", "change the 'transports' line"),
        ("transports: {http: 1}", "8: plugin.transports: found {'http': 1} (dict), expected a list of texts", "change the 'transports' line"),
        ("transports: no", "8: plugin.transports: found False (bool), expected a list of texts", "change the 'transports' line"),
        ("transports: [http, 1]", "8: plugin.transports.1: found 1 (int), expected a text", "change the '1' line"),
        ("transports: [http, Bad]", "8: plugin.transports.1: found 'Bad', expected the name of a transport", "change the '1' line"),
        ("transports: [../x]", "8: plugin.transports.0: found '../x', expected the name of a transport", "change the '0' line"),
        ("transports: ['']", "8: plugin.transports.0: found '', expected a text", "change the '0' line"),
        ("transports:\n  - http\n  - 2", "10: plugin.transports.1: found 2 (int), expected a text", "change the '1' line"),
        ("permissions: none", "8: plugin.permissions: found 'none', expected a mapping", "change the 'permissions' line"),
        ("permissions: []", "8: plugin.permissions: found [] (list), expected a mapping", "change the 'permissions' line"),
        (
            "permissions: {net: any}",
            "8: plugin.permissions.net: found an unknown key, expected one of network, read, write",
            "did you mean network?",
        ),
        (
            "permissions: {execute: any}",
            "8: plugin.permissions.execute: found an unknown key, expected one of network, read, write",
            "remove the 'execute' line",
        ),
        ("permissions: {network: all}", "8: plugin.permissions.network: found 'all', expected none, arguments, any, or a list of hosts", "change the 'network' line"),
        ("permissions: {network: yes}", "8: plugin.permissions.network: found True (bool), expected none, arguments, any, or a list of hosts", "change the 'network' line"),
        (
            "permissions: {network: ['a b']}",
            "8: plugin.permissions.network.0: found 'a b', expected none, arguments, any, or a list of hosts",
            "change the '0' line",
        ),
        (
            "permissions:\n    network:\n      - a.org\n      - http://b.org/?x",
            "11: plugin.permissions.network.1: found 'http://b.org/?x', expected none, arguments, any, or a list of hosts",
            "change the '1' line",
        ),
        ("permissions: {network: ['*']}", "8: plugin.permissions.network.0: found '*', expected none, arguments, any, or a list of hosts", "change the '0' line"),
        ("permissions: {read: arguments}", "8: plugin.permissions.read: found 'arguments', expected a list of texts", "change the 'read' line"),
        ("permissions: {read: [1]}", "8: plugin.permissions.read.0: found 1 (int), expected a text", "change the '0' line"),
        ("permissions: {read: ['']}", "8: plugin.permissions.read.0: found '', expected a text", "change the '0' line"),
        ("permissions: {write: {a: 1}}", "8: plugin.permissions.write: found {'a': 1} (dict), expected a list of texts", "change the 'write' line"),
        ("permissions: {write: no}", "8: plugin.permissions.write: found False (bool), expected a list of texts", "change the 'write' line"),
        ("permissions: {write: 0}", "8: plugin.permissions.write: found 0 (int), expected a list of texts", "change the 'write' line"),
        ("permissions: {read: ''}", "8: plugin.permissions.read: found '', expected a list of texts", "change the 'read' line"),
        ("permissions: {read: {}}", "8: plugin.permissions.read: found {} (dict), expected a list of texts", "change the 'read' line"),
    ],
)  # fmt: skip
def test_a_bad_list_is_refused_with_the_line_of_its_item(write, lines, what, fix):
    assert refusal(write(f"{GOOD}  {lines}\n")) == (what, fix)


@pytest.mark.parametrize("key", ["read", "write"])
@pytest.mark.parametrize(
    "word", ["none", "None", "any", "all", "ANY", "State", "ARGUMENTS"]
)
def test_no_path_is_called_as_what_is_shown_for_something_else(write, key, word):
    """The prompt would say "write none", and the plugin would write."""
    what, fix = refusal(write(f"{GOOD}  permissions: {{{key}: [state, {word}]}}\n"))

    assert what == (
        f"8: plugin.permissions.{key}.1: found {word!r}, "
        "expected arguments, state or a path"
    )
    assert fix == f"write ./{word} where a path is called so; [] is none"
    root = write(f"{GOOD}  permissions: {{{key}: [./{word}]}}\n")
    assert getattr(read_manifest(root).permissions, key) == (f"./{word}",)


@pytest.mark.parametrize(
    "path",
    ["state ", " state", "  ", "a\tb", "a\n", "/srv\u202e/x", "\u200bstate", "\u2066x", "\x1b[2J", "a\xa0b"],
)  # fmt: skip
def test_a_path_is_shown_as_it_is_or_refused(write, path):
    what, _ = refusal(write(f"{GOOD}  permissions: {{read: [{json.dumps(path)}]}}\n"))

    assert what == (
        f"8: plugin.permissions.read.0: found {path!r}, "
        "expected a printable path without blanks at its ends"
    )


@pytest.mark.parametrize(
    "lines",
    [
        "permissions: {network: [none, evil.example]}", "permissions: {network: [any, a.org]}",
        "permissions: {network: [a.org, None]}", "permissions: {network: [ALL]}",
        "permissions: {network: [all]}", "transports: [none]", "transports: [all]",
    ],
)  # fmt: skip
def test_no_host_or_transport_is_called_as_what_is_shown_for_something_else(
    write, lines
):
    assert "expected" in refusal(write(f"{GOOD}  {lines}\n"))[0]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ((), "none"),
        (("arguments", "./none", "~/x"), "arguments ./none ~/x"),
        (("/srv/a b", "state"), "'/srv/a b' state"),
        (("*.b.org", "[::1]:80", "fd00::/8"), "*.b.org [::1]:80 fd00::/8"),
        (("n\u043ene", "\u05d0/x"), "'n\\u043ene' '\\u05d0/x'"),
        (("a'b", "\u2800"), "\"a'b\" '\\u2800'"),
    ],
)
def test_what_is_asked_for_is_shown_from_end_to_end(asked, text):
    assert asked_text(asked) == text


@pytest.mark.parametrize("value", ["[http]", "[]", "http", ""])
def test_a_transport_names_no_transports(write, value):
    text = changed("kind", "transport") + f"  transports: {value}\n"
    shown = {
        "[http]": "['http'] (list)",
        "[]": "[] (list)",
        "http": "'http'",
        "": "None (NoneType)",
    }

    what, fix = refusal(write(text))

    assert what == (
        f"8: plugin.transports: found {shown[value]}, "
        "expected none: only a plugin of kind cli names them"
    )
    assert fix == "change the 'transports' line"


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("sumary", "did you mean summary?"),
        ("transport", "did you mean transports?"),
        ("trust", "remove the 'trust' line"),
        ("trusted", "remove the 'trusted' line"),
        ("path", "remove the 'path' line"),
        ("root", "remove the 'root' line"),
        ("package", "remove the 'package' line"),
        ("source", "remove the 'source' line"),
        ("sandbox", "remove the 'sandbox' line"),
        ("env", "remove the 'env' line"),
        ("command", "remove the 'command' line"),
        ("config", "remove the 'config' line"),
        ("in_process", "remove the 'in_process' line"),
    ],
)
def test_a_key_that_no_manifest_has_is_refused_with_the_nearest(write, key, fix):
    what, shown = refusal(write(f"{GOOD}  {key}: 1\n"))

    assert what == (
        f"8: plugin.{key}: found an unknown key, expected one of name, kind, entry, "
        "summary, version, api, transports, permissions"
    )
    assert shown == fix


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("trust", "remove the 'trust' line"),
        ("confg", "did you mean config?"),
        ("Plugin", "did you mean plugin?"),
    ],
)
def test_a_third_block_is_refused(write, key, fix):
    assert refusal(write(f"{GOOD}{key}: {{}}\n")) == (
        f"8: {key}: found an unknown key, expected one of plugin, config",
        fix,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plugin: greet\n", "'greet'"),
        ("plugin:\n", "None (NoneType)"),
        ("plugin: [1]\n", "[1] (list)"),
    ],
)
def test_a_plugin_block_that_is_no_mapping_is_refused(write, text, shown):
    assert refusal(write(text)) == (
        f"1: plugin: found {shown}, expected a mapping",
        "change the 'plugin' line",
    )


def test_a_config_block_that_is_no_mapping_is_refused(write):
    assert refusal(write(GOOD + "config: [a]\n")) == (
        (
            "8: config: found a value of type list, "
            "expected keys and values, as in 'key: value'"
        ),
        "change the 'config' line",
    )


# -- the file as a whole


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "config:\n  a: 1\n", "- a\n", "text\n", "7\n", "{}\n"]
)
def test_a_file_without_the_plugin_block_is_refused_with_the_block_to_paste(
    write, text
):
    what, fix = refusal(write(text))

    assert what == (
        "1: plugin: found nothing, expected the block that says what the plugin is"
    )
    assert fix == BLOCK.format("greet")


def test_the_block_to_paste_is_a_good_manifest(write):
    _, fix = refusal(write(""))

    manifest = read_manifest(write(fix.partition("\n")[2]))

    assert (manifest.name, manifest.entry) == ("greet", "plugin:MyPlugin")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("table_display", "table-display"), ("My Tool", "my-plugin"), ("Aé", "my-plugin")],
)
def test_the_block_to_paste_has_the_name_that_fits_the_folder(tmp_path, folder, name):
    root = tmp_path / folder
    root.mkdir()

    with pytest.raises(ManifestError) as caught:
        read_manifest(str(root))

    assert caught.value.what == (
        f"{root}/config.yaml: found no such file, expected one beside the plugin's code"
    )
    assert caught.value.fix == BLOCK.format(name)


BOMBS = {
    "a list": (b"- " * 30_000, "1: found deeper nesting, expected 24 levels"),
    "deep": (b"[" * 30_000, "1: found deeper nesting, expected 24 levels"),
    "laughs": (b"a: &a [x]\nb: [*a, *a]\n", "1: found an anchor (&), expected the value itself"),
    "merge": (b"<<: {a: 1}\n", "1: found a merge key (<<), expected the keys themselves"),
    "a tag": (b"plugin: !!python/name:os.system x\n", "1: found the tag 'tag:yaml.org,2002:python/name:os.system', expected a value without a tag"),
    "a key twice": (GOOD.encode() + b"plugin: {}\n", "8: found the key 'plugin' twice, expected each key once"),
    "a name twice": (GOOD.encode() + b"  name: other\n", "8: found the key 'name' twice, expected each key once"),
    "no utf-8": (GOOD.encode() + b"# \xe9\n", "8: found byte 0xe9, expected UTF-8"),
    "utf-16": (GOOD.encode("utf-16"), "1: found byte 0xff, expected UTF-8"),
    "two documents": (GOOD.encode() + b"---\n" + GOOD.encode(), "8: found a second document, expected one document"),
    "control characters": (GOOD.encode() + b"# \x07\n", " found a character that YAML does not allow"),
    "a null byte": (b"\0" * 10, " found a character that YAML does not allow"),
    "a long number": (GOOD.encode() + b"config: {a: " + b"9" * 5000 + b"}\n", "8: found a number too long, expected a shorter one"),
    "a compiled file": (b"\xa7\r\r\n\0\0", "1: found byte 0xa7, expected UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "what"), BOMBS.values(), ids=BOMBS)
def test_a_hostile_file_is_refused_by_the_guard(write, content, what):
    assert refusal(write(content))[0] == what


def test_a_file_of_a_gigabyte_is_refused_by_its_size(write):
    root = write("")
    with open(os.path.join(root, "config.yaml"), "wb") as file:
        file.truncate(2**30)

    assert refusal(root)[0] == " found more than 65,536 bytes, expected at most that"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "config.yaml").mkdir()

    assert refusal(str(tmp_path))[0] == " found a folder, expected a regular file"


def test_a_pipe_in_place_of_the_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "config.yaml")

    assert refusal(str(tmp_path))[0] == " found a pipe, expected a regular file"


@pytest.mark.parametrize("target", ["/", "/etc/passwd", "config.yaml", "nowhere"])
def test_a_link_in_place_of_the_file_is_refused(tmp_path, target):
    (tmp_path / "config.yaml").symlink_to(target)

    assert refusal(str(tmp_path))[0] == " found a link, expected a regular file"


def outcome(work, *arguments):
    """Return what comes out, be it a value or one of our errors."""
    try:
        return work(*arguments)
    except ManifestError as exc:
        return exc


KEYS = [
    "name",
    "kind",
    "entry",
    "summary",
    "version",
    "api",
    "transports",
    "permissions",
]
VALUES = st.sampled_from(
    ["", "a", "'a'", "1", "1.0", "on", "[]", "{}", "[a]", "{network: any}", "cli", "transport",
     "plugin:P", "[1]", "~", "{read: [a]}", "{network: [a]}", "-", "'\\'", '"\\u202e"', ".inf",
     "0x" + "f" * 4000]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*KEYS, "other"]), VALUES), VALUES)
def test_any_mixture_of_values_is_a_manifest_or_a_manifest_error(
    tmp_path_factory, block, config
):
    root = tmp_path_factory.getbasetemp() / "mixture"
    root.mkdir(exist_ok=True)
    lines = [f"  {key}: {value}" for key, value in block.items()]
    text = "\n".join(["plugin:", *lines, f"config: {config}", ""])
    (root / "config.yaml").write_text(text)

    found = outcome(read_manifest, str(root))

    if isinstance(found, ManifestError):
        assert str(found).startswith(str(root))
        assert found.fix
    else:
        assert is_name(found.name)


# -- names


NAMES = (
    st.text("abz09-_A.é/\n", max_size=45)
    | st.from_regex(re.compile(f"{NAME_RULE}\n?"), fullmatch=True)
    | st.text("a-0", min_size=39, max_size=42)
)


@given(NAMES)
def test_the_fast_check_of_names_is_the_rule_that_messages_show(text):
    assert is_name(text) == bool(re.fullmatch(NAME_RULE, text))


@given(st.from_regex(re.compile(NAME_RULE, re.ASCII), fullmatch=True))
def test_a_plugin_lies_in_a_folder_of_its_name_or_with_underscores(name):
    allowed = folder_names(name)

    assert name in allowed
    assert all(folder.replace("_", "-") == name for folder in allowed)
    assert len(allowed) == (2 if "-" in name else 1)
