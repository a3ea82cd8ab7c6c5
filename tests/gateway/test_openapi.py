"""What is published about the gateway is what it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from hub.gateway.build import WAYS

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway


async def test_every_route_is_described_and_its_body_has_a_schema(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as anybody:
        document = (await anybody.get("/openapi.json")).json()
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    served = {(method, way.path.replace(":path", "")) for way in WAYS for method in way.methods}
    assert described == served
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                assert reference.rpartition("/")[2] in document["components"]["schemas"]


async def test_a_route_that_there_is_not_is_told_in_some_dialect(gateway: Gateway) -> None:
    response = await gateway.http.get("/v1/nothing")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert response.headers["x-hubspoke-mesh"] == "hubspoke.internal"
    wrong = await gateway.http.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
