"""How long things take: measured where there is a measurement, reckoned from priors where there is none yet.

Every figure is finite and never negative, whatever a spoke says.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.core.types import Ask, Speed
    from hubspoke.types import Model, Usage

NEWEST_SHARE: Final = 0.3
"""Weight of the newest measurement in the running mean: the last four or so decide."""

DECODE_TOKENS_PER_S: Final = 20.0
PREFILL_TOKENS_PER_S: Final = 300.0
OUTPUT_TOKENS: Final = 256
DISK_BYTES_PER_S: Final = 500e6
LOAD_OVERHEAD_S: Final = 0.5
LOAD_UNKNOWN_S: Final = 10.0
"""Priors, before anything was measured: an old card, a usual answer, a SATA disk, a process start, 5 GB of weights."""

BYTES_PER_TOKEN: Final = 4
"""Of usual text; a tokenizer would know better, but the hub has none."""

DECODE_TOKENS_MIN: Final = 8
"""Shorter answers say more about the clock than about the card."""

TOKENS_PER_S_MIN: Final = 0.01
TOKENS_PER_S_MAX: Final = 1e6
"""What is measured beyond these is a clock that jumped."""


def measured(speed: Speed, usage: Usage) -> Speed:
    """Take an answer's cost into *speed*. What the engine did not tell, or is too short to tell, changes nothing."""
    decode_s, prompt_s = usage.decode_s or 0.0, usage.prompt_s or 0.0
    if decode_s > 0 and usage.output_tokens >= DECODE_TOKENS_MIN:
        rate = _bounded(usage.output_tokens / decode_s)
        speed = replace(speed, decode_tokens_per_s=_mean(speed.decode_tokens_per_s, rate))
    fresh = usage.prompt_tokens - (usage.cached_tokens or 0)
    if prompt_s > 0 and fresh > 0:
        speed = replace(
            speed, prefill_tokens_per_s=_mean(speed.prefill_tokens_per_s, _bounded(fresh / prompt_s))
        )
    return speed


def loaded_in(speed: Speed, seconds: float) -> Speed:
    """Take the time of a load into *speed*."""
    return replace(speed, load_s=_mean(speed.load_s, max(seconds, 0.0)))


def load_s(model: Model, speed: Speed) -> float:
    """Give the expected time of a load, in seconds."""
    if speed.load_s is not None:
        return speed.load_s
    return LOAD_OVERHEAD_S + model.size_bytes / DISK_BYTES_PER_S if model.size_bytes else LOAD_UNKNOWN_S


def remaining_s(expected_s: float, elapsed_s: float) -> float:
    """Give the expected rest of something that has been going on. What is late is taken to be late as much again."""
    return abs(expected_s - elapsed_s)


def run_s(ask: Ask, speed: Speed) -> float:
    """Give the expected time that *ask* keeps a slot busy, in seconds. Its limit of tokens is not what it will use."""
    prompt_tokens = ask.prompt_bytes / BYTES_PER_TOKEN
    output_tokens = min(ask.max_output_tokens or OUTPUT_TOKENS, OUTPUT_TOKENS)
    prefill = speed.prefill_tokens_per_s or PREFILL_TOKENS_PER_S
    decode = speed.decode_tokens_per_s or DECODE_TOKENS_PER_S
    return prompt_tokens / prefill + output_tokens / decode


def wait_s(busy: Iterable[tuple[int, float]], ahead: int) -> float:
    """Give the expected wait behind *ahead* others for the first slot that is free, in seconds.

    *busy* are (slots, seconds that a request keeps one) for each replica, at least one; their requests end evenly
    spread, so that together they set free a slot every 1 / sum(slots / seconds).
    """
    # fsum: the order of the replicas must not show in the last digit.
    return (ahead + 1) / math.fsum(slots / max(seconds, 1e-3) for slots, seconds in busy)


def _bounded(tokens_per_s: float) -> float:
    return min(max(tokens_per_s, TOKENS_PER_S_MIN), TOKENS_PER_S_MAX)


def _mean(old: float | None, new: float) -> float:
    return new if old is None else old + NEWEST_SHARE * (new - old)
