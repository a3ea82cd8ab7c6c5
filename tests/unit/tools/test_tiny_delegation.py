"""What the tiny model is taught about delegations is what the hub asks, and can be read by it."""

from random import Random

import pytest

from hub.core.delegation import plans, review
from hubspoke.types import Merge, SubtaskId, VerdictKind
from tools.tiny_model import delegation_skills
from tools.tiny_model.delegation_skills import DIFFERS, compared

ROUNDS = 200
PROMPT_BYTES_MAX = 300


def drawn(skill):
    return [skill(Random(seed)) for seed in range(ROUNDS)]


def test_every_plan_that_is_taught_can_be_carried_out():
    for exchange in drawn(delegation_skills.plan):
        plan = plans.planned(exchange.answer, inputs=(), models=())
        assert 2 <= len(plan.subtasks) <= 3
        assert plan.merge is Merge.CONCAT


def test_what_names_it_depends_on_the_part_before():
    plan = next(
        plans.planned(one.answer, inputs=(), models=())
        for one in drawn(delegation_skills.plan)
        if "upper it" in one.user
    )
    follower = next(subtask for subtask in plan.subtasks if subtask.instruction.startswith("upper {"))
    assert follower.instruction == f"upper {{{follower.depends_on[0]}}}"


@pytest.mark.parametrize("skill", [delegation_skills.review, delegation_skills.second_review])
def test_every_review_that_is_taught_can_be_read(skill):
    kinds = set()
    for exchange in drawn(skill):
        asked = [SubtaskId(line[0]) for line in exchange.user.splitlines()[1:]]
        verdicts = review.verdicts(exchange.answer, asked)
        kinds |= {verdict.kind for verdict in verdicts}
        assert all((DIFFERS in one.reason) == (one.kind is VerdictKind.REPAIR) for one in verdicts)
    assert kinds == {VerdictKind.ACCEPT, VerdictKind.REPAIR}


@pytest.mark.parametrize(
    "skill", [delegation_skills.plan, delegation_skills.review, delegation_skills.second_review]
)
def test_prompts_are_short(skill):
    assert max(len(exchange.user.encode()) for exchange in drawn(skill)) < PROMPT_BYTES_MAX


@pytest.mark.parametrize(
    ("right", "given", "said"),
    [
        ("abc", "abc", "abc"),
        ("abc", "abd", "abc!"),
        ("abc", "xbc", "a!"),
        ("abc", "ab", "abc!"),
        ("ab", "abc", "ab!"),
    ],
)
def test_a_mark_stands_behind_the_first_letter_that_differs(right: str, given: str, said: str):
    assert compared(right, given) == said
