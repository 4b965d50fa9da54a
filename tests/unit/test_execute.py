"""execute_plugin: hooks, options, errors, and the forms a result may have."""

import asyncio
import threading
from dataclasses import dataclass, field

import click
import msgspec
import pytest

from btplug import (
    BtplugError,
    CLIPlugin,
    CLIPluginRegistry,
    PluginExit,
    PluginFailed,
    Secret,
    UnknownPlugin,
    UsageError,
)
from btplug.errors import ConfigError, Refused
from btplug.manifest import read_manifest


class Base(CLIPlugin):
    name = "greet"

    def initialize(self, config):
        self.config = config

    def execute(self, data=None):
        return data

    def shutdown(self):
        pass


@pytest.fixture
def registry():
    registry = CLIPluginRegistry()
    yield registry
    registry.shut_down()
    registry.context.close()


@pytest.fixture
def run(registry):
    """Register a class made of these methods, once, and execute it."""

    def run(data=None, /, cls=None, options=None, **body):
        if "greet" in registry:
            registry.deregister_plugin("greet")
        registry.register_plugin(cls or type("Greet", (Base,), body))
        return registry.execute_plugin("greet", data, **(options or {}))

    return run


# -- hooks


class Hooked(Base):
    def initialize(self, config):
        self.log = ["initialize"]

    def before_execute(self, data):
        self.log.append(f"before {data}")
        return data + 1

    def execute(self, data=None):
        self.log.append(f"execute {data}")
        return data * 10

    def after_execute(self, result):
        self.log.append(f"after {result}")
        return result + 5

    def shutdown(self):
        self.log.append("shutdown")


class AsyncHooked(Hooked):
    async def initialize(self, config):
        await asyncio.sleep(0)
        self.log = ["initialize"]

    async def before_execute(self, data):
        await asyncio.sleep(0)
        return Hooked.before_execute(self, data)

    async def execute(self, data=None):
        await asyncio.sleep(0)
        return Hooked.execute(self, data)

    async def after_execute(self, result):
        await asyncio.sleep(0)
        return Hooked.after_execute(self, result)

    async def shutdown(self):
        await asyncio.sleep(0)
        Hooked.shutdown(self)


@pytest.mark.parametrize("cls", [Hooked, AsyncHooked])
def test_hooks_see_and_replace_what_goes_in_and_comes_out(registry, cls):
    registry.register_plugin(cls)

    assert registry.execute_plugin("greet", 1) == 25
    assert registry.execute_plugin("greet", 2) == 35
    plugin = registry["greet"]
    registry.deregister_plugin("greet")

    assert plugin.log == [
        "initialize",
        "before 1", "execute 2", "after 20",
        "before 2", "execute 3", "after 30",
        "shutdown",
    ]  # fmt: skip


METHODS = ["initialize", "before_execute", "execute", "after_execute", "shutdown"]


@pytest.mark.parametrize("name", METHODS)
def test_one_method_may_be_async_while_the_others_are_not(registry, name):
    registry.register_plugin(type("Greet", (Hooked,), {name: vars(AsyncHooked)[name]}))

    assert registry.execute_plugin("greet", 1) == 25
    plugin = registry["greet"]
    registry.deregister_plugin("greet")

    assert len(plugin.log) == 5


def test_the_base_hooks_change_nothing(run):
    marker = object()

    assert run(marker) is marker


def test_async_methods_of_a_command_run_in_one_loop_that_is_not_home(registry):
    class Looped(Base):
        async def initialize(self, config):
            self.loop, self.seen = asyncio.get_running_loop(), []

        async def before_execute(self, data):
            self.seen.append(asyncio.get_running_loop() is self.loop)
            return data

        async def execute(self, data=None):
            self.seen.append(asyncio.get_running_loop() is self.loop)
            return threading.current_thread().name

        async def after_execute(self, result):
            self.seen.append(asyncio.get_running_loop() is self.loop)
            return result

        async def shutdown(self):
            self.seen.append(asyncio.get_running_loop() is self.loop)

    registry.register_plugin(Looped)
    assert registry.execute_plugin("greet") == "btplug plugin loop"
    plugin = registry["greet"]
    registry.deregister_plugin("greet")

    assert plugin.seen == [True] * 4


