"""What steps of a delegation cost, in seconds and tokens. Work is (prompt, output) tokens of one call of a model."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from hub.core.estimator import BYTES_PER_TOKEN, DECODE_TOKENS_PER_S, PREFILL_TOKENS_PER_S
from hubspoke.types import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hub.core.types import Speed
    from hubspoke.types import ModelKey

Call: TypeAlias = "tuple[int, int]"

TOLD_TOKENS: Final = 50
"""What a small model is told beside the goal and the text."""

PLAN_PROMPT_TOKENS: Final = 350
NODE_TOKENS: Final = 45
"""What the planner reads beside the goal and the beginnings of the texts, and what it writes for each subtask."""

REVIEW_PROMPT_TOKENS: Final = 120
JUDGED_TOKENS: Final = 60
VERDICT_TOKENS: Final = 25
"""What the reviewer reads beside the answers: once, and for each answer; and what it writes for each."""

ANSWERED_TOKENS_MAX: Final = 120
"""How much of one answer a reviewer reads: `review.SHOWN_BYTES`, in tokens."""

SILENT_TOKENS: Final = 8
"""What a piece without the answer gives: that it was not found."""

FOUND_SHARE: Final = 0.5
"""The share of the pieces of a text that is taken to hold something: the others need no review."""

DECODE_WEIGHT: Final = 10
"""A written token takes about as long as so many that are read: what is longest is begun first by that."""


class Lane(NamedTuple):
    """One slot for a model. *ready_s* is the time until the model is in memory there."""

    model: ModelKey
    speed: Speed
    context_tokens: int
    ready_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What there is to work with: the big model where it is quickest, and the slots of small ones that are free.

    *readers* extract and sort; *workers* are large enough for any part of a goal.
    """

    big: Lane
    readers: tuple[Lane, ...] = ()
    workers: tuple[Lane, ...] = ()


class Estimate(NamedTuple):
    """What one way costs: seconds until the result is there, and the tokens that the big and the small models handle."""

    mode: Mode
    seconds: float
    big_tokens: int
    small_tokens: int = 0
    subtasks: int = 0


def tokens(size_bytes: int) -> int:
    """Give the tokens of so many bytes of usual text."""
    return math.ceil(size_bytes / BYTES_PER_TOKEN)


def run_s(call: Call, speed: Speed) -> float:
    """Give the time that a model takes for *call*, in seconds, with priors for what was not measured."""
    prompt, output = call
    prefill = speed.prefill_tokens_per_s or PREFILL_TOKENS_PER_S
    decode = speed.decode_tokens_per_s or DECODE_TOKENS_PER_S
    return prompt / prefill + output / decode


def makespan_s(work: Iterable[Call], lanes: Sequence[Lane]) -> float:
    """Give the time until all of *work* is done: the longest first, each on the lane that is free first, in seconds."""
    free = [(lane.ready_s, place) for place, lane in enumerate(lanes)]
    heapq.heapify(free)
    ended = 0.0
    for call in sorted(work, key=lambda call: call[0] + DECODE_WEIGHT * call[1], reverse=True):
        begun, place = heapq.heappop(free)
        done = begun + run_s(call, lanes[place].speed)
        heapq.heappush(free, (done, place))
        ended = max(ended, done)
    return ended


def review(goal_tokens: int, answers: Sequence[int]) -> Call:
    """Give the call that judges *answers*, given by their lengths in tokens."""
    read = sum(JUDGED_TOKENS + min(answer, ANSWERED_TOKENS_MAX) for answer in answers)
    return REVIEW_PROMPT_TOKENS + goal_tokens + read, len(answers) * VERDICT_TOKENS


def alone(fleet: Fleet, call: Call) -> Estimate:
    """Reckon with one call of the big model."""
    return Estimate(Mode.SOLO, fleet.big.ready_s + run_s(call, fleet.big.speed), sum(call))


def delegated(
    mode: Mode, big: Lane, steps: Sequence[Call], work: Sequence[Call], lanes: Sequence[Lane]
) -> Estimate:
    """Add up *steps* of the big model, one after the other, and *work* on *lanes*, side by side."""
    seconds = big.ready_s + sum(run_s(call, big.speed) for call in steps) + makespan_s(work, lanes)
    return Estimate(
        mode,
        seconds,
        big_tokens=sum(map(sum, steps)),
        small_tokens=sum(map(sum, work)),
        subtasks=len(work),
    )
