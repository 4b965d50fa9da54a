"""Settings -> a plugin's Config object."""

import enum
import json
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import msgspec
import pytest

from btplug.config import Secret
from btplug.errors import ConfigError
from btplug.schema import fields_of, json_schema, resolve, secret_fields
from btplug.settings import Setting


def defaults(config):
    return {field.name: field.made() for field in fields_of(config)}


def typed(**values):
    """Settings as a YAML file gives them."""
    return {key: Setting(value, "f.conf:3") for key, value in values.items()}


def text(**values):
    """Settings as ``--set`` and the environment give them."""
    return {
        key: Setting(value, f"--set {key}", is_text=True)
        for key, value in values.items()
    }


def make(config, values, known=frozenset()):
    return resolve(config, values, plugin="greet", known=known)


def refusal(config, values):
    with pytest.raises(ConfigError) as caught:
        make(config, values)
    assert caught.value.plugin == "greet"
    return caught.value.what, caught.value.fix


def one(kind, value, *, as_text):
    """Return what a field of type *kind* becomes."""
    config = dataclass(type("Config", (), {"__annotations__": {"a": kind}}))
    return make(config, (text if as_text else typed)(a=value)).a


def field_refusal(kind, value, *, as_text):
    with pytest.raises(ConfigError) as caught:
        one(kind, value, as_text=as_text)
    return caught.value.what


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Column:
    key: str
    width: int | None = None


class Corner(msgspec.Struct):
    x: int
    y: int = 0


class Box(TypedDict):
    low: int
    high: int


# -- text, converted to the type of its field


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (str, "x", "x"),
        (str, "", ""),
        (str, "12", "12"),
        (str, "yes", "yes"),
        (str, "null", "null"),
        (str, "[1]", "[1]"),
        (str, "a: b", "a: b"),
        (str, " x ", " x "),
        (int, "12", 12),
        (int, "-1", -1),
        (int, "0x1f", 31),
        (int, "1_000", 1000),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
        (float, "1e3", 1000.0),
        (bool, "true", True),
        (bool, "no", False),
        (bool, "on", True),
        (bool, "1", True),
        (bool, "0", False),
        (int | None, "7", 7),
        (int | None, "null", None),
        (int | None, "", None),
        (str | None, "7", "7"),
        (str | None, "null", None),
        (str | int, "7", "7"),
        (int | bool, "7", 7),
        (Any, "7", 7),
        (Any, "x", "x"),
        (object, "[1]", [1]),
        (list[int], "[1, 2]", [1, 2]),
        (list[str], "[a, b]", ["a", "b"]),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (set[int], "[1, 1]", {1}),
        (dict[str, int], "{a: 1}", {"a": 1}),
        (Literal["on", "off"], "on", "on"),
        (Literal["1"], "1", "1"),
        (Literal[1], "1", 1),
        (Colour, "red", Colour.RED),
        (Annotated[str, msgspec.Meta(min_length=1)], "12", "12"),
        (Annotated[int, msgspec.Meta(ge=1)], "1", 1),
        (Column, "{key: uid, width: 3}", Column("uid", 3)),
        (list[Column], "[{key: uid}]", [Column("uid")]),
        (Corner, "{x: 1}", Corner(1, 0)),
        (Box, "{low: 1, high: 2}", {"low": 1, "high": 2}),
    ],
)
def test_text_becomes_a_value_of_its_field(kind, value, expected):
    found = one(kind, value, as_text=True)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", ["null", "~", "", "12", "yes", "[1]", "0x1", "'q'"])
def test_a_secret_gets_its_text_to_the_letter(value):
    assert one(Secret, value, as_text=True).reveal() == value


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "x", "--set a: a: found 'x', expected int"),
        (int, "1.5", "--set a: a: found '1.5', expected int"),
        (int, "", "--set a: a: found '', expected int"),
        (int, "[1", "--set a: a: found '[1', expected int"),
        (int, "a: b: c", "--set a: a: found 'a: b: c', expected int"),
        (float, "x", "--set a: a: found 'x', expected float"),
        (bool, "x", "--set a: a: found 'x', expected bool"),
        (bool, "2", "--set a: a: found '2', expected bool"),
        (list[int], "x", "--set a: a: found 'x', expected array"),
        (Literal["a"], "c", "--set a: a: found 'c', expected"),
        (Annotated[int, msgspec.Meta(ge=1)], "0", "--set a: a: found '0', expected int >= 1"),
        (list[int], "[1, x]", "--set a: a.1: found 'x', expected int"),
        (Column, "{key: a, widht: 1}", "--set a: a.widht: found an unknown key, expected one of key, width"),
        (list[Column], "[{key: a}, {width: 1}]", "--set a: a.1: found {'width': 1} (dict), expected"),
        (dict[str, int], "{a: x}", "found 'x', expected int"),
    ],
)  # fmt: skip
def test_text_of_the_wrong_kind_says_where_inside_it_is_wrong(kind, value, message):
    """The inside is what the reader has to mend: the text as a whole tells nothing."""
    assert message in field_refusal(kind, value, as_text=True)