def test_an_async_command_works_inside_a_running_loop(registry):
    registry.register_plugin(AsyncHooked)

    async def main():
        return registry.execute_plugin("greet", 1)

    assert asyncio.run(main()) == 25
    assert asyncio.run(main()) == 25


def test_an_async_command_that_calls_another_one_in_line_is_refused(registry):
    registry.register_plugin(type("Other", (AsyncHooked,), {"name": "other"}))
    registry.get_plugin("other")

    class Caller(Base):
        async def execute(self, data=None):
            return registry.execute_plugin("other", 1)

    registry.register_plugin(Caller)
    with pytest.raises(UsageError) as caught:
        registry.execute_plugin("greet")

    assert caught.value.what == (
        "a sync call from inside the loop 'btplug plugin loop' would never return"
    )


def test_a_command_may_call_another_command(registry):
    registry.register_plugin(type("Other", (Base,), {"name": "other"}))

    class Caller(Base):
        def execute(self, data=None):
            return registry.execute_plugin("other", data)

    registry.register_plugin(Caller)

    assert registry.execute_plugin("greet", 3) == 3


# -- results


@pytest.mark.parametrize(
    "result",
    [
        None, "", "text", b"\xff", {"a": 1}, [{"a": 1}], ({"a": 1},), {1, 2},
        float("inf"), object(), Exception("as a value"),
    ],
)  # fmt: skip
def test_a_result_is_handed_on_as_it_is(run, result):
    assert run(execute=lambda self, data=None: result) is result


def test_the_rows_of_a_generator_arrive_one_by_one(run):
    taken = []

    def rows(self, data=None):
        for n in range(3):
            taken.append(n)
            yield {"n": n}

    found = run(execute=rows)

    assert taken == []
    assert next(found) == {"n": 0}
    assert taken == [0]
    assert list(found) == [{"n": 1}, {"n": 2}]


def test_the_rows_of_an_async_generator_arrive_one_by_one_in_a_sync_loop(run):
    taken = []

    async def rows(self, data=None):
        for n in range(3):
            await asyncio.sleep(0)
            taken.append(n)
            yield {"n": n}

    found = run(execute=rows)

    assert next(found) == {"n": 0}
    assert taken == [0]
    assert list(found) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_rows_that_nobody_wants_any_more_are_closed(run, asynchronous):
    closed = []

    def rows(self, data=None):
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    async def arows(self, data=None):
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    found = run(execute=arows if asynchronous else rows)
    next(found)
    found.close()

    assert closed == [True]


def test_after_execute_sees_the_rows_and_may_replace_them(run):
    def rows(self, data=None):
        yield from (1, 2, 3)

    def doubled(self, result):
        return (2 * n for n in result)

    assert list(run(execute=rows, after_execute=doubled)) == [2, 4, 6]


# -- data


@pytest.mark.parametrize(
    "execute",
    [
        lambda self, data=None: data,
        lambda self, data: data,
        lambda self, data, /: data,
        lambda self, rows: rows,
        lambda self, rows=(), *, option=1: rows,
        lambda self, *args: args[0],
        lambda self, first, *rest: first,
    ],
)
def test_data_fills_the_parameter_data_or_else_the_first(run, execute):
    assert run("x", execute=execute) == "x"
    assert run(execute=execute) is None


def test_data_may_be_given_to_a_parameter_of_that_name_anywhere(run):
    def execute(self, option=1, data=None):
        return option, data

    assert run("x", execute=execute) == (1, "x")
    assert run("x", execute=execute, options={"option": 2}) == (2, "x")


