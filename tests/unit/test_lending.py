"""What a plugin gets when it asks the context for a transport: checked, and no more."""

import asyncio
import threading

import pytest

from btplug import (
    CLIPlugin,
    CLIPluginRegistry,
    Context,
    Message,
    Peer,
    PluginFailed,
    Reply,
    TransportPlugin,
    TransportPluginRegistry,
)
from btplug.errors import Refused, Unsupported

PEER = Peer("test://x")


class Base(TransportPlugin):
    name = "wire"
    schemes = ("test",)

    def initialize(self, config):
        pass

    def send(self, peer, message, *, timeout=None):
        return Reply(status=200, body=message.body)

    def shutdown(self):
        pass


@pytest.fixture
def lent():
    """Start a class as a transport and return what plugins see of it."""
    registries = []

    def lent(cls):
        registry = TransportPluginRegistry()
        registries.append(registry)
        return registry.context.transports[registry.register_plugin(cls)]

    yield lent
    for registry in registries:
        registry.shut_down()
        registry.context.close()


def calls(transport):
    """Return all ways to send and to receive."""
    return {
        "send": lambda: transport.send(PEER, Message(body=b"x")),
        "asend": lambda: asyncio.run(transport.asend(PEER, Message(body=b"x"))),
        "receive": lambda: transport.receive(PEER),
        "areceive": lambda: asyncio.run(transport.areceive(PEER)),
    }


WAYS = ["send", "asend", "receive", "areceive"]


def raising(exc, *, asynchronous):
    def sync(self, peer, *message, timeout=None):
        raise exc

    async def coroutine(self, peer, *message, timeout=None):
        await asyncio.sleep(0)
        raise exc

    forms = {"send": sync, "receive": sync}
    if asynchronous:
        forms = {"asend": coroutine, "areceive": coroutine}
    return type("T", (Base,), {**forms, "__module__": __name__})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_a_transport_raises_is_its_own_failure_with_its_cause(
    lent, way, asynchronous
):
    exc = ZeroDivisionError("odd")

    with pytest.raises(PluginFailed) as caught:
        calls(lent(raising(exc, asynchronous=asynchronous)))[way]()

    assert caught.value.what == "wire failed: ZeroDivisionError: odd"
    assert caught.value.plugin == "wire"
    assert caught.value.__cause__ is exc
    assert caught.value.where.startswith(f"{__file__}:")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_error_of_btplug_passes_unchanged(lent, way, asynchronous):
    exc = Refused("no connection", delivered=False)

    with pytest.raises(Refused) as caught:
        calls(lent(raising(exc, asynchronous=asynchronous)))[way]()

    assert caught.value is exc
    assert exc.__cause__ is None, "an error is not its own cause"


def test_the_cause_of_an_error_of_btplug_stays_its_cause(lent):
    reason = OSError("route")

    class Caused(Base):
        def send(self, peer, message, *, timeout=None):
            raise Refused("no connection") from reason

    with pytest.raises(Refused) as caught:
        lent(Caused).send(PEER, Message())

    assert caught.value.__cause__ is reason


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("found", [None, b"x", {"status": 200}])
def test_a_transport_that_returns_no_reply_is_told_so(lent, way, found):
    class Odd(Base):
        def send(self, peer, message, *, timeout=None):
            return found

        def receive(self, peer, *, timeout=None):
            return found

    with pytest.raises(PluginFailed) as caught:
        calls(lent(Odd))[way]()

    assert caught.value.what == (
        f"wire returned a value of type {type(found).__name__}, expected a Reply"
    )
    assert caught.value.fix == "return btplug.Reply(status=…, body=…)"
    assert caught.value.plugin == "wire"


def test_a_good_reply_is_handed_on_as_it_is(lent):
    reply = Reply(status=418, body=b"teapot")

    class Teapot(Base):
        def send(self, peer, message, *, timeout=None):
            return reply

    transport = lent(Teapot)
    assert transport.send(PEER, Message()) is reply
    assert asyncio.run(transport.asend(PEER, Message())) is reply


def test_the_failure_of_a_transport_is_not_blamed_on_the_command_that_sent():
    context = Context()
    transports, commands = TransportPluginRegistry(context), CLIPluginRegistry(context)

    class Greet(CLIPlugin):
        def initialize(self, config):
            pass

        def execute(self, data=None):
            return self.context.transport_for("test://x").send(PEER, Message())

        def shutdown(self):
            pass

    transports.register_plugin(raising(ValueError("odd"), asynchronous=False))
    commands.register_plugin(Greet)

    with pytest.raises(PluginFailed) as caught:
        commands.execute_plugin("greet")

    assert caught.value.what == "wire failed: ValueError: odd"
    assert caught.value.plugin == "wire"


def test_lent_methods_keep_their_names_and_documentation(lent):
    class Documented(Base):
        def send(self, peer, message, *, timeout=None):
            """Send it fast."""

    assert lent(Documented).send.__doc__ == "Send it fast."
    assert lent(Documented).send.__name__ == "send"


# -- which of several


def several(context, *names):
    registry = TransportPluginRegistry(context)
    for name in names:
        registry.register_plugin(type(name, (Base,), {"name": name}))
    return registry


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_transports_for_a_scheme_the_same_one_sends_whichever_was_first(order):
    context = Context()
    several(context, *order)

    assert list(context.transports) == ["a", "b"]
    assert context.transport_for("test://x") is context.transports["a"]


def test_a_host_may_prefer_some_and_is_told_who_serves_what():
    context = Context()
    several(context, "a", "b", "c")

    found = context.transports.prefer(["c", "b"])

    assert list(context.transports) == ["c", "b", "a"]
    assert found == [("test", "c", "b"), ("test", "c", "a")]
    assert context.transport_for("test://x") is context.transports["c"]


def test_transports_that_serve_different_schemes_are_no_matter():
    context = Context()
    registry = several(context, "a")
    registry.register_plugin(type("B", (Base,), {"name": "b", "schemes": ("other",)}))

    assert context.transports.prefer(["b", "a"]) == []


def test_what_was_not_asked_to_start_is_said_where_a_scheme_is_missing():
    context = Context()
    context.transports.withheld.append("http: enable it with: btplug enable http")

    with pytest.raises(Unsupported) as caught:
        context.transport_for("http://x")

    assert caught.value.fix == "http: enable it with: btplug enable http"


def test_a_transport_may_be_withdrawn_by_its_name():
    context = Context()
    several(context, "a", "b")

    context.transports.withdraw("a")
    context.transports.withdraw("gone")

    assert list(context.transports) == ["b"]


def test_transports_that_start_side_by_side_are_all_lent():
    context = Context()
    registry, gate = TransportPluginRegistry(context), threading.Barrier(10)

    def start(n):
        gate.wait(10)
        registry.register_plugin(type("T", (Base,), {"name": f"t{n}"}))

    threads = [threading.Thread(target=start, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert list(context.transports) == [f"t{n}" for n in range(10)]
    registry.shut_down()