# -- typed values, from YAML


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (str, "x", "x"),
        (float, 2, 2.0),
        (int | None, None, None),
        (int | None, 1, 1),
        (tuple[int, int], [1, 2], (1, 2)),
        (Any, {"a": [1]}, {"a": [1]}),
        (dict[str, Column], {"a": {"key": "b"}}, {"a": Column("b")}),
        (list[Corner], [{"x": 1, "y": 2}], [Corner(1, 2)]),
        (Column | None, {"key": "a"}, Column("a")),
        (list[Column | None], [None, {"key": "a"}], [None, Column("a")]),
        (Secret, "x", Secret("x")),
        (Secret | None, None, None),
        (Secret | None, "x", Secret("x")),
        (list[Secret], ["x"], [Secret("x")]),
        (dict[str, Secret], {"a": "x"}, {"a": Secret("x")}),
    ],
)
def test_a_typed_value_is_converted_inside_only(kind, value, expected):
    found = one(kind, value, as_text=False)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (str, 1, "f.conf:3: a: found 1 (int), expected str"),
        (str, None, "f.conf:3: a: found None (NoneType), expected str"),
        (str, True, "f.conf:3: a: found True (bool), expected str"),
        (int, "1", "f.conf:3: a: found '1', expected int"),
        (int, True, "f.conf:3: a: found True (bool), expected int"),
        (int, 1.5, "f.conf:3: a: found 1.5 (float), expected int"),
        (float, "1", "f.conf:3: a: found '1', expected float"),
        (bool, 1, "f.conf:3: a: found 1 (int), expected bool"),
        (bool, "yes", "f.conf:3: a: found 'yes', expected bool"),
        (int | None, "x", "f.conf:3: a: found 'x', expected int | null"),
        (list[int], [1, "x"], "f.conf:3: a.1: found 'x', expected int"),
        (list[int], {}, "f.conf:3: a: found {} (dict), expected array"),
        (Annotated[int, msgspec.Meta(ge=1, le=9)], 10, "f.conf:3: a: found 10 (int), expected int <= 9"),
        (Annotated[str, msgspec.Meta(pattern="^a")], "b", "f.conf:3: a: found 'b', expected str matching regex '^a'"),
        (Annotated[list[int], msgspec.Meta(max_length=1)], [1, 2], "f.conf:3: a: found [1, 2] (list), expected array of length <= 1"),
        (Column, {"key": 1}, "f.conf:3: a.key: found 1 (int), expected str"),
        (Column, {"key": "a", "widht": 1}, "f.conf:3: a.widht: found an unknown key, expected one of key, width"),
        (list[Column], [{"key": "a"}, {"key": "b", "w": 1}], "f.conf:3: a.1.w: found an unknown key, expected one of key, width"),
        (dict[str, Column], {"x": {"key": "a", "y": 1}}, "f.conf:3: a.x.y: found an unknown key, expected one of key, width"),
        (Column | None, {"key": "a", "y": 1}, "f.conf:3: a.y: found an unknown key, expected one of key, width"),
        (list[Column] | None, [{"y": 1}], "f.conf:3: a.0.y: found an unknown key, expected one of key, width"),
        (Corner, {"x": 1, "z": 1}, "f.conf:3: a.z: found an unknown key, expected one of x, y"),
        (Box, {"low": 1, "high": 2, "mid": 3}, "f.conf:3: a.mid: found an unknown key, expected one of high, low"),
    ],
)  # fmt: skip
def test_a_typed_value_of_the_wrong_kind_is_refused_with_its_path(kind, value, message):
    assert field_refusal(kind, value, as_text=False) == message


