"""`/v1/responses`, over a real hub and a real agent; the engine says what the test wants."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import Calling, Delta, Effort, Finished, FinishReason, Speaker, ToolCallPart, Usage
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.talk import CALLS, able_engine, events, lost_midway

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "input": "hello"}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
CUT = Finished(FinishReason.LENGTH, Usage(prompt_tokens=7, output_tokens=1))


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
async def test_a_whole_response_has_the_text_the_usage_and_who_made_it(gateway: Gateway, path: str) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        asked = ASK | {"metadata": {"a": "b"}, "instructions": "be brief", "store": True}
        response = await gateway.http.post(path, json=asked)
    body = response.json()
    assert response.status_code == 200
    assert body["id"].startswith("resp_")
    assert (body["object"], body["status"], body["model"]) == ("response", "completed", "tiny")
    (item,) = body["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    assert item["content"] == [
        {"type": "output_text", "text": "Hello world", "annotations": [], "logprobs": []}
    ]
    assert body["usage"]["total_tokens"] == 9
    assert (body["metadata"], body["instructions"], body["store"]) == ({"a": "b"}, "be brief", False)
    assert body["hubspoke"]["spoke"] == "den"


async def test_a_stream_builds_item_after_item_in_numbered_events(gateway: Gateway) -> None:
    async with gateway.spoke(able_engine(*CALLS)):
        asked = ASK | {"stream": True, "tools": [WEATHER]}
        response = await gateway.http.post("/v1/responses", json=asked)
    seen = events(response.text)
    assert [event["sequence_number"] for _, event in seen] == list(range(len(seen)))
    kinds: list[str] = []
    for name, _ in seen:
        if not kinds or kinds[-1] != name:  # a spoke sends small pieces together, or not
            kinds.append(name)
    item = ("output_item.added", "content_part.added", "{0}.delta", "{0}.done", "content_part.done")
    call = ("output_item.added", "function_call_arguments.delta", "function_call_arguments.done")
    assert [kind.removeprefix("response.") for kind in kinds] == [
        "created",
        "in_progress",
        *(step.format("reasoning_text") for step in (*item, "output_item.done")),
        *(step.format("output_text") for step in (*item, "output_item.done")),
        *(*call, "output_item.done") * 2,
        "completed",
    ]
    made = seen[-1][1]["response"]
    assert [item["type"] for item in made["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert made["output"] == [e["item"] for name, e in seen if name == "response.output_item.done"]
    assert made["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    first, second = made["output"][2:]
    assert (first["call_id"], first["name"], first["arguments"]) == ("call_a", "weather", '{"city":"Rome"}')
    assert second["call_id"].startswith("call_")
    assert made["usage"]["input_tokens_details"]["cached_tokens"] == 20


async def test_a_stream_that_meets_the_limit_is_incomplete(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model(), script=("Hel", CUT))):
        whole = (await gateway.http.post("/v1/responses", json=ASK)).json()
        streamed = await gateway.http.post("/v1/responses", json=ASK | {"stream": True})
    name, last = events(streamed.text)[-1]
    assert name == "response.incomplete"
    for body in (whole, last["response"]):
        assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert body["output"][-1]["status"] == "incomplete"


async def test_a_history_of_items_reaches_the_engine_as_turns(gateway: Gateway) -> None:
    asked = {
        "model": "tiny",
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sun"},
            {"type": "message", "role": "developer", "content": "be kind"},
        ],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 9,
        "temperature": 0.5,
        "prompt_cache_key": "k",
    }
    engine = able_engine()
    async with gateway.spoke(engine):
        assert (await gateway.http.post("/v1/responses", json=asked)).status_code == 200
    (request,) = engine.requests
    system, user, assistant, result, developer = request.messages
    assert (system.speaker, system.text, user.text) == (Speaker.SYSTEM, "be brief", "weather?")
    assert (assistant.thinking, assistant.text, assistant.tool_calls[0].id) == ("hm", "I look.", "c1")
    assert (result.speaker, result.tool_name, result.text) == (Speaker.TOOL, "weather", "sun")
    assert developer.speaker is Speaker.SYSTEM
    choice = request.tool_choice
    assert (choice.mode, choice.name, choice.parallel) == (Calling.REQUIRED, "weather", False)
    assert json.loads(request.format.schema) == {"type": "object"}
    assert (request.thinking, request.max_output_tokens) == (Effort.LOW, 9)
    assert request.session_key == "k"


@pytest.mark.parametrize(
    ("given", "status", "word"),
    [
        ({"previous_response_id": "resp_1"}, 501, "stored"),
        ({"conversation": "conv_1"}, 501, "stored"),
        ({"background": True}, 501, "stored"),
        ({"tools": [{"type": "web_search"}]}, 501, "web_search"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, 501, "item_reference"),
        ({"input": []}, 400, "messages"),
        ({"input": [{"role": "king", "content": "hello"}]}, 400, "king"),
        ({"text": {"format": {"type": "json_schema"}}}, 400, "schema"),
        ({"model": "nope"}, 404, "nope"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_reason(
    gateway: Gateway, given: dict[str, object], status: int, word: str
) -> None:
    async with gateway.spoke(able_engine()):
        response = await gateway.http.post("/v1/responses", json=ASK | given)
    assert response.status_code == status
    assert word in response.json()["error"]["message"]


async def test_a_call_without_arguments_has_an_empty_object(gateway: Gateway) -> None:
    script = (Delta(tool_calls=(ToolCallPart(0, "a", "weather"),)),)
    async with gateway.spoke(able_engine(*script)):
        asked = ASK | {"tools": [WEATHER]}
        whole = (await gateway.http.post("/v1/responses", json=asked)).json()
        streamed = await gateway.http.post("/v1/responses", json=asked | {"stream": True})
    for made in (whole, events(streamed.text)[-1][1]["response"]):
        assert made["output"][0]["arguments"] == "{}"


async def test_a_spoke_lost_midway_ends_the_stream_in_an_error_and_a_failed_response(
    gateway: Gateway,
) -> None:
    seen = events(await lost_midway(gateway, "/v1/responses", ASK | {"stream": True}))
    assert [name for name, _ in seen[-2:]] == ["error", "response.failed"]
    assert seen[-2][1]["code"] == "spoke_lost"
    response = seen[-1][1]["response"]
    assert response["error"]["code"] == "server_error"
    (item,) = response["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hel")


async def test_a_client_that_goes_away_frees_the_slot(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(), script=("Hel", Gate()))
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S):
        async with gateway.http.stream("POST", "/v1/responses", json=ASK | {"stream": True}) as response:
            async for line in response.aiter_lines():
                if "Hel" in line:
                    break
        await engine.closed.acquire()
    assert engine.running == 0
