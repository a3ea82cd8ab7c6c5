"""The values that hubs, spokes and apps share. Frozen, and free of any wire type: `hubspoke.wire` converts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from datetime import datetime

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


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    TOOL_CALLS = "tool_calls"


class Priority(StrEnum):
    """Which requests go first when not all can."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Speaker(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card; `None` is unknown, a `fault` says why it cannot be used."""

    index: int
    kind: GpuKind
    name: str
    uuid: str = ""
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    utilisation_percent: int | None = None
    temperature_celsius: int | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """The machine's main memory, in bytes."""

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """A program on the spoke that runs models; a `fault` says why it cannot be used.

    `gpus` are the indexes of the cards that it computes on; without any it computes in main memory.
    """

    name: str
    version: str = ""
    fault: str = ""
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How a spoke loads a model: requests side by side, and the context of each in tokens."""

    slots: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loaded model takes up: slots, context of each slot in tokens, bytes (0 or `None` is unknown)."""

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
class Message:
    """One turn of a conversation."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; the model's own default stands for `None`."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A question: a conversation or, when `messages` is empty, a raw `prompt`. 0 output tokens means no limit."""

    model: str
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    sampling: Sampling = field(default=Sampling())
    max_output_tokens: int = 0
    stop: tuple[str, ...] = ()
    priority: Priority = Priority.INTERACTIVE
    session_key: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost, in tokens and seconds; `None` is unknown."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    prompt_s: float | None = None
    decode_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """Some of an answer: *text* that follows all text before it, made of *tokens* output tokens."""

    text: str
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer, and what it cost."""

    reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing runs yet: the model is being loaded on *spoke*, or all its slots are busy when that is empty."""

    spoke: SpokeId | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """Where an answer is made; *also_named* holds other models that the name in the request means too."""

    spoke: SpokeId
    model: str
    model_key: ModelKey
    queue_s: float
    attempt: int
    also_named: tuple[ModelKey, ...] = ()


Event = Waiting | Started | Delta | Finished
"""What a client sees of one request, in this order; only `Finished` is certain to come, and last."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A model on one spoke; `None` is unknown."""

    spoke: SpokeId
    state: ModelState
    slots: int = 0
    busy: int = 0
    decode_tokens_per_s: float | None = None
    load_s: float | None = None


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
