"""Which replicas may serve a request at all, and what to say when none may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hub.core.registry import is_ready
from hubspoke.errors import ContextTooLong, EngineUnavailable, NoSpoke, Unsupported
from hubspoke.types import SpokeState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.core.catalogue import Holding
    from hub.core.types import Ask, Spoke

PROMPT_BYTES_PER_TOKEN_MAX: Final = 32
"""A prompt is taken to have a token for every 32 bytes at least.

Text comes to 2 to 6 bytes a token in any language, code with its indents to 8; only one that is mostly blanks or a
repeated sign comes near 32. What might fit goes to the engine, which counts.
"""

SPOKES_TOLD_MAX: Final = 3
"""Spokes that a refusal speaks of."""


def eligible(ask: Ask, holdings: Iterable[Holding], now: float) -> tuple[Holding, ...]:
    """Give the places that may serve *ask*, now or later; none while only silent spokes have it, which may be back.

    Raise what is wrong with the last of them to drop out, lasting reasons first: Unsupported, ContextTooLong, NoSpoke,
    EngineUnavailable.
    """
    able = _able(ask, tuple(holdings))
    roomy = _roomy(ask, able)
    ready = _ready(ask, roomy, now)
    return _healthy(ask, ready) if ready else ()


def _able(ask: Ask, holdings: tuple[Holding, ...]) -> tuple[Holding, ...]:
    able = tuple(holding for holding in holdings if ask.needs <= holding.model.capabilities)
    if not able:
        lacking = min((ask.needs - holding.model.capabilities for holding in holdings), key=_told_first)
        raise Unsupported(f"{ask.model!r} cannot do {' and '.join(sorted(lacking))}: ask another model")
    return able


def _told_first(lacking: frozenset[str]) -> tuple[int, list[str]]:
    return len(lacking), sorted(lacking)


def _roomy(ask: Ask, able: tuple[Holding, ...]) -> tuple[Holding, ...]:
    tokens_min = ask.prompt_bytes // PROMPT_BYTES_PER_TOKEN_MAX
    roomy = tuple(holding for holding in able if tokens_min <= holding.context_tokens)
    if not roomy:
        longest = max(holding.context_tokens for holding in able)
        raise ContextTooLong(
            f"the prompt of {ask.prompt_bytes} bytes has at least {tokens_min} tokens, and the longest context of "
            f"{ask.model!r} is {longest}: shorten it",
            prompt_tokens_min=tokens_min,
            context_tokens=longest,
        )
    return roomy


def _ready(ask: Ask, roomy: tuple[Holding, ...], now: float) -> tuple[Holding, ...]:
    if ask.only is not None:
        roomy = tuple(holding for holding in roomy if holding.spoke.id == ask.only)
        if not roomy:
            raise NoSpoke(f"{ask.only} does not have {ask.model!r} any more: try again without it")
    ready = tuple(holding for holding in roomy if is_ready(holding.spoke, now))
    if not ready and any(_is_hoped_for(holding.spoke, ask, now) for holding in roomy):
        return ()
    if not ready:
        spokes = sorted(
            {holding.spoke.id: holding.spoke for holding in roomy}.values(), key=_heard_last_first
        )
        told = ", ".join(_absence(spoke, now) for spoke in spokes[:SPOKES_TOLD_MAX])
        more = f", and {len(spokes) - SPOKES_TOLD_MAX} more" if len(spokes) > SPOKES_TOLD_MAX else ""
        raise NoSpoke(f"no spoke that has {ask.model!r} takes work: {told}{more}. Try again later")
    untried = tuple(holding for holding in ready if holding.spoke.id not in ask.excluded)
    if not untried:
        raise NoSpoke(f"every spoke that has {ask.model!r} has tried this request already: try again later")
    return untried


def _is_hoped_for(spoke: Spoke, ask: Ask, now: float) -> bool:
    """Whether *spoke* is silent for a moment only, as far as anybody knows: its lease runs."""
    is_silent = spoke.state in {SpokeState.READY, SpokeState.SILENT} and now < spoke.lease_ends_at
    return is_silent and spoke.id not in ask.excluded


def _healthy(ask: Ask, ready: tuple[Holding, ...]) -> tuple[Holding, ...]:
    healthy = tuple(holding for holding in ready if not holding.engine.fault)
    if not healthy:
        ill = min(ready, key=lambda holding: holding.where)
        raise EngineUnavailable(
            f"{ask.model!r} cannot run: engine {ill.engine.name!r} of {ill.spoke.id} says: {ill.engine.fault}"
        )
    return healthy


def _heard_last_first(spoke: Spoke) -> tuple[float, str]:
    return -spoke.last_seen_at, spoke.id


def _absence(spoke: Spoke, now: float) -> str:
    """Say what became of *spoke*, and since when."""
    if spoke.state is SpokeState.DRAINING:
        return f"{spoke.id} takes no new work"
    heard = _span(now - spoke.last_seen_at)
    if spoke.state is SpokeState.LEFT:
        return f"{spoke.id} left {heard} ago"
    if spoke.state is SpokeState.LOST:
        return f"{spoke.id} was lost, and last heard {heard} ago"
    return f"{spoke.id} has been silent for {heard}"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
