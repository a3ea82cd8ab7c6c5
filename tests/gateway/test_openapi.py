"""What is published about the gateway is what it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

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


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/api/chat"])
async def test_a_route_that_ollama_has_not_is_told_in_its_words(gateway: Gateway, path: str) -> None:
    response = await gateway.http.get(path)
    assert response.status_code == (405 if path == "/api/chat" else 404)
    assert f"GET {path} is nothing" in response.json()["error"]
    assert response.json()["hubspoke"]["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages/batches", {}),
        ("/v1/complete", {"anthropic-version": "2023-06-01"}),
        ("/v1/messages", {}),
    ],
)
async def test_a_route_that_anthropic_has_not_is_told_in_its_words(
    gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    response = await gateway.http.get(path, headers=headers)
    kind = "invalid_request_error" if path == "/v1/messages" else "not_found_error"
    assert (response.json()["type"], response.json()["error"]["type"]) == ("error", kind)
    assert response.json()["request_id"] == response.headers["request-id"]


async def test_a_route_that_there_is_not_is_told_in_some_dialect(gateway: Gateway) -> None:
    response = await gateway.http.get("/v1/nothing")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert response.headers["x-hubspoke-mesh"] == "hubspoke.internal"
    assert response.headers["x-should-retry"] == "false"
    wrong = await gateway.http.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
