"""Many measurements in a few figures. Pure."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest of *values* that *share* of them (above 0, at most 1) do not exceed: the nearest rank."""
    if not values:
        raise ValueError("there is no percentile of nothing")
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1, not {share}")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def added(rounds: Sequence[Sequence[float]], bare: Sequence[Sequence[float]]) -> list[float]:
    """Give, for each round, how far its median lies above that of the *bare* round beside it."""
    return [median(one) - median(other) for one, other in zip(rounds, bare, strict=True)]


def pooled(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Give the measurements of all rounds."""
    return [value for one in rounds for value in one]
