"""Where a request goes: the one decision of the hub, as a function of what is known when it is made.

Warm with a free slot comes before everything. Otherwise the shortest expected wait wins: for a slot of a busy
replica, for a load that is under way, or for a new load, which has to be better by far.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from hub.core import estimator, room
from hub.core.catalogue import holding_of, holdings, resolve
from hub.core.eligibility import eligible
from hub.core.types import Assign, Load, Refuse, Wait
from hub.core.vram import unloading
from hubspoke.errors import MeshError, UnknownModel
from hubspoke.types import ModelState, Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.core.catalogue import Holding
    from hub.core.types import Ask, Decision, Registry, Spoke, Traffic
    from hubspoke.types import SpokeId

LOAD_GAIN: Final = 1.5
"""A new load must promise a wait so many times shorter: it costs memory, and slows down what runs beside it."""


class Standing(NamedTuple):
    """How the places of one model stand. A spoke that has it warm or on its way has it nowhere else."""

    warm: list[Holding]
    loading: list[Holding]
    leaving: list[Holding]  # being unloaded, by hand or to make room for another
    failed: list[Holding]  # a load went wrong, and is not tried again yet
    cold: list[Holding]


def choose(ask: Ask, registry: Registry, traffic: Traffic, now: float) -> Decision:
    """Say what to do with *ask* at *now*: the same for the same arguments, in whatever order the spokes come."""
    try:
        name = resolve(registry, ask.model)
        places = eligible(ask, holdings(registry, name.key), now)
    except MeshError as error:
        return Refuse(error)
    if not places:
        return Wait()
    standing = _standing(places, now)
    free = [holding for holding in standing.warm if _has_free_slot(holding, traffic)]
    if free:
        best = min(free, key=lambda holding: _run_rank(ask, holding, traffic))
        return Assign(best.target, name.also_named)
    wait, expected_s = _shortest_wait(ask, standing, traffic, now)
    load, serves_in_s = _quickest_load(ask, standing.cold, traffic, now)
    if load is not None and (wait is None or serves_in_s * LOAD_GAIN < expected_s):
        return load
    return wait or _prospect(ask, standing, now)


def bring(
    ask: Ask, registry: Registry, traffic: Traffic, now: float, *, only: SpokeId | None = None
) -> Holding | Load | Wait | Refuse:
    """Say how the model of *ask* gets into memory, on the spoke *only* if that is given: it is there, or what to do."""
    try:
        name = resolve(registry, ask.model)
        places = tuple(h for h in holdings(registry, name.key) if only in {None, h.spoke.id})
        if not places:
            raise UnknownModel(f"{only} has no {ask.model!r}, or is not in this mesh")
        places = eligible(ask, places, now)
    except MeshError as error:
        return Refuse(error)
    if not places:
        return Wait()
    standing = _standing(places, now)
    if standing.warm:
        return min(standing.warm, key=lambda holding: holding.where)
    if standing.loading:
        return _waiting_for(min(standing.loading, key=lambda holding: holding.where))
    load, _ = _quickest_load(ask, standing.cold, traffic, now)
    return load or _prospect(ask, standing, now)


def ordered(load: Load, registry: Registry) -> Wait:
    """Say what waits for *load*, which *registry* shows to have started."""
    spoke = registry.spokes[load.target.spoke]
    model = next(m for m in spoke.inventory.models if Place(m.engine, m.name) == load.target.place)
    return _waiting_for(holding_of(spoke, model))


def _standing(places: Iterable[Holding], now: float) -> Standing:
    by_spoke: dict[SpokeId, list[Holding]] = defaultdict(list)
    for holding in places:
        by_spoke[holding.spoke.id].append(holding)
    standing = Standing([], [], [], [], [])
    for held in by_spoke.values():
        _sort_in(standing, held, now)
    return standing


def _sort_in(standing: Standing, held: list[Holding], now: float) -> None:
    """Sort the places of one spoke: a digest may go by several names there, of which one is loaded."""
    spoke = held[0].spoke
    leaving = unloading(spoke)
    if len(held) > 1:
        held = sorted(held, key=lambda holding: holding.place)
    warm = [holding for holding in held if holding.model.loaded and holding.place not in leaving]
    loading = [holding for holding in held if _is_loading(holding)]
    if warm:
        standing.warm.append(max(warm, key=_own_slots))
    elif loading:
        standing.loading.append(loading[0])
    else:
        for holding in held:
            failed = spoke.failed_loads.get(holding.place)
            if holding.place in leaving:
                standing.leaving.append(holding)
            elif failed is not None and now < failed.retry_at:
                standing.failed.append(holding)
            else:
                standing.cold.append(holding)


def _is_loading(holding: Holding) -> bool:
    return holding.model.state is ModelState.LOADING or holding.place in holding.spoke.loads


def _own_slots(holding: Holding) -> int:
    """Say how many requests the model itself runs side by side, whatever the spoke can carry."""
    return 0 if holding.model.loaded is None else holding.model.loaded.slots


def _slots(holding: Holding) -> int:
    """Say how many requests the model runs, or would run, side by side: the spoke's own slots are a limit too."""
    loaded = holding.model.loaded
    return min(holding.model.plan.slots if loaded is None else loaded.slots, holding.spoke.slots)