def test_an_unknown_key_inside_a_value_has_the_nearest_known_one_as_its_fix():
    @dataclass
    class Config:
        columns: list[Column] = field(default_factory=list)

    found = refusal(Config, typed(columns=[{"key": "a", "widht": 1}]))

    assert found == (
        "f.conf:3: columns.0.widht: found an unknown key, expected one of key, width",
        "did you mean width?",
    )


def test_a_field_of_a_type_that_has_no_form_in_yaml_says_so():
    assert field_refusal(complex, "1", as_text=False).startswith(
        "f.conf:3: a: found '1', expected "
    )


def test_a_long_value_is_shown_in_part():
    assert len(field_refusal(int, "x" * 5000, as_text=False)) < 150
    assert len(field_refusal(int, ["x"] * 5000, as_text=False)) < 150


# -- the object as a whole


@dataclass(frozen=True, slots=True)
class Config:
    name: str
    timeout: float = 2.0
    tags: list[str] = field(default_factory=list)


class Struct(msgspec.Struct, frozen=True):
    name: str
    timeout: float = 2.0
    tags: list[str] = msgspec.field(default_factory=list)


@pytest.mark.parametrize("config", [Config, Struct])
def test_a_config_is_made_from_settings_and_its_own_defaults(config):
    assert make(config, typed(name="x", tags=["a"])) == config("x", 2.0, ["a"])


@pytest.mark.parametrize("config", [Config, Struct])
def test_an_unknown_key_is_refused_with_the_nearest_known_one(config):
    assert refusal(config, typed(name="x", timeuot=1)) == (
        "f.conf:3: timeuot: found an unknown key, expected one of name, tags, timeout",
        "did you mean timeout?",
    )
    assert refusal(config, text(xyz="1")) == (
        "--set xyz: xyz: found an unknown key, expected one of name, tags, timeout",
        "remove 'xyz'",
    )


@pytest.mark.parametrize("config", [Config, Struct])
def test_a_missing_value_is_named_with_the_command_that_sets_it(config):
    assert refusal(config, {}) == (
        "the configuration of greet is not complete (no 'name')",
        "set it with: btplug config set greet.name VALUE",
    )


def test_the_missing_value_that_is_named_is_no_optional_one():
    @dataclass(kw_only=True)
    class Config:
        timeout: float = 2.0
        name: str

    assert refusal(Config, {})[1] == ("set it with: btplug config set greet.name VALUE")


def test_a_plugin_without_a_config_class_gets_a_mapping_that_it_cannot_change():
    config = make(None, typed(a=1, b=[2]), known=frozenset({"a", "b"}))

    assert dict(config) == {"a": 1, "b": [2]}
    with pytest.raises(TypeError):
        config["a"] = 2


def test_without_a_config_class_text_is_read_as_yaml_means_it():
    assert dict(make(None, text(a="7", b="x"), known=frozenset("ab"))) == {
        "a": 7,
        "b": "x",
    }


def test_without_a_config_class_the_keys_of_the_config_block_are_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        make(None, typed(colums=1), known=frozenset({"columns", "data"}))

    assert caught.value.what == (
        "f.conf:3: colums: found an unknown key, expected one of columns, data"
    )
    assert caught.value.fix == "did you mean columns?"


def test_without_a_config_class_and_block_there_are_no_settings():
    assert refusal(None, typed(a=1)) == (
        "f.conf:3: a: found an unknown key, expected no settings",
        "remove 'a'",
    )


def test_a_config_that_finds_its_values_do_not_fit_says_why():
    @dataclass
    class Config:
        low: int = 0
        high: int = 1

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low is above high")

    assert refusal(Config, typed(low=5)) == (
        "the configuration of greet does not fit together: low is above high",
        "look at it with: btplug config show greet",
    )


def test_a_mistake_in_post_init_is_not_blamed_on_a_missing_value():
    @dataclass
    class Config:
        low: int = 0

        def __post_init__(self):
            len(self.low)

    what, _ = refusal(Config, {})

    assert what == (
        "the configuration of greet does not fit together: "
        "TypeError: object of type 'int' has no len()"
    )


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, KeyError, AttributeError, OSError]
)
def test_whatever_post_init_raises_is_an_error_of_the_configuration(error):
    @dataclass
    class Config:
        low: int = 0

        def __post_init__(self):
            raise error("odd")

    what, _ = refusal(Config, {})

    assert what.startswith("the configuration of greet ")
    assert "odd" in what


