"""What an answer says of how it was made: where, at which attempt, and that no part of it comes from elsewhere."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from hubspoke.errors import EngineCrashed
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.gateway.wire import ASK, CHAT

if TYPE_CHECKING:
    import httpx

    from tests.gateway.conftest import Gateway

DIED = EngineCrashed("llama.cpp died on it")
ENDPOINTS = {
    CHAT: ASK,
    "/v1/completions": {"model": "tiny", "prompt": "hello"},
    "/v1/responses": {"model": "tiny", "input": "hello"},
    "/v1/messages": {**ASK, "max_tokens": 10},
    "/api/chat": ASK,
    "/api/generate": {"model": "tiny", "prompt": "hello"},
}


async def asked_of_two(gateway: Gateway, *said: str, stream: bool) -> tuple[httpx.Response, FakeEngine]:
    """Have a spoke begin, say *said* and fail, while there is another one; give the response, and the other's engine."""
    failing = FakeEngine(a_model(), script=[*said, gate := Gate(), DIED])
    other = FakeEngine(a_model())
    async with gateway.spoke(failing, "den"), asyncio.TaskGroup() as group:
        asking = group.create_task(gateway.http.post(CHAT, json={**ASK, "stream": stream}))
        await gate.reached.wait()
        async with gateway.spoke(other, "loft"):
            gate.open()
            return await asking, other


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_every_dialect_says_how_an_answer_came_about(gateway: Gateway, path: str) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        response = await gateway.http.post(path, json={**ENDPOINTS[path], "stream": False})
    told = {name: response.headers[f"x-hubspoke-{name}"] for name in ("spoke", "attempts", "resumed")}
    assert told == {"spoke": "den", "attempts": "1", "resumed": "false"}
    assert float(response.headers["x-hubspoke-queue-ms"]) >= 0
    body = response.json()["hubspoke"]
    assert (body["spoke"], body["attempt"], body["resumed"]) == ("den", 1, False)
    assert body["queue_ms"] >= 0


@pytest.mark.parametrize("stream", [False, True])
async def test_what_failed_before_its_first_word_is_another_attempt_and_no_resumption(
    gateway: Gateway, *, stream: bool
) -> None:
    response, _ = await asked_of_two(gateway, stream=stream)
    assert response.status_code == 200
    told = {name: response.headers[f"x-hubspoke-{name}"] for name in ("spoke", "attempts", "resumed")}
    assert told == {"spoke": "loft", "attempts": "2", "resumed": "false"}
    first = response.text.partition("\n\n")[0].removeprefix("data: ")
    assert json.loads(first)["hubspoke"] | {"queue_ms": 0} == {
        "spoke": "loft",
        "model": "tiny",
        "model_key": "sha256:" + "a" * 64,
        "attempt": 2,
        "resumed": False,
        "queue_ms": 0,
    }


async def test_what_failed_after_its_first_word_is_not_gone_on_with_elsewhere(gateway: Gateway) -> None:
    response, other = await asked_of_two(gateway, "Once ", stream=True)
    assert response.headers["x-hubspoke-resumed"] == "false"
    assert "llama.cpp died on it" in response.text
    assert "[DONE]" not in response.text
    assert other.requests == []
