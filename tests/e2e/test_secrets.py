"""A secret is in no output, no log, no traceback and no file of the cache."""

import json

import pytest

SECRET = "hunter2-correct-horse"
TOP = """
from dataclasses import dataclass
import btplug

@dataclass(frozen=True)
class Inner:
    key: btplug.Secret | None = None

@dataclass(frozen=True)
class Config:
    token: btplug.Secret | None = None
    inner: Inner = Inner()
    word: str = "plain"
"""
LAYERS = ["plugin", "user", "written", "environment", "set"]


@pytest.fixture
def layered(command, home, btplug):
    """Put the secret into one layer; return words and environment that go with it."""

    def put(layer, key="token", value=SECRET, top=TOP, **parts):
        settings = f"{key}: {value}\n" if layer == "plugin" else None
        command("it", top=top, members="Config = Config", config=settings, **parts)
        words, env = [], {}
        if layer == "user":
            (home / "config.yaml").write_text(f"plugins: {{it: {{{key}: {value}}}}}\n")
        elif layer == "written":
            btplug("config", "set", f"it.{key}", "-", input=value)
        elif layer == "environment":
            env = {f"BTPLUG_IT__{key.upper()}": value}
        elif layer == "set":
            words = ["--set", f"{key}={value}"]
        return words, env

    return put


def test_a_plugin_that_asks_for_it_gets_the_secret(btplug, layered):
    """Else nothing below could leak it."""
    words, env = layered(
        "user", execute="return self.c.token.reveal()", initialize="self.c = config"
    )

    assert btplug("run", *words, "it", **env).stdout == f"{SECRET}\n"


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_a_secret_is_shown_by_no_command(layer, btplug, layered, home):
    words, env = layered(
        layer,
        execute="self.context.logger.error('config %s', self.config)\nreturn {'c': self.config}",
        initialize="self.config = config",
    )
    env |= {"BTPLUG_DEBUG": "1"}

    shown = ""
    for line in (
        ["run", *words, "it"], ["-vv", "run", *words, "it", "--help"],
        ["run", *words, "it", "--json"], ["info", "it"], ["info", "it", "--json"],
        ["info", "it", "--schema"], ["info", "it", "--options"], ["doctor", "--json"],
        ["config", "show", "it"], ["config", "show", "it", "--json"], ["list", "--json"],
    ):  # fmt: skip
        done = btplug(*line, **env)
        shown += done.stdout + done.stderr

    assert SECRET not in shown
    assert shown.count("***") >= 5 if layer != "set" else shown.count("***") >= 3


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_a_secret_is_in_no_file_of_the_cache(layer, btplug, layered, home, settled):
    words, env = layered(layer)
    settled()

    for _ in range(2):
        assert btplug("run", *words, "it", **env).returncode == 0
        btplug("info", "it", **env)
        btplug("list", **env)
        btplug("doctor", **env)

    files = [p for p in (home / "cache").rglob("*") if p.is_file()]
    assert files
    assert not [p for p in files if SECRET.encode() in p.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["plugin", "user", "set", "environment", "written"])
def test_a_secret_of_the_wrong_type_is_an_error_that_does_not_show_it(
    layer, btplug, layered
):
    words, env = layered(layer, "inner", f"{{key: [{SECRET}]}}")

    for flags in ([], ["--json"]):
        done = btplug("run", *words, "it", *flags, BTPLUG_DEBUG="1", **env)

        assert done.returncode == 4
        assert "inner" in done.stderr.splitlines()[-1 if flags else -2]
        assert "<class" not in done.stderr.splitlines()[-1 if flags else -2]
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_a_secret_inside_a_mapping_is_masked_with_it(layer, btplug, layered):
    words, env = layered(layer, "inner", f"{{key: {SECRET}}}")

    shown = ""
    for line in (
        ["config", "show", "it"],
        ["info", "it", "--json"],
        ["run", *words, "it", "--help"],
    ):
        done = btplug(*line, **env)
        assert done.returncode == 0, done.stderr
        shown += done.stdout + done.stderr

    assert "***" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError(self.config)",
        "raise ValueError(repr(self.config.token), f'{self.config.token}')",
        "import json\nreturn json.dumps(vars(self.config))",
        "return [{'token': self.config.token, 'all': [self.config]}]",
        "import pickle\nreturn pickle.dumps(self.config)",
        "return '%s %r %.50s' % ((self.config.token,) * 3)",
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_a_plugin_does_not_leak_a_secret_by_accident(body, flags, btplug, layered):
    layered("user", execute=body, initialize="self.config = config")

    done = btplug("run", "it", *flags, BTPLUG_DEBUG="1")

    assert SECRET not in done.stdout + done.stderr


