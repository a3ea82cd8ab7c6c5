"""A bucket for each who comes, and what is said only now and then."""

from __future__ import annotations

import pytest

from hub.core import repeats
from hub.core.rates import Rate, Rates
from hub.core.repeats import OTHERS, Repeats


def test_a_burst_is_let_through_and_then_so_many_a_second():
    rates = Rates(Rate(per_s=2, burst=3))
    assert [rates.take("den", 0.0) for _ in range(3)] == [0, 0, 0]
    assert rates.take("den", 0.0) == pytest.approx(0.5)
    assert rates.take("den", 0.25) == pytest.approx(0.25)
    assert rates.take("den", 0.5) == 0
    assert rates.take("den", 0.5) > 0


def test_one_who_comes_too_often_is_nobody_elses_concern():
    rates = Rates(Rate(per_s=1, burst=1))
    assert rates.take("den", 0.0) == 0
    assert rates.take("den", 0.0) > 0
    assert rates.take("attic", 0.0) == 0


def test_a_bucket_does_not_hold_more_than_a_burst_and_time_does_not_run_back():
    rates = Rates(Rate(per_s=1, burst=2))
    rates.take("den", 1_000.0)
    assert [rates.take("den", 2_000.0) == 0 for _ in range(3)] == [True, True, False]
    assert rates.take("den", 1_500.0) > 0


def test_who_did_not_come_for_longest_is_forgotten():
    rates = Rates(Rate(per_s=0.001, burst=1), keys_max=2)
    for name in ("den", "attic", "den", "cellar"):
        rates.take(name, 0.0)
    assert rates.wait_s("den", 0.0) > 0
    assert rates.wait_s("attic", 0.0) == 0


def test_after_a_pause_a_key_is_said_again_with_how_often_it_was_not():
    said = Repeats()
    key = ("authn.denied", "10.0.0.7", "expired")
    assert [said.is_new(key, 0.0) for _ in range(7)] == [True] * repeats.BURST + [False] * 2
    assert said.summaries(repeats.PAUSE_S / 2) == []
    assert said.summaries(repeats.PAUSE_S) == [(key, 2)]
    assert said.is_new(key, repeats.PAUSE_S)
    assert said.summaries(2 * repeats.PAUSE_S) == []


def test_many_keys_are_held_together():
    said = Repeats()
    let_through = sum(said.is_new((str(number),), 0.0) for number in range(5_000))
    assert let_through == repeats.ALL_BURST
    assert said.summaries(0.0, is_end=True) == [(OTHERS, 5_000 - let_through)]
    let_through = sum(said.is_new((str(number),), 1.0) for number in range(5_000))
    assert let_through == repeats.ALL_PER_S
