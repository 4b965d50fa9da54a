"""Sync and async forms of a transport's methods: who is derived from whom."""

import asyncio
import subprocess
import sys
import threading
from textwrap import dedent

import pytest

from btplug import (
    CLIPlugin,
    Message,
    Peer,
    PluginFailed,
    Reply,
    TransportPlugin,
    TransportPluginRegistry,
    UsageError,
)
from btplug.errors import Unsupported
from btplug.message import Health

PEER = Peer("test://x")
HOME = "btplug home loop"


class Base(TransportPlugin):
    """What every transport here has besides sending."""

    schemes = ("test",)

    def initialize(self, config):
        pass

    def shutdown(self):
        pass


def here(form):
    """Tell which method ran, and in which thread, as a reply."""
    return Reply(
        status=200, media_type=form, body=threading.current_thread().name.encode()
    )


def sync(form):
    def method(self, peer, *message, timeout=None):
        return here(form)

    return method


def asynchronous(form):
    async def method(self, peer, *message, timeout=None):
        await asyncio.sleep(0)
        return here(form)

    return method


@pytest.fixture
def start():
    """Register a class and return the live plugin; its loops end with the test."""
    registries = []

    def start(cls):
        registry = TransportPluginRegistry()
        registries.append(registry)
        return registry[registry.register_plugin(cls)]

    yield start
    for registry in registries:
        registry.shut_down()
        registry.context.close()


PAIRS = {"send": (PEER, Message()), "receive": (PEER,)}


@pytest.fixture(params=PAIRS)
def pair(request):
    """The name of the sync form; the async one has an `a` in front."""
    return request.param


def define(name, bases, pair, *, sync_form=None, async_form=None):
    body = {}
    if sync_form:
        body[pair] = sync(sync_form)
    if async_form:
        body[f"a{pair}"] = asynchronous(async_form)
    return type(name, bases, body)


def forms(plugin, pair):
    """Return what the sync and the async form end up in, and where each ran."""
    one = getattr(plugin, pair)(*PAIRS[pair])
    two = asyncio.run(getattr(plugin, f"a{pair}")(*PAIRS[pair]))
    return (one.media_type, one.text()), (two.media_type, two.text())


@pytest.fixture
def complete(start, pair):
    """Start a class that has this pair; a transport without send is none."""

    def complete(cls):
        if pair != "send":
            own = {"send": sync("s"), "name": "x", **vars(cls)}
            own = {k: v for k, v in own.items() if k in ("send", "name")}
            cls = type("X", (cls,), own)
        else:
            cls.name = "x"
        return start(cls)

    return complete


def test_the_async_form_of_a_sync_method_runs_in_a_worker_thread(complete, pair):
    plugin = complete(define("T", (Base,), pair, sync_form="s"))

    one, two = forms(plugin, pair)

    assert one == ("s", threading.current_thread().name)
    assert two[0] == "s"
    assert two[1] not in (threading.current_thread().name, HOME)


def test_the_sync_form_of_an_async_method_runs_in_the_home_loop(complete, pair):
    plugin = complete(define("T", (Base,), pair, async_form="a"))

    assert forms(plugin, pair) == (("a", HOME), ("a", HOME))


def test_a_class_with_both_forms_keeps_both(complete, pair):
    plugin = complete(define("T", (Base,), pair, sync_form="s", async_form="a"))

    assert forms(plugin, pair) == (("s", threading.current_thread().name), ("a", HOME))


@pytest.mark.parametrize("first", [("s", None), (None, "a"), ("s", "a")])
@pytest.mark.parametrize("second", [("S", None), (None, "A"), ("S", "A")])
def test_the_form_of_the_most_derived_class_wins(complete, pair, first, second):
    parent = define("P", (Base,), pair, sync_form=first[0], async_form=first[1])
    child = define("C", (parent,), pair, sync_form=second[0], async_form=second[1])

    one, two = forms(complete(child), pair)

    expected = {("S", None): "SS", (None, "A"): "AA", ("S", "A"): "SA"}[second]
    assert one[0] + two[0] == expected


@pytest.mark.parametrize("first", [("s", None), (None, "a"), ("s", "a")])
def test_a_subclass_that_defines_neither_form_changes_nothing(complete, pair, first):
    parent = define("P", (Base,), pair, sync_form=first[0], async_form=first[1])
    child = define("C", (define("M", (parent,), pair),), pair)

    one, two = forms(complete(child), pair)

    assert one[0] + two[0] == (first[0] or "a") + (first[1] or "s")


