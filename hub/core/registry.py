"""Who is in the mesh and with what: one frozen value, and what each event makes of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.core.catalogue import catalogue_of
from hub.core.types import IN_SESSION, FailedLoad, PendingLoad, Registry, Spoke
from hubspoke.errors import EngineTimeout, InvalidRequest, SessionReplaced
from hubspoke.types import Place, SpokeState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.core.types import Load, Speed
    from hubspoke.errors import MeshError
    from hubspoke.types import Inventory, ModelKey, SpokeId

HEARTBEAT_S: Final = 2.0
"""How often a spoke is asked to beat."""

SILENCE_S: Final = 3.0
"""A spoke that was not heard for this long gets no new work."""

LEASE_S: Final = 10.0
"""A spoke that was not heard for this long is lost."""

LOAD_S_MAX: Final = 900.0
"""A load that takes longer is taken for failed. Spokes give up on their own after 600 s, which is 42 GB at 70 MB/s."""

LOAD_RETRY_S: Final = 30.0
"""How long a load that failed is not tried again at the same place."""

SPOKES_LISTED_MAX: Final = 1_000
"""Beyond it, the spokes that are gone for longest are forgotten; those in session never are."""

MODELS_PER_SPOKE_MAX: Final = 2_000
"""Models that one spoke may have."""


def registered(
    registry: Registry,
    spoke_id: SpokeId,
    *,
    session: int,
    inventory: Inventory,
    slots: int,
    agent_version: str,
    speeds: Mapping[ModelKey, Speed],
    pinned: frozenset[ModelKey] = frozenset(),
    goes_on: bool = False,
    now: float,
) -> Registry:
    """Start a session, in place of any older one of the same spoke, or *goes_on* with that one and what it has to do.

    Loads that failed a moment ago are remembered across sessions: one may be what killed the spoke. Raise
    InvalidRequest for an inventory that makes no sense, SessionReplaced when a newer session is known.
    """
    check_inventory(inventory)
    before = registry.spokes.get(spoke_id)
    if before is not None and session <= before.session:
        raise SessionReplaced(f"session {session} of {spoke_id} is older than its session {before.session}")
    spoke = Spoke(
        id=spoke_id,
        session=session,
        state=SpokeState.READY,
        agent_version=agent_version,
        slots=slots,
        inventory=inventory,
        catalogue=catalogue_of(spoke_id, inventory),
        registered_at=now,
        last_seen_at=now,
        lease_ends_at=now + LEASE_S,
        failed_loads=MappingProxyType({}) if before is None else _still_barred(before, inventory, now),
        speeds=MappingProxyType({**speeds, **({} if before is None else before.speeds)}),
        pinned=pinned if before is None else before.pinned,
    )
    if goes_on and before is not None:
        spoke = replace(spoke, loads=before.loads, unloads=before.unloads, used_at=before.used_at)
    return _with_room(_with(registry, spoke))


def beat(
    registry: Registry,
    spoke_id: SpokeId,
    session: int,
    *,
    inventory: Inventory | None,
    draining: bool,
    now: float,
) -> Registry:
    """Keep a spoke for one more lease; its inventory is unchanged when *inventory* is `None`.

    Raise SessionReplaced for a session that has ended or is not the spoke's own, InvalidRequest for an inventory
    that makes no sense.
    """
    spoke = require(registry, spoke_id, session)
    if inventory is not None:
        check_inventory(inventory)
        spoke = _with_inventory(spoke, inventory, now)
    return _with(
        registry,
        replace(
            spoke,
            state=SpokeState.DRAINING if draining else SpokeState.READY,
            last_seen_at=now,
            lease_ends_at=now + LEASE_S,
        ),
    )


def left(registry: Registry, spoke_id: SpokeId, session: int) -> Registry:
    """End a session on purpose; one that has ended already stays as it is."""
    return _ended(registry, spoke_id, session, SpokeState.LEFT)


def lost(registry: Registry, spoke_id: SpokeId, session: int) -> Registry:
    """End a session whose stream broke; one that has ended already, by a goodbye for one, stays as it is."""
    return _ended(registry, spoke_id, session, SpokeState.LOST)


def swept(registry: Registry, now: float) -> tuple[Registry, tuple[Spoke, ...]]:
    """Do what time brings: silence, leases and loads that are over. Give the spokes that were lost by it."""
    changed: dict[SpokeId, Spoke] = {}
    for spoke in registry.spokes.values():
        if spoke.state in IN_SESSION and (after := _aged(spoke, now)) is not spoke:
            changed[spoke.id] = after
    if not changed:
        return registry, ()
    spokes = MappingProxyType({**registry.spokes, **changed})
    return Registry(spokes), tuple(spoke for spoke in changed.values() if spoke.state is SpokeState.LOST)


def load_started(registry: Registry, load: Load, now: float) -> Registry:
    """Promise memory to *load* until it ends; what it unloads takes no work from now on."""
    spoke = registry.spokes[load.target.spoke]
    pending = PendingLoad(load.reserved_bytes, now, load.unload)
    return _with(
        registry, replace(spoke, loads=MappingProxyType({**spoke.loads, load.target.place: pending}))
    )


def load_ended(
    registry: Registry,
    spoke_id: SpokeId,
    session: int,
    place: Place,
    *,
    error: MeshError | None,
    now: float,
) -> Registry:
    """Give its memory back; after an *error* the place is left alone for LOAD_RETRY_S.

    To be called after the `beat` that brought the result, whose inventory shows what the load has taken. Raise
    SessionReplaced as `beat` does.
    """
    return _with(registry, _without_load(require(registry, spoke_id, session), place, error, now))


def unload_started(registry: Registry, spoke_id: SpokeId, place: Place) -> Registry:
    """Give no work to a model that is being unloaded by hand, until that ends."""
    spoke = registry.spokes[spoke_id]
    return _with(registry, replace(spoke, unloads=spoke.unloads | {place}))


def unload_ended(registry: Registry, spoke_id: SpokeId, session: int, place: Place) -> Registry:
    """Go by the inventory again. To be called after the `beat` that brought the result; raise as `beat` does."""
    spoke = require(registry, spoke_id, session)
    return _with(registry, replace(spoke, unloads=spoke.unloads - {place}))


def pinned(registry: Registry, spoke_id: SpokeId, key: ModelKey, *, pinned: bool) -> Registry:
    """Keep a model of a spoke in memory until it is unloaded by hand, or no longer; nothing if the spoke is unknown."""
    spoke = registry.spokes.get(spoke_id)
    if spoke is None:
        return registry
    kept = spoke.pinned | {key} if pinned else spoke.pinned - {key}
    return _with(registry, replace(spoke, pinned=kept))


def measured(registry: Registry, spoke_id: SpokeId, key: ModelKey, speed: Speed, now: float) -> Registry:
    """Note how fast a model was just now, when it answered or was loaded; nothing if it is gone meanwhile."""
    spoke = registry.spokes.get(spoke_id)
    if spoke is None or key not in spoke.catalogue.by_key:
        return registry
    speeds = MappingProxyType({**spoke.speeds, key: speed})
    return _with(
        registry, replace(spoke, speeds=speeds, used_at=MappingProxyType({**spoke.used_at, key: now}))
    )


def require(registry: Registry, spoke_id: SpokeId, session: int) -> Spoke:
    """Give a spoke in *session*; raise SessionReplaced when that has ended or was never the spoke's own."""
    spoke = _in_session(registry, spoke_id, session)
    if spoke is None:
        raise SessionReplaced(f"session {session} of {spoke_id} is over; register again")
    return spoke