@pytest.mark.slow
def test_an_option_named_like_a_secret_gets_the_secret_and_help_does_not_show_it(
    btplug, layered
):
    """As from the library; a text made of it would be the mask."""
    execute = """
    @click.option("--token", show_default=True)
    def execute(self, data=None, *, token):
        return token.reveal()
    """
    words, env = layered("user", execute=execute, top=f"import click\n{TOP}")

    assert btplug("run", *words, "it", **env).stdout == f"{SECRET}\n"
    assert SECRET not in btplug("run", *words, "it", "--help", **env).stdout


def test_config_set_does_not_echo_what_it_was_given(btplug, layered, home):
    layered("plugin", value="other")

    done = btplug("config", "set", "it.token", SECRET)

    assert SECRET not in done.stdout + done.stderr
    assert (home / "settings/it/token").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_secret_in_a_broken_user_file_is_not_quoted(btplug, layered, home):
    layered("plugin", value="other")
    (home / "config.yaml").write_text(f"plugins:\n  it:\n    token: &a {SECRET}\n")

    for words in (["run", "it"], ["config", "show", "it"], ["info", "it"], ["doctor"]):
        done = btplug(*words, BTPLUG_DEBUG="1")
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        {"plugin.py": "from .settings import Config", "settings.py": "Secret"},
        {"plugin.py": "from .settings import Config as C", "settings.py": "S"},
    ],
)
def test_a_config_class_in_another_file_hides_its_secrets_too(layout, btplug, command):
    alias = layout["settings.py"]
    source = f"""
    from dataclasses import dataclass
    from btplug import Secret as {alias}

    @dataclass
    class Config:
        token: "{alias} | None" = None
        word: str = ""
    """
    name = layout["plugin.py"].split()[-1]
    command(
        "it", top=layout["plugin.py"], members=f"Config = {name}",
        files={"settings.py": source}, config=f"token: {SECRET}\nword: shown",
    )  # fmt: skip

    for words in (["config", "show", "it", "--json"], ["info", "it", "--json"]):
        done = btplug(*words)
        assert SECRET not in done.stdout
        assert '"shown"' in done.stdout


def test_what_cannot_be_told_to_be_no_secret_is_masked(btplug, command):
    """Code that cannot be parsed, or fields that are made when it runs."""
    folder = command("it", config=f"token: {SECRET}")
    (folder / "plugin.py").write_text("class Plugin(:\n")
    command(
        "two", config=f"token: {SECRET}",
        top="import btplug, dataclasses\nConfig = dataclasses.make_dataclass('Config', [('token', btplug.Secret)])",
        members="Config = Config",
    )  # fmt: skip

    for name in ("it", "two"):
        shown = json.loads(btplug("config", "show", name, "--json").stdout)
        assert shown[0]["value"] == "***"


LOGINS = {
    f"http://me:{SECRET}@proxy:1": "http://***@proxy:1",
    f"http://me:a@b/{SECRET}@proxy:1": "http://***@proxy:1",
    f"http://{SECRET}@proxy:1": "http://***@proxy:1",
    f"me:{SECRET}@proxy:1": "***@proxy:1",
}


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("layer", ["user", "written"])
def test_the_password_of_a_proxy_is_shown_nowhere(login, layer, btplug, home):
    """The error says to look at `config show http`, which printed it."""
    if layer == "user":
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.yaml").write_text(f"plugins: {{http: {{proxy: '{login}'}}}}\n")
    else:
        btplug("config", "set", "http.proxy", "-", input=login)

    for words in (
        ["config", "show", "http"], ["config", "show", "http", "--json"],
        ["info", "http"], ["info", "http", "--json"],
    ):  # fmt: skip
        done = btplug(*words)
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert LOGINS[login] in done.stdout
    done = btplug("run", "fetch", "http://127.0.0.1:1")
    assert done.returncode == 4
    assert "expected it in proxy_auth" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "value", [f"{{btauth/1: {SECRET}}}", SECRET, f"[http://a:{SECRET}@b]"]
)
def test_a_key_whose_mapping_was_forgotten_is_in_no_error(value, btplug, home):
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.yaml").write_text(f"plugins: {{http: {{dialects: {value}}}}}\n")

    done = btplug("run", "fetch", "http://127.0.0.1:1")

    assert done.returncode == 4
    assert "http.dialects" in done.stderr or "dialects" in done.stderr
    assert "found a value of type " in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_the_password_of_an_address_is_in_no_help_page(btplug, command):
    top = TOP.replace('word: str = "plain"', 'word: str = ""\n    more: object = None')
    command(
        "it", top=top, members="Config = Config",
        config=f"word: http://me:{SECRET}@proxy:1\nmore: [{{a: 'ftp://{SECRET}@b'}}]",
    )  # fmt: skip

    done = btplug("run", "it", "--help")

    assert "http://***@proxy:1" in done.stdout
    assert "ftp://***@b" in done.stdout
    assert SECRET not in done.stdout + done.stderr