def _has_free_slot(holding: Holding, traffic: Traffic) -> bool:
    """Whether both the model and the spoke have a slot that is free."""
    loaded, running = holding.model.loaded, traffic.running.get((holding.spoke.id, holding.key), 0)
    return loaded is not None and running < loaded.slots and traffic.idle.get(holding.spoke.id, 0) > 0


def _run_rank(ask: Ask, holding: Holding, traffic: Traffic) -> tuple[float, float, SpokeId]:
    """Rank places that could begin at once. A spoke that is all busy is reckoned to be half as fast."""
    busy = _busy_share(holding.spoke, traffic)
    return estimator.run_s(ask, holding.speed) * (1 + busy), busy, holding.spoke.id


def _busy_share(spoke: Spoke, traffic: Traffic) -> float:
    return 1 - min(traffic.idle.get(spoke.id, 0) / spoke.slots, 1.0)


def _shortest_wait(ask: Ask, standing: Standing, traffic: Traffic, now: float) -> tuple[Wait | None, float]:
    """Say what is best waited for of what is busy or under way, and for how many seconds."""
    ahead = traffic.waiting.get(ask.model, 0)
    waits: list[tuple[float, Wait]] = []
    if standing.warm:
        busy = ((_slots(holding), estimator.run_s(ask, holding.speed)) for holding in standing.warm)
        waits.append((estimator.wait_s(busy, ahead), Wait()))
    waits.extend(
        (_loading_s(holding, now) + _behind_s(ask, holding, ahead), _waiting_for(holding))
        for holding in standing.loading
    )
    if not waits:
        return None, 0.0
    seconds, wait = min(waits, key=lambda pair: (pair[0], pair[1].loading or ""))
    return wait, seconds


def _waiting_for(holding: Holding) -> Wait:
    """Say what waits for a load that is under way; of one that is not its own the hub knows no more than that."""
    pending = holding.spoke.loads.get(holding.place)
    if pending is None:
        return Wait(holding.spoke.id)
    return Wait(holding.spoke.id, pending.since, estimator.load_s(holding.model, holding.speed))


def _loading_s(holding: Holding, now: float) -> float:
    """Give the expected rest of a load; the hub does not know when a load began that is not its own."""
    pending = holding.spoke.loads.get(holding.place)
    elapsed_s = 0.0 if pending is None else now - pending.since
    return estimator.remaining_s(estimator.load_s(holding.model, holding.speed), elapsed_s)


def _behind_s(ask: Ask, holding: Holding, ahead: int) -> float:
    """Give the wait after a load, for those who do not get one of its slots at once."""
    excess = ahead - _slots(holding)
    if excess < 0:
        return 0.0
    return estimator.wait_s([(_slots(holding), estimator.run_s(ask, holding.speed))], excess)


def _quickest_load(ask: Ask, cold: list[Holding], traffic: Traffic, now: float) -> tuple[Load | None, float]:
    """Say which load could be started, and in how many seconds it would serve *ask*."""
    chances = [
        (
            _serves_in_s(ask, holding, plan, traffic, now),
            _busy_share(holding.spoke, traffic),
            holding.where,
            plan,
        )
        for holding in cold
        if (plan := room.plan(holding, traffic, now)) is not None
    ]
    if not chances:
        return None, 0.0
    seconds, _, _, plan = min(chances, key=lambda chance: chance[:3])
    return plan.load, seconds


def _serves_in_s(ask: Ask, holding: Holding, plan: room.Plan, traffic: Traffic, now: float) -> float:
    """Give the expected wait if it were loaded now: behind other loads there, and with what is unloaded for it."""
    spoke, run_s = holding.spoke, estimator.run_s(ask, holding.speed)
    stream_s = 0.0 if traffic.idle.get(spoke.id, 0) else estimator.wait_s([(spoke.slots, run_s)], 0)
    load_s = estimator.load_s(holding.model, holding.speed)
    return _queued_s(spoke, now) + max(load_s, stream_s) + plan.harm_s


def _queued_s(spoke: Spoke, now: float) -> float:
    """Give the expected rest of all loads of *spoke*, which does them one after the other."""
    if not spoke.loads:
        return 0.0
    models = (model for model in spoke.inventory.models if Place(model.engine, model.name) in spoke.loads)
    return sum(_loading_s(holding_of(spoke, model), now) for model in models)


def _prospect(ask: Ask, standing: Standing, now: float) -> Wait | Refuse:
    """Say what is left when nothing is warm, under way or can be started."""
    if standing.leaving or any(room.has_prospect(holding) for holding in standing.cold):
        return Wait()
    if standing.failed:
        return Refuse(_failure(ask, standing.failed, now))
    return Refuse(room.does_not_fit(ask.model, standing.cold))


def _failure(ask: Ask, failed: list[Holding], now: float) -> MeshError:
    """Give the reason of the load that is tried again soonest."""
    failures = ((holding.spoke.failed_loads[holding.place], holding) for holding in failed)
    failure, holding = min(failures, key=lambda pair: (pair[0].retry_at, pair[1].where))
    retry_s = failure.retry_at - now
    return type(failure.error)(
        f"{ask.model!r} could not be loaded on {holding.spoke.id}: {failure.error.message}. "
        f"It can be tried again in {retry_s:.0f} s",
        **failure.error.figures,
    )
