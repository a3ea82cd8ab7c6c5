"""The mesh as a whole: its spokes, and its models wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from hubspoke.types.machines import Capability, Inventory, ModelKey, ModelState, Place, SpokeId


@dataclass(frozen=True, slots=True)
class Replica:
    """A model on one spoke; `None`, and 0 bytes, are unknown. A *pinned* one leaves memory by hand only."""

    spoke: SpokeId
    state: ModelState
    slots: int = 0
    busy: int = 0
    decode_tokens_per_s: float | None = None
    load_s: float | None = None
    engine: str = ""
    context_tokens: int = 0
    memory_bytes: int = 0
    vram_bytes: int | None = None
    pinned: bool = False
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model of the mesh, wherever it is; 0 is unknown."""

    key: ModelKey
    names: tuple[str, ...]
    size_bytes: int
    family: str
    quantisation: str
    context_tokens_max: int
    capabilities: frozenset[Capability]
    replicas: tuple[Replica, ...]


class SpokeState(StrEnum):
    """How a spoke is doing, as the hub sees it."""

    READY = "ready"
    SILENT = "silent"
    DRAINING = "draining"
    LEFT = "left"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """Memory that engines share, of the cards *gpus* or main memory without any; in bytes, `None` is unknown.

    *free* is what the driver or the system says, *reserved* what is promised to loads, *observed* what models take.
    """

    gpus: tuple[int, ...] = ()
    total_bytes: int | None = None
    free_bytes: int | None = None
    reserved_bytes: int = 0
    observed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SpokeStatus:
    """A spoke as the hub sees it. `slots` are its open work streams, of which `busy` run something."""

    name: SpokeId
    state: SpokeState
    agent_version: str
    registered_at: datetime
    last_seen_at: datetime
    slots: int
    busy: int
    inventory: Inventory
    reserved_bytes: int
    pools: tuple[MemoryPool, ...] = ()


@dataclass(frozen=True, slots=True)
class Loading:
    """A load under way: *elapsed_s* of the *expected_s* that it takes in all."""

    spoke: SpokeId
    elapsed_s: float
    expected_s: float


@dataclass(frozen=True, slots=True)
class InMemory:
    """A model that is in memory, and for how many requests; 0 bytes are unknown."""

    spoke: SpokeId
    place: Place
    slots: int
    context_tokens: int
    memory_bytes: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull under way, in the engine's words; 0 bytes are unknown."""

    spoke: SpokeId
    step: str
    completed_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is on a spoke's disk."""

    spoke: SpokeId
    place: Place


LoadEvent: TypeAlias = Loading | InMemory
"""What is seen of a load by hand: `InMemory` comes last, when it worked."""

PullEvent: TypeAlias = Pulling | Pulled
"""What is seen of a pull: `Pulled` comes last, when it worked."""