def is_ready(spoke: Spoke, now: float) -> bool:
    """Whether it may get new work: in session, not draining, and heard of lately, swept or not."""
    return spoke.state is SpokeState.READY and now - spoke.last_seen_at < SILENCE_S


def check_inventory(inventory: Inventory) -> None:
    """Raise InvalidRequest for what no machine can have. Single fields are `hubspoke.wire`'s to check."""
    if len(inventory.models) > MODELS_PER_SPOKE_MAX:
        raise InvalidRequest(
            f"the inventory has {len(inventory.models)} models; at most {MODELS_PER_SPOKE_MAX} are taken"
        )
    engines = {engine.name for engine in inventory.engines}
    if len(engines) < len(inventory.engines):
        raise InvalidRequest("the inventory names an engine twice")
    places: set[Place] = set()
    for model in inventory.models:
        place = Place(model.engine, model.name)
        if model.engine not in engines:
            raise InvalidRequest(
                f"model {model.name!r} names engine {model.engine!r}, which is not in the inventory"
            )
        if place in places:
            raise InvalidRequest(f"engine {model.engine!r} names model {model.name!r} twice")
        places.add(place)


def _with(registry: Registry, spoke: Spoke) -> Registry:
    return Registry(MappingProxyType({**registry.spokes, spoke.id: spoke}))


