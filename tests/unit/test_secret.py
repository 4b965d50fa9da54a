"""A Secret is never shown: not by itself, not in an error, not in a file."""

import copy
import json
import logging
import os
import pickle
import traceback
from dataclasses import asdict, dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug import Secret
from btplug.errors import BtplugError
from btplug.schema import resolve
from btplug.settings import Setting

HIDDEN = "hunter2-correct-horse"

CODE = """
from dataclasses import dataclass, field

from btplug import CLIPlugin, Secret


@dataclass
class Login:
    user: str = "me"
    password: Secret | None = None


@dataclass
class Config:
    token: Secret | None = None
    login: Login = field(default_factory=Login)
    logins: list[Login] = field(default_factory=list)
    limit: int = 3


class Plugin(CLIPlugin):
    Config = Config

    def initialize(self, config):
        self.config = config
        self.context.logger.warning("started with %s", config)

    def execute(self, data=None):
        print(self.config)
        return {"config": str(self.config), "token": repr(self.config.token)}

    def shutdown(self):
        pass
"""


# -- by itself


@given(st.text(min_size=1))
def test_a_secret_shows_itself_in_no_text_form(text):
    secret = Secret(text)

    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        "%s" % secret,  # noqa: UP031 - logging does this
        f"{secret!r:>30}",
    ):
        assert shown.strip() == "Secret('***')"
    assert repr([secret]) == "[Secret('***')]"
    assert secret.reveal() == text


def test_a_secret_is_equal_to_one_of_the_same_text_only():
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol):
    with pytest.raises(TypeError, match=r"^a Secret is not pickled: "):
        pickle.dumps(Secret(HIDDEN), protocol)


