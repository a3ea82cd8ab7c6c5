"""What the hub reckons with: spokes, requests, and what can be decided about them. Times are seconds of one clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from hubspoke.types import SpokeState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubspoke.errors import MeshError
    from hubspoke.types import Capability, Inventory, Model, ModelKey, Place, Priority, SpokeId

IN_SESSION: Final = frozenset({SpokeState.READY, SpokeState.SILENT, SpokeState.DRAINING})


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured of a model on a spoke; `None` until something was."""

    decode_tokens_per_s: float | None = None
    prefill_tokens_per_s: float | None = None
    load_s: float | None = None


@dataclass(frozen=True, slots=True)
class PendingLoad:
    """Memory promised to a load that has not ended, and what is unloaded to make room for it."""

    reserved_bytes: int
    since: float
    unload: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedLoad:
    """A load that went wrong, and until when it is not tried again."""

    error: MeshError
    retry_at: float


class Catalogue(NamedTuple):
    """The models of one inventory, to be looked up by key, and their keys by name (`llama3` as `llama3:latest`)."""

    by_key: Mapping[ModelKey, tuple[Model, ...]]
    by_name: Mapping[str, frozenset[ModelKey]]


@dataclass(frozen=True, slots=True)
class Spoke:
    """One spoke, in or out of session."""

    id: SpokeId
    session: int
    state: SpokeState
    agent_version: str
    slots: int
    inventory: Inventory
    catalogue: Catalogue
    registered_at: float
    last_seen_at: float
    lease_ends_at: float
    loads: Mapping[Place, PendingLoad] = field(default_factory=lambda: MappingProxyType({}))
    unloads: frozenset[Place] = frozenset()
    """What is being unloaded by hand."""
    failed_loads: Mapping[Place, FailedLoad] = field(default_factory=lambda: MappingProxyType({}))
    speeds: Mapping[ModelKey, Speed] = field(default_factory=lambda: MappingProxyType({}))
    used_at: Mapping[ModelKey, float] = field(default_factory=lambda: MappingProxyType({}))
    """When each model last answered here; what was not used for longest is unloaded first."""
    pinned: frozenset[ModelKey] = frozenset()
    """Models that stay in memory until they are unloaded by hand."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Every spoke that the hub knows, those that left or were lost included."""

    spokes: Mapping[SpokeId, Spoke] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What runs now: idle slots of each spoke, and running requests of each (spoke, model).

    *waiting* counts, by the name that they ask for, the requests that wait ahead of the one to decide on.
    """

    idle: Mapping[SpokeId, int]
    running: Mapping[tuple[SpokeId, ModelKey], int]
    waiting: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as the scheduler sees it. `excluded` spokes have failed it or declined it already.

    `prompt_bytes` are those of what has to fit into one context.
    """

    model: str
    needs: frozenset[Capability]
    prompt_bytes: int
    max_output_tokens: int
    priority: Priority
    arrived_at: float
    deadline_at: float | None = None
    excluded: frozenset[SpokeId] = frozenset()
    only: SpokeId | None = None
    """The one spoke that may have it: the one that has begun it already."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model on a spoke, ready to be assigned to or loaded."""

    spoke: SpokeId
    place: Place
    key: ModelKey
    digest: str
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Assign:
    """Run it there now. *also_named* are the other models that the name means too."""

    target: Target
    also_named: tuple[ModelKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """Bring the model into memory there, after unloading what is named, and wait for it."""

    target: Target
    reserved_bytes: int
    unload: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now: slots are busy, or the model is being loaded on *loading*.

    A load that the hub has ordered began at *since*, and is expected to take *expected_s* in all.
    """

    loading: SpokeId | None = None
    since: float | None = None
    expected_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be served; the error says why, with numbers."""

    error: MeshError


Decision = Assign | Load | Wait | Refuse
