"""What models need in memory, and what there is.

An engine computes in one pool: its healthy cards together, or main memory where it has no card. Apple's GPUs share
main memory, so they count as that. `None` means unknown, and what is unknown is tried: the engine will tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hub.core.catalogue import engine_of
from hubspoke.types import GpuKind, MemoryPool, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.core.types import Spoke
    from hubspoke.types import EngineInfo, Inventory, Model

WEIGHTS_PERCENT: Final = 110
"""Weights in memory against weights on disk: a tenth more for compute buffers and the driver."""

KV_TOKENS_PER_WEIGHTS: Final = 32_768
"""A KV cache of so many tokens is taken to be as large as the weights, where the model does not say.

On the safe side for 4-bit models with grouped attention. Measured: 4.9 GB of weights and 128 KiB a token (8B) give
37,500 tokens, 1.1 GB and 28 KiB (1.5B) 39,000, 42.5 GB and 320 KiB (70B) 130,000.
"""

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


def needed_bytes(model: Model) -> int | None:
    """Say what a load of *model* takes: weights x 1.1, and the KV cache for the context of all slots of its plan."""
    if not model.size_bytes:
        return None
    tokens = model.plan.slots * model.plan.context_tokens
    cache_bytes = (
        model.kv_bytes_per_token * tokens
        if model.kv_bytes_per_token
        else model.size_bytes * tokens // KV_TOKENS_PER_WEIGHTS
    )
    return model.size_bytes * WEIGHTS_PERCENT // 100 + cache_bytes


def free_bytes(spoke: Spoke, engine: EngineInfo) -> int | None:
    """Say what a new load in *engine* could have: what is free or about to be, less what is promised to others.

    What a load that still runs has taken already counts twice; that errs on the safe side, and ends with the load.
    """
    room = _room_bytes(spoke.inventory, engine)
    if room is None:
        return None
    if not spoke.loads:
        return room
    leaving = _making_room(spoke)
    freed = sum(
        occupied_bytes(spoke.inventory, model)
        for model in loaded_beside(spoke, engine)
        if Place(model.engine, model.name) in leaving
    )
    return max(0, room + freed - reserved_bytes(spoke, engine))


def attainable_bytes(spoke: Spoke, engine: EngineInfo) -> int | None:
    """Say what there could be once all in the pool of *engine* has ended and is unloaded that is not pinned."""
    room = _room_bytes(spoke.inventory, engine)
    if room is None:
        return None
    movable = (model for model in loaded_beside(spoke, engine) if model.key(spoke.id) not in spoke.pinned)
    return room + sum(occupied_bytes(spoke.inventory, model) for model in movable)


def reserved_bytes(spoke: Spoke, engine: EngineInfo) -> int:
    """Say what is promised to loads in the pool of *engine*."""
    return sum(
        load.reserved_bytes
        for place, load in spoke.loads.items()
        if _share_memory(spoke.inventory, place.engine, engine.name)
    )


def occupied_bytes(inventory: Inventory, model: Model) -> int:
    """Say what unloading *model* gives back to its pool, at least; 0 for one that is not loaded."""
    loaded = model.loaded
    if loaded is None:
        return 0
    engine = engine_of(inventory, model.engine)
    if _cards(inventory, engine):
        # On cards, what the process takes of main memory says nothing.
        return model.size_bytes if loaded.vram_bytes is None else loaded.vram_bytes
    if not engine.gpus:
        # What lies on a card that nobody has listed is not main memory's to give back.
        return max(0, (loaded.memory_bytes or model.size_bytes) - (loaded.vram_bytes or 0))
    return loaded.memory_bytes or model.size_bytes


def loaded_beside(spoke: Spoke, engine: EngineInfo) -> tuple[Model, ...]:
    """Give the loaded models that take up memory in the pool of *engine*."""
    inventory = spoke.inventory
    return tuple(
        model
        for model in inventory.models
        if model.loaded is not None and _share_memory(inventory, model.engine, engine.name)
    )


def pools(spoke: Spoke) -> tuple[MemoryPool, ...]:
    """Describe the memory that the engines of *spoke* compute in, cards first: each pool once.

    What is *observed* is what loaded models were seen to take; what runs there beside them is in neither figure.
    """
    inventory = spoke.inventory
    by_cards: dict[tuple[int, ...], EngineInfo] = {}
    for engine in inventory.engines:
        by_cards.setdefault(tuple(sorted(_cards(inventory, engine))), engine)
    return tuple(_pool(spoke, cards, by_cards[cards]) for cards in sorted(by_cards, key=lambda c: (not c, c)))


def unloading(spoke: Spoke) -> frozenset[Place]:
    """Give what is on its way out of memory, by hand or to make room for a load that has not ended."""
    return spoke.unloads | _making_room(spoke)


def at_least(n_bytes: int) -> str:
    """Show a need for people: `7.9 GiB`, rounded up."""
    return _shown(n_bytes, math.ceil)


def at_most(n_bytes: int) -> str:
    """Show an offer for people: `6.4 GiB`, rounded down."""
    return _shown(n_bytes, math.floor)


def _making_room(spoke: Spoke) -> frozenset[Place]:
    return frozenset(place for load in spoke.loads.values() for place in load.unload)


def _pool(spoke: Spoke, cards: tuple[int, ...], engine: EngineInfo) -> MemoryPool:
    inventory = spoke.inventory
    totals = [gpu.memory_total_bytes for gpu in inventory.gpus if gpu.index in cards]
    is_known = len(totals) == len(cards) and None not in totals
    return MemoryPool(
        gpus=cards,
        total_bytes=(
            inventory.memory.total_bytes
            if not cards
            else sum(total or 0 for total in totals)
            if is_known
            else None
        ),
        free_bytes=_room_bytes(inventory, engine),
        reserved_bytes=reserved_bytes(spoke, engine),
        observed_bytes=sum(occupied_bytes(inventory, model) for model in loaded_beside(spoke, engine)),
    )


def _room_bytes(inventory: Inventory, engine: EngineInfo) -> int | None:
    """Say what is free now in the pool of *engine*: a card that is broken has nothing to give."""
    own = _cards(inventory, engine)
    if not own:
        return inventory.memory.available_bytes
    cards = {gpu.index: gpu for gpu in inventory.gpus}
    total = 0
    for index in own:
        card = cards.get(index)
        if card is None or (not card.fault and card.memory_free_bytes is None):
            return None
        total += 0 if card.fault else card.memory_free_bytes or 0
    return total


def _cards(inventory: Inventory, engine: EngineInfo) -> frozenset[int]:
    """Give the cards of *engine* that have memory of their own."""
    shared = {gpu.index for gpu in inventory.gpus if gpu.kind is GpuKind.METAL}
    return frozenset(engine.gpus) - shared


def _share_memory(inventory: Inventory, one: str, other: str) -> bool:
    """Whether two engines draw on the same pool, or on pools with a card in common; an engine that is gone might."""
    cards = {engine.name: _cards(inventory, engine) for engine in inventory.engines}
    ones, others = cards.get(one), cards.get(other)
    if one == other or ones is None or others is None:
        return True
    return bool(ones & others) if ones and others else ones == others


def _shown(n_bytes: int, rounded: Callable[[float], int]) -> str:
    unit, name = (_GIB, "GiB") if n_bytes >= _GIB // 10 else (_MIB, "MiB")
    return f"{rounded(n_bytes * 10 / unit) / 10:.1f} {name}"