def test_data_for_a_plugin_that_takes_none_is_refused(run):
    with pytest.raises(UsageError) as caught:
        run("x", execute=lambda self: 1)

    assert str(caught.value) == "greet takes no data\n  fix:   pass options only"
    assert caught.value.plugin == "greet"
    assert run(execute=lambda self: 1) == 1


def test_an_option_may_be_called_name_or_self_or_registry(run):
    def execute(self, data=None, *, name, registry="r"):
        return name, registry

    assert run(execute=execute, options={"name": "Ann"}) == ("Ann", "r")


# -- options


def test_a_missing_option_takes_the_default_of_its_parameter(run):
    def execute(self, data=None, *, a=1, b="x"):
        return a, b

    assert run(execute=execute) == (1, "x")
    assert run(execute=execute, options={"b": 7}) == (1, 7)


OPTIONS = [
    # Click's decorator, parameter of execute, what a missing one becomes
    (click.option("--x"), None),
    (click.option("--x", default=3), 3),
    (click.option("--x", default="3", type=int), "3"),
    (click.option("--x", default=None), None),
    (click.option("--x", is_flag=True), False),
    (click.option("--x", is_flag=True, default=True), True),
    (click.option("--x/--no-x"), False),
    (click.option("--x/--no-x", default=True), True),
    (click.option("--x/--no-x", default=None), None),
    (click.option("--x", is_flag=True, default=None), None),
    (click.option("--x", "x", flag_value="on"), None),
    (click.option("--x", "x", flag_value="on", default="off"), "off"),
    (click.option("--x", count=True), 0),
    (click.option("--x", multiple=True), ()),
    (click.option("--x", multiple=True, default=["a"]), ["a"]),
    (click.option("--x", nargs=2), None),
    (click.option("--x", nargs=2, default=(1, 2)), (1, 2)),
    (click.option("--x", default=lambda: "made"), "made"),
    (click.option("--x", type=click.Choice(["a", "b"])), None),
    (click.option("--x", envvar="BTPLUG_TEST_X"), None),
    (click.argument("x", required=False), None),
    (click.argument("x", default="d"), "d"),
    (click.argument("x", nargs=-1), ()),
    (click.argument("x", nargs=-1, default=("a",)), ("a",)),
]


@pytest.mark.parametrize(("decorator", "expected"), OPTIONS)
def test_a_missing_option_takes_the_default_that_click_declares(
    run, decorator, expected
):
    @decorator
    def execute(self, data=None, *, x):
        return x

    found = run(execute=execute)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("decorator", "expected"), OPTIONS)
def test_a_missing_option_is_on_the_command_line_what_it_is_in_the_library(
    run, decorator, expected
):
    """Conversion apart: the library converts nothing."""
    seen = []

    @click.command()
    @decorator
    def main(x):
        seen.append(x)

    main.main([], standalone_mode=False)

    assert seen == [expected] or (seen, expected) in (
        ([3], "3"),
        ([("a",)], ["a"]),
    )


@pytest.mark.parametrize(
    "decorator",
    [
        click.option("--x", required=True),
        click.argument("x"),
        click.argument("x", nargs=-1, required=True),
        click.option("--x", multiple=True, required=True),
    ],
)
def test_a_required_option_that_is_missing_is_refused(run, decorator):
    @decorator
    def execute(self, data=None, *, x):
        return x

    with pytest.raises(UsageError) as caught:
        run(execute=execute)

    assert str(caught.value) == (
        "greet: found no option 'x', expected a value\n  fix:   pass x=…"
    )
    assert caught.value.plugin == "greet"
    assert run(execute=execute, options={"x": 1}) == 1


def test_a_parameter_without_default_is_a_required_option(run):
    with pytest.raises(UsageError, match="found no option 'x', expected a value"):
        run(execute=lambda self, data=None, *, x: x)


