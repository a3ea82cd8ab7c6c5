"""What there is: `/api/tags`, `/api/ps`, `/api/show`, `/api/version` and `/`."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

from hub.core.catalogue import canonical
from hub.gateway.ollama.bodies import model_name
from hub.gateway.parsing import parse
from hubspoke.types import Capability, ModelState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import ModelKey, ModelSummary, Replica

VERSION: Final = "0.33.0-hubspoke"
"""The version of Ollama whose dialect this is. Clients compare the numbers, and pass over what follows the dash."""
RUNNING: Final = b"Ollama is running"
"""Some clients look for these very words."""

UNKNOWN_TIME: Final = "1970-01-01T00:00:00Z"
"""When a file was last written is not told to the hub; clients need a time all the same."""
FOR_EVER: Final = "2999-12-31T23:59:59Z"
"""A model stays until its memory is needed, and not until a certain time."""

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_CAPABILITIES: Final = {
    Capability.CHAT: "completion",
    Capability.COMPLETION: "completion",
    Capability.EMBED: "embedding",
    Capability.TOOLS: "tools",
    Capability.VISION: "vision",
    Capability.THINKING: "thinking",
}
_UNITS: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


class ShowBody(msgspec.Struct):
    """The body of `/api/show`."""

    model: str | None = None
    name: str | None = None


async def tags(front: Front, exchange: Exchange, principal: Principal) -> None:
    """List every name that can be asked, by whoever asks."""
    listed = [
        {**_described(front, name, model), "modified_at": UNKNOWN_TIME, "size": model.size_bytes}
        for name, model in _names(front, principal)
    ]
    await exchange.respond(200, msgspec.json.encode({"models": listed}))


async def running(front: Front, exchange: Exchange, principal: Principal) -> None:
    """List what is in memory, each model once, on however many spokes and by whatever names."""
    listed = []
    for model in front.names.models(principal.key):
        replicas = [replica for replica in model.replicas if replica.state is ModelState.LOADED]
        if replicas:
            name = canonical(model.names[0])
            listed.append({**_described(front, name, model), **_in_memory(model, replicas)})
    await exchange.respond(200, msgspec.json.encode({"models": listed}))


async def show(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Describe one model."""
    body = parse(await exchange.body(), ShowBody)
    name = model_name(body.model, body.name)
    model = front.names.shown(name, principal.key)
    content = {
        "license": "",
        "modelfile": f"# Served by a mesh, which has no file of this kind.\nFROM {name}\n",
        "parameters": "",
        "template": _template(model),
        "details": _details(model, front.names.parameters(model.key)),
        "model_info": _information(model, front.names.parameters(model.key)),
        "capabilities": _capabilities(model),
        "modified_at": UNKNOWN_TIME,
        "hubspoke": {"model_key": model.key, "spokes": _spokes(model)},
    }
    await exchange.respond(200, msgspec.json.encode(content))


async def version(_front: Front, exchange: Exchange, _principal: Principal) -> None:
    """Say whose dialect this is."""
    await exchange.respond(200, msgspec.json.encode({"version": VERSION}))


async def root(_front: Front, exchange: Exchange, _principal: Principal) -> None:
    """Say that there is something."""
    await exchange.respond(200, RUNNING, "text/plain; charset=utf-8")


def _names(front: Front, principal: Principal) -> Iterator[tuple[str, ModelSummary]]:
    """Give every name with its tag, once; the most replicated model of a name is the one that it means."""
    found: dict[str, ModelSummary] = {}
    for name, model in front.names.listed(principal.key).items():
        found.setdefault(canonical(name), model)
    yield from sorted(found.items(), key=lambda pair: pair[0])


def _described(front: Front, name: str, model: ModelSummary) -> dict[str, object]:
    return {
        "name": name,
        "model": name,
        "digest": _digest(model.key),
        "details": _details(model, front.names.parameters(model.key)),
        "hubspoke": {"model_key": model.key, "spokes": _spokes(model)},
    }


def _in_memory(model: ModelSummary, replicas: list[Replica]) -> dict[str, object]:
    return {
        "size": sum(replica.memory_bytes or model.size_bytes for replica in replicas),
        "size_vram": sum(replica.vram_bytes or 0 for replica in replicas),
        "context_length": max(replica.context_tokens for replica in replicas),
        "expires_at": FOR_EVER,
    }


def _details(model: ModelSummary, parameters: int) -> dict[str, object]:
    return {
        "parent_model": "",
        # Only models that come as such a file have a digest.
        "format": "gguf" if _DIGEST.fullmatch(model.key) else "",
        "family": model.family,
        "families": [model.family] if model.family else [],
        "parameter_size": _shortened(parameters),
        "quantization_level": model.quantisation,
    }


def _information(model: ModelSummary, parameters: int) -> dict[str, object]:
    architecture = model.family or "unknown"
    context = model.context_tokens_max or max(
        (replica.context_tokens for replica in model.replicas), default=0
    )
    told = {
        "general.architecture": architecture,
        "general.parameter_count": parameters,
        f"{architecture}.context_length": context,
    }
    return {name: value for name, value in told.items() if value}


def _capabilities(model: ModelSummary) -> list[str]:
    return sorted({_CAPABILITIES[one] for one in model.capabilities if one in _CAPABILITIES})


def _template(model: ModelSummary) -> str:
    """Name what goes into a prompt: some clients look here for tools. The template itself stays with the spoke."""
    tools = "{{ .Tools }}" if Capability.TOOLS in model.capabilities else ""
    return "{{- /* as the model's file has it */ -}}{{ .System }}" + tools + "{{ .Messages }}"


def _digest(key: ModelKey) -> str:
    """Give 64 hexadecimal digits, as clients expect; a model without a digest is told apart by its key."""
    known = _DIGEST.fullmatch(key)
    return hashlib.sha256(key.encode()).hexdigest() if known is None else known[1]


def _spokes(model: ModelSummary) -> list[str]:
    return [replica.spoke for replica in model.replicas]


def _shortened(parameters: int) -> str:
    for size, unit in _UNITS:
        if parameters >= size:
            return f"{parameters / size:.1f}{unit}"
    return ""
