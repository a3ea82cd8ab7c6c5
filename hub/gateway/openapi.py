"""`/openapi.json`: every route with the schema of what it takes, made from the very types that bodies are read into."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from hub.gateway.app import Way
from hub.gateway.openai.errors import OpenAi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.gateway.access import Principal
    from hub.gateway.exchange import Exchange
    from hub.gateway.front import Front

PATH: Final = "/openapi.json"
VERSION: Final = "3.1.0"
TEMPLATE: Final = "#/components/schemas/{name}"

_CONVERTER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


def described(ways: Sequence[Way], version: str) -> Way:
    """Give the route that describes *ways*, and itself."""
    content = msgspec.json.encode(document(ways, version))

    async def serve(_front: Front, exchange: Exchange, _principal: Principal) -> None:
        await exchange.respond(200, content)

    return Way(("GET",), PATH, OpenAi(), serve, is_open=True)


def document(ways: Sequence[Way], version: str) -> dict[str, object]:
    """Describe *ways* in the words of OpenAPI."""
    bodies = [way.body for way in ways if way.body is not None]
    # All at once: two dialects may use one name for bodies of their own, and each gets a longer one then.
    references, schemas = msgspec.json.schema_components(bodies, ref_template=TEMPLATE, schema_hook=_anything)
    by_body = dict(zip(bodies, references, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for way in ways:
        place = paths.setdefault(_CONVERTER.sub(r"{\1}", way.path), {})
        for method in way.methods:
            place[method.lower()] = _operation(way, by_body)
    security = {
        "key": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return {
        "openapi": VERSION,
        "info": {"title": "Hubspoke's HTTP gateway", "version": version},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
        "security": [{"key": []}, {"header": []}],
    }


def _operation(way: Way, by_body: Mapping[type[msgspec.Struct], object]) -> dict[str, object]:
    operation: dict[str, object] = {
        "summary": (way.handler.__doc__ or "").partition("\n")[0],
        "responses": {"200": {"description": "It worked."}, "default": {"description": "An error."}},
    }
    names = [match[1] for match in _CONVERTER.finditer(way.path)]
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if way.body is not None:
        schema = by_body[way.body]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if way.is_open:
        operation["security"] = []
    return operation


def _anything(_kind: type) -> dict[str, object]:
    """Describe what a body may hold anything in."""
    return {"description": "Any JSON."}
