"""Whether a goal is worth delegating, and how: alone, over pieces of long texts, or as parts that do not need each other.

Everything is reckoned in seconds and tokens from the speeds that were measured of each model on each spoke. What is not
faster by a margin is not delegated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hub.core.delegation import chunks, cost, goals
from hub.core.estimator import OUTPUT_TOKENS
from hubspoke.types import Merge, Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.core.delegation.cost import Estimate, Fleet
    from hub.core.delegation.prompts import Family
    from hubspoke.types import Goal, Input

SOLO_TOKENS: Final = 4_000
"""Shorter texts are not cut into pieces: the big model reads them at once."""

GAIN_MIN: Final = 1.25
"""A delegation must promise to be so many times faster than the big model alone: estimates are off by as much."""

HEADROOM: Final = 0.9
"""The share of a context that a prompt may fill, because tokens are only estimated."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for, as far as that shows from outside. *output_tokens* are those of one part's answer.

    *parts* can be done side by side; more than one only where the goal names them. With *sequel* something is to be done
    with their results; *gathers*: what is found only has to be put together; *has_format*: the result has to keep to one.
    *can_merge* says whether the big model can write a result from answers at all.
    """

    goal_tokens: int
    source_bytes: tuple[int, ...] = ()
    parts: tuple[str, ...] = ("",)
    sequel: bool = False
    gathers: bool = False
    has_format: bool = False
    can_merge: bool = True
    output_tokens: int = OUTPUT_TOKENS

    @property
    def source_tokens(self) -> int:
        """The texts, in tokens."""
        return cost.tokens(sum(self.source_bytes))

    def merge(self, mode: Mode) -> Merge:
        """Say how the result comes out of the answers, where a rule makes the plan: without a model if that will do."""
        needs_words = self.has_format or self.sequel or (mode is Mode.MAP and not self.gathers)
        return Merge.MODEL if needs_words and self.can_merge else Merge.CONCAT

    @property
    def answer_tokens(self) -> int:
        """The answers to all parts, in tokens."""
        return len(self.parts) * self.output_tokens


class Choice(NamedTuple):
    """How it will be done, *why*, and what every way that was thought of would cost.

    *by_planner*: a model has to make the plan; otherwise a rule does.
    """

    mode: Mode
    why: str
    estimates: tuple[Estimate, ...] = ()
    by_planner: bool = False

    def of(self, mode: Mode) -> Estimate | None:
        """Give what *mode* would cost, if it was thought of."""
        return next((estimate for estimate in self.estimates if estimate.mode is mode), None)


def job_of(goal: Goal, inputs: Sequence[Input], family: Family) -> Job:
    """Look from outside at *goal* and its *inputs*, for a big model of that *family*."""
    parts = goals.parts(goal.text)
    return Job(
        goal_tokens=cost.tokens(len(goal.text.encode())),
        source_bytes=tuple(len(one.text.encode()) for one in inputs),
        parts=parts,
        sequel=goals.has_sequel(goal.text),
        gathers=goals.gathers(goal.text),
        has_format=goal.format is not None,
        can_merge=family.merge is not None,
        output_tokens=round(sum(map(goals.answer_tokens, parts)) / len(parts)),
    )


def choose(job: Job, fleet: Fleet, wanted: Mode = Mode.AUTO) -> Choice:
    """Say how to do *job*: as *wanted*, or alone unless another way is faster by `GAIN_MIN` at least."""
    alone = solo(job, fleet)
    if wanted is Mode.SOLO:
        return Choice(Mode.SOLO, "it was asked for", (alone,))
    if wanted is not Mode.AUTO:
        return Choice(wanted, "it was asked for", (alone,), by_planner=wanted is Mode.DAG)
    others = []
    if fleet.readers and job.source_tokens >= SOLO_TOKENS and not job.sequel:
        others.append(over_chunks(job, fleet))
    if fleet.workers and len(job.parts) > 1 and _fits(job, fleet):
        others.append(over_parts(job, fleet))
    best = min(others, key=lambda one: one.seconds, default=alone)
    if best is alone or best.seconds * GAIN_MIN > alone.seconds:
        return Choice(Mode.SOLO, _why_alone(alone, best), (alone, *others))
    why = f"{best.subtasks} subtasks, about {best.seconds:.0f} s instead of {alone.seconds:.0f} s"
    return Choice(best.mode, why, (alone, *others), by_planner=best.mode is Mode.DAG and job.sequel)


def solo(job: Job, fleet: Fleet) -> Estimate:
    """Reckon with the big model alone. What does not fit into its context is read piece after piece."""
    room = max(int(fleet.big.context_tokens * HEADROOM) - job.goal_tokens - job.output_tokens, 1)
    passes = max(math.ceil(job.source_tokens / room), 1)
    # What several passes have found has to be brought together.
    extra = (passes - 1) * job.output_tokens
    prompt = job.source_tokens + passes * job.goal_tokens + extra
    output = job.answer_tokens + extra
    return cost.alone(fleet, (prompt, output))


def over_chunks(job: Job, fleet: Fleet) -> Estimate:
    """Reckon with small models that read a piece each; the big one judges what they found. No model makes the plan."""
    size_bytes = chunk_bytes(job, fleet)
    pieces = sum(math.ceil(size / size_bytes) for size in job.source_bytes)
    found = max(math.ceil(pieces * cost.FOUND_SHARE), 1)
    each = cost.tokens(sum(job.source_bytes) // pieces) + job.goal_tokens + cost.TOLD_TOKENS
    share = math.ceil(job.answer_tokens / found)
    work = [(each, share)] * found + [(each, cost.SILENT_TOKENS)] * (pieces - found)
    steps = [cost.review(job.goal_tokens, [share] * found)]
    if job.merge(Mode.MAP) is Merge.MODEL:
        steps.append((job.goal_tokens + job.answer_tokens, job.answer_tokens))
    return cost.delegated(Mode.MAP, fleet.big, steps, work, fleet.readers)


def over_parts(job: Job, fleet: Fleet) -> Estimate:
    """Reckon with a small model for each part of the goal. With a sequel the big model makes the plan, and does that."""
    each = math.ceil(job.goal_tokens / len(job.parts)) + job.source_tokens + cost.TOLD_TOKENS
    work = [(each, job.output_tokens)] * len(job.parts)
    steps = [cost.review(job.goal_tokens, [job.output_tokens] * len(job.parts))]
    if job.sequel:
        steps.append((cost.PLAN_PROMPT_TOKENS + job.goal_tokens, (len(job.parts) + 1) * cost.NODE_TOKENS))
    if job.merge(Mode.DAG) is Merge.MODEL:
        steps.append((job.goal_tokens + job.answer_tokens, job.output_tokens))
    return cost.delegated(Mode.DAG, fleet.big, steps, work, fleet.workers)


def chunk_bytes(job: Job, fleet: Fleet) -> int:
    """Give the size of the pieces that the texts of *job* are cut into."""
    context = min((lane.context_tokens for lane in fleet.readers), default=fleet.big.context_tokens)
    return chunks.chunk_bytes(sum(job.source_bytes), context, len(fleet.readers))


def _fits(job: Job, fleet: Fleet) -> bool:
    """Whether every part can read all the texts."""
    context = min(lane.context_tokens for lane in fleet.workers) * HEADROOM
    return job.source_tokens + job.goal_tokens + job.output_tokens + cost.TOLD_TOKENS <= context


def _why_alone(alone: Estimate, best: Estimate) -> str:
    if best is alone:
        return f"there is nothing to share out; about {alone.seconds:.0f} s"
    return f"about {alone.seconds:.0f} s, and {best.seconds:.0f} s with {best.subtasks} subtasks: too little gain"
