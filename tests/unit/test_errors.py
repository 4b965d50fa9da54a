"""The tree of errors: text, exit codes, copies."""

import copy
import inspect
import pickle

import pytest

from btplug import errors
from btplug.errors import (
    BtplugError,
    PluginExit,
    PluginFailed,
    Refused,
    TransportError,
    UnknownPlugin,
    Unsupported,
)

CLASSES = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, BtplugError)
}
EXIT_CODES = {
    "BtplugError": 1,
    "UsageError": 2,
    "UnknownPlugin": 3,
    "PluginError": 4,
    "ManifestError": 4,
    "ConfigError": 4,
    "DuplicatePlugin": 4,
    "PluginLoadError": 4,
    "PluginStartError": 4,
    "PluginTimeout": 7,
    "PluginDied": 8,
    "Unconfinable": 6,
    "TrustError": 6,
    "PluginFailed": 1,
    "TransportError": 5,
    "Refused": 5,
    "Late": 5,
    "Cut": 5,
    "BadReply": 5,
    "TooLarge": 5,
    "NotAllowed": 5,
    "Unauthentic": 5,
    "Unsupported": 5,
}


def test_each_error_has_the_exit_code_of_the_table_in_the_design():
    assert {name: cls.exit_code for name, cls in CLASSES.items()} == EXIT_CODES


def test_the_tree_has_at_most_three_levels():
    depth = {n: c.__mro__.index(BtplugError) for n, c in CLASSES.items()}

    assert max(depth.values()) == 2, depth


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
def test_an_error_says_what_where_and_fix_on_lines_of_their_own(cls):
    error = cls("found a, expected b", where="f.yaml:3", fix="write b", plugin="greet")

    assert str(error) == "found a, expected b\n  where: f.yaml:3\n  fix:   write b"
    assert (error.what, error.where) == ("found a, expected b", "f.yaml:3")
    assert (error.fix, error.plugin) == ("write b", "greet")


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
def test_an_error_without_place_and_remedy_is_one_line(cls):
    assert str(cls("it broke")) == "it broke"


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_an_error_keeps_everything_when_copied_or_pickled(cls, again):
    error = cls("w", where="x", fix="f", plugin="p")

    other = again(error)

    assert type(other) is cls
    assert vars(other) == vars(error)
    assert str(other) == str(error)


def test_a_transport_error_keeps_whether_the_message_was_delivered():
    error = Refused("no connection", delivered=False)

    assert pickle.loads(pickle.dumps(error)).delivered is False
    assert Refused("no connection").delivered is None


def test_each_kind_of_transport_error_has_a_word_of_its_own():
    ours = [
        c for c in TransportError.__subclasses__() if c.__module__ == errors.__name__
    ]
    kinds = {c.kind for c in ours}

    assert kinds == {
        "refused", "late", "cut", "bad-reply", "too-large", "not-allowed",
        "unauthentic", "unsupported",
    }  # fmt: skip


def test_an_unknown_plugin_is_a_key_error_that_keeps_its_text():
    error = UnknownPlugin("no plugin named 'x'")

    assert isinstance(error, KeyError)
    assert str(error) == "no plugin named 'x'"


@pytest.mark.parametrize("code", [0, 1, 63])
def test_a_plugin_may_choose_an_exit_code_up_to_63(code):
    assert PluginExit(code).code == code


@pytest.mark.parametrize("code", [-1, 64, 130, 10**30])
def test_a_plugin_may_not_choose_another_exit_code(code):
    with pytest.raises(ValueError, match=r"^an exit code of a plugin is 0 to 63, not "):
        PluginExit(code)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_plugin_exit_keeps_code_and_message_when_copied(again):
    other = again(PluginExit(3, "nothing to do"))

    assert (other.code, other.message, str(other)) == (
        3,
        "nothing to do",
        "nothing to do",
    )


def test_a_plugin_exit_is_no_btplug_error():
    """It is the plugin's own choice, so nobody who catches ours catches it."""
    assert not issubclass(PluginExit, BtplugError)


def test_an_exit_code_chosen_for_one_failure_is_not_that_of_the_others():
    one = PluginFailed("x")
    one.__dict__["exit_code"] = 9

    assert one.exit_code == 9
    assert PluginFailed("y").exit_code == 1


def test_every_error_class_says_what_it_means():
    assert [n for n, c in CLASSES.items() if not (c.__doc__ or "").strip()] == []


def test_unsupported_tells_that_nothing_was_sent_where_it_is_said():
    assert Unsupported("x", delivered=False).delivered is False
