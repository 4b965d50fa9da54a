"""What plugins are handed."""

import os
import subprocess
import sys
import threading

import pytest

from btplug import (
    BtplugError,
    Context,
    Message,
    Peer,
    Reply,
    TransportPlugin,
    UsageError,
)
from btplug.context import Screen
from btplug.errors import PluginStartError, Unsupported
from btplug.settings import Settings


class Echo(TransportPlugin):
    schemes = ("test", "tests")

    def initialize(self, config):
        self.client = "a pool that nobody else may touch"

    def send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=message.body)

    def shutdown(self):
        pass


def lend(context, name="echo", schemes=("test", "tests")):
    plugin = type("T", (Echo,), {"schemes": schemes})()
    plugin.context = context.bound(name)
    plugin.initialize(None)
    context.transports.lend(name, plugin)
    return plugin


# -- one context, seen by each plugin in its own way


def test_all_views_share_everything_but_logger_and_folder(home):
    context = Context()
    one, two = context.bound("one"), context.bound("two")

    assert one.transports is two.transports is context.transports
    assert one.home is two.home is context.home
    assert one.work is two.work is not one.home
    assert one.settings is two.settings
    assert (one.plugin, two.plugin, context.plugin) == ("one", "two", "")
    assert one.logger.name == "btplug.plugin.one"
    assert two.state_dir == str(home / "state" / "two")


def test_a_view_of_a_view_is_that_of_the_last_plugin():
    assert Context().bound("one").bound("two").plugin == "two"


def test_whether_json_is_wanted_is_shared():
    context = Context()
    view = context.bound("one")
    assert view.wants_json is False

    context.wants_json = True

    assert view.wants_json is True


def test_the_state_folder_is_made_when_asked_for_only(home):
    context = Context().bound("greet")
    assert not home.exists()

    path = context.state_dir

    assert os.path.isdir(path)
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_a_state_folder_that_cannot_be_made_says_what_to_do(home):
    home.mkdir()
    (home / "state").write_text("no folder")

    with pytest.raises(BtplugError) as caught:
        _ = Context().bound("greet").state_dir

    assert caught.value.what.startswith(
        "the folder for a plugin's state cannot be made ("
    )
    assert caught.value.where.startswith(str(home / "state"))
    assert caught.value.fix == (
        "make the folder writable, or choose another with BTPLUG_HOME"
    )


def test_a_plain_context_has_the_users_settings(monkeypatch):
    monkeypatch.setenv("BTPLUG_START_LIMIT", "7")

    assert Context().settings.host("start_limit") == 7.0


def test_a_context_may_be_given_settings():
    settings = Settings()

    assert Context(settings).settings is settings


def test_a_view_holds_nothing_else():
    with pytest.raises(AttributeError):
        Context().bound("x").token = 1


def test_making_a_context_starts_nothing(home):
    before = threading.active_count()

    context = Context()
    context.close()

    assert threading.active_count() == before
    assert not home.exists()


# -- transports


def test_transports_read_as_a_mapping():
    context = Context()
    lend(context, "a")
    lend(context, "b")

    assert list(context.transports) == ["a", "b"]
    assert len(context.transports) == 2
    assert "a" in context.transports
    assert context.transports.get("c") is None
    with pytest.raises(KeyError, match="c"):
        context.transports["c"]


def test_nobody_writes_into_the_transports():
    with pytest.raises(TypeError):
        Context().transports["a"] = Echo()


def test_a_lent_transport_has_the_methods_of_the_contract_and_nothing_else():
    context = Context()
    lend(context)
    lent = context.transports["echo"]

    reply = lent.send(Peer("test://x"), Message(body=b"x"))

    assert reply.body == b"x"
    assert lent.schemes == ("test", "tests")
    assert lent.health().ok
    # `serve` too: to a plugin in this process; a confined one is lent none.
    assert {n for n in dir(lent) if n[0] != "_"} == {
        "areceive", "asend", "asend_many", "aserve", "astream", "execute", "health",
        "receive", "schemes", "send", "send_many", "serve", "stream",
    }  # fmt: skip
    for name in ("client", "context", "shutdown", "initialize"):
        assert not hasattr(lent, name)


def test_a_lent_transport_cannot_be_replaced_piece_by_piece():
    context = Context()
    lend(context)

    with pytest.raises(AttributeError):
        context.transports["echo"].client = "mine"


def test_a_transport_that_was_withdrawn_is_gone():
    context = Context()
    plugin = lend(context)

    context.transports.withdraw("echo", plugin)
    context.transports.withdraw("echo", plugin)

    assert list(context.transports) == []


def test_only_the_transport_that_was_lent_is_withdrawn():
    context = Context()
    first = lend(context)
    lend(context)

    context.transports.withdraw("echo", first)

    assert list(context.transports) == ["echo"]


def test_a_broken_transport_is_not_listed_and_says_why_when_asked_for():
    context = Context()
    error = PluginStartError("it broke", plugin="echo")

    context.transports.mark_broken("echo", error)

    assert list(context.transports) == []
    assert "echo" not in context.transports
    with pytest.raises(PluginStartError) as caught:
        context.transports["echo"]
    assert caught.value is error


