"""Models and counted tokens in Anthropic's dialect, over a real hub and a real agent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.fakes.engine import PROMPT_TOKENS, FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.talk import PNG, able_engine
from tests.gateway.test_anthropic_messages import ASK

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

VERSION = {"anthropic-version": "2023-06-01"}
COUNT = {name: value for name, value in ASK.items() if name != "max_tokens"}


async def test_tokens_are_counted_by_the_engine_of_a_model_that_is_loaded(gateway: Gateway) -> None:
    engine = able_engine()
    async with gateway.spoke(engine):
        response = await gateway.http.post("/v1/messages/count_tokens?beta=true", json=COUNT)
    assert response.json() == {"input_tokens": PROMPT_TOKENS}
    assert "x-hubspoke-estimated" not in response.headers
    assert engine.requests[0].max_output_tokens == 1


async def test_no_model_is_loaded_to_count_tokens(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(loaded=False))
    async with gateway.spoke(engine):
        asked = COUNT | {"messages": [{"role": "user", "content": "x" * 401}]}
        response = await gateway.http.post("/v1/messages/count_tokens", json=asked)
    assert response.json() == {"input_tokens": 101}
    assert response.headers["x-hubspoke-estimated"] == "true"
    assert (engine.loads, engine.requests) == ([], [])


async def test_nobody_waits_for_a_slot_to_count_tokens(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(slots=1), script=("Hel", gate := Gate()))
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S):
        asking = asyncio.create_task(gateway.http.post("/v1/messages", json=ASK))
        await gate.reached.wait()
        response = await gateway.http.post("/v1/messages/count_tokens", json=COUNT)
        gate.open()
        await asking
    assert response.json() == {"input_tokens": 2}
    assert response.headers["x-hubspoke-estimated"] == "true"


async def test_a_picture_counts_in_an_estimate(gateway: Gateway) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    async with gateway.spoke(FakeEngine(a_model(loaded=False))):
        asked = COUNT | {"messages": [{"role": "user", "content": [picture]}]}
        response = await gateway.http.post("/v1/messages/count_tokens", json=asked)
    assert response.json() == {"input_tokens": 1025}


async def test_tokens_for_a_model_that_nobody_has_are_an_error(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        response = await gateway.http.post("/v1/messages/count_tokens", json=COUNT | {"model": "nope"})
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")


async def test_models_are_listed_in_the_dialect_of_who_asks(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model(), a_model("org/big:7b", digest="sha256:" + "b" * 64))):
        ours = (await gateway.http.get("/v1/models", headers=VERSION)).json()
        openai = (await gateway.http.get("/v1/models")).json()
    assert [model["id"] for model in ours["data"]] == ["org/big:7b", "tiny", "gpt-4o-mini"]
    assert (ours["first_id"], ours["last_id"], ours["has_more"]) == ("org/big:7b", "gpt-4o-mini", False)
    assert {model["type"] for model in ours["data"]} == {"model"}
    assert openai["object"] == "list"


async def test_models_come_in_pages(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model(), a_model("other", digest="sha256:" + "b" * 64))):

        async def page(**query: str | int) -> tuple[list[str], bool]:
            body = (await gateway.http.get("/v1/models", params=query, headers=VERSION)).json()
            return [model["id"] for model in body["data"]], body["has_more"]

        assert await page(limit=2) == (["other", "tiny"], True)
        assert await page(limit=2, after_id="tiny") == (["gpt-4o-mini"], False)
        assert await page(limit=1, before_id="gpt-4o-mini") == (["tiny"], True)
        wrong = await gateway.http.get("/v1/models", params={"limit": 0}, headers=VERSION)
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_one_model_is_described_in_the_dialect_of_who_asks(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model("org/big:7b"))):
        found = await gateway.http.get("/v1/models/org/big:7b", headers=VERSION)
        missing = await gateway.http.get("/v1/models/nope", headers=VERSION)
        openai = await gateway.http.get("/v1/models/nope")
    assert (found.json()["type"], found.json()["id"]) == ("model", "org/big:7b")
    assert found.json()["hubspoke"]["spokes"] == ["den"]
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    assert openai.json()["error"]["code"] == "model_not_found"