def test_an_annotation_that_means_nothing_at_run_time_is_an_error_of_the_configuration():
    """A name imported under TYPE_CHECKING is what authors trip over."""

    @dataclass
    class Config:
        items: "Sequence[str]" = ()  # noqa: F821

    what, fix = refusal(Config, typed(items=["a"]))

    assert what == (
        "the types of Config cannot be read (name 'Sequence' is not defined)"
    )
    assert fix == "import the name outside 'if TYPE_CHECKING:'"


def test_a_class_whose_own_annotations_mean_nothing_may_be_a_field():
    """Of somebody else's class nobody can ask that."""

    class Foreign:
        items: "Sequence[str]"  # noqa: F821

    @dataclass
    class Config:
        foreign: Foreign | None = None

    assert make(Config, {}) == Config()
    assert secret_fields(Config) <= {"foreign"}


def test_a_default_that_is_made_is_made_where_it_is_needed_only():
    made = []

    @dataclass
    class Config:
        given: list[int] = field(default_factory=lambda: made.append(1) or [])

    assert make(Config, typed(given=[1])) == Config([1])
    assert made == []
    assert make(Config, {}) == Config([])
    assert made == [1]


def test_a_default_that_cannot_be_made_is_an_error_of_the_configuration():
    def make_it():
        raise KeyError("BTPLUG_TEST_MISSING")

    @dataclass
    class Config:
        given: str = field(default_factory=make_it)

    assert make(Config, typed(given="x")) == Config("x")
    what, _ = refusal(Config, {})
    assert what.endswith("KeyError: 'BTPLUG_TEST_MISSING'")


def test_a_field_that_is_no_parameter_is_no_setting():
    @dataclass
    class Config:
        unit: ClassVar[str] = "s"
        given: int = 0
        doubled: int = field(init=False, default=0)

    assert make(Config, {}).given == 0
    for key in ("unit", "doubled"):
        assert refusal(Config, typed(**{key: 1}))[0] == (
            f"f.conf:3: {key}: found an unknown key, expected one of given"
        )


def test_a_value_that_only_post_init_sees_is_a_setting():
    @dataclass
    class Config:
        given: int = 0
        doubled: InitVar[int] = 0

        def __post_init__(self, doubled):
            self.given = self.given or doubled

    assert make(Config, typed(doubled=4)).given == 4


def test_fields_of_a_base_class_are_settings():
    @dataclass
    class Base:
        a: int = 1

    @dataclass
    class Config(Base):
        b: int = 2

    assert make(Config, typed(a=5)) == Config(5, 2)


def test_a_config_may_have_a_field_called_keys_or_like_a_method():
    @dataclass
    class Config:
        keys: list[str] = field(default_factory=list)
        items: int = 0

    assert make(Config, typed(keys=["a"], items=3)) == Config(["a"], 3)


# -- exact places


