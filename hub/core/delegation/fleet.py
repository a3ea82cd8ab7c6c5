"""Who could work for a delegation: the big model, and the small ones on all spokes, with the speeds measured of each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from hub.core import estimator
from hub.core.catalogue import holding_of, holdings
from hub.core.delegation.accepts import Kind, is_trusted
from hub.core.delegation.cost import Fleet, Lane, run_s
from hub.core.registry import is_ready
from hubspoke.types import Capability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hub.core.catalogue import Holding
    from hub.core.delegation.accepts import Accepts
    from hub.core.delegation.cost import Call
    from hub.core.types import Registry, Speed, Traffic
    from hubspoke.types import Model, ModelKey, SpokeId

BUSY_SLOT_SHARE: Final = 0.5
"""How fast one slot is when all of a spoke's are at work, as the scheduler reckons."""

ABLE_PARAMETERS: Final = 3_000_000_000
"""Smaller models extract, classify and format; they do not reason or write."""

ABLE_SHARE: Final = 1 / 3
"""Or so large beside the big model, where that is small itself."""

SIMPLE_TASKS: Final = frozenset({"extract", "classify", "format"})
"""Kinds of task that any model may be given."""

LANES_MAX: Final = 256
"""Slots that are reckoned with; no plan has more subtasks."""


class Candidate(NamedTuple):
    """A model that may help, as one of the spokes has it that give it the most context."""

    key: ModelKey
    model: Model
    context_tokens: int


def fleet_of(
    registry: Registry, traffic: Traffic, big: ModelKey, accepts: Accepts, now: float
) -> Fleet | None:
    """Give what there is to work with at *now*: the model *big* where it answers soonest, and small ones that may help.

    A spoke lends the free slots of one model: one in memory rather than another, then the largest. None when no spoke
    that can be reached has the big one.
    """
    homes = [holding for holding in holdings(registry, big) if _can_chat(holding, now)]
    if not homes:
        return None
    home = min(homes, key=lambda holding: (_ready_s(holding), -_decode(holding.speed), holding.where))
    small = [holding for holding in _others(registry, home) if _can_chat(holding, now)]

    def lent(task: str) -> tuple[Lane, ...]:
        fit = [one for one in small if is_able(one.model, task, home.model)]
        return _lent([one for one in fit if is_trusted(accepts, Kind(one.key, task), now)], traffic)

    return Fleet(_lane(home, home.speed), readers=lent("extract"), workers=lent(""))


def candidates(registry: Registry, big: ModelKey, now: float) -> tuple[Candidate, ...]:
    """Give the models that may help *big*, the smallest first, each once."""
    found: dict[ModelKey, Candidate] = {}
    for home in holdings(registry, big):
        for holding in _others(registry, home) if _can_chat(home, now) else ():
            if _can_chat(holding, now):
                one = Candidate(holding.key, holding.model, holding.context_tokens)
                found[holding.key] = max(one, found.get(holding.key, one), key=_context)
    return tuple(sorted(found.values(), key=lambda one: (_size(one.model), one.key)))


def is_able(model: Model, task: str, big: Model) -> bool:
    """Whether *model* is large enough for that kind of task beside *big*; one of unknown size is."""
    least = min(ABLE_PARAMETERS, big.parameters * ABLE_SHARE if big.parameters else ABLE_PARAMETERS)
    return task in SIMPLE_TASKS or not 0 < model.parameters < least


def spread(work: Sequence[Call], lanes: Sequence[Lane]) -> tuple[ModelKey, ...]:
    """Say which model gets each of *work*, so that every lane is used as its speed allows."""
    free = [lane.ready_s for lane in lanes]
    chosen = []
    for call in work:
        ends = [begun + run_s(call, lane.speed) for begun, lane in zip(free, lanes, strict=True)]
        place = min(range(len(ends)), key=ends.__getitem__)
        free[place] = ends[place]
        chosen.append(lanes[place].model)
    return tuple(chosen)


def _others(registry: Registry, home: Holding) -> Iterator[Holding]:
    """Give the places of models that are no larger than the big one; that itself only on other spokes than its *home*."""
    for spoke in registry.spokes.values():
        for model in spoke.inventory.models:
            holding = holding_of(spoke, model)
            away = spoke.id != home.spoke.id
            if away if holding.key == home.key else _size(model) <= _size(home.model):
                yield holding


def _lent(holdings: Sequence[Holding], traffic: Traffic) -> tuple[Lane, ...]:
    """Give the free slots of the best model of each spoke."""
    best: dict[SpokeId, Holding] = {}
    for holding in sorted(holdings, key=_lent_first):
        best.setdefault(holding.spoke.id, holding)
    lanes = (lane for _, holding in sorted(best.items()) for lane in _lanes(holding, traffic))
    return tuple(lanes)[:LANES_MAX]


def _lent_first(holding: Holding) -> tuple[bool, int, str]:
    return holding.model.loaded is None, -_size(holding.model), holding.model.name


def _lanes(holding: Holding, traffic: Traffic) -> list[Lane]:
    loaded = holding.model.loaded
    most = holding.model.plan.slots if loaded is None else loaded.slots
    running = traffic.running.get((holding.spoke.id, holding.key), 0)
    slots = max(min(most - running, traffic.idle.get(holding.spoke.id, 0)), 0)
    # One request has the card to itself; many together are as fast as the share says.
    share = max(1 / slots, BUSY_SLOT_SHARE) if slots else 1.0
    return [_lane(holding, _slowed(holding.speed, share))] * slots


def _slowed(speed: Speed, share: float) -> Speed:
    prefill = speed.prefill_tokens_per_s or estimator.PREFILL_TOKENS_PER_S
    return replace(speed, decode_tokens_per_s=_decode(speed) * share, prefill_tokens_per_s=prefill * share)


def _lane(holding: Holding, speed: Speed) -> Lane:
    return Lane(holding.key, speed, holding.context_tokens, _ready_s(holding))


def _ready_s(holding: Holding) -> float:
    return 0.0 if holding.model.loaded is not None else estimator.load_s(holding.model, holding.speed)


def _decode(speed: Speed) -> float:
    return speed.decode_tokens_per_s or estimator.DECODE_TOKENS_PER_S


def _context(candidate: Candidate) -> int:
    return candidate.context_tokens


def _size(model: Model) -> int:
    return model.parameters or model.size_bytes


def _can_chat(holding: Holding, now: float) -> bool:
    able = Capability.CHAT in holding.model.capabilities
    return able and is_ready(holding.spoke, now) and not holding.engine.fault
