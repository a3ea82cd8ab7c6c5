import pytest

from hub.core.delegation.cost import Lane, makespan_s, review, run_s
from hub.core.estimator import DECODE_TOKENS_PER_S, PREFILL_TOKENS_PER_S
from hub.core.types import Speed
from hubspoke.types import ModelKey


def a_lane(decode=10.0, ready_s=0.0) -> Lane:
    return Lane(ModelKey("m"), Speed(decode_tokens_per_s=decode, prefill_tokens_per_s=100.0), 8_192, ready_s)


def test_a_call_is_read_and_then_written():
    assert run_s((200, 50), a_lane().speed) == pytest.approx(2.0 + 5.0)


def test_what_was_never_measured_is_as_fast_as_usual():
    assert run_s((300, 20), Speed()) == pytest.approx(300 / PREFILL_TOKENS_PER_S + 20 / DECODE_TOKENS_PER_S)


def test_work_is_done_side_by_side():
    assert makespan_s([(0, 10)] * 4, [a_lane()] * 2) == pytest.approx(2.0)


def test_the_longest_is_begun_first():
    assert makespan_s([(0, 10), (0, 10), (0, 20)], [a_lane()] * 2) == pytest.approx(2.0)


def test_a_load_comes_before_the_work():
    assert makespan_s([(0, 10)], [a_lane(ready_s=3.0)]) == pytest.approx(4.0)


def test_no_work_takes_no_time():
    assert makespan_s([], [a_lane()]) == 0.0


def test_long_answers_are_reviewed_in_excerpts():
    assert review(0, [10_000]) == review(0, [20_000])
    assert review(0, [10]) < review(0, [20])
