"""`/v1/models` and `/v1/models/{id}` in Anthropic's shape, for requests that carry `anthropic-version`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hubspoke.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front
    from hubspoke.types import ModelSummary

PAGE: Final = 20
PAGE_MAX: Final = 1_000
UNKNOWN_DATE: Final = "1970-01-01T00:00:00Z"
"""When a model was made, nobody in a mesh knows; the dialect insists on a date."""


async def models(front: Front, exchange: Exchange, principal: Principal) -> None:
    """List a page of the names that can be asked."""
    named = front.names.listed(principal.key)
    page, has_more = _page(list(named), exchange.query)
    content = {
        "data": [_described(name, named[name]) for name in page],
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
        "has_more": has_more,
    }
    await exchange.respond(200, msgspec.json.encode(content))


async def model(front: Front, exchange: Exchange, principal: Principal) -> None:
    """Describe one model."""
    name = exchange.parameters["model"]
    await exchange.respond(200, msgspec.json.encode(_described(name, front.names.shown(name, principal.key))))


def _page(names: list[str], query: Mapping[str, str]) -> tuple[list[str], bool]:
    """Give the names of a page, and whether there are more beyond it."""
    limit = query.get("limit", str(PAGE))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= PAGE_MAX:
        raise InvalidRequest(f"limit is {limit[:20]!r}; give 1 to {PAGE_MAX}")
    size = int(limit)
    if "before_id" in query:
        before = names[: _place(names, query["before_id"])]
        return before[-size:], len(before) > size
    after = names[_place(names, query["after_id"]) + 1 :] if "after_id" in query else names
    return after[:size], len(after) > size


def _place(names: list[str], name: str) -> int:
    if name not in names:
        raise InvalidRequest(f"no model is called {name[:100]!r}; give the first_id or last_id of a page")
    return names.index(name)


def _described(name: str, model: ModelSummary) -> dict[str, object]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": UNKNOWN_DATE,
        "lifecycle": "active",
        "max_input_tokens": model.context_tokens_max or None,
        "hubspoke": {
            "capabilities": sorted(model.capabilities),
            "spokes": [replica.spoke for replica in model.replicas],
        },
    }
