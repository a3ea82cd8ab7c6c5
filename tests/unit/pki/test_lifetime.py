from datetime import UTC, datetime, timedelta

import pytest

from pki.lifetime import Stage, renew_at, stage

BORN = datetime(2030, 1, 1, tzinfo=UTC)
LIFE = timedelta(hours=100)
ENDS = BORN + LIFE


@pytest.mark.parametrize(("chance", "hours"), [(0.0, 45), (0.5, 50), (1.0, 55)])
def test_renewal_is_around_half_life(chance: float, hours: int):
    off_by = renew_at(BORN, ENDS, chance) - (BORN + timedelta(hours=hours))
    assert abs(off_by) < timedelta(milliseconds=1)


@pytest.mark.parametrize("chance", [-0.1, 1.1])
def test_a_chance_is_from_zero_to_one(chance: float):
    with pytest.raises(ValueError, match="from 0 to 1"):
        renew_at(BORN, ENDS, chance)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (-1, Stage.FRESH),
        (0, Stage.FRESH),
        (44.9, Stage.FRESH),
        (45, Stage.DUE),
        (74.9, Stage.DUE),
        (75, Stage.LATE),
        (89.9, Stage.LATE),
        (90, Stage.CRITICAL),
        (99.9, Stage.CRITICAL),
        (100, Stage.EXPIRED),
        (1000, Stage.EXPIRED),
    ],
)
def test_a_certificate_grows_more_urgent_with_age(hours: float, expected: Stage):
    assert stage(BORN, ENDS, BORN + timedelta(hours=hours)) is expected
