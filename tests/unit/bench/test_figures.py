"""The figures that the bench boils its measurements down to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import added, percentile, pooled

some = st.lists(st.floats(0, 1e6), min_size=1)


def test_a_percentile_is_one_of_the_values():
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]


@given(some, st.floats(0.001, 1))
def test_a_percentile_is_not_exceeded_by_its_share_of_the_values(values, share):
    limit = percentile(values, share)
    assert sum(value <= limit for value in values) >= share * len(values) * (1 - 1e-9)


@given(some)
def test_the_order_of_the_values_does_not_matter(values):
    assert percentile(values, 0.9) == percentile(values[::-1], 0.9)


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], share)


def test_a_slow_round_is_compared_with_the_slow_round_beside_it():
    assert added([[2, 3, 4], [12, 13, 99]], [[1, 1, 1], [11, 11, 11]]) == [2, 2]


def test_rounds_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="zip"):
        added([[1.0]], [])


def test_pooled_rounds_hold_every_measurement():
    assert pooled([[1.0, 2.0], [], [3.0]]) == [1, 2, 3]
