"""OpenAI's other routes, and what a conversation can hold: tools, formats, pictures, names of models."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import (
    Calling,
    Capability,
    Delta,
    Effort,
    Finished,
    FinishReason,
    Image,
    JsonFormat,
    Speaker,
    Tool,
    ToolCall,
    ToolCallPart,
    ToolChoice,
    Usage,
)
from tests.fakes.engine import FakeEngine, a_model
from tests.gateway.test_openai_chat import ASK, chunks

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

CHAT = "/v1/chat/completions"
EVERYTHING = frozenset(Capability)
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "of a city", "parameters": SCHEMA},
}
CALLS = (
    Delta(tool_calls=(ToolCallPart(0, "call_1", "weather", ""),)),
    Delta(tool_calls=(ToolCallPart(0, arguments='{"city":'),)),
    Delta(tool_calls=(ToolCallPart(0, arguments='"Paris"}'),)),
    Finished(FinishReason.TOOL_CALLS, Usage(prompt_tokens=7, output_tokens=3)),
)


def able(*, script: object = ("Hello",), name: str = "tiny") -> FakeEngine:
    return FakeEngine(a_model(name, capabilities=EVERYTHING), script=script)


async def test_tools_go_to_the_model_and_its_calls_come_back(gateway: Gateway) -> None:
    engine = able(script=CALLS)
    body = ASK | {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
    async with gateway.spoke(engine):
        whole = (await gateway.http.post(CHAT, json=body)).json()
        streamed = chunks((await gateway.http.post(CHAT, json=body | {"stream": True})).text)
    message = whole["choices"][0]["message"]
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert message["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}]
    assert (message["content"], whole["choices"][0]["finish_reason"]) == (None, "tool_calls")
    parts = [c["choices"][0]["delta"].get("tool_calls", [{}])[0] for c in streamed[1:-2]]
    assert (parts[0]["id"], parts[0]["function"]["name"]) == ("call_1", "weather")
    assert "".join(part["function"]["arguments"] for part in parts) == '{"city":"Paris"}'
    (asked, _) = engine.requests
    assert asked.tools == (Tool("weather", "of a city", json.dumps(SCHEMA, separators=(",", ":"))),)
    assert asked.tool_choice == ToolChoice(Calling.REQUIRED, "", parallel=False)


async def test_results_of_tools_find_the_tool_by_their_call(gateway: Gateway) -> None:
    engine = able()
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "c1"},
    ]
    async with gateway.spoke(engine):
        response = await gateway.http.post(CHAT, json=ASK | {"messages": turns})
    assert response.status_code == 200
    system, _, called, result = engine.requests[0].messages
    assert system.speaker is Speaker.SYSTEM
    assert called.tool_calls == (ToolCall("weather", "{}", "c1"),)
    assert (result.speaker, result.tool_name, result.tool_call_id) == (Speaker.TOOL, "weather", "c1")


async def test_a_named_tool_a_format_a_picture_and_an_effort_arrive_as_they_were_meant(
    gateway: Gateway,
) -> None:
    engine = able()
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    parts = [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": url}}]
    body = ASK | {
        "messages": [{"role": "user", "content": parts}],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "reasoning_effort": "minimal",
        "max_completion_tokens": 9,
        "stop": "END",
        "seed": 5,
        "prompt_cache_key": "chat-7",
        "top_k": 3,
        "repetition_penalty": 1.5,
    }
    async with gateway.spoke(engine):
        assert (await gateway.http.post(CHAT, json=body)).status_code == 200
    (asked,) = engine.requests
    assert asked.messages[0].images == (Image(PNG),)
    assert asked.tool_choice == ToolChoice(Calling.REQUIRED, "weather")
    assert asked.format == JsonFormat(json.dumps(SCHEMA, separators=(",", ":")))
    assert (asked.thinking, asked.max_output_tokens, asked.stop) == (Effort.LOW, 9, ("END",))
    assert (asked.sampling.seed, asked.sampling.top_k, asked.sampling.repeat_penalty) == (5, 3, 1.5)
    assert asked.session_key == "chat-7"


@pytest.mark.parametrize(("name", "status"), [("gpt-4o-mini", 200), ("auto", 200), ("tiny:latest", 200)])
async def test_names_that_stand_for_a_model_are_resolved_and_the_answer_says_to_what(
    gateway: Gateway, name: str, status: int
) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        response = await gateway.http.post(CHAT, json=ASK | {"model": name})
    assert (response.status_code, response.json()["model"]) == (status, "tiny")


async def test_whoever_does_not_care_gets_a_model_that_can_do_it(gateway: Gateway) -> None:
    engine = FakeEngine(
        a_model("plain"), a_model("able", capabilities=EVERYTHING, digest="sha256:" + "b" * 64)
    )
    async with gateway.spoke(engine):
        response = await gateway.http.post(CHAT, json=ASK | {"model": "auto", "tools": [WEATHER]})
    assert response.json()["model"] == "able"


async def test_models_are_listed_with_their_aliases_and_found_by_any_name(gateway: Gateway) -> None:
    odd = a_model("hf.co/owner/model:Q4_K_M", digest="sha256:" + "c" * 64)
    async with gateway.spoke(FakeEngine(a_model(), odd)):
        listed = (await gateway.http.get("/v1/models")).json()
        found = await gateway.http.get("/v1/models/hf.co/owner/model:Q4_K_M")
        alias = await gateway.http.get("/models/gpt-4o-mini")
        missing = await gateway.http.get("/v1/models/nope")
    assert {model["id"] for model in listed["data"]} == {"tiny", odd.name, "gpt-4o-mini"}
    assert (found.json()["id"], alias.json()["id"]) == (odd.name, "gpt-4o-mini")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_text_is_completed_whole_or_as_a_stream(gateway: Gateway) -> None:
    body = {"model": "tiny", "prompt": "Once", "max_tokens": 5}
    engine = FakeEngine(a_model())
    async with gateway.spoke(engine):
        whole = (await gateway.http.post("/v1/completions", json=body)).json()
        streamed = (await gateway.http.post("/completions", json=body | {"stream": True})).text
        refused = await gateway.http.post("/v1/completions", json=body | {"suffix": "end"})
    assert whole["choices"][0]["text"] == "Hello world"
    assert "".join(c["choices"][0]["text"] for c in chunks(streamed)[:-1]) == "Hello world"
    assert refused.status_code == 501
    assert [request.prompt for request in engine.requests] == ["Once", "Once"]


async def test_texts_become_vectors_as_numbers_or_as_bytes(gateway: Gateway) -> None:
    engine = FakeEngine(a_model("embedder", capabilities=frozenset({Capability.EMBED})))
    body = {"model": "embedder", "input": ["a", "bcd"], "dimensions": 2}
    async with gateway.spoke(engine):
        numbers = (await gateway.http.post("/v1/embeddings", json=body)).json()
        packed = (await gateway.http.post("/v1/embeddings", json=body | {"encoding_format": "base64"})).json()
        tokens = await gateway.http.post("/v1/embeddings", json=body | {"input": [[1, 2]]})
        one = (await gateway.http.post("/embeddings", json=body | {"input": "ab"})).json()
    assert [row["embedding"] for row in numbers["data"]] == [[1.0, 1.0], [3.0, 1.0]]
    assert [struct.unpack("<2f", base64.b64decode(row["embedding"])) for row in packed["data"]] == [
        (1.0, 1.0),
        (3.0, 1.0),
    ]
    assert numbers["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert (tokens.status_code, "check_embedding_ctx_length" in tokens.text) == (400, True)
    assert len(one["data"]) == 1
