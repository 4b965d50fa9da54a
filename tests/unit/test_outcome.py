"""Failures and outcomes: errors as values, and back."""

import pytest

from btplug import Failure, Outcome, Peer, PluginFailed, Reply, TransportError
from btplug.errors import Cut, Unauthentic

PEER = Peer("http://127.0.0.1:1/", hotkey="5F")
KINDS = sorted({c.kind for c in (TransportError, *TransportError.__subclasses__())})


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_becomes_the_error_of_its_kind_and_back(kind):
    failure = Failure(kind=kind, what="w", where="x", fix="f", delivered=False)

    error = failure.error()

    assert error.kind == kind
    assert Failure.of(error) == failure


def test_an_error_that_is_not_of_a_transport_is_a_failed_one():
    failure = Failure.of(PluginFailed("it failed", where="f.py:1", fix="mend it"))

    assert failure == Failure(
        kind="failed", what="it failed", where="f.py:1", fix="mend it"
    )


def test_a_foreign_error_says_its_type_and_whose_defect_it_is():
    failure = Failure.of(KeyError("x"))

    assert (failure.kind, failure.what) == ("failed", "KeyError: 'x'")
    assert failure.fix == "it is a defect of the transport: report it to its author"
    assert failure.delivered is None


def test_an_outcome_gives_its_reply_or_raises_its_failure():
    reply = Reply(status=404)
    failure = Failure.of(Cut("it ended", delivered=None))

    assert Outcome(index=0, peer=PEER, reply=reply, seconds=0.1).unwrap() is reply
    with pytest.raises(Cut, match=r"^it ended$"):
        Outcome(index=0, peer=PEER, failure=failure, seconds=0.1).unwrap()


def test_an_outcome_is_a_row_without_the_body():
    good = Outcome(
        index=3,
        peer=PEER,
        reply=Reply(status=200, body=b"secret", signer="5F"),
        seconds=0.01234,
    )
    bad = Outcome(
        index=4,
        peer=PEER,
        failure=Failure.of(Unauthentic("another key", delivered=None)),
        seconds=2.0,
        attempts=2,
    )

    common = {"peer": "http://127.0.0.1:1/", "hotkey": "5F"}
    assert good.record() == common | {
        "status": 200, "ok": True, "signer": "5F", "failure": None, "what": None,
        "bytes": 6, "ms": 12.3, "attempts": 1,
    }  # fmt: skip
    assert bad.record() == common | {
        "status": None, "ok": False, "signer": None, "failure": "unauthentic",
        "what": "another key", "bytes": None, "ms": 2000.0, "attempts": 2,
    }  # fmt: skip
