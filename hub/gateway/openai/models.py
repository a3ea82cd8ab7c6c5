"""`/v1/models` and `/v1/models/{id}`, whose ids may hold slashes and colons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hub.core.catalogue import canonical
from hub.gateway.front import AUTO
from hubspoke.errors import UnknownModel

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import ModelSummary


async def models(front: Front, exchange: Exchange, _principal: Principal) -> None:
    """List every name that can be asked."""
    listed = {name: _described(name, model) for model in front.models() for name in model.names}
    for alias, meant in front.aliases.items():
        if (model := _found(front, meant)) is not None:
            listed.setdefault(alias, _described(alias, model))
    content = {"object": "list", "data": list(listed.values())}
    await exchange.respond(200, msgspec.json.encode(content))


async def model(front: Front, exchange: Exchange, _principal: Principal) -> None:
    """Describe one model."""
    name = exchange.parameters["model"]
    found = _found(front, front.aliases.get(name, name))
    if found is None:
        raise UnknownModel(f"no spoke has {name!r}; `/v1/models` lists what there is, and {AUTO!r} takes any")
    await exchange.respond(200, msgspec.json.encode(_described(name, found)))


def _found(front: Front, name: str) -> ModelSummary | None:
    tagged = canonical(name)
    return next(
        (
            model
            for model in front.models()
            if model.key == name or any(canonical(known) == tagged for known in model.names)
        ),
        None,
    )


def _described(name: str, model: ModelSummary) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "hubspoke",
        "max_model_len": model.context_tokens_max or None,
        "capabilities": sorted(model.capabilities),
        "spokes": [replica.spoke for replica in model.replicas],
    }
