"""A double of Ollama's HTTP API whose tokens are real: the shipped models run behind it in the embedded engine.

It does what Ollama 0.33 was read to do (its docs, `server/routes.go`, `server/sched.go`, `server/images.go`), also where
that is inconvenient: it streams unless told not to, adds `:latest`, loads a model anew when `num_ctx` or `shift` differ,
queues in silence, cuts prompts unless told not to, and ends the work of whoever hangs up.

This module is what it has; `ollama_answers` is what it says, `ollama_library` how models come and go, `ollama_server` the
way there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from hubspoke.types import Capability
from spoke.engines.llamacpp.engine import EmbeddedEngine
from spoke.models.store import ModelStore, StoredModel

VERSION: Final = "0.33.0"
NOT_FOUND: Final = "model '{}' not found"
TEMPLATE: Final = "{{ .Prompt }}"
FOR_EVER_S: Final = 10**9
SHAPES: Final = {
    "tiny": {"block_count": 4, "embedding_length": 128, "attention.head_count": 4},
    "nano": {"block_count": 3, "embedding_length": 96, "attention.head_count": 3},
}
CAPABILITIES: Final = {
    Capability.COMPLETION: "completion",
    Capability.EMBED: "embedding",
    Capability.TOOLS: "tools",
    Capability.VISION: "vision",
    Capability.THINKING: "thinking",
}
"""Ollama's words for what the embedded engine says of a model."""

Json: TypeAlias = dict[str, Any]
Reply: TypeAlias = Json | int | AsyncIterator[Json]
"""A whole body, a status without any, or a stream of lines."""


class Fault(Enum):
    """What goes wrong in the middle of an answer."""

    TRUNCATE = auto()  # a stream ends properly and without `done`, a whole body early
    GARBAGE = auto()
    NO_OBJECT = auto()
    ERROR = auto()  # a line that says so
    KILL = auto()  # the connection breaks
    HANG = auto()


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """An answer with an error."""

    status: int
    said: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A model by one of its names."""

    name: str
    stored: StoredModel
    capabilities: tuple[str, ...]
    template: str = TEMPLATE
    system: str = ""

    @property
    def whole_name(self) -> str:
        return self.name if ":" in self.name else f"{self.name}:latest"

    @property
    def digest(self) -> str:
        """Give the digest of the manifest, which is not that of the weights; a copy has the same."""
        parts = self.stored.digest, self.template, self.system
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def can(self, capability: str) -> bool:
        return capability in self.capabilities


@dataclass(slots=True)
class Runner:
    """A model in memory, for all its names."""

    offered: Offered
    context_tokens: int
    shift: bool
    keep_alive_s: float
    memory_bytes: int
    queue: asyncio.Semaphore
    busy: int = 0
    expiry: asyncio.TimerHandle | None = None
    expires_at: datetime | None = None


@dataclass(slots=True)
class OllamaDouble:
    """The server's state. Tests read what was asked, and set what goes wrong."""

    engine: EmbeddedEngine
    store: ModelStore
    parallel: int = 2
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    # What goes wrong, and on which routes. A fault is in every stream when none is named; a refusal is everywhere.
    fault: Fault | None = None
    fault_routes: frozenset[str] = frozenset()
    fault_said: str = "llama runner process no longer running: 2"
    refusal: Refusal | None = None
    refused_routes: frozenset[str] = frozenset()
    version: str = VERSION
    # What it has. Names that are hidden were deleted; what others were made of is in `made`.
    hidden: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)  # they are listed, and cannot be shown
    made: dict[str, Offered] = field(default_factory=dict)
    capabilities: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extra: list[Json] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fetched: dict[str, int] = field(default_factory=dict)  # bytes of each layer that has not come whole
    on_cards: float = 0.0  # the share of every model that is there
    # What the model says instead of what the embedded engine would: messages; and what becomes of its vectors.
    script: Sequence[Json] | None = None
    spoil: Callable[[list[list[float]]], list[list[float]]] | None = None
    # What happened.
    asked: list[tuple[str, Json]] = field(default_factory=list)
    loads: list[tuple[str, int]] = field(default_factory=list)
    runners: dict[str, Runner] = field(default_factory=dict)
    answering: int = 0
    working: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def offered(self) -> list[Offered]:
        """List the models under all their names."""
        known = {model.name: model.capabilities for model in await self.engine.models()}
        stored = [
            Offered(one.name, one, self.capabilities.get(one.name) or _words(known[one.name]))
            for one in await self.store.models()
            if one.name not in self.hidden
        ]
        return [*stored, *self.made.values()]

    async def find(self, body: Json) -> Offered:
        """Give the model that a request names; raise Refusal when there is none."""
        name = short(body)
        for offered in await self.offered():
            if offered.name == name:
                return offered
        raise Refusal(404, NOT_FOUND.format(body.get("model")))


def short(body: Json, key: str = "model") -> str:
    """Give the name in a request, without the tag that every name has by default."""
    return str(body.get(key, "")).removesuffix(":latest")


# Routes that only look.


async def version(double: OllamaDouble, _body: Json) -> Reply:
    return {"version": double.version}


async def tags(double: OllamaDouble, _body: Json) -> Reply:
    return {"models": [*(_listed(offered) for offered in await double.offered()), *double.extra]}


async def ps(double: OllamaDouble, _body: Json) -> Reply:
    models = []
    for runner in double.runners.values():
        kept_s = runner.keep_alive_s if runner.keep_alive_s >= 0 else FOR_EVER_S
        expires_at = runner.expires_at or datetime.now(UTC) + timedelta(seconds=kept_s)
        models.append(
            _listed(runner.offered)
            | {
                "size": runner.memory_bytes,
                "size_vram": int(runner.memory_bytes * double.on_cards),
                "context_length": runner.context_tokens,
                "expires_at": expires_at.isoformat(),
            }
        )
    return {"models": models}


async def show(double: OllamaDouble, body: Json) -> Reply:
    offered = await double.find(body)
    if offered.name in double.broken:
        raise Refusal(500, "unsupported content type in /home/den/models")
    header = offered.stored.header
    info: Json = {f"llama.{name}": value for name, value in SHAPES[offered.stored.name].items()}
    info |= {"general.architecture": header.architecture, "general.parameter_count": header.parameters}
    info |= {"llama.context_length": header.context_tokens_max, "tokenizer.ggml.tokens": None}
    return {
        "template": offered.template,
        "system": offered.system,
        "details": _listed(offered)["details"],
        "model_info": info,
        "capabilities": list(offered.capabilities),
        "modified_at": datetime.now(UTC).isoformat(),
    }


def _listed(offered: Offered) -> Json:
    header = offered.stored.header
    details = {
        "format": "gguf",
        "family": header.architecture,
        "families": [header.architecture],
        "parameter_size": f"{header.parameters / 1e6:.2f}M",
        "quantization_level": header.quantisation,
    }
    return {
        "name": offered.whole_name,
        "model": offered.whole_name,
        "digest": offered.digest,
        "size": offered.stored.size_bytes,
        "details": details,
    }


def _words(capabilities: frozenset[Capability]) -> tuple[str, ...]:
    return tuple(word for capability, word in CAPABILITIES.items() if capability in capabilities)
