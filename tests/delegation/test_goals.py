"""Goals: the orchestrator does them alone, or makes a plan that small models carry out and that it reviews."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hubspoke.types import DelegationState, Goal, Mode, Planned, Reviewed, SubtaskState, VerdictKind, Work
from tests.fakes.delegating import ORCHESTRATED, A, B, a_mesh, of
from tests.fakes.replying_engine import ReplyingEngine, a_skilled_model, shouted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAN = {
    "subtasks": [{"id": "a", "instruction": "one"}, {"id": "b", "instruction": "two"}],
    "merge": "concat",
}
ACCEPTED = {"verdicts": [{"id": name, "reason": "right", "verdict": "accept"} for name in "ab"]}


def orchestrator(plan: object, *reviews: object) -> Callable[[str], str]:
    """Reply to what an orchestrator is asked: a plan, then reviews, and anything else in capitals."""
    left = iter(reviews)

    def reply(prompt: str) -> str:
        if prompt.startswith("Make a plan"):
            return json.dumps(plan)
        return json.dumps(next(left)) if "verdict" in prompt else shouted(prompt)

    return reply


def big(replies: Callable[[str], str] = shouted) -> ReplyingEngine:
    return ReplyingEngine(a_skilled_model("big", digit="b"), replies=replies)


async def test_a_short_goal_is_done_by_the_orchestrator_alone(tmp_path: Path):
    orchestrating, helping = big(), ReplyingEngine()
    async with a_mesh(tmp_path, ORCHESTRATED, den=helping, tower=orchestrating) as hub, hub.app() as mesh:
        events = [event async for event in mesh.delegate(Work("1", Goal("why is the sky blue")))]
    (planned,) = (event.happening for event in events if isinstance(event.happening, Planned))
    assert planned.mode is Mode.SOLO
    assert events[-1].happening.result == "WHY IS THE SKY BLUE"
    assert events[-1].happening.spent.worker_tokens == 0
    assert not helping.begun


async def test_a_goal_is_taken_apart_done_by_others_and_reviewed(tmp_path: Path):
    orchestrating, helping = big(orchestrator(PLAN, ACCEPTED)), ReplyingEngine()
    async with a_mesh(tmp_path, ORCHESTRATED, den=helping, tower=orchestrating) as hub, hub.app() as mesh:
        work = Work("1", Goal("do one, do two", mode=Mode.DAG))
        events = [event async for event in mesh.delegate(work)]
    assert (events[-1].happening.state, events[-1].happening.result) == (
        DelegationState.SUCCEEDED,
        "ONE\nTWO",
    )
    assert of(events, A)[-1].state is SubtaskState.ACCEPTED
    assert events[-1].happening.spent.worker_tokens == 20
    assert events[-1].happening.spent.orchestrator_tokens == 20
    assert helping.begun == {"one": 1, "two": 1}


async def test_what_the_review_refuses_is_repaired_and_then_done_by_the_orchestrator(tmp_path: Path):
    refused = {
        "verdicts": [
            {"id": "a", "reason": "wrong", "verdict": "repair"},
            {"id": "b", "reason": "right", "verdict": "accept"},
        ]
    }
    again = {"verdicts": [{"id": "a", "reason": "still wrong", "verdict": "repair"}]}
    orchestrating, helping = big(orchestrator(PLAN, refused, again)), ReplyingEngine()
    async with a_mesh(tmp_path, ORCHESTRATED, den=helping, tower=orchestrating) as hub, hub.app() as mesh:
        events = [event async for event in mesh.delegate(Work("1", Goal("do one, do two", mode=Mode.DAG)))]
    reviews = [event.happening for event in events if isinstance(event.happening, Reviewed)]
    assert [[verdict.kind for verdict in review.verdicts] for review in reviews] == [
        [VerdictKind.REPAIR, VerdictKind.ACCEPT],
        [VerdictKind.REPAIR],
    ]
    states = [status.state for status in of(events, A)]
    assert states.count(SubtaskState.REPAIRING) == 2
    assert [status.spoke for status in of(events, A) if status.state is SubtaskState.DONE] == [
        "den",
        "den",
        "tower",
    ]
    assert of(events, B)[-1].state is SubtaskState.ACCEPTED


async def test_without_a_plan_of_use_the_orchestrator_does_it_alone(tmp_path: Path):
    orchestrating = big(orchestrator({"subtasks": []}))
    async with (
        a_mesh(tmp_path, ORCHESTRATED, den=ReplyingEngine(), tower=orchestrating) as hub,
        hub.app() as mesh,
    ):
        events = [event async for event in mesh.delegate(Work("1", Goal("do one, do two", mode=Mode.DAG)))]
    (planned,) = (event.happening for event in events if isinstance(event.happening, Planned))
    assert planned.mode is Mode.SOLO
    assert "no plan that could be used" in planned.why
    assert sum(prompt.startswith("Make a plan") for prompt in orchestrating.begun.elements()) == 2
    assert events[-1].happening.result == "DO ONE, DO TWO"
