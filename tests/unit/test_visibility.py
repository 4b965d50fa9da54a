"""Which settings may be shown, told from source that is not run."""

import os
import threading
import warnings

import pytest

from btplug._secrets import visibility


@pytest.fixture
def look(tmp_path):
    """Write files of a plugin and return what may be shown."""

    def look(code, **files):
        for name, content in {"plugin": code, **files}.items():
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / f"{name}.py").write_bytes(data)
        return visibility(str(tmp_path))

    return look


PLAIN = """
from dataclasses import dataclass
import btplug
from btplug import Secret

@dataclass
class Config:
    limit: int = 3
    names: list[str] = ()
"""


def test_fields_without_a_secret_are_shown(look):
    found = look(PLAIN)

    assert found.shows("limit")
    assert found.shows("names")


def test_what_no_class_declares_is_not_shown(look):
    assert not look(PLAIN).shows("other")


def test_without_a_config_class_everything_is_shown(look):
    found = look("class Plugin:\n    pass\n")

    assert found.free
    assert found.shows("anything")


SECRETS = {
    "plain": "    token: Secret\n",
    "with a default": "    token: Secret = Secret('x')\n",
    "optional": "    token: Secret | None = None\n",
    "quoted": "    token: 'Secret'\n",
    "half quoted": "    token: list['Secret | None']\n",
    "quoted twice": "    token: \"list['Secret']\"\n",
    "by module": "    token: btplug.Secret\n",
    "by submodule": "    token: btplug.config.Secret\n",
    "in a list": "    token: list[Secret]\n",
    "in a mapping": "    token: dict[str, list[Secret]]\n",
    "annotated": "    token: Annotated[Secret, 'doc']\n",
    "nested class below": "    token: Inner\n\nclass Inner:\n    deep: Secret\n",
    "nested class inside": "    class Inner:\n        deep: Secret\n    token: Inner\n",
    "two levels": "    token: A\n\nclass A:\n    b: 'list[B]'\n\nclass B:\n    c: Secret\n",
    "two classes that hold each other": (
        "    token: A\n\nclass A:\n    b: 'B'\n\nclass B:\n    a: A\n    c: Secret\n"
    ),
    "a subclass": "    token: Token\n\nclass Token(Secret):\n    pass\n",
    "a holder by inheritance": (
        "    token: Child\n\nclass Base:\n    deep: Secret\n\nclass Child(Base):\n    x: int\n"
    ),
    "an alias by name": "    token: Key\n\nKey = Secret\n",
    "an alias of an alias": "    token: Key2\n\nKey = Secret\nKey2 = Key | None\n",
    "an alias with a type": "    token: Key\n\nKey: TypeAlias = Secret\n",
    "an alias that is quoted": "    token: Key\n\nKey: TypeAlias = 'list[Secret]'\n",
    "an alias of a list": "    token: Keys\n\nKeys = list[Secret]\n",
    "an alias of a module's name": "    token: Key\n\nKey = btplug.Secret\n",
    "an alias in a tuple": "    token: Key\n\nKey, other = Secret, 1\n",
    "an alias by walrus": "    token: Key\n\nif (Key := Secret):\n    pass\n",
    "a new type": "    token: Key\n\nKey = NewType('Key', Secret)\n",
    "a holder with a field in a branch": (
        "    token: Inner\n\nclass Inner:\n    x: int\n    if True:\n        deep: Secret\n"
    ),
    "a class made by a call": (
        "    token: Made\n\nMade = make_dataclass('Made', [('key', Secret)])\n"
    ),
    "made by a call": "    token: make(Secret)\n",
    "an unknown generic": "    token: Box[int]\n",
    "an index": "    token: TYPES[0]\n",
    "a typed dict by call": "    token: Made\n\nMade = TypedDict('Made', {'a': Secret})\n",
}


@pytest.mark.parametrize("fields", SECRETS.values(), ids=SECRETS)
def test_a_field_that_may_hold_a_secret_is_not_shown(look, fields):
    code = PLAIN + fields

    assert not look(code).shows("token")
    assert look(code).shows("limit")


def test_an_annotation_that_is_no_python_is_not_shown(look):
    assert not look(PLAIN + "    token: 'no python ('\n").shows("token")


@pytest.mark.parametrize(
    "line",
    [
        "from btplug import Secret as Key",
        "from btplug.config import Secret as Key",
        "import btplug\nKey = btplug.Secret",
        "import btplug.config as c\nKey = c.Secret",
        "try:\n    from btplug import Secret as Key\nexcept ImportError:\n    Key = str",
    ],
)
def test_a_secret_under_another_name_is_not_shown(look, line):
    assert not look(f"{line}\n\nclass Config:\n    token: Key\n").shows("token")


def test_a_secret_in_another_file_is_not_shown(look):
    found = look(
        "from .settings import Config\n",
        settings="from .inner import Inner\nclass Config:\n    a: Inner\n    b: int\n",
        inner="from btplug import Secret\nclass Inner:\n    c: Secret\n",
    )

    assert not found.shows("a")
    assert found.shows("b")


