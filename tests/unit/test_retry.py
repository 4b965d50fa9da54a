"""When one more try is made, and what a peer can do with ``Retry-After``."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btplug import Reply
from btplug._retry import pause, retry_after
from btplug.outcome import Failure

NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC).timestamp()


@pytest.fixture
def far_east(monkeypatch):
    """Move this process into another time zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-26 07:29:00 GMT", 60.0),
        # The form of asctime names no zone; it means UTC wherever this runs.
        ("Wed Oct 21 07:28:05 2026", 5.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_622_260_000.0),
    ],
)
def test_seconds_and_each_form_of_a_date_are_read(value, seconds, far_east):
    assert retry_after(value, now=NOW) == pytest.approx(seconds, rel=1e-4)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "soon", "-1", "1.5", "²", "1e9", "0x10", "9" * 5000,
        "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2026 25:00:00 GMT",
        "Wed, 21 Oct 2026 07:28:60 GMT",
        "Wed, 31 Feb 2026 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999",
        "Oct 99999999999 07:28 0",
        "Wed, 21 Oct 2026 07:28:00 GMT" + " (" * 30_000,
        "\x00", "21 21 21 21 21 21",
    ],
    ids=lambda value: repr(value[:32]),
)  # fmt: skip
def test_what_is_neither_is_no_time(value):
    assert retry_after(value, now=NOW) is None


DATES = st.lists(
    st.sampled_from(
        ["Wed,", "Wednesday,", "21", "Oct", "2026", "9999", "99999999999", "-1", "0",
         "07:28:00", "07:28", "::", "99:99:99", "GMT", "+9999", "-2359", "", "21-Oct-26"]
    ),
    max_size=8,
).map(" ".join)  # fmt: skip


@given(DATES | st.text(max_size=40))
def test_any_text_is_a_time_to_wait_or_none(value):
    seconds = retry_after(value, now=NOW)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("status", [429, 503])
def test_only_a_busy_peer_that_names_a_time_is_asked_again(status):
    after = (("retry-after", "7"),)
    assert pause(Reply(status=status, headers=after), None, 1) == 7.0
    assert pause(Reply(status=status), None, 1) is None
    assert pause(Reply(status=500, headers=after), None, 1) is None
    assert pause(Reply(status=200, headers=after), None, 1) is None


def test_a_time_that_has_passed_is_no_reason_to_hurry():
    past = (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)

    assert 0 < pause(Reply(status=503, headers=past), None, 1) < 1
    assert 0 < pause(Reply(status=503, headers=(("Retry-After", "0"),)), None, 2) < 1


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        ("refused", True), ("cut", True), ("late", False), ("bad-reply", False),
        ("too-large", False), ("not-allowed", False), ("unauthentic", False),
        ("unsupported", False),
    ],
)  # fmt: skip
def test_only_a_connection_that_failed_is_tried_again(kind, again):
    assert (pause(None, Failure(kind=kind, what="x"), 1) is not None) is again
