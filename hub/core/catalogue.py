"""What can be asked for: the models of all spokes, by key and by the names that people use."""

from __future__ import annotations

import difflib
from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from hub.core.types import IN_SESSION, Catalogue, Speed, Target
from hubspoke.errors import UnknownModel
from hubspoke.types import ModelKey, ModelState, ModelSummary, Place, Replica

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from hub.core.types import Registry, Spoke, Traffic
    from hubspoke.types import Capability, EngineInfo, Inventory, Model, SpokeId

NAMES_TOLD_MAX: Final = 3
"""Models that the answer to an unknown name speaks of."""

NAMES_COMPARED_MAX: Final = 500
"""Models that are looked at for one that was meant: asking for nonsense must stay cheap."""

_MOST_READY_FIRST: Final = (ModelState.LOADED, ModelState.LOADING, ModelState.COLD)


class Resolution(NamedTuple):
    """The model that a name is taken for, and the others that it means too."""

    key: ModelKey
    also_named: tuple[ModelKey, ...] = ()


class Holding(NamedTuple):
    """A model that a spoke has, with the engine that has it there."""

    spoke: Spoke
    engine: EngineInfo
    model: Model
    key: ModelKey

    @property
    def place(self) -> Place:
        """Where it is on the spoke."""
        return Place(self.model.engine, self.model.name)

    @property
    def where(self) -> tuple[SpokeId, Place]:
        """Tell it from every other: what decides between those that are equal in all else."""
        return self.spoke.id, self.place

    @property
    def target(self) -> Target:
        """Say what is to be assigned to, or loaded."""
        return Target(self.spoke.id, self.place, self.key, self.model.digest, self.context_tokens)

    @property
    def speed(self) -> Speed:
        """How fast it was here so far."""
        return self.spoke.speeds.get(self.key, Speed())

    @property
    def context_tokens(self) -> int:
        """The context that a request gets: as it is loaded, or as it would be."""
        return (
            self.model.plan.context_tokens if self.model.loaded is None else self.model.loaded.context_tokens
        )


def catalogue_of(spoke_id: SpokeId, inventory: Inventory) -> Catalogue:
    """Make the models of *inventory* quick to find."""
    by_key: dict[ModelKey, tuple[Model, ...]] = {}
    by_name: dict[str, frozenset[ModelKey]] = {}
    for model in inventory.models:
        key, name = model.key(spoke_id), canonical(model.name)
        by_key[key] = (*by_key.get(key, ()), model)
        by_name[name] = by_name.get(name, frozenset()) | {key}
    return Catalogue(MappingProxyType(by_key), MappingProxyType(by_name))


