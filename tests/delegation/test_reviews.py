"""What a review changes is not left half changed: what builds on a repaired subtask is done over with it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hubspoke.types import DelegationState, Merge, Plan, Review, SideEffect, StateChanged, SubtaskState, Work
from tests.fakes.delegating import ORCHESTRATED, A, B, C, a_mesh, asked, is_dense, of
from tests.fakes.replying_engine import ReplyingEngine, a_skilled_model

if TYPE_CHECKING:
    from pathlib import Path

    from hubspoke.types import DelegationEvent

PLAN = Plan((asked(A, "first"), asked(B, "second {a}", A), asked(C, "third {b}", B)), Merge.CONCAT)
WORK = Work("1", PLAN, review=Review.ALWAYS)


def said(**verdicts: str) -> str:
    """Write a review."""
    listed = [{"id": name, "reason": "because", "verdict": verdict} for name, verdict in verdicts.items()]
    return json.dumps({"verdicts": listed})


class Workers:
    """The small model numbers its answers to *first*, and puts what it reads into the others'; the big one reviews."""

    def __init__(self, *reviews: str, firsts: tuple[str, ...] = ("one", "two", "three")) -> None:
        self.begun: Counter[str] = Counter()
        self.small = ReplyingEngine(replies=self._reply)
        self.big = ReplyingEngine(a_skilled_model("big", digit="b"), replies=self._review)
        self._reviews, self._firsts = iter(reviews), iter(firsts)

    def _reply(self, prompt: str) -> str:
        name = next(name for name in ("first", "second", "third") if name in prompt)
        self.begun[name] += 1
        return next(self._firsts) if name == "first" else f"{name[0]}({_read(prompt)})"

    def _review(self, prompt: str) -> str:
        return next(self._reviews) if "verdict" in prompt else self._reply(prompt)


def _read(prompt: str) -> str:
    """Give what a prompt holds of the subtask before, and not of an answer that was refused."""
    work = prompt.partition("An earlier answer")[0]
    return next(one for one in ("s(three)", "s(two)", "s(one)", "three", "two", "one") if one in work)


async def ended(
    directory: Path, workers: Workers, work: Work = WORK
) -> tuple[StateChanged, list[DelegationEvent]]:
    async with (
        a_mesh(directory, ORCHESTRATED, den=workers.small, tower=workers.big) as hub,
        hub.app() as mesh,
    ):
        events = [event async for event in mesh.delegate(work)]
    assert is_dense(events)
    last = events[-1].happening
    assert isinstance(last, StateChanged)
    assert last.state is DelegationState.SUCCEEDED, last
    return last, events


async def test_what_builds_on_a_repaired_subtask_is_done_over_and_judged_again(tmp_path: Path):
    workers = Workers(said(a="repair", b="accept", c="accept"), said(a="accept", b="accept", c="accept"))
    last, events = await ended(tmp_path, workers)
    assert last.result == "t(s(two))"
    assert workers.begun == {"first": 2, "second": 2, "third": 2}
    assert {of(events, name)[-1].state for name in (A, B, C)} == {SubtaskState.ACCEPTED}


async def test_what_is_repaired_to_the_same_changes_nothing_else(tmp_path: Path):
    workers = Workers(said(a="repair", b="accept", c="accept"), said(a="accept"), firsts=("one", "one"))
    last, _ = await ended(tmp_path, workers)
    assert last.result == "t(s(one))"
    assert workers.begun == {"first": 2, "second": 1, "third": 1}


async def test_what_the_orchestrator_does_in_the_last_round_is_built_upon_too(tmp_path: Path):
    workers = Workers(said(a="repair", b="accept", c="accept"), said(a="repair", b="accept", c="accept"))
    last, _ = await ended(tmp_path, workers)
    assert last.result == "t(s(three))"
    assert workers.begun == {"first": 3, "second": 3, "third": 3}


async def test_a_subtask_that_is_refused_itself_is_done_over_once_and_of_what_is_right(tmp_path: Path):
    workers = Workers(said(a="repair", b="repair", c="accept"), said(a="accept", b="accept", c="accept"))
    last, _ = await ended(tmp_path, workers)
    assert last.result == "t(s(two))"
    assert workers.begun == {"first": 2, "second": 2, "third": 2}


async def test_what_must_not_be_done_twice_is_not_done_over(tmp_path: Path):
    workers = Workers(said(a="repair", c="accept"), said(a="accept"))
    delicate = replace(PLAN.subtasks[1], side_effect=SideEffect.NON_IDEMPOTENT)
    plan = replace(PLAN, subtasks=(PLAN.subtasks[0], delicate, PLAN.subtasks[2]))
    last, _ = await ended(tmp_path, workers, replace(WORK, task=plan))
    assert last.result == "t(s(one))"
    assert workers.begun == {"first": 2, "second": 1, "third": 1}
