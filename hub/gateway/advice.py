"""What clients that try again by themselves are told with an error: whether that is of use, and when."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from hubspoke.errors import (
    DeadlineExceeded,
    Draining,
    EngineOverloaded,
    EngineUnavailable,
    MeshError,
    ModelLoading,
    ModelNotLoaded,
    NoSpoke,
    QueueFull,
    QuotaExceeded,
    RateLimited,
    SessionReplaced,
    SlotTaken,
    SpokeLost,
    StoreFailed,
    Unreachable,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

AGAIN: Final = "x-should-retry"
"""Clients of OpenAI and Anthropic obey it; without it they try again after 408, 409, 429 and whatever is from 500 on."""
NOT_AGAIN: Final[Mapping[str, str]] = {AGAIN: "false"}

_PASSING: Final[frozenset[type[MeshError]]] = frozenset(
    {QueueFull, ModelLoading, NoSpoke, DeadlineExceeded, SpokeLost, EngineUnavailable, EngineOverloaded, SessionReplaced,
     ModelNotLoaded, SlotTaken, Draining, RateLimited, Unreachable, StoreFailed}
)  # fmt: skip
"""What may be over when the same is asked again."""


def advice(error: MeshError, *, may_have_run: bool, now: datetime) -> Mapping[str, str]:
    """Give the headers that go with *error*. Work that may have run must not run thrice."""
    headers: dict[str, str] = {}
    retry_after_s = _retry_after_s(error, now)
    if retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(retry_after_s)))
    is_passing = type(error) in _PASSING or "retry_after_s" in error.figures
    if may_have_run or not is_passing:
        headers |= NOT_AGAIN
    return headers


def _retry_after_s(error: MeshError, now: datetime) -> float | None:
    told = error.figures.get("retry_after_s")
    if told is not None:
        return float(told)
    if isinstance(error, QuotaExceeded):
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
        return (midnight - now).total_seconds()
    return 1.0 if status_of(error).http in {429, 503} else None
