"""`/v1/chat/completions`, over a real hub and a real agent; the engine says what the test wants."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hubspoke.types import Delta
from tests.fakes.engine import FakeEngine, a_model

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


def chunks(text: str) -> list[object]:
    """Read the events of a stream."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_a_whole_answer_has_the_text_the_usage_and_who_made_it(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        response = await gateway.http.post("/v1/chat/completions", json=ASK)
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "Hello world"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert (body["hubspoke"]["spoke"], response.headers["x-hubspoke-spoke"]) == ("den", "den")
    assert response.headers["x-hubspoke-mesh"] == "hubspoke.internal"


async def test_a_stream_has_an_event_for_each_piece_that_the_engine_wrote(gateway: Gateway) -> None:
    texts = [f"ä{number} " for number in range(200)]  # far more than messages of the mesh
    async with gateway.spoke(FakeEngine(a_model(), script=texts)):
        response = await gateway.http.post("/v1/chat/completions", json=ASK | {"stream": True})
    _, *middle, _, _ = chunks(response.text)
    assert [c["choices"][0]["delta"]["content"] for c in middle] == texts


async def test_a_stream_has_the_role_the_text_the_reason_and_an_end(gateway: Gateway) -> None:
    script = [Delta(thinking="hm"), Delta('say "hi"\n'), Delta("\u00e4")]
    async with gateway.spoke(FakeEngine(a_model(), script=script)):
        response = await gateway.http.post(
            "/v1/chat/completions", json=ASK | {"stream": True, "stream_options": {"include_usage": True}}
        )
    first, *middle, last, cost, done = chunks(response.text)
    assert response.headers["content-type"] == "text/event-stream"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["hubspoke"]["spoke"] == "den"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in middle) == 'say "hi"\n\u00e4'
    assert "".join(c["choices"][0]["delta"].get("reasoning_content", "") for c in middle) == "hm"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (cost["choices"], cost["usage"]["total_tokens"], done) == ([], 10, "[DONE]")
    assert len({chunk["id"] for chunk in (first, *middle, last, cost)}) == 1
