"""Where a request goes: the one decision of the hub, as a function of what is known when it is made.

Warm with a free slot comes before everything. Otherwise the shortest expected wait wins: for a slot of a busy
replica, for a load that is under way, or for a new load, which has to be better by far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hub.core import estimator
from hub.core.catalogue import holdings, resolve
from hub.core.eligibility import eligible
from hub.core.room import does_not_fit, has_prospect, planned_load
from hub.core.types import Assign, Load, Refuse, Target, Wait
from hub.core.vram import unloading
from hubspoke.errors import MeshError, from_reason
from hubspoke.types import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.core.catalogue import Holding
    from hub.core.registry import Registry
    from hub.core.types import Ask, Decision, Traffic
    from hubspoke.types import SpokeId

LOAD_GAIN: Final = 1.5
"""A new load must promise a wait so many times shorter: it costs memory, and slows down what runs beside it."""


class _Standing(NamedTuple):
    """Where the replicas of one model stand, at most one for each spoke in the first two."""

    warm: list[Holding]
    loading: list[Holding]
    cold: list[Holding]
    failed: list[Holding]
    leaving: list[Holding]


class _Chance(NamedTuple):
    """A load that could be started, and how long until it serves the request."""

    wait_s: float
    busy_share: float
    load: Load


def choose(ask: Ask, registry: Registry, traffic: Traffic, now: float) -> Decision:
    """Say what to do with *ask* at *now*: the same for the same arguments, in whatever order the spokes come."""
    try:
        name = resolve(registry, ask.model)
        standing = _standing(eligible(ask, holdings(registry, name.key), now), now)
    except MeshError as error:
        return Refuse(error)
    free = [holding for holding in standing.warm if _has_free_slot(holding, traffic)]
    if free:
        best = min(free, key=lambda holding: _run_rank(ask, holding, traffic))
        return Assign(_target(best), name.also_named)
    return _without_a_free_slot(ask, standing, traffic, now)