def canonical(name: str) -> str:
    """Give *name* with its tag, which is `latest` unless it says otherwise."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def resolve(registry: Registry, name: str) -> Resolution:
    """Find what *name* means: a key, a digest, or a name of an engine, where `llama3` stands for `llama3:latest`.

    Of several models the most replicated is taken, then the one loaded more often, then the first by key. Spokes
    that are gone count only where no other has it. Raise UnknownModel, with names that come close.
    """
    tagged = canonical(name)
    present: dict[ModelKey, list[tuple[Model, ...]]] = defaultdict(list)
    gone: dict[ModelKey, list[tuple[Model, ...]]] = defaultdict(list)
    for spoke in registry.spokes.values():
        found = present if spoke.state in IN_SESSION else gone
        for key in _meant(spoke.catalogue, name, tagged):
            found[key].append(spoke.catalogue.by_key[key])
    ranked = sorted((_rank(key, replicas), key) for key, replicas in (present or gone).items())
    if not ranked:
        raise _unknown(registry, name)
    (_, key), *others = ranked
    return Resolution(key, tuple(other for _, other in others))


def automatic(
    registry: Registry, needs: frozenset[Capability], may: Callable[[str], bool] = lambda _name: True
) -> ModelKey:
    """Choose a model for who does not care which: one that can do it, in memory if any is, on most spokes, the largest.

    Only those with a name that *may* lets pass. Raise UnknownModel when there is none.
    """
    ranks: dict[ModelKey, list[Model]] = defaultdict(list)
    for spoke in registry.spokes.values():
        if spoke.state in IN_SESSION:
            for key, found in spoke.catalogue.by_key.items():
                ranks[key] += [model for model in found if needs <= model.capabilities and may(model.name)]
    able = {key: found for key, found in ranks.items() if found}
    if not able:
        wanted = " and ".join(sorted(needs))
        raise UnknownModel(
            f"no spoke has a model that can do {wanted}; `hubspoke models` lists what there is"
        )
    return max(able, key=lambda key: (*_merit(able[key]), key))


def _merit(found: list[Model]) -> tuple[bool, int, int]:
    is_loaded = any(model.loaded is not None for model in found)
    return is_loaded, len(found), max(model.parameters or model.size_bytes for model in found)


def holdings(registry: Registry, key: ModelKey) -> Iterator[Holding]:
    """Give every place of the model *key*, those on spokes that are gone included."""
    for spoke in registry.spokes.values():
        for model in spoke.catalogue.by_key.get(key, ()):
            yield Holding(spoke, engine_of(spoke.inventory, model.engine), model, key)


def goes_by(spoke: Spoke, name: str) -> Iterator[Holding]:
    """Give what *spoke* has under *name*, or, when that is a key, the model of that key under all its names."""
    tagged = canonical(name)
    key = next((key for key in (ModelKey(name), ModelKey(tagged)) if key in spoke.catalogue.by_key), None)
    for model in spoke.inventory.models:
        held = holding_of(spoke, model)
        if canonical(model.name) == tagged if key is None else held.key == key:
            yield held


def holding_of(spoke: Spoke, model: Model) -> Holding:
    """Give *model* of *spoke* with all that goes with it."""
    return Holding(spoke, engine_of(spoke.inventory, model.engine), model, model.key(spoke.id))


def engine_of(inventory: Inventory, name: str) -> EngineInfo:
    """Give the engine of that name; `check_inventory` has seen to it that there is one."""
    return next(engine for engine in inventory.engines if engine.name == name)


def models(
    registry: Registry, traffic: Traffic, time_of_day: Callable[[float], datetime]
) -> tuple[ModelSummary, ...]:
    """List the models of the spokes in session, the most replicated first, then by name.

    *time_of_day* turns seconds of the registry's clock into the time that people read.
    """
    replicas: dict[ModelKey, list[tuple[Spoke, tuple[Model, ...]]]] = defaultdict(list)
    for spoke in registry.spokes.values():
        if spoke.state in IN_SESSION:
            for key, found in spoke.catalogue.by_key.items():
                replicas[key].append((spoke, found))
    summaries = (_summary(key, found, traffic, time_of_day) for key, found in replicas.items())
    return tuple(sorted(summaries, key=lambda summary: (-len(summary.replicas), summary.names, summary.key)))


def _meant(catalogue: Catalogue, name: str, tagged: str) -> Iterable[ModelKey]:
    """Give the models of one spoke that *name* means; a key comes before a name that reads the same."""
    for key in (ModelKey(name), ModelKey(tagged)):
        if key in catalogue.by_key:
            return (key,)
    return catalogue.by_name.get(tagged, ())


def _rank(key: ModelKey, replicas: list[tuple[Model, ...]]) -> tuple[int, int, ModelKey]:
    loaded = sum(any(model.loaded is not None for model in found) for found in replicas)
    return -len(replicas), -loaded, key


def _summary(
    key: ModelKey,
    found: list[tuple[Spoke, tuple[Model, ...]]],
    traffic: Traffic,
    time_of_day: Callable[[float], datetime],
) -> ModelSummary:
    everywhere = [model for _, on_spoke in found for model in on_spoke]
    return ModelSummary(
        key=key,
        names=tuple(sorted({model.name for model in everywhere})),
        size_bytes=max(model.size_bytes for model in everywhere),
        family=max(model.family for model in everywhere),
        quantisation=max(model.quantisation for model in everywhere),
        context_tokens_max=max(model.context_tokens_max for model in everywhere),
        capabilities=frozenset().union(*(model.capabilities for model in everywhere)),
        replicas=tuple(
            _replica(key, spoke, on_spoke, traffic, time_of_day)
            for spoke, on_spoke in sorted(found, key=lambda pair: pair[0].id)
        ),
    )


def _replica(
    key: ModelKey,
    spoke: Spoke,
    on_spoke: tuple[Model, ...],
    traffic: Traffic,
    time_of_day: Callable[[float], datetime],
) -> Replica:
    """Show one spoke's copy; where it goes by several names, the one that is readiest to answer."""
    model = min(on_spoke, key=lambda model: _MOST_READY_FIRST.index(model.state))
    speed = spoke.speeds.get(key, Speed())
    loading = any(Place(one.engine, one.name) in spoke.loads for one in on_spoke)
    return Replica(
        spoke=spoke.id,
        state=ModelState.LOADING if loading and model.loaded is None else model.state,
        slots=0 if model.loaded is None else model.loaded.slots,
        busy=traffic.running.get((spoke.id, key), 0),
        decode_tokens_per_s=speed.decode_tokens_per_s,
        load_s=speed.load_s,
        engine=model.engine,
        context_tokens=0 if model.loaded is None else model.loaded.context_tokens,
        memory_bytes=0 if model.loaded is None else model.loaded.memory_bytes,
        vram_bytes=None if model.loaded is None else model.loaded.vram_bytes,
        pinned=key in spoke.pinned,
        used_at=time_of_day(spoke.used_at[key]) if key in spoke.used_at else None,
    )


def _unknown(registry: Registry, name: str) -> UnknownModel:
    spokes = [spoke for spoke in registry.spokes.values() if spoke.state in IN_SESSION]
    names = sorted({model.name for spoke in spokes for model in spoke.inventory.models})
    # An engine that is down has no models to show: that may be where the model is.
    ill = sorted((spoke.id, engine) for spoke in spokes for engine in _ill(spoke))
    told = "".join(f". Engine {engine!r} of {spoke} is down" for spoke, engine in ill[:NAMES_TOLD_MAX])
    if not names:
        return UnknownModel(f"no spoke has {name!r}, or any other model{told}")
    if close := _close(name, names):
        return UnknownModel(f"no spoke has {name!r}: did you mean {_listed(close)}?{told[1:]}")
    more = len(names) - NAMES_TOLD_MAX
    rest = f" and {more} more, which `hubspoke models` lists" if more > 0 else ""
    return UnknownModel(f"no spoke has {name!r}: there is {_listed(names[:NAMES_TOLD_MAX])}{rest}{told}")


def _close(name: str, names: list[str]) -> list[str]:
    """Give the names most like *name*. The tag that most have would make them all look alike."""
    bare = {other.removesuffix(":latest"): other for other in names[:NAMES_COMPARED_MAX]}
    close = difflib.get_close_matches(name.removesuffix(":latest"), bare, NAMES_TOLD_MAX)
    return [bare[other] for other in close]


def _ill(spoke: Spoke) -> list[str]:
    return [engine.name for engine in spoke.inventory.engines if engine.fault]


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