def test_the_very_line_of_a_wrong_value_inside_a_block_is_named(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("plugin: {}\nconfig:\n  columns:\n    - key: a\n    - key: 7\n")

    @dataclass
    class Config:
        columns: list[Column] = field(default_factory=list)

    values = {"columns": Setting([{"key": "a"}, {"key": 7}], str(file))}

    assert refusal(Config, values)[0] == (
        f"{file}:5: columns.1.key: found 7 (int), expected str"
    )


def test_the_very_line_in_the_users_file_is_named(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "plugins:\n  other: {}\n  greet:\n    columns:\n    - {}\n    - key: a\n      w: 1\n"
    )

    @dataclass
    class Config:
        columns: list[Column] = field(default_factory=list)

    columns = [{"key": "b"}, {"key": "a", "w": 1}]
    values = {"columns": Setting(columns, f"{file}:4")}

    assert refusal(Config, values)[0].startswith(f"{file}:7: columns.1.w: found an ")


def test_an_unknown_key_of_the_config_block_is_named_with_its_line(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("plugin: {}\nconfig:\n  name: x\n  nmae: y\n")

    what, fix = refusal(Config, {"nmae": Setting("y", str(file))})

    assert what.startswith(f"{file}:4: nmae: found an unknown key, expected one of ")
    assert fix == "did you mean name?"


def test_a_file_that_says_something_else_meanwhile_leaves_the_place_as_it_was(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("plugin: {}\n")

    assert refusal(Config, {"name": Setting(7, str(file))})[0] == (
        f"{file}: name: found 7 (int), expected str"
    )


def test_a_file_that_is_gone_meanwhile_leaves_the_place_as_it_was(tmp_path):
    gone = str(tmp_path / "config.yaml")

    assert refusal(Config, {"name": Setting(7, gone)})[0] == (
        f"{gone}: name: found 7 (int), expected str"
    )


# -- defaults and schema


@pytest.mark.parametrize("config", [Config, Struct])
def test_fields_know_their_types_and_defaults(config):
    assert [(*field[:3], field.made()) for field in fields_of(config)] == [
        ("name", str, True, None),
        ("timeout", float, False, 2.0),
        ("tags", list[str], False, []),
    ]


def test_no_config_class_has_no_fields():
    assert fields_of(None) == []


@pytest.mark.parametrize("config", [Config, Struct])
def test_the_json_schema_has_types_defaults_and_what_is_required(config):
    schema = json_schema(config)
    found = schema["$defs"][config.__name__]

    assert found["required"] == ["name"]
    assert found["properties"]["timeout"] == {"type": "number", "default": 2.0}
    assert found["properties"]["tags"]["items"] == {"type": "string"}


def test_the_json_schema_of_no_config_class_is_any_object():
    assert json_schema(None) == {"type": "object"}


def test_the_json_schema_says_of_a_secret_that_it_is_only_written():
    @dataclass
    class Config:
        token: Secret
        other: Secret = Secret("hunter2-default")  # noqa: RUF009 - immutable
        several: dict[str, Secret] = field(default_factory=dict)
        perhaps: Secret | None = None

    shown = json.dumps(json_schema(Config))

    assert shown.count('"writeOnly": true') == 4
    assert "hunter2" not in shown


def test_the_json_schema_leaves_a_type_open_that_it_cannot_describe():
    """A path, say: that it has no schema is no reason to show none at all."""

    @dataclass
    class Config:
        limit: int = 1
        path: Path | None = None
        home: Path = Path("/home")

    found = json_schema(Config)["$defs"]["Config"]["properties"]

    assert found["limit"]["type"] == "integer"
    assert {"path", "home"} <= found.keys()


def test_the_json_schema_of_a_secret_default_inside_a_field_is_no_defect():
    @dataclass
    class Login:
        password: Secret = Secret("hunter2-default")  # noqa: RUF009 - immutable

    @dataclass
    class Config:
        login: Login = field(default_factory=Login)

    try:
        shown = json.dumps(json_schema(Config))
    except ConfigError as exc:
        shown = str(exc)

    assert "hunter2" not in shown


def test_the_json_schema_has_the_constraints():
    @dataclass
    class Config:
        port: Annotated[int, msgspec.Meta(ge=1, le=65535, description="a port")] = 80

    assert json_schema(Config)["$defs"]["Config"]["properties"]["port"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "description": "a port",
        "default": 80,
    }


# -- which fields are secret


@dataclass
class Deep:
    inner: "list[Inner]"


@dataclass
class Inner:
    again: "Deep | None"
    token: Secret


class SecretStruct(msgspec.Struct):
    token: Secret


class Token(Secret):
    """A secret of one kind."""


@pytest.mark.parametrize(
    "kind",
    [
        Secret,
        Secret | None,
        list[Secret],
        dict[str, list[Secret | None]],
        tuple[int, Secret],
        Annotated[Secret, "doc"],
        Inner,
        Deep,
        list[Deep],
        SecretStruct,
        SecretStruct | None,
        Token,
        list[Token],
    ],
)
def test_a_field_that_holds_a_secret_somewhere_is_secret(kind):
    config = dataclass(type("Config", (), {"__annotations__": {"a": kind, "b": int}}))

    assert secret_fields(config) == {"a"}


def test_a_typed_dict_with_a_secret_is_secret():
    class Login(TypedDict):
        user: str
        password: Secret

    @dataclass
    class Config:
        login: Login

    assert secret_fields(Config) == {"login"}


@pytest.mark.parametrize("kind", [str, list[int], Column, Any, dict[str, Column]])
def test_a_field_without_a_secret_is_none(kind):
    config = dataclass(type("Config", (), {"__annotations__": {"a": kind}}))

    assert secret_fields(config) == frozenset()


def test_no_config_class_has_no_secrets():
    assert secret_fields(None) == frozenset()
