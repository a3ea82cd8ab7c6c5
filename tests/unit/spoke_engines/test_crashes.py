import pytest

from spoke.engines.llamacpp.crashes import BACKOFF_S, CRASHES_MAX, WINDOW_S, CrashHistory


def history(*times_s: float) -> CrashHistory:
    crashes = CrashHistory()
    for time_s in times_s:
        crashes = crashes.crashed(time_s)
    return crashes


def test_a_model_that_never_crashed_starts_at_once():
    assert (history().backoff_s(0.0), history().resting_s(0.0)) == (0.0, 0.0)


def test_each_crash_makes_the_next_start_wait_longer():
    assert history(10.0).backoff_s(10.0) == BACKOFF_S[0]
    assert history(10.0, 20.0).backoff_s(20.0) == BACKOFF_S[1]


def test_time_that_has_passed_counts():
    assert history(10.0).backoff_s(10.0 + BACKOFF_S[0] / 2) == BACKOFF_S[0] / 2
    assert history(10.0).backoff_s(60.0) == 0.0


def test_a_model_that_crashes_too_often_is_left_alone_until_the_first_crash_is_old():
    crashes = history(*[float(number) for number in range(CRASHES_MAX)])

    assert crashes.resting_s(10.0) == pytest.approx(WINDOW_S - 10.0)
    assert crashes.resting_s(WINDOW_S) == 0.0


def test_old_crashes_are_forgotten():
    crashes = history(0.0, 1.0, WINDOW_S + 5.0)

    assert crashes.resting_s(WINDOW_S + 5.0) == 0.0
    assert crashes.backoff_s(WINDOW_S + 5.0) == BACKOFF_S[0]


def test_no_more_is_kept_than_is_needed():
    assert len(history(*[0.0] * 100).times_s) == CRASHES_MAX