def _in_session(registry: Registry, spoke_id: SpokeId, session: int) -> Spoke | None:
    spoke = registry.spokes.get(spoke_id)
    if spoke is None or spoke.session != session or spoke.state not in IN_SESSION:
        return None
    return spoke


def _with_room(registry: Registry) -> Registry:
    """Forget the spokes that are gone for longest, as far as the list is too long."""
    excess = len(registry.spokes) - SPOKES_LISTED_MAX
    if excess <= 0:
        return registry
    gone = sorted(
        (spoke.last_seen_at, spoke.id) for spoke in registry.spokes.values() if spoke.state not in IN_SESSION
    )
    forgotten = {spoke_id for _, spoke_id in gone[:excess]}
    kept = {spoke_id: spoke for spoke_id, spoke in registry.spokes.items() if spoke_id not in forgotten}
    return Registry(MappingProxyType(kept))


def _with_inventory(spoke: Spoke, inventory: Inventory, now: float) -> Spoke:
    """Take over what the spoke has now; a load is over when its model is there."""
    catalogue = catalogue_of(spoke.id, inventory)
    loaded = {Place(model.engine, model.name) for model in inventory.models if model.loaded is not None}
    return replace(
        spoke,
        inventory=inventory,
        catalogue=catalogue,
        loads=MappingProxyType({place: load for place, load in spoke.loads.items() if place not in loaded}),
        failed_loads=_still_barred(spoke, inventory, now),
        used_at=MappingProxyType({key: at for key, at in spoke.used_at.items() if key in catalogue.by_key}),
    )


def _still_barred(spoke: Spoke, inventory: Inventory, now: float) -> Mapping[Place, FailedLoad]:
    """Give the failed loads that still count, of models that are there and not loaded by other means."""
    cold = {Place(model.engine, model.name) for model in inventory.models if model.loaded is None}
    return MappingProxyType(
        {
            place: failed
            for place, failed in spoke.failed_loads.items()
            if place in cold and now < failed.retry_at
        }
    )


def _ended(registry: Registry, spoke_id: SpokeId, session: int, state: SpokeState) -> Registry:
    spoke = _in_session(registry, spoke_id, session)
    return registry if spoke is None else _with(registry, _gone(spoke, state))


def _gone(spoke: Spoke, state: SpokeState) -> Spoke:
    return replace(spoke, state=state, loads=MappingProxyType({}), unloads=frozenset())


def _aged(spoke: Spoke, now: float) -> Spoke:
    if now >= spoke.lease_ends_at:
        return _gone(spoke, SpokeState.LOST)
    for place, load in spoke.loads.items():
        if now - load.since >= LOAD_S_MAX:
            error = EngineTimeout(f"{spoke.id} has not loaded {place.model!r} within {LOAD_S_MAX:.0f} s")
            spoke = _without_load(spoke, place, error, now)
    if spoke.state is SpokeState.READY and not is_ready(spoke, now):
        spoke = replace(spoke, state=SpokeState.SILENT)
    return spoke


def _without_load(spoke: Spoke, place: Place, error: MeshError | None, now: float) -> Spoke:
    loads = {other: load for other, load in spoke.loads.items() if other != place}
    failed = {other: failure for other, failure in spoke.failed_loads.items() if other != place}
    if error is not None:
        failed[place] = FailedLoad(error, now + LOAD_RETRY_S)
    return replace(spoke, loads=MappingProxyType(loads), failed_loads=MappingProxyType(failed))