def test_a_default_that_is_made_is_made_for_each_call(registry):
    counter = iter(range(10))

    class Plugin(Base):
        @click.option("--x", default=lambda: next(counter))
        def execute(self, data=None, *, x):
            return x

    registry.register_plugin(Plugin)

    assert registry.execute_plugin("greet") == 0
    assert registry.execute_plugin("greet") == 1
    assert registry.execute_plugin("greet", x=7) == 7


@pytest.mark.parametrize("value", ["3", 3, None, [1], object()])
def test_nothing_is_converted(run, value):
    @click.option("--x", type=int)
    def execute(self, data=None, *, x):
        return x

    assert run(execute=execute, options={"x": value}) is value


def test_an_unknown_option_is_refused_with_the_nearest_and_runs_nothing(run):
    ran = []

    @click.option("--limit")
    @click.option("--where")
    def execute(self, data=None, *, limit, where):
        ran.append(1)

    def before(self, data):
        ran.append(2)

    with pytest.raises(UsageError) as caught:
        run(execute=execute, before_execute=before, options={"limt": 1})

    assert str(caught.value) == (
        "greet: found the option 'limt', expected one of limit, where\n"
        "  fix:   did you mean limit?"
    )
    assert caught.value.plugin == "greet"
    assert ran == []


def test_an_option_of_a_plugin_without_any_is_refused():
    registry = CLIPluginRegistry()
    registry.register_plugin(Base)

    with pytest.raises(UsageError) as caught:
        registry.execute_plugin("greet", x=1)

    assert str(caught.value) == (
        "greet: found the option 'x', expected none\n  fix:   leave it out"
    )


def test_a_plugin_that_takes_any_option_takes_any(run):
    def execute(self, data=None, **options):
        return options

    assert run(execute=execute, options={"a": 1}) == {"a": 1}
    assert run(execute=execute) == {}


# -- options and configuration


@dataclass
class Config:
    timeout: float = 2.5
    names: tuple[str, ...] = ("a",)
    nothing: str | None = None
    keys: list[str] = field(default_factory=lambda: ["k"])

    def method(self):
        """No setting, and nobody may call it for one."""
        return "called"


class StructConfig(msgspec.Struct):
    timeout: float = 2.5
    names: tuple[str, ...] = ("a",)
    nothing: str | None = None
    keys: list[str] = msgspec.field(default_factory=lambda: ["k"])

    def method(self):
        """No setting, and nobody may call it for one."""
        return "called"


@pytest.mark.parametrize("config", [Config, StructConfig])
def test_a_field_of_the_configuration_is_the_default_of_its_parameter(run, config):
    class Plugin(Base):
        Config = config

        @click.option("--timeout", type=float, default=9)
        @click.option("--names", multiple=True)
        @click.option("--nothing", default="something")
        @click.option("--keys", multiple=True)
        @click.option("--method")
        @click.option("--other", default=1)
        def execute(self, data=None, *, timeout, names, nothing, keys, method, other):
            return timeout, names, nothing, keys, method, other

    assert run(cls=Plugin) == (2.5, ("a",), None, ["k"], None, 1)
    assert run(cls=Plugin, options={"timeout": 1})[0] == 1


def test_a_setting_is_the_default_of_its_parameter(run, monkeypatch):
    monkeypatch.setenv("BTPLUG_GREET__TIMEOUT", "7")

    class Plugin(Base):
        Config = Config

        @click.option("--timeout", type=float)
        def execute(self, data=None, *, timeout):
            return timeout

    assert run(cls=Plugin) == 7.0


def test_a_setting_is_the_default_of_a_required_parameter(run):
    class Plugin(Base):
        Config = Config

        @click.option("--timeout", type=float, required=True)
        def execute(self, data=None, *, timeout):
            return timeout

    assert run(cls=Plugin) == 2.5


