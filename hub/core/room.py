"""How a cold model would get into memory: as it is, after unloading idle ones, later, or never."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hub.core import estimator, vram
from hub.core.catalogue import holding_of
from hub.core.types import Load
from hubspoke.errors import DoesNotFit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hub.core.catalogue import Holding
    from hub.core.types import Traffic
    from hubspoke.types import Place


class Plan(NamedTuple):
    """A load that fits, and the time that bringing back what it unloads would take."""

    load: Load
    harm_s: float


def plan(holding: Holding, traffic: Traffic, now: float) -> Plan | None:
    """Say how to load the model now; `None` when too much of the memory is in use. What is unknown is tried."""
    needed = vram.needed_bytes(holding.model)
    free = vram.free_bytes(holding.spoke, holding.engine)
    missing = 0 if needed is None or free is None else needed - free
    victims = _victims(holding, missing, traffic, now)
    if victims is None:
        return None
    load = Load(holding.target, needed or 0, tuple(victim.place for victim in victims))
    return Plan(load, sum(_reload_s(victim) for victim in victims))


def has_prospect(holding: Holding) -> bool:
    """Whether the model would fit once all else on its spoke has ended."""
    needed = vram.needed_bytes(holding.model)
    attainable = vram.attainable_bytes(holding.spoke, holding.engine)
    return needed is None or attainable is None or needed <= attainable


def does_not_fit(name: str, hopeless: Sequence[Holding]) -> DoesNotFit:
    """Give the error for a model that fits on none of the spokes that have it, at least one."""
    attainable, holding = max(
        ((vram.attainable_bytes(holding.spoke, holding.engine) or 0, holding) for holding in hopeless),
        key=lambda pair: (pair[0], pair[1].where),
    )
    needed = vram.needed_bytes(holding.model) or 0
    return DoesNotFit(
        f"{name!r} needs {vram.at_least(needed)} of memory, largest free is {vram.at_most(attainable)} on "
        f"{holding.spoke.id} with all else unloaded: ask a smaller model, or give it less context or fewer slots",
        needed_bytes=needed,
        free_bytes=attainable,
        spoke=holding.spoke.id,
    )


def _victims(holding: Holding, missing: int, traffic: Traffic, now: float) -> list[Holding] | None:
    """Choose what to unload so that *missing* bytes come free: the least valuable, and no more than it takes."""
    if missing <= 0:
        return []
    idle = _idle_beside(holding, traffic)
    taken: list[tuple[Holding, int]] = []
    for victim in sorted(idle, key=lambda victim: (_value(victim, now), victim.place)):
        taken.append((victim, vram.occupied_bytes(victim.spoke.inventory, victim.model)))
        if sum(n_bytes for _, n_bytes in taken) >= missing:
            return [victim for victim, _ in _spared(taken, missing)]
    return None


def _spared(taken: list[tuple[Holding, int]], missing: int) -> list[tuple[Holding, int]]:
    """Keep those in memory that a later, larger one has made needless; the most valuable first."""
    for one in reversed(taken):
        rest = [other for other in taken if other is not one]
        if sum(n_bytes for _, n_bytes in rest) >= missing:
            taken = rest
    return taken


def _idle_beside(holding: Holding, traffic: Traffic) -> list[Holding]:
    """Give what could be unloaded there: nothing that runs, is pinned, on its way in or out, or whose engine is broken."""
    spoke = holding.spoke
    moving: frozenset[Place] = vram.unloading(spoke) | frozenset(spoke.loads)
    beside = (holding_of(spoke, model) for model in vram.loaded_beside(spoke, holding.engine))
    return [
        victim
        for victim in beside
        if victim.place not in moving
        and victim.key not in spoke.pinned
        and not victim.engine.fault
        and not traffic.running.get((spoke.id, victim.key), 0)
    ]


def _value(victim: Holding, now: float) -> float:
    """Rate a loaded model: what bringing it back costs, against how long nobody has wanted it."""
    used_at = victim.spoke.used_at.get(victim.key, victim.spoke.registered_at)
    return _reload_s(victim) / (1.0 + max(now - used_at, 0.0))


def _reload_s(victim: Holding) -> float:
    return estimator.load_s(victim.model, victim.speed)
