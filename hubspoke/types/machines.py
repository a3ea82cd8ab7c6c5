"""What machines have: cards, memory, engines and models; and the names by which they are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, NewType

SpokeId = NewType("SpokeId", str)
"""A spoke's name, as its certificate gives it."""

ModelKey = NewType("ModelKey", str)
"""What makes a model the same model: its digest, or `<spoke>/<engine>/<name>` where there is none."""


class Place(NamedTuple):
    """A model of one engine, as the spoke that has it names it."""

    engine: str
    model: str


class Capability(StrEnum):
    """What a model can be asked for."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBED = "embed"
    JSON_SCHEMA = "json_schema"
    TOOLS = "tools"
    VISION = "vision"
    THINKING = "thinking"
    SAMPLING = "sampling"
    TOOL_CHOICE = "tool_choice"


class GpuKind(StrEnum):
    """Which interface a GPU was found through."""

    CUDA = "cuda"
    ROCM = "rocm"
    METAL = "metal"
    VULKAN = "vulkan"


class ModelState(StrEnum):
    """Whether a model could answer at once."""

    COLD = "cold"
    LOADING = "loading"
    LOADED = "loaded"


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A program that computes on a card, and what it has of the card's memory; `None` is unknown."""

    pid: int
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card; `None` is unknown, a `fault` says why it cannot be used.

    What is used and what is free need not add up to the total: drivers keep some for themselves.
    """

    index: int
    kind: GpuKind
    name: str
    uuid: str = ""
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    utilisation_percent: int | None = None
    temperature_celsius: int | None = None
    fault: str = ""
    memory_used_bytes: int | None = None
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class HostMemory:
    """The machine's main memory, in bytes."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """A program on the spoke that runs models; a `fault` says why it cannot be used.

    `gpus` are the indexes of the cards that it computes on; without any it computes in main memory. `pulls` says whether
    it can get models by name.
    """

    name: str
    version: str = ""
    fault: str = ""
    gpus: tuple[int, ...] = ()
    pulls: bool = False


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How a spoke loads a model: requests side by side, and the context of each in tokens."""

    slots: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loaded model takes up: slots, context of each slot in tokens, bytes (0 or `None` is unknown).

    `memory_bytes` is all of it, wherever it lies, as far as known; `vram_bytes` is the share of that on GPUs.
    """

    slots: int
    context_tokens: int
    memory_bytes: int = 0
    vram_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model as one engine of one spoke has it. `loaded` is there exactly when the state is LOADED; 0 is unknown."""

    engine: str
    name: str
    digest: str = ""
    size_bytes: int = 0
    family: str = ""
    quantisation: str = ""
    parameters: int = 0
    context_tokens_max: int = 0
    kv_bytes_per_token: int = 0
    capabilities: frozenset[Capability] = frozenset({Capability.CHAT})
    plan: LoadPlan = LoadPlan(slots=1, context_tokens=2048)
    state: ModelState = ModelState.COLD
    loaded: Loaded | None = None

    def key(self, spoke: SpokeId) -> ModelKey:
        """Say what makes this model, found on *spoke*, the same model as another."""
        return ModelKey(self.digest or f"{spoke}/{self.engine}/{self.name}")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that a spoke has, as it is now."""

    memory: HostMemory
    gpus: tuple[Gpu, ...] = ()
    engines: tuple[EngineInfo, ...] = ()
    models: tuple[Model, ...] = ()


@dataclass(frozen=True, slots=True)
class PullStep:
    """How far an engine has come with getting a model, in its own words; 0 bytes are unknown."""

    step: str
    completed_bytes: int = 0
    total_bytes: int = 0
