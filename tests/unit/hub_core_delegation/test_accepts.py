from hub.core.delegation.accepts import (
    RETRY_S,
    REVIEWS_KEPT,
    REVIEWS_MIN,
    TALLIES_MAX,
    Accepts,
    Kind,
    is_trusted,
    reviewed,
)
from hubspoke.types import ModelKey

SMALL, LARGE = ModelKey("small"), ModelKey("large")
EXTRACT = Kind(SMALL, "extract")
NOW = 1_000.0


def seen(*verdicts: bool, kind: Kind = EXTRACT, accepts: Accepts | None = None, now: float = NOW) -> Accepts:
    accepts = accepts or Accepts()
    for accepted in verdicts:
        accepts = reviewed(accepts, kind, accepted=accepted, now=now)
    return accepts


def test_a_model_gets_its_chances_before_it_is_judged():
    assert is_trusted(seen(*[False] * (REVIEWS_MIN - 1)), EXTRACT, NOW)
    assert not is_trusted(seen(*[False] * REVIEWS_MIN), EXTRACT, NOW)


def test_sixty_percent_are_enough():
    assert is_trusted(seen(*[True] * 3, *[False] * 2), EXTRACT, NOW)
    assert not is_trusted(seen(*[True] * 2, *[False] * 3), EXTRACT, NOW)


def test_kinds_of_task_are_judged_apart():
    failed = seen(*[False] * REVIEWS_MIN)
    assert is_trusted(failed, Kind(SMALL, "format"), NOW)
    assert is_trusted(failed, Kind(LARGE, "extract"), NOW)


def test_who_failed_is_tried_again_after_a_day():
    failed = seen(*[False] * REVIEWS_MIN)
    assert not is_trusted(failed, EXTRACT, NOW + RETRY_S - 1)
    assert is_trusted(failed, EXTRACT, NOW + RETRY_S)


def test_a_good_record_does_not_end_with_the_day():
    good = seen(*[True] * REVIEWS_MIN)
    later = reviewed(good, EXTRACT, accepted=False, now=NOW + RETRY_S)
    assert later.tallies[EXTRACT].reviewed == REVIEWS_MIN + 1


def test_what_was_long_ago_weighs_less():
    was_good = seen(*[True] * REVIEWS_KEPT)
    assert not is_trusted(seen(*[False] * (REVIEWS_KEPT // 2), accepts=was_good), EXTRACT, NOW)


def test_the_kind_unused_for_longest_is_forgotten():
    accepts = Accepts()
    for number in range(TALLIES_MAX + 1):
        accepts = reviewed(accepts, Kind(ModelKey(str(number)), "x"), accepted=True, now=float(number))
    assert len(accepts.tallies) == TALLIES_MAX
    assert Kind(ModelKey("0"), "x") not in accepts.tallies