def test_a_grandchild_may_go_back_to_the_other_form(complete, pair):
    parent = define("P", (Base,), pair, sync_form="s", async_form="a")
    child = define("C", (parent,), pair, async_form="A")
    grandchild = define("G", (child,), pair, sync_form="z")

    one, two = forms(complete(grandchild), pair)

    assert (one[0], two[0]) == ("z", "z")


@pytest.mark.parametrize("mixed", [("m", None), (None, "m")])
@pytest.mark.parametrize("own", [(None, None), ("s", None), (None, "a"), ("s", "a")])
def test_a_mixin_in_front_wins_and_gets_its_other_form(complete, pair, mixed, own):
    mixin = define("Mixin", (), pair, sync_form=mixed[0], async_form=mixed[1])
    parent = define("P", (Base,), pair, sync_form=own[0], async_form=own[1])

    one, two = forms(complete(type("T", (mixin, parent), {})), pair)

    assert (one[0], two[0]) == ("m", "m")


def test_a_mixin_behind_loses(complete, pair):
    mixin = define("Mixin", (), pair, async_form="m")
    parent = define("P", (Base,), pair, sync_form="s")

    one, two = forms(complete(type("T", (parent, mixin), {})), pair)

    assert (one[0], two[0]) == ("s", "s")


def test_one_mixin_does_not_change_the_classes_that_share_it(complete, pair):
    mixin = define("Mixin", (), pair, async_form="m")
    before = dict(vars(mixin))

    complete(type("T", (mixin, Base), {}))

    assert dict(vars(mixin)) == before


def test_of_two_parents_the_first_one_wins(complete, pair):
    left = define("L", (Base,), pair, sync_form="l")
    right = define("R", (Base,), pair, async_form="r")

    one, two = forms(complete(type("T", (left, right), {})), pair)

    assert (one[0], two[0]) == ("l", "l")


def test_a_class_between_may_call_the_form_it_replaces(complete, pair):
    """The base has one form; a child wraps that very form with super()."""
    parent = define("P", (Base,), pair, async_form="a")

    class Child(parent):
        async def asend(self, peer, message, *, timeout=None):
            reply = await super().asend(peer, message, timeout=timeout)
            return Reply(status=201, media_type=reply.media_type, body=reply.body)

        async def areceive(self, peer, *, timeout=None):
            reply = await super().areceive(peer, timeout=timeout)
            return Reply(status=201, media_type=reply.media_type, body=reply.body)

    assert forms(complete(Child), pair) == (("a", HOME), ("a", HOME))
    plugin = complete(Child)
    assert getattr(plugin, pair)(*PAIRS[pair]).status == 201


WRAPS = """
import asyncio, sys
from btplug import *

class Parent(TransportPlugin):
    name, schemes = "x", ("x",)
    def initialize(self, config): pass
    def shutdown(self): pass
    {parent}

class Child(Parent):
    {child}

registry = TransportPluginRegistry()
plugin = registry[registry.register_plugin(Child)]
print(plugin.send(Peer("x://a"), Message()).status)
print(asyncio.run(plugin.asend(Peer("x://a"), Message())).status)
registry.shut_down()
"""
SYNC = "def send(self, peer, message, *, timeout=None): return "
ASYNC = "async def asend(self, peer, message, *, timeout=None): return "


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parent", "child"),
    [
        (f"{ASYNC}Reply(status=200)", f"{SYNC}super().send(peer, message)"),
        (f"{SYNC}Reply(status=200)", f"{ASYNC}await super().asend(peer, message)"),
        (f"{SYNC}Reply(status=200)", f"{SYNC}super().send(peer, message)"),
        (f"{ASYNC}Reply(status=200)", f"{ASYNC}await super().asend(peer, message)"),
    ],
    ids=["sync over derived", "async over derived", "sync", "async"],
)
def test_a_child_may_wrap_the_derived_form_of_its_parent(parent, child):
    """In a process of its own, because a mistake here waits for itself for ever."""
    done = subprocess.run(
        [sys.executable, "-c", WRAPS.format(parent=parent, child=child)],
        capture_output=True,
        text=True,
        timeout=10,
    )

    assert done.stdout == "200\n200\n", done.stderr


