"""`/v1/models` and `/v1/models/{id}`, whose ids may hold slashes and colons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import ModelSummary


async def models(front: Front, exchange: Exchange, principal: Principal) -> None:
    """List every name that can be asked, by whoever asks."""
    data = [_described(name, model) for name, model in front.names.listed(principal.key).items()]
    await exchange.respond(200, msgspec.json.encode({"object": "list", "data": data}))


async def model(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Describe one model."""
    name = exchange.parameters["model"]
    await exchange.respond(200, msgspec.json.encode(_described(name, front.names.shown(name, principal.key))))


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