def test_without_a_config_class_the_block_gives_the_defaults(make_plugin, registry):
    code = """
    import click
    from btplug import CLIPlugin

    class Plugin(CLIPlugin):
        def initialize(self, config):
            self.config = config

        @click.option("--limit", default=1)
        @click.option("--get", default="click")
        def execute(self, data=None, *, limit, get):
            return limit, get, dict(self.config)

        def shutdown(self):
            pass
    """
    folder = make_plugin("greet", code, config="limit: 5")
    registry.register_plugin(read_manifest(str(folder)))

    assert registry.execute_plugin("greet") == (5, "click", {"limit": 5})


def test_a_data_argument_of_the_command_line_takes_its_default_from_the_config(run):
    @dataclass
    class Config:
        source: str = "rows.json"

    class Plugin(Base):
        @click.argument("source", required=False)
        def execute(self, data=None, *, source):
            return data, source

    Plugin.Config = Config

    assert run("x", cls=Plugin) == ("x", "rows.json")


def test_a_data_argument_declared_with_click_takes_the_config_when_missing(run):
    @dataclass
    class Config:
        data: str = "from config"

    class Plugin(Base):
        @click.argument("data", required=False)
        def execute(self, data=None):
            return data

    Plugin.Config = Config

    assert run(cls=Plugin) == "from config"
    assert run("given", cls=Plugin) == "given"


def test_initialize_gets_the_checked_configuration(run, monkeypatch):
    class Plugin(Base):
        Config = Config

        def execute(self, data=None):
            return self.config

    assert run(cls=Plugin) == Config()
    monkeypatch.setenv("BTPLUG_GREET__TIMEOUT", "soon")
    with pytest.raises(ConfigError) as caught:
        run(cls=Plugin)
    assert caught.value.what == (
        "BTPLUG_GREET__TIMEOUT: timeout: found 'soon', expected float"
    )


def test_a_secret_reaches_the_plugin_and_no_error(run, monkeypatch):
    @dataclass
    class Config:
        token: Secret = Secret("")  # noqa: RUF009 - immutable

    class Plugin(Base):
        def execute(self, data=None):
            assert self.config.token.reveal() == "hunter2"
            raise ValueError(f"wrong token {self.config.token}")

    Plugin.Config = Config
    monkeypatch.setenv("BTPLUG_GREET__TOKEN", "hunter2")

    with pytest.raises(PluginFailed) as caught:
        run(cls=Plugin)

    assert caught.value.what == ("greet failed: ValueError: wrong token Secret('***')")


# -- errors