def test_a_secret_is_not_encoded():
    for encode in (json.dumps, msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(TypeError) as caught:
            encode(Secret(HIDDEN))
        assert HIDDEN not in str(caught.value)


def test_a_secret_has_no_place_for_attributes():
    assert not hasattr(Secret(HIDDEN), "__dict__")


def test_a_config_with_a_secret_can_be_copied_in_the_process():
    """dataclasses.asdict copies what it finds, and authors call it."""

    @dataclass
    class Config:
        token: Secret

    assert asdict(Config(Secret(HIDDEN))) == {"token": Secret(HIDDEN)}
    assert copy.copy(Secret(HIDDEN)).reveal() == HIDDEN
    assert copy.deepcopy(Secret(HIDDEN)).reveal() == HIDDEN


def test_a_secret_in_a_log_record_is_masked(caplog):
    with caplog.at_level(logging.WARNING):
        logging.getLogger("btplug").warning(
            "key %s %r", Secret(HIDDEN), [Secret(HIDDEN)]
        )

    assert caplog.messages == ["key Secret('***') [Secret('***')]"]


# -- in errors


@dataclass
class Login:
    user: str = "me"
    password: Secret | None = None


class Struct(msgspec.Struct):
    password: Secret


class Token(Secret):
    """A secret of one kind."""


@dataclass
class Config:
    token: Secret | None = None
    must: Secret = Secret("")  # noqa: RUF009 - immutable
    tokens: list[Secret] = field(default_factory=list)
    login: Login = field(default_factory=Login)
    logins: list[Login] = field(default_factory=list)
    by_name: dict[str, Login] = field(default_factory=dict)
    struct: Struct | None = None
    own: Token | None = None


BAD = [
    ("token", [HIDDEN]),
    ("token", {"a": HIDDEN}),
    ("must", [HIDDEN]),
    ("must", {HIDDEN: 1}),
    ("tokens", HIDDEN),
    ("tokens", [HIDDEN, 1]),
    ("tokens", [1, HIDDEN]),
    ("tokens", [[HIDDEN]]),
    ("login", HIDDEN),
    ("login", [HIDDEN]),
    ("login", {"user": [HIDDEN]}),
    ("login", {"password": [HIDDEN]}),
    ("login", {"password": HIDDEN, "user": 1}),
    ("login", {"password": HIDDEN, "usr": "x"}),
    ("login", {"pasword": HIDDEN}),
    ("logins", HIDDEN),
    ("logins", [{"password": HIDDEN}, 1]),
    ("logins", [{"password": HIDDEN}, {"password": 1}]),
    ("by_name", {"a": {"password": HIDDEN}, "b": HIDDEN}),
    ("by_name", {"a": {"password": [HIDDEN]}}),
    ("struct", {"password": HIDDEN, "x": 1}),
    ("struct", [HIDDEN]),
    ("struct", {"passwd": HIDDEN}),
    ("own", [HIDDEN]),
    ("own", HIDDEN),
    ("unknown", HIDDEN),
]


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize(("key", "value"), BAD)
def test_an_error_about_a_secret_field_never_has_its_value(key, value, is_text):
    if is_text:
        value = json.dumps(value) if not isinstance(value, str) else value
    values = {key: Setting(value, "f.conf:1", is_text)}

    error = refusal(Config, values)

    if error is None:
        # Text fits a field that takes it.
        assert is_text or key == "own"
    else:
        assert HIDDEN not in "".join(traceback.format_exception(error))
        assert HIDDEN not in repr(vars(error))


def refusal(config, values):
    """Return the error that the values make, if any."""
    try:
        resolve(config, values, plugin="greet", known=frozenset())
    except BtplugError as exc:
        return exc


def test_the_errors_above_are_raised_for_values_that_are_no_secret():
    """The trap is armed: the same mistake in another field shows the value."""

    @dataclass
    class Config:
        other: int = 0

    with pytest.raises(BtplugError, match=HIDDEN):
        resolve(
            Config, {"other": Setting(HIDDEN, "f")}, plugin="greet", known=frozenset()
        )


# -- in files and outputs of real runs


def leaks(folder):
    """Return the files below *folder* that hold the secret."""
    found = []
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                if HIDDEN.encode() in file.read():
                    found.append(path)
    return found


def settle(folder):
    """Make every file look old: only what is settled goes into a cache."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.utime(os.path.join(root, name), ns=(10**18, 10**18))


COMMANDS = [
    ("run", "keyed"),
    ("run", "--json", "keyed"),
    ("run", "keyed", "--help"),
    ("--log-level", "debug", "run", "keyed"),
    ("info", "keyed"),
    ("info", "keyed", "--json"),
    ("info", "keyed", "--schema"),
    ("config", "show", "keyed"),
    ("config", "show", "keyed", "--json"),
    ("list", "--json"),
    ("doctor",),
]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["manifest", "user", "set", "environment", "written"])
def test_no_run_of_the_command_shows_or_keeps_a_secret(
    btplug, make_plugin, home, place
):
    home.mkdir()
    block = f"token: {HIDDEN}\nlogin: {{password: {HIDDEN}}}\nlogins: [{{password: {HIDDEN}}}]\nlimit: 4"
    make_plugin(
        "keyed",
        CODE,
        where=home / "cli_plugins",
        config=block if place == "manifest" else None,
    )
    before, env, allowed = (), {}, set()
    if place == "manifest":
        allowed = {str(home / "cli_plugins" / "keyed" / "config.yaml")}
    elif place == "user":
        lines = "".join(f"    {line}\n" for line in block.splitlines())
        (home / "config.yaml").write_text(f"plugins:\n  keyed:\n{lines}")
        allowed = {str(home / "config.yaml")}
    elif place == "written":
        done = btplug("config", "set", "keyed.token", HIDDEN)
        assert HIDDEN not in done.stdout + done.stderr
        allowed = {str(home / "settings" / "keyed" / "token")}
    elif place == "environment":
        env = {"BTPLUG_KEYED__TOKEN": HIDDEN, "BTPLUG_KEYED__LIMIT": "4"}
    else:
        before = ("--set", f"token={HIDDEN}", "--set", "limit=4")
    settle(home)

    for words in COMMANDS:
        if before and words[0] != "run":
            continue
        words = (words[0], *before, *words[1:]) if words[0] == "run" else words
        done = btplug(*words, **env)
        assert HIDDEN not in done.stdout + done.stderr, words
        if words[-1] == "keyed" and words[0] == "run":
            assert done.returncode == 0, done.stderr
            assert "Secret('***')" in done.stdout
    assert set(leaks(home)) == allowed


@pytest.mark.slow
def test_a_run_keeps_what_is_no_secret_in_the_cache(btplug, make_plugin, home):
    """The trap is armed: without a secret the same value is found in the cache."""
    plain = CODE.replace("Secret | None", "str | None").replace(", Secret", "")
    make_plugin("keyed", plain, where=home / "cli_plugins", config=f"token: {HIDDEN}")
    settle(home)

    done = btplug("run", "keyed")

    assert HIDDEN in done.stdout
    assert any("cache" in path for path in leaks(home))


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["", "1"])
def test_a_failing_run_does_not_show_a_secret(btplug, make_plugin, home, debug):
    code = CODE.replace("print(self.config)", "raise RuntimeError(self.config)")
    make_plugin(
        "keyed",
        code,
        where=home / "cli_plugins",
        config=f"token: {HIDDEN}\nlogin: {{password: {HIDDEN}}}",
    )

    done = btplug("run", "keyed", BTPLUG_DEBUG=debug)

    assert done.returncode == 1
    assert "Secret('***')" in done.stderr
    assert HIDDEN not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [f"token: [{HIDDEN}]", f"login: {{pasword: {HIDDEN}}}", f"tokn: {HIDDEN}"]
)
def test_a_wrong_secret_in_a_file_is_reported_without_it(
    btplug, make_plugin, home, block
):
    make_plugin("keyed", CODE, where=home / "cli_plugins", config=block)
    settle(home)

    for words in (("run", "keyed"), ("info", "keyed"), ("run", "keyed", "--help")):
        done = btplug(*words, BTPLUG_DEBUG="1")
        assert HIDDEN not in done.stdout + done.stderr
    assert leaks(home) == [str(home / "cli_plugins" / "keyed" / "config.yaml")]
