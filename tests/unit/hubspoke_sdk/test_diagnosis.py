"""What facts mean: every kind of trouble has a sentence of its own, with the command that mends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hubspoke.diagnosis import judge
from hubspoke.diagnosis.findings import Grade, bad, good, warning, worst
from hubspoke.diagnosis.judge import Outcome, Seen, Span
from pki.address import Address

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEN = Address("den.local:7443")
DAY = timedelta(days=1)
FRESH = Span(NOW - timedelta(hours=1), NOW + timedelta(hours=23))


def hub(outcome: Outcome = Outcome.ANSWERS, **more: object) -> Seen:
    return Seen(DEN, outcome, **more)  # type: ignore[arg-type]


def test_a_fresh_certificate_is_good() -> None:
    finding = judge.of_identity("the spoke 'den'", FRESH, NOW)
    assert (finding.grade, finding.what) == (
        Grade.GOOD,
        "the spoke 'den', its certificate is good for 23 hours more",
    )


def test_a_certificate_of_the_future_tells_of_a_clock_that_is_behind() -> None:
    finding = judge.of_identity("the spoke 'den'", FRESH, NOW - timedelta(hours=1, minutes=10))
    assert finding.grade is Grade.BAD
    assert "begins only in 10 minutes" in finding.what
    assert "timedatectl" in finding.mend


@pytest.mark.parametrize(
    ("ago", "grade", "mend"), [(3 * DAY, Grade.WARNING, "by itself"), (91 * DAY, Grade.BAD, "token create")]
)
def test_a_certificate_that_is_over_comes_back_by_itself_for_90_days(
    ago: timedelta, grade: Grade, mend: str
) -> None:
    finding = judge.of_identity("the spoke 'den'", FRESH, FRESH.not_after + ago)
    assert finding.grade is grade
    assert f"ended {ago.days} days ago" in finding.what
    assert mend in finding.mend


def test_a_certificate_that_nobody_renewed_is_a_warning() -> None:
    finding = judge.of_identity("the spoke 'den'", FRESH, NOW + timedelta(hours=18))
    assert (finding.grade, "should have been renewed" in finding.what) == (Grade.WARNING, True)


@pytest.mark.parametrize(
    ("left", "grade"), [(91 * DAY, Grade.GOOD), (90 * DAY, Grade.WARNING), (-DAY, Grade.BAD)]
)
def test_an_authority_is_warned_of_90_days_before_its_end(left: timedelta, grade: Grade) -> None:
    ends = [("root", NOW + 900 * DAY), ("issuer of hubs", NOW + left)]
    finding = judge.of_authorities(ends, NOW, "rotate it")
    assert finding.grade is grade
    assert "issuer of hubs" in finding.what


def test_every_outcome_has_a_sentence_that_names_the_hub() -> None:
    for outcome in Outcome:
        first, *_ = judge.of_hub(hub(outcome, hub=FRESH), NOW)
        assert (first.grade is Grade.GOOD) is (outcome is Outcome.ANSWERS)
        assert DEN in first.sentence
        assert "{" not in first.sentence


def test_a_new_certificate_of_the_hub_tells_of_a_clock_that_is_behind() -> None:
    (finding,) = judge.of_hub(hub(Outcome.UNTRUSTED, hub=FRESH), FRESH.not_before - timedelta(minutes=10))
    assert (finding.about, finding.grade) == ("clock", Grade.BAD)
    assert "in 10 minutes" in finding.what


def test_an_old_certificate_of_the_hub_tells_of_a_clock_or_of_a_hub_that_cannot_renew() -> None:
    (finding,) = judge.of_hub(hub(Outcome.UNTRUSTED, hub=FRESH), FRESH.not_after + timedelta(minutes=10))
    assert "ended 10 minutes ago" in finding.what
    assert "hubspoke doctor" in finding.mend


@pytest.mark.parametrize(
    ("ahead", "grade", "side"),
    [
        (timedelta(seconds=5), Grade.GOOD, "agrees"),
        (timedelta(minutes=2), Grade.WARNING, "behind the hub"),
        (timedelta(minutes=10), Grade.BAD, "behind the hub"),
        (timedelta(minutes=-10), Grade.BAD, "ahead of the hub"),
    ],
)
def test_clocks_that_disagree_are_told_with_by_how_much(ahead: timedelta, grade: Grade, side: str) -> None:
    _, clock = judge.of_hub(hub(hub=FRESH, hub_time=NOW + ahead), NOW)
    assert clock.grade is grade
    assert side in clock.what


def test_the_first_thing_in_the_way_is_the_worst() -> None:
    first, second = bad("a", "one", "mend"), bad("b", "two", "mend")
    assert worst([good("x", "fine"), warning("y", "soon", "do"), first, second]) is first
    assert worst([good("x", "fine")]) is None