class Odd(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


WHERE = {
    "before_execute": lambda exc: {"before_execute": lambda self, data: throw(exc)},
    "execute": lambda exc: {"execute": lambda self, data=None: throw(exc)},
    "after_execute": lambda exc: {"after_execute": lambda self, result: throw(exc)},
    "async execute": lambda exc: {"execute": athrow(exc)},
    "generator": lambda exc: {"execute": rows_that_throw(exc)},
    "async generator": lambda exc: {"execute": arows_that_throw(exc)},
}


def throw(exc):
    raise exc


def athrow(exc):
    async def execute(self, data=None):
        raise exc

    return execute


def rows_that_throw(exc):
    def execute(self, data=None):
        yield 1
        raise exc

    return execute


def arows_that_throw(exc):
    async def execute(self, data=None):
        yield 1
        raise exc

    return execute


def use(result):
    """Use a result up, as a caller does."""
    return list(result) if hasattr(result, "__next__") else result


@pytest.fixture(params=WHERE)
def where(request):
    """The place in a plugin where something is raised."""
    return WHERE[request.param]


@pytest.mark.parametrize(
    ("exc", "what"),
    [
        (ValueError("no"), "greet failed: ValueError: no"),
        (ValueError(), "greet failed: ValueError"),
        (KeyError("k"), "greet failed: KeyError: 'k'"),
        (OSError(2, "gone", "/f"), "greet failed: FileNotFoundError: [Errno 2] gone: '/f'"),
        (AssertionError(), "greet failed: AssertionError"),
        (RecursionError("deep"), "greet failed: RecursionError: deep"),
        (MemoryError(), "greet failed: MemoryError"),
        (TimeoutError(), "greet failed: TimeoutError"),
        (NotImplementedError("x:"), "greet failed: NotImplementedError: x:"),
        (click.UsageError("bad"), "greet failed: UsageError: bad"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_what_a_plugin_raises_becomes_a_failed_plugin_with_its_cause(
    run, where, exc, what
):
    with pytest.raises(PluginFailed) as caught:
        use(run(**where(exc)))

    assert caught.value.what == what
    assert caught.value.plugin == "greet"
    assert caught.value.exit_code == 1
    # asyncio hands on a TimeoutError as a new one.
    assert type(caught.value.__cause__) is type(exc)
    assert caught.value.__cause__.args == exc.args
    assert caught.value.fix == "see the traceback with BTPLUG_DEBUG=1"


@pytest.mark.parametrize(
    ("code", "shown"), [(0, "0"), (3, "3"), ("bye", "'bye'"), (None, "None")]
)
@pytest.mark.parametrize("name", ["before_execute", "execute", "generator"])
def test_a_plugin_that_exits_has_failed(run, name, code, shown):
    with pytest.raises(PluginFailed) as caught:
        use(run(**WHERE[name](SystemExit(code))))

    assert caught.value.what == f"greet failed: it called exit with {shown}"


@pytest.mark.parametrize(
    "name", ["before_execute", "execute", "after_execute", "generator"]
)
def test_even_what_is_no_exception_becomes_a_failed_plugin(run, name):
    with pytest.raises(PluginFailed) as caught:
        use(run(**WHERE[name](Odd("base"))))

    assert caught.value.what == "greet failed: Odd: base"


@pytest.mark.parametrize("name", WHERE)
def test_an_error_that_cannot_be_shown_is_reported_all_the_same(run, name):
    with pytest.raises(PluginFailed) as caught:
        use(run(**WHERE[name](Unprintable())))

    assert caught.value.what.startswith("greet failed: Unprintable")


@pytest.mark.parametrize(
    "exc",
    [
        UsageError("mine"),
        Refused("no connection", delivered=False),
        ConfigError("c"),
        UnknownPlugin("u"),
        BtplugError("b"),
        PluginExit(7, "enough"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_btplugs_own_errors_and_exits_pass_unchanged(run, where, exc):
    with pytest.raises(type(exc)) as caught:
        use(run(**where(exc)))

    assert caught.value is exc


@pytest.mark.parametrize(
    "name", ["before_execute", "execute", "after_execute", "generator"]
)
def test_an_interrupt_passes_unchanged(run, name):
    with pytest.raises(KeyboardInterrupt):
        use(run(**WHERE[name](KeyboardInterrupt())))


def test_the_place_of_a_failure_is_the_plugins_own_line(make_plugin, registry):
    code = """
    import json
    from btplug import CLIPlugin

    class Plugin(CLIPlugin):
        def initialize(self, config): pass
        def execute(self, data=None):
            return json.loads("{")
        def shutdown(self): pass
    """
    folder = make_plugin("greet", code)
    registry.register_plugin(read_manifest(str(folder)))

    with pytest.raises(PluginFailed) as caught:
        registry.execute_plugin("greet")

    assert caught.value.where == f"{folder}/plugin.py:8"


def test_a_failure_leaves_the_plugin_live(registry):
    class Plugin(Base):
        starts = 0

        def initialize(self, config):
            type(self).starts += 1

        def execute(self, data=None):
            return 1 / data

    registry.register_plugin(Plugin)

    with pytest.raises(PluginFailed):
        registry.execute_plugin("greet", 0)
    assert registry.execute_plugin("greet", 1) == 1
    assert Plugin.starts == 1
