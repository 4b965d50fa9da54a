"""Values that are made by the thousand: frozen dataclasses, made fast."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from btplug.message import Message, Reply, Request
from btplug.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def maker(cls: Callable[P, T]) -> Callable[P, T]:
    """Return a function that makes what *cls* makes, in a third of the time.

    A frozen dataclass sets each field by ``object.__setattr__``. Here they are set, as
    any attribute is, on an object of a class with the same slots and no lock, which
    then becomes one of *cls*.

    Args:
        cls: A frozen dataclass with slots, of keywords only, without a `__post_init__`.
    """
    # Any: dataclasses describes its classes at run time only.
    known: tuple[Any, ...] = fields(cls)  # type: ignore[arg-type]  # it is one
    space: dict[str, Any] = {"cls": cls, "new": object.__new__}
    space["Open"] = type("Open", (), {"__slots__": tuple(one.name for one in known)})
    taken = []
    for one in known:
        if one.default is MISSING:
            taken.append(one.name)
        else:
            space[f"_{one.name}"] = one.default
            taken.append(f"{one.name}=_{one.name}")
    sets = "".join(f"    made.{one.name} = {one.name}\n" for one in known)
    source = (
        f"def make(*, {', '.join(taken)}):\n    made = new(Open)\n{sets}"
        "    made.__class__ = cls\n    return made\n"
    )
    exec(source, space)  # as dataclasses does, and of the same names
    made: Callable[P, T] = space["make"]
    return made


new_message = maker(Message)
new_reply = maker(Reply)
new_request = maker(Request)
new_outcome = maker(Outcome)