def test_a_name_that_is_secret_in_one_class_is_secret_in_all(look):
    code = "class Config:\n    token: str\n\nclass Old:\n    token: Secret\n"

    assert not look(code).shows("token")


SHOWN = [
    "int", "str | None", "list[str]", "dict[str, list[int]]", "tuple[int, ...]",
    "Literal['Secret', 'x']", "Annotated[int, 'Secret']", "typing.Optional[str]",
    "'list[str]'", "Column", "list[Column]", "Column | None", "Corner", "bool", "float",
]  # fmt: skip


@pytest.mark.parametrize("kind", SHOWN)
def test_a_field_that_cannot_hold_a_secret_is_shown(look, kind):
    """What is hidden needlessly makes `config show` useless."""
    code = f"""
from dataclasses import dataclass
from typing import Annotated, Literal, Optional
import typing
import msgspec
from btplug import Secret

@dataclass
class Column:
    key: str
    width: int | None = None

class Corner(msgspec.Struct):
    x: int

@dataclass
class Config:
    plain: {kind}
    token: Secret
"""
    found = look(code)

    assert found.shows("plain")
    assert not found.shows("token")


@pytest.mark.parametrize(
    "code",
    [
        "from .other import Config\n",
        "Config = make()\n",
        "Config = defstruct('Config', [('token', Secret)])\n",
        "class Plugin:\n    Config = make()\n",
        "class MyConfig(Base):\n    pass\n",
    ],
)
def test_a_config_class_whose_fields_are_not_seen_shows_nothing(look, code):
    found = look(code)

    assert not found.free
    assert not found.shows("token")


UNREADABLE = {
    "a syntax error": b"class Config:\n    limit: int\n(",
    "another encoding": b"class Config:\n    limit: int\nx = '\xe9'\n",
    "a null byte": b"class Config:\n    limit: int\n\0",
    "deep brackets": b"x = " + b"(" * 5000,
    "deep signs": b"x = " + b"-" * 200_000 + b"1",
    "deep attributes": b"x = a" + b".a" * 100_000,
    "deep calls": b"x = a" + b"()" * 100_000,
    "deep not": b"x = " + b"not " * 100_000 + b"1",
    "deep lambda": b"x = " + b"lambda: " * 20_000 + b"1",
    "a file too large": b"#" * 1_000_001,
}


@pytest.mark.parametrize("code", UNREADABLE.values(), ids=UNREADABLE)
def test_code_that_cannot_be_read_shows_nothing(look, code):
    found = look("from .other import Config\n", other=code)

    assert not found.shows("limit")
    assert not found.free


def test_source_in_an_encoding_that_it_names_is_read(look):
    code = (
        b"# coding: latin-1\nclass Config:\n    limit: int\n    key: Secret  # \xe9\n"
    )

    assert look(code).shows("limit")
    assert not look(code).shows("key")


def test_an_annotation_nested_deep_shows_nothing(look):
    quoted = "Secret"
    for _ in range(6):
        quoted = repr(quoted)

    assert not look(PLAIN + f"    token: {quoted}\n").shows("token")


def test_more_files_than_are_read_show_nothing(look):
    files = {f"m{n}": "x = 1\n" for n in range(201)}

    assert not look(PLAIN, **files).shows("limit")


def test_a_folder_that_is_gone_shows_nothing_of_a_config(tmp_path):
    assert not visibility(str(tmp_path / "gone")).known


def test_hidden_folders_and_caches_are_not_read(look, tmp_path):
    for folder in (".git", "__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").write_text("(")

    assert look(PLAIN).shows("limit")


def test_folders_inside_are_read(look, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.py").write_text("class Config:\n    token: Secret\n")

    assert not look("class Plugin:\n    token: str\n").shows("token")


def test_a_link_is_not_followed(look, tmp_path):
    (tmp_path / "x.py").symlink_to("/dev/zero")

    assert look(PLAIN).shows("limit")


def test_a_pipe_in_the_folder_is_not_waited_for(look, tmp_path):
    os.mkfifo(tmp_path / "x.py")
    found = []
    thread = threading.Thread(target=lambda: found.append(look(PLAIN)), daemon=True)
    thread.start()
    thread.join(5)
    try:
        assert found
    finally:
        # Let a waiting reader go: it would keep the folder busy.
        os.close(os.open(tmp_path / "x.py", os.O_RDWR | os.O_NONBLOCK))


def test_a_warning_about_the_source_is_not_ours_to_raise(look):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = look(PLAIN + "    pattern: str = '\\d'\n    same: bool = 1 is 1\n")

    assert found.shows("pattern")


def test_no_code_is_run(look, tmp_path):
    mark = tmp_path / "mark"

    look(f"open({str(mark)!r}, 'w')\n" + PLAIN)

    assert not mark.exists()


def test_a_listing_of_a_package_in_a_folder_with_a_secret_at_the_top(look):
    """A class that is no Config at all may still be what a field is typed with."""
    code = "from btplug import Secret\n\nclass Pair:\n    a: int\n    b: Secret\n\nclass Config:\n    pair: tuple[Pair, ...]\n    n: int\n"

    assert not look(code).shows("pair")
    assert look(code).shows("n")
