import pytest

from hub.core.delegation.cost import Fleet
from hub.core.delegation.gate import GAIN_MIN, SOLO_TOKENS, choose, job_of
from hub.core.delegation.plain_prompts import PLAIN
from hub.core.delegation.tiny_prompts import TINY
from hub.core.types import Speed
from hubspoke.types import Merge, Mode
from tests.unit.hub_core_delegation.workshop import ANY_JSON, BIG, NOBODY, THREE, a_goal, a_text

EIGHT = "Answer each:\n" + "\n".join(f"{n}. Describe the city number {n}." for n in range(1, 9))


def chosen(text="What is the capital of Peru?", *inputs, fleet=THREE, wanted=Mode.AUTO, family=PLAIN):
    return choose(job_of(a_goal(text), inputs, family), fleet, wanted)


def test_a_short_question_is_not_delegated():
    assert chosen().mode is Mode.SOLO


def test_a_question_about_a_short_text_is_not_delegated():
    assert chosen("Who won?", a_text(SOLO_TOKENS - 1)).mode is Mode.SOLO


def test_a_long_text_is_read_in_pieces():
    choice = chosen("List all names.", a_text(30_000))
    assert choice.mode is Mode.MAP
    assert not choice.by_planner


def test_a_list_of_goals_is_shared_out_without_a_planner():
    choice = chosen(EIGHT)
    assert choice.mode is Mode.DAG
    assert not choice.by_planner
    assert choice.of(Mode.DAG).subtasks == 8


def test_what_follows_from_the_others_takes_a_planner():
    choice = chosen(f"{EIGHT}\n9. Then compare them.")
    assert choice.mode is Mode.DAG
    assert choice.by_planner


def test_nothing_is_delegated_without_anybody_to_help():
    assert chosen("List all names.", a_text(30_000), fleet=NOBODY).mode is Mode.SOLO
    assert chosen(EIGHT, fleet=NOBODY).mode is Mode.SOLO


def test_nothing_is_delegated_to_who_is_slower_by_far():
    slow = BIG._replace(speed=Speed(decode_tokens_per_s=0.5, prefill_tokens_per_s=10.0))
    fleet = Fleet(BIG, (slow,) * 3, (slow,) * 3)
    assert chosen("List all names.", a_text(30_000), fleet=fleet).mode is Mode.SOLO
    assert chosen(EIGHT, fleet=fleet).mode is Mode.SOLO


def test_the_time_of_a_load_counts():
    loading = Fleet(BIG, (), tuple(lane._replace(ready_s=500.0) for lane in THREE.workers))
    assert chosen(EIGHT, fleet=loading).mode is Mode.SOLO


def test_parts_that_cannot_read_the_texts_are_no_way():
    choice = chosen(EIGHT, a_text(20_000), fleet=Fleet(BIG, (), THREE.workers))
    assert choice.of(Mode.DAG) is None


def test_what_was_asked_for_is_done():
    assert chosen(EIGHT, wanted=Mode.SOLO).mode is Mode.SOLO
    assert chosen(wanted=Mode.MAP).mode is Mode.MAP
    choice = chosen(wanted=Mode.DAG)
    assert choice.mode is Mode.DAG
    assert choice.by_planner


def test_the_reason_has_the_figures():
    choice = chosen(EIGHT)
    alone, shared = choice.of(Mode.SOLO), choice.of(Mode.DAG)
    assert choice.why == f"8 subtasks, about {shared.seconds:.0f} s instead of {alone.seconds:.0f} s"
    assert shared.seconds * GAIN_MIN <= alone.seconds
    assert "nothing to share out" in chosen().why
    assert "too little gain" in chosen("Who? Why?").why


def test_a_text_that_does_not_fit_is_read_by_the_big_model_in_passes():
    once, twice = (chosen("Who?", a_text(n), fleet=NOBODY).of(Mode.SOLO) for n in (20_000, 40_000))
    assert twice.seconds > 2 * once.seconds


@pytest.mark.parametrize(
    ("text", "mode", "merge"),
    [
        ("List all names.", Mode.MAP, Merge.CONCAT),
        ("What does it say about ice?", Mode.MAP, Merge.MODEL),
        (EIGHT, Mode.DAG, Merge.CONCAT),
        (f"{EIGHT}\n9. Then compare them.", Mode.DAG, Merge.MODEL),
    ],
)
def test_a_model_merges_only_where_words_are_needed(text, mode, merge):
    assert job_of(a_goal(text), (), PLAIN).merge(mode) is merge
    assert job_of(a_goal(text, format=ANY_JSON), (), PLAIN).merge(mode) is Merge.MODEL
    assert job_of(a_goal(text), (), TINY).merge(mode) is Merge.CONCAT
