"""From how a goal is done to the plan for it, where a rule can make it; and from a planner's plan to who does what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hub.core.delegation import chunks, cost, gate, plans
from hub.core.delegation.accepts import Kind, is_trusted
from hub.core.delegation.fleet import is_able, spread
from hub.core.delegation.prompts import Helper
from hub.core.estimator import OUTPUT_TOKENS
from hubspoke.types import Excerpt, Mode, Plan, Subtask, SubtaskId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.core.delegation.accepts import Accepts
    from hub.core.delegation.cost import Fleet
    from hub.core.delegation.fleet import Candidate
    from hub.core.delegation.gate import Choice, Job
    from hubspoke.types import Goal, Input, Merge, Model

SOLO_ID: Final = SubtaskId("goal")
"""The one subtask of a goal that is not taken apart."""


def by_rule(choice: Choice, job: Job, goal: Goal, inputs: Sequence[Input], fleet: Fleet) -> Plan | None:
    """Make the plan for *goal* as it was chosen to be done; `None` where a model has to make it."""
    if choice.by_planner:
        return None
    merge = job.merge(choice.mode)
    if choice.mode is Mode.MAP and inputs:
        return _over_pieces(job, goal, inputs, fleet, merge)
    if choice.mode is Mode.DAG:
        names = [one.name for one in inputs]
        work = [(job.goal_tokens + job.source_tokens, job.output_tokens)] * len(job.parts)
        return plans.listed(job.parts, names, _models(work, fleet.workers), merge=merge)
    return alone(goal, inputs)


def alone(goal: Goal, inputs: Sequence[Input]) -> Plan:
    """Make the plan that leaves all to the orchestrator: what is left when no other can be had."""
    reads = tuple(Excerpt(one.name) for one in inputs)
    return Plan((Subtask(SOLO_ID, goal.text, reads=reads, format=goal.format),))


def routed(
    plan: Plan,
    helpers: Sequence[Candidate],
    big: Model,
    accepts: Accepts,
    now: float,
    *,
    inputs: Sequence[Input],
) -> Plan:
    """Give each subtask of a planner's *plan* to a model: the one it names, or the smallest of *helpers*.

    Either has to be able and trusted, and to have room for what it reads of *inputs*. What is left stays with the
    orchestrator.
    """
    sizes = {one.name: len(one.text.encode()) for one in inputs}

    def given(subtask: Subtask) -> Subtask:
        read = sum(_size(excerpt, sizes) for excerpt in subtask.reads) + len(subtask.instruction.encode())
        least = cost.tokens(read) + cost.TOLD_TOKENS + OUTPUT_TOKENS
        roomy = [one for one in helpers if least <= one.context_tokens]
        able = [one for one in roomy if is_able(one.model, subtask.task, big)]
        trusted = [one for one in able if is_trusted(accepts, Kind(one.key, subtask.task), now)]
        named = [one for one in trusted if subtask.model in {one.key, one.model.name}]
        return replace(subtask, model=next((one.key for one in (*named, *trusted)), ""))

    return replace(plan, subtasks=tuple(map(given, plan.subtasks)))


def described(helpers: Sequence[Candidate], big: Model) -> tuple[Helper, ...]:
    """Say what each of *helpers* is good for, for who makes a plan."""
    simple = "extract, classify, format; short texts, one step"
    return tuple(
        Helper(one.model.name, "any step on a short text" if is_able(one.model, "reason", big) else simple)
        for one in helpers
    )


def _over_pieces(job: Job, goal: Goal, inputs: Sequence[Input], fleet: Fleet, merge: Merge) -> Plan:
    size_bytes = gate.chunk_bytes(job, fleet)
    pieces = [piece for one in inputs for piece in excerpts(one, size_bytes)]
    work = [(job.goal_tokens + cost.tokens(piece.end - piece.begin), job.output_tokens) for piece in pieces]
    return plans.mapped(goal.text, pieces, _models(work, fleet.readers), merge=merge)


def excerpts(source: Input, size_bytes: int) -> tuple[Excerpt, ...]:
    """Cut *source* into pieces of at most *size_bytes*."""
    found, begin = [], 0
    for piece in chunks.chunks(source.text, size_bytes):
        end = begin + len(piece.encode())
        found.append(Excerpt(source.name, begin, end))
        begin = end
    return tuple(found)


def _models(work: Sequence[cost.Call], lanes: Sequence[cost.Lane]) -> tuple[str, ...]:
    """Share out *work*; without anybody to help, the orchestrator does it."""
    return spread(work, lanes) if lanes else ("",) * len(work)


def _size(excerpt: Excerpt, sizes: Mapping[str, int]) -> int:
    return (excerpt.end or sizes.get(excerpt.input, 0)) - excerpt.begin