def test_a_transport_that_starts_later_is_broken_no_more():
    context = Context()
    context.transports.mark_broken("echo", PluginStartError("it broke"))

    lend(context)

    assert context.transports["echo"].schemes


def test_the_transports_may_change_while_somebody_goes_through_them():
    context = Context()
    lend(context, "a")
    plugin = lend(context, "b")

    seen = []
    for name in context.transports:
        seen.append(name)
        context.transports.withdraw("b", plugin)

    assert seen == ["a", "b"]


@pytest.mark.parametrize(
    "target", ["test://x", "TEST://x", "tests://[::1]:9/p", Peer("test://x")]
)
def test_the_scheme_chooses_the_transport(target):
    context = Context()
    lend(context, "other", schemes=("other",))
    lend(context)

    assert context.transport_for(target) is context.transports["echo"]


def test_of_two_transports_for_a_scheme_the_first_started_is_taken():
    context = Context()
    lend(context, "a")
    lend(context, "b")

    assert context.transport_for("test://x") is context.transports["a"]


def test_a_scheme_that_no_transport_serves_is_unsupported():
    context = Context()
    lend(context)

    with pytest.raises(Unsupported) as caught:
        context.transport_for("ws://x")

    assert str(caught.value) == (
        "no transport for the scheme 'ws', expected one of test, tests\n"
        "  fix:   install a transport for ws; what there is: btplug list"
    )
    assert caught.value.delivered is False


def test_without_any_transport_the_message_says_so():
    with pytest.raises(Unsupported) as caught:
        Context().transport_for("http://x")

    assert caught.value.what == (
        "no transport for the scheme 'http', "
        "expected one of none: no transport is started"
    )


def test_where_one_did_not_start_that_is_why_its_schemes_are_missing():
    context = Context()
    lend(context)
    error = PluginStartError("it broke", plugin="sockets")
    context.transports.mark_broken("sockets", error, ("ws", "wss", "test"))

    for scheme in ("ws", "wss"):
        with pytest.raises(PluginStartError) as caught:
            context.transport_for(f"{scheme}://x")
        assert caught.value is error
    assert context.transport_for("test://x").schemes
    with pytest.raises(Unsupported):
        context.transport_for("nats://x")


def test_one_that_could_not_even_be_loaded_is_missed_under_its_name():
    context = Context()
    error = PluginStartError("it broke", plugin="nats")
    context.transports.mark_broken("nats", error)

    with pytest.raises(PluginStartError) as caught:
        context.transport_for("nats://x")
    assert caught.value is error


def test_a_scheme_is_missed_no_more_once_its_transport_starts():
    context = Context()
    context.transports.mark_broken("echo", PluginStartError("it broke"), ("old",))
    context.transports.mark_broken("other", PluginStartError("too"), ("other",))

    lend(context)

    with pytest.raises(Unsupported):
        context.transport_for("old://x")
    with pytest.raises(PluginStartError, match="too"):
        context.transport_for("other://x")


@pytest.mark.parametrize("target", ["", "host:80", "/path", "test:x"])
def test_an_address_without_a_scheme_is_refused(target):
    with pytest.raises(UsageError) as caught:
        Context().transport_for(target)

    assert str(caught.value) == (
        f"found {target!r}, expected a URL such as http://host:port\n"
        "  fix:   put the scheme in front"
    )


# -- what the host draws; a library draws nothing


def test_a_library_shows_no_status(capsys):
    with Context().status("working"):
        pass

    assert capsys.readouterr() == ("", "")


def test_a_library_passes_items_through(capsys):
    items = Context().progress([1, 2], label="x", total=2)

    assert next(items) == 1
    assert list(items) == [2]
    assert capsys.readouterr() == ("", "")


def test_a_library_asks_nobody(monkeypatch):
    context = Context()

    assert context.ask("name?", default="x") == "x"
    assert context.confirm("sure?", default=False) is False
    for call in (lambda: context.ask("name?"), lambda: context.confirm("name?")):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == (
            "nobody can be asked: name?\n"
            "  fix:   give the answer as an option or in the configuration"
        )


def test_a_host_may_draw():
    class Drawn(Screen):
        def ask(self, question, default, secret):
            return f"{question} {default} {secret}"

    assert Context(screen=Drawn()).bound("x").ask("a?", secret=True) == "a? None True"


# -- logging


LOGS = """
import sys
from btplug import Context
context = Context()
context.bound("greet").logger.warning("hello")
import logging
print(logging.getLogger().handlers)
"""


def test_the_logger_of_a_library_sets_nothing_up():
    done = subprocess.run([sys.executable, "-c", LOGS], capture_output=True, text=True)

    assert done.stdout == "[]\n"
    assert done.stderr == "hello\n"


def test_logs_that_are_ours_are_set_up_at_the_first_logger(monkeypatch, tmp_path):
    file = tmp_path / "log"
    code = (
        "from btplug import Context; c = Context(); c.settings.own_logs();"
        "c.bound('greet').logger.info('hello'); c.bound('x').logger.info('again')"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "BTPLUG_LOG_LEVEL": "info", "BTPLUG_LOG_FILE": str(file)},
        check=True,
    )

    assert [line.split(": ")[1] for line in file.read_text().splitlines()] == [
        "hello",
        "again",
    ]
