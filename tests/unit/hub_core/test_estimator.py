import pytest

from hub.core import estimator
from hub.core.types import Speed
from hubspoke.types import Usage
from tests.unit.hub_core.machines import GIB, a_model, an_ask


def usage(output=100, decode_s=2.0, prompt=300, prompt_s=1.0, cached=None):
    return Usage(prompt, output, cached_tokens=cached, prompt_s=prompt_s, decode_s=decode_s)


def test_the_first_measurement_stands_for_itself():
    assert estimator.measured(Speed(), usage()) == Speed(decode_tokens_per_s=50.0, prefill_tokens_per_s=300.0)


def test_later_measurements_move_the_mean():
    after = estimator.measured(Speed(decode_tokens_per_s=40.0), usage())
    assert after.decode_tokens_per_s == pytest.approx(43.0)


def test_cached_tokens_were_not_computed():
    assert estimator.measured(Speed(), usage(cached=200)).prefill_tokens_per_s == 100.0


@pytest.mark.parametrize(
    "nothing",
    [
        usage(decode_s=None, prompt_s=None),
        usage(decode_s=0.0, prompt_s=-1.0),
        usage(output=3, prompt=5, cached=5),
    ],
    ids=["not told", "no time", "too short"],
)
def test_what_tells_nothing_changes_nothing(nothing):
    assert estimator.measured(Speed(), nothing) == Speed()


def test_a_clock_that_jumps_does_not_make_a_spoke_infinitely_fast():
    after = estimator.measured(Speed(), usage(decode_s=1e-300, prompt_s=1e300))
    assert (after.decode_tokens_per_s, after.prefill_tokens_per_s) == (1e6, 0.01)


def test_loads_are_remembered():
    assert estimator.loaded_in(estimator.loaded_in(Speed(), 10.0), 20.0).load_s == pytest.approx(13.0)


def test_a_load_that_was_measured_is_expected_to_take_as_long():
    assert estimator.load_s(a_model(), Speed(load_s=3.0)) == 3.0


def test_a_larger_model_is_expected_to_load_longer():
    small, large = (estimator.load_s(a_model(size=size), Speed()) for size in (GIB, 2 * GIB))
    assert large > small


def test_a_load_of_unknown_size_has_a_prior():
    assert estimator.load_s(a_model(size=0), Speed()) == estimator.LOAD_UNKNOWN_S


def test_what_is_late_is_expected_to_be_late_as_much_again():
    assert [estimator.remaining_s(10.0, elapsed) for elapsed in (0.0, 10.0, 25.0)] == [10.0, 0.0, 15.0]


def test_a_limit_of_tokens_is_no_forecast():
    limits = [estimator.run_s(an_ask(max_output_tokens=limit), Speed()) for limit in (16, 256, 4096, 0)]
    assert limits == sorted(limits)
    assert limits[1] == limits[2] == limits[3]


def test_a_faster_spoke_is_done_sooner():
    slow, fast = (estimator.run_s(an_ask(), Speed(decode_tokens_per_s=rate)) for rate in (10.0, 50.0))
    assert fast < slow


def test_a_wait_shrinks_with_slots_and_grows_with_those_ahead():
    assert estimator.wait_s([(1, 8.0)], 0) == pytest.approx(8.0)
    assert estimator.wait_s([(2, 8.0)], 0) == pytest.approx(4.0)
    assert estimator.wait_s([(1, 8.0), (1, 8.0)], 3) == pytest.approx(16.0)


def test_the_order_of_the_replicas_does_not_show_in_the_last_digit():
    busy = [(1, 10.0), (1, 5.0), (1, 10 / 3), (3, 7.0), (2, 0.7)]
    assert estimator.wait_s(busy, 0) == estimator.wait_s(reversed(busy), 0)