# -- loops


class Bound(Base):
    """Has something that belongs to the loop it was made in, as a pool does."""

    name = "bound"

    async def initialize(self, config):
        self.loop = asyncio.get_running_loop()
        self.thread = threading.current_thread().name
        self.queue = asyncio.Queue()
        self.closed = None

    async def asend(self, peer, message, *, timeout=None):
        assert asyncio.get_running_loop() is self.loop
        getter = asyncio.ensure_future(self.queue.get())
        await asyncio.sleep(0)
        self.queue.put_nowait(message.body)
        return Reply(status=200, body=await getter)

    async def shutdown(self):
        assert asyncio.get_running_loop() is self.loop
        self.closed = threading.current_thread().name


def test_what_belongs_to_a_loop_is_used_from_two_loops_and_from_none(start):
    plugin = start(Bound)

    for body in (b"1", b"2"):
        reply = asyncio.run(plugin.asend(PEER, Message(body=body)))
        assert reply.body == body
    assert plugin.send(PEER, Message(body=b"3")).body == b"3"


def test_async_initialize_and_shutdown_run_in_the_home_loop(start):
    plugin = start(Bound)
    assert plugin.thread == HOME

    registry = TransportPluginRegistry(plugin.context)
    name = registry.register_plugin(type("Other", (Bound,), {"name": "other"}))
    other = registry[name]
    registry.deregister_plugin(name)

    assert other.closed == HOME


def test_a_sync_call_in_a_running_loop_works(start):
    plugin = start(Bound)

    async def main():
        return plugin.send(PEER, Message(body=b"x")).body

    assert asyncio.run(main()) == b"x"


def test_two_threads_and_two_loops_send_at_once(start):
    plugin, found = start(Bound), []

    async def many():
        replies = await asyncio.gather(
            *(plugin.asend(PEER, Message(body=b"x")) for _ in range(20))
        )
        found.extend(reply.body for reply in replies)

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert found == [b"x"] * 80


