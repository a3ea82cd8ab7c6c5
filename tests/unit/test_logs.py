"""What happens again and again is said once a minute."""

from __future__ import annotations

import logging

from hubspoke.logs import AGAIN_S, Seldom


def event(why: str, at: float) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": "store failed", "why": why})
    record.created = at
    return record


def test_what_is_said_again_within_a_minute_is_counted_instead():
    seldom, late = Seldom(), event("away", 1_000 + AGAIN_S)
    said = [seldom.filter(event("away", 1_000 + number)) for number in range(3)]
    assert (said, seldom.filter(late)) == ([True, False, False], True)
    assert late.repeats == 2


def test_what_is_something_else_is_said_at_once():
    seldom = Seldom()
    assert [seldom.filter(event(why, 1_000)) for why in ("away", "full")] == [True, True]


def test_a_clock_that_was_put_back_silences_nobody():
    seldom = Seldom()
    assert [seldom.filter(event("away", at)) for at in (10_000, 1_000)] == [True, True]
