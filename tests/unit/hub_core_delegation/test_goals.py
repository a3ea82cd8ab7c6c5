import pytest

from hub.core.delegation.goals import (
    ANSWER_TOKENS_MAX,
    GOAL_PARTS_MAX,
    SHORT_ANSWER_TOKENS,
    answer_tokens,
    gathers,
    has_sequel,
    parts,
)
from hub.core.estimator import OUTPUT_TOKENS


def test_items_of_a_list_are_parts():
    assert parts("Answer these:\n1. Who was first?\n2) Who was last?\n- Who won?") == (
        "Who was first?",
        "Who was last?",
        "Who won?",
    )


def test_questions_are_parts():
    assert parts("Who was first? Who was last?") == ("Who was first?", "Who was last?")


def test_clauses_between_semicolons_are_parts():
    assert parts("reverse abc; add 3 4") == ("reverse abc", "add 3 4")


@pytest.mark.parametrize(
    "goal", ["What is the capital of Peru?", "Sum up the report, in one page.", "Is 1.5 > 1.4?"]
)
def test_one_question_has_one_part(goal: str):
    assert parts(goal) == (goal,)


def test_what_follows_from_the_others_is_no_part_of_its_own():
    assert parts("1. Sum up A\n2. Sum up B\n3. Then compare them") == ("Sum up A", "Sum up B")


def test_a_single_item_is_no_list():
    assert parts("Do this:\n- Tidy up. Tidy down") == ("Do this:\n- Tidy up. Tidy down",)


def test_an_endless_list_is_counted_to_an_end():
    assert len(parts("\n".join(f"- part {n}" for n in range(1_000)))) == GOAL_PARTS_MAX


def test_a_second_half_is_no_part_of_its_own():
    assert len(parts("What is the capital of Peru? And that of Chile?")) == 1


def test_a_sequel_is_seen():
    assert has_sequel("1. Sum up A\n2. Sum up B\n3. Then compare them")
    assert not has_sequel("1. Sum up A\n2. Sum up B")
    assert not has_sequel("Compare A and B")


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ("Who won?", SHORT_ANSWER_TOKENS),
        ("Describe Lima.", OUTPUT_TOKENS),
        ("Describe Lima in about 200 words.", 280),
        ("Explain it in one sentence.", 25),
        ("Write two paragraphs, of 3 sentences each", 240),
        ("Write 99999 pages", ANSWER_TOKENS_MAX),
        ("Say it in 0 words", 1),
    ],
)
def test_an_answer_is_guessed_to_be_as_long_as_it_says(part: str, tokens: int):
    assert answer_tokens(part) == tokens


def test_what_is_found_may_only_have_to_be_put_together():
    assert gathers("List all names.")
    assert gathers("find every date in it")
    assert not gathers("Which names are listed?")