def test_a_sync_call_inside_the_home_loop_is_refused(start):
    class Confused(Base):
        async def asend(self, peer, message, *, timeout=None):
            return self.send(peer, message)

    plugin = start(Confused)

    for call in (
        lambda: plugin.send(PEER, Message()),
        lambda: asyncio.run(plugin.asend(PEER, Message())),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == (
            "a sync call from inside the loop 'btplug home loop' would never return\n"
            "  fix:   await the async form of that method"
        )


def test_what_the_async_form_raises_arrives_unchanged(start):
    class Odd(Exception):
        pass

    class Failing(Base):
        async def asend(self, peer, message, *, timeout=None):
            raise Odd("peer")

    plugin = start(Failing)

    with pytest.raises(Odd, match=r"^peer$"):
        plugin.send(PEER, Message())
    with pytest.raises(Odd, match=r"^peer$"):
        asyncio.run(plugin.asend(PEER, Message()))


def test_cancelling_the_await_cancels_the_work_at_home(start):
    class Waiting(Base):
        name = "waiting"
        begun, ended = threading.Event(), threading.Event()

        async def asend(self, peer, message, *, timeout=None):
            self.begun.set()
            try:
                await asyncio.sleep(30)
            finally:
                self.ended.set()

    plugin = start(Waiting)

    async def main():
        task = asyncio.ensure_future(plugin.asend(PEER, Message()))
        await asyncio.to_thread(plugin.begun.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert plugin.ended.wait(5)


def test_a_time_limit_of_the_caller_ends_the_work_at_home(start):
    class Waiting(Base):
        ended = threading.Event()

        async def asend(self, peer, message, *, timeout=None):
            try:
                await asyncio.sleep(30)
            finally:
                self.ended.set()

    plugin = start(Waiting)

    async def main():
        async with asyncio.timeout(0.02):
            await plugin.asend(PEER, Message())

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert plugin.ended.wait(5)


# -- what the base makes


class Echo(Base):
    def send(self, peer, message, *, timeout=None):
        return Reply(
            status=200,
            body=message.body,
            media_type=message.media_type,
            headers=(("url", peer.url), ("timeout", str(timeout))),
        )


@pytest.mark.parametrize(
    ("data", "body", "media_type"),
    [
        (None, b"", "application/octet-stream"),
        ("é", "é".encode(), "text/plain; charset=utf-8"),
        (b"\xff", b"\xff", "application/octet-stream"),
        (bytearray(b"x"), b"x", "application/octet-stream"),
        (Message(body=b"m", media_type="a/b"), b"m", "a/b"),
    ],
)
def test_executing_a_transport_sends(data, body, media_type):
    registry = TransportPluginRegistry()
    registry.register_plugin(Echo)

    reply = registry.execute_plugin("echo", data, peer="test://a", timeout=3)

    assert (reply.body, reply.media_type) == (body, media_type)
    assert reply.header("url") == "test://a"
    assert reply.header("timeout") == "3"


def test_executing_a_transport_takes_a_peer_too():
    registry = TransportPluginRegistry()
    registry.register_plugin(Echo)

    reply = registry.execute_plugin("echo", peer=Peer("test://b"))

    assert (reply.header("url"), reply.header("timeout")) == ("test://b", "None")


def test_executing_a_transport_without_a_peer_is_refused():
    registry = TransportPluginRegistry()
    registry.register_plugin(Echo)

    with pytest.raises(UsageError) as caught:
        registry.execute_plugin("echo", "x")

    assert str(caught.value) == (
        "echo: found no option 'peer', expected a value\n  fix:   pass peer=…"
    )


def test_executing_an_async_transport_sends_too(start):
    plugin = start(Bound)
    registry = TransportPluginRegistry(plugin.context)
    registry.register_plugin(type("Again", (Bound,), {"name": "again"}))

    assert registry.execute_plugin("again", "x", peer="test://a").body == b"x"


def test_a_transport_says_that_it_can_be_used(start):
    assert start(Echo).health() == Health(ok=True)


def test_a_transport_may_look_after_its_health_in_the_home_loop(start):
    class Checked(Echo):
        async def health(self):
            await asyncio.sleep(0)
            return Health(ok=False, detail=threading.current_thread().name)

    plugin = start(Checked)

    lent = plugin.context.transports["checked"]
    assert lent.health() == Health(ok=False, detail=HOME)


@pytest.mark.parametrize("name", ["receive", "areceive"])
def test_what_a_transport_does_not_write_is_unsupported(start, name):
    plugin = start(Echo)

    def call():
        found = getattr(plugin, name)(PEER)
        return asyncio.run(found)

    with pytest.raises(Unsupported) as caught:
        call()

    assert str(caught.value) == (
        "echo does not receive\n  fix:   use a transport that can receive"
    )
    assert caught.value.delivered is False


def test_calling_the_base_for_what_it_does_not_do_is_unsupported(start):
    class Asking(Base):
        async def asend(self, peer, message, *, timeout=None):
            return await super().asend(peer, message, timeout=timeout)

    plugin = start(Asking)

    for call in (
        lambda: plugin.send(PEER, Message()),
        lambda: TransportPlugin.send(plugin, PEER, Message()),
    ):
        with pytest.raises(Unsupported) as caught:
            call()
        assert caught.value.what == "asking does not send"


def test_a_derived_form_is_the_plugins_own_and_not_the_bases():
    assert Echo.asend is not TransportPlugin.asend
    assert Echo.areceive is TransportPlugin.areceive
    assert CLIPlugin.execute is not TransportPlugin.execute


def test_a_wrapped_method_keeps_its_name_and_documentation():
    class Documented(Base):
        async def asend(self, peer, message, *, timeout=None):
            """Send it fast."""

    assert Documented.asend.__name__ == "asend"
    assert Documented.asend.__doc__ == "Send it fast."


def test_a_failing_transport_is_a_failed_plugin_with_its_cause():
    class Failing(Base):
        async def asend(self, peer, message, *, timeout=None):
            raise ZeroDivisionError("peer")

    registry = TransportPluginRegistry()
    registry.register_plugin(Failing)

    with pytest.raises(PluginFailed) as caught:
        registry.execute_plugin("failing", peer="test://a")

    assert caught.value.what == "failing failed: ZeroDivisionError: peer"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    registry.shut_down()
    registry.context.close()


def test_indentation_of_the_script_above_is_python():
    """The trap is armed: a script that cannot run would print no 200 either."""
    compile(dedent(WRAPS.format(parent="pass", child="pass")), "x", "exec")
