"""What makers make is what the classes make."""

import copy
import dataclasses
import pickle

import pytest

from btplug import Message, Outcome, Peer, Reply, Request
from btplug.values import maker, new_message, new_outcome, new_reply, new_request

PEER = Peer("http://127.0.0.1:1/")
CASES = [
    (new_message, Message, {}),
    (new_message, Message, {"body": b"x", "headers": (("a", "b"),), "target": "/t"}),
    (new_reply, Reply, {"status": 200}),
    (new_reply, Reply, {"status": 404, "body": b"no", "signer": "5F", "seconds": 0.5}),
    (new_request, Request, {"message": Message(), "address": "127.0.0.1:1"}),
    (new_outcome, Outcome, {"index": 3, "peer": PEER, "seconds": 1.5}),
]


@pytest.mark.parametrize(("make", "cls", "given"), CASES)
def test_it_is_a_value_like_any_other(make, cls, given):
    made, usual = make(**given), cls(**given)
    assert type(made) is cls
    assert made == usual
    assert hash(made) == hash(usual)
    assert repr(made) == repr(usual)
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == usual
    name = dataclasses.fields(cls)[0].name
    assert dataclasses.replace(made, **{name: None}) != made
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises((AttributeError, TypeError)):
        made.another = 1
    assert not hasattr(made, "__dict__")


def test_arguments_are_those_of_the_class():
    with pytest.raises(TypeError, match="status"):
        new_reply()
    with pytest.raises(TypeError, match="unexpected keyword argument 'statu'"):
        new_reply(statu=200)
    with pytest.raises(TypeError, match="positional"):
        new_reply(200)


def test_a_class_of_anybody_s():
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Point:
        x: int
        y: int = 2

    assert maker(Point)(x=1) == Point(x=1)
