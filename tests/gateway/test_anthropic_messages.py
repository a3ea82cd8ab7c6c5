"""`/v1/messages`, over a real hub and a real agent; the engine says what the test wants."""

from __future__ import annotations

import asyncio
import base64
import json
from itertools import groupby
from typing import TYPE_CHECKING

import httpx
import pytest

from hubspoke.types import (
    Calling,
    Capability,
    Delta,
    Effort,
    Finished,
    FinishReason,
    KeyPlan,
    Speaker,
    ToolCallPart,
    Usage,
)
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
WEATHER = {"name": "weather", "description": "tells it", "input_schema": {"type": "object", "properties": {}}}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()
ABLE = frozenset({
    Capability.CHAT,
    Capability.TOOLS,
    Capability.VISION,
    Capability.THINKING,
    Capability.JSON_SCHEMA,
    Capability.SAMPLING,
})  # fmt: skip

CALLS = (
    Delta(thinking="hm"),
    Delta("I look."),
    Delta(tool_calls=(ToolCallPart(0, "call_a", "weather", '{"city":'),)),
    Delta(tool_calls=(ToolCallPart(0, arguments='"Rome"}'),)),
    Delta(tool_calls=(ToolCallPart(1, "", "weather", "{}"),)),
    Finished(FinishReason.TOOL_CALLS, Usage(prompt_tokens=30, output_tokens=9, cached_tokens=20)),
)


def able_engine(*script: object) -> FakeEngine:
    """An engine whose model can do everything."""
    return FakeEngine(a_model(capabilities=ABLE), script=script or ("Hello", " world"))


def streamed(gateway: Gateway) -> AbstractAsyncContextManager[httpx.Response]:
    """Ask for a stream, to be read as it comes."""
    return gateway.http.stream("POST", "/v1/messages", json=ASK | {"stream": True})


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    """Read the events of a stream; every one has to be named as its payload says."""
    read = []
    for event in text.split("\n\n"):
        lines = [line for line in event.splitlines() if not line.startswith(":")]
        if lines:
            name, payload = lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))
            assert payload["type"] == name
            read.append((name, payload))
    return read


async def test_a_whole_answer_has_the_text_the_usage_and_who_made_it(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        response = await gateway.http.post("/v1/messages?beta=true", json=ASK)
    body = response.json()
    assert response.status_code == 200
    assert body["id"].startswith("msg_")
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "tiny")
    assert body["content"] == [{"type": "text", "text": "Hello world"}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    assert body["usage"]["input_tokens"] == 7
    assert body["usage"]["output_tokens"] == 2
    assert body["hubspoke"]["spoke"] == response.headers["x-hubspoke-spoke"] == "den"
    assert response.headers["request-id"].startswith("req_")


async def test_a_stream_opens_and_closes_one_block_after_the_other(gateway: Gateway) -> None:
    async with gateway.spoke(able_engine(*CALLS)):
        asked = ASK | {"stream": True, "tools": [WEATHER], "thinking": {"type": "adaptive"}}
        response = await gateway.http.post("/v1/messages", json=asked)
    assert response.headers["content-type"] == "text/event-stream"
    seen = events(response.text)
    # A spoke sends small pieces together: how many there are in a block is left open.
    assert [name for name, _ in groupby(name.removeprefix("content_block_") for name, _ in seen)] == [
        "message_start",
        *("start", "delta", "stop") * 4,
        "message_delta",
        "message_stop",
    ]
    assert [e["index"] for name, e in seen if name == "content_block_start"] == [0, 1, 2, 3]
    first = seen[0][1]["message"]
    assert (first["content"], first["stop_reason"]) == ([], None)
    assert first["usage"] == {"input_tokens": 0, "output_tokens": 0}
    deltas = [(e["index"], e["delta"]) for name, e in seen if name == "content_block_delta"]
    assert deltas[0] == (0, {"type": "thinking_delta", "thinking": "hm"})
    assert (deltas[1][0], deltas[1][1]["type"]) == (0, "signature_delta")
    assert deltas[1][1]["signature"]
    assert deltas[2] == (1, {"type": "text_delta", "text": "I look."})
    assert "".join(delta["partial_json"] for index, delta in deltas if index == 2) == '{"city":"Rome"}'
    begun = [e["content_block"] for name, e in seen if name == "content_block_start"]
    assert begun[2] == {"type": "tool_use", "id": "call_a", "name": "weather", "input": {}}
    assert begun[3]["id"].startswith("toolu_")
    end = seen[-2][1]
    assert end["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert end["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 20,
        "output_tokens": 9,
    }


async def test_a_whole_answer_has_thoughts_and_calls_as_blocks(gateway: Gateway) -> None:
    async with gateway.spoke(able_engine(*CALLS)):
        body = (await gateway.http.post("/v1/messages", json=ASK | {"tools": [WEATHER]})).json()
    thought, text, first, second = body["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", "hm")
    assert thought["signature"]
    assert text == {"type": "text", "text": "I look."}
    assert first == {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city": "Rome"}}
    assert second["input"] == {}
    assert body["stop_reason"] == "tool_use"


async def test_a_call_that_the_limit_has_cut_is_left_out(gateway: Gateway) -> None:
    script = (
        Delta(tool_calls=(ToolCallPart(0, "a", "weather", '{"ci'),)),
        Finished(FinishReason.LENGTH, Usage(prompt_tokens=7, output_tokens=64)),
    )
    async with gateway.spoke(able_engine(*script)):
        body = (await gateway.http.post("/v1/messages", json=ASK | {"tools": [WEATHER]})).json()
    assert (body["content"], body["stop_reason"]) == ([], "max_tokens")


async def test_a_call_with_nonsense_is_an_error(gateway: Gateway) -> None:
    script = (Delta(tool_calls=(ToolCallPart(0, "a", "weather", "[]"),)),)
    async with gateway.spoke(able_engine(*script)):
        response = await gateway.http.post("/v1/messages", json=ASK | {"tools": [WEATHER]})
    assert (response.status_code, response.json()["error"]["reason"]) == (500, "invalid_output")
    assert response.headers["x-should-retry"] == "false"


async def test_a_conversation_like_claude_codes_reaches_the_engine_whole(gateway: Gateway) -> None:
    asked = {
        "model": "tiny",
        "max_tokens": 32000,
        "stream": True,
        "temperature": 1,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1a2b3;"},
            {"type": "text", "text": "You are a tool.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be brief."},
        ],
        "tools": [WEATHER | {"cache_control": {"type": "ephemeral"}, "type": "custom"}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 31999},
        "metadata": {"user_id": "user_1_session_2"},
        "context_management": {"edits": []},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "xx"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "sun"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "no such city"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ],
                    },
                    {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}},
                ],
            },
            {"role": "user", "content": "please"},
        ],
    }  # fmt: skip
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,interleaved"}
    engine = able_engine()
    async with gateway.spoke(engine):
        response = await gateway.http.post("/v1/messages?beta=true", json=asked, headers=headers)
    assert events(response.text)[-1][0] == "message_stop"
    assert "x-hubspoke-degraded-from" not in response.headers
    (request,) = engine.requests
    system, user, assistant, first, second, last = request.messages
    assert system.text == "You are a tool.\n\nBe brief."
    assert user.text == "one\n\ntwo"
    assert (assistant.text, assistant.thinking) == ("I look.", "hm")
    assert [(call.id, call.arguments) for call in assistant.tool_calls] == [
        ("t1", '{"city":"Rome"}'),
        ("t2", "{}"),
    ]
    assert (first.speaker, first.tool_name, first.tool_call_id, first.text) == (
        Speaker.TOOL,
        "weather",
        "t1",
        "sun",
    )
    assert second.text == "The tool failed: no such city"
    assert (last.speaker, last.text, len(last.images)) == (Speaker.USER, "go on\n\nplease", 1)
    assert request.thinking is Effort.HIGH
    assert request.tool_choice.parallel is False
    assert request.session_key == "user_1_session_2"
    assert request.max_output_tokens == 32000


@pytest.mark.parametrize(
    ("given", "thinks"),
    [
        ({}, Effort.NONE),
        ({"thinking": {"type": "disabled"}}, Effort.NONE),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, Effort.LOW),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, Effort.MEDIUM),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, Effort.HIGH),
    ],
)
async def test_a_budget_becomes_an_effort(
    gateway: Gateway, given: dict[str, object], thinks: Effort | None
) -> None:
    engine = able_engine()
    async with gateway.spoke(engine):
        assert (await gateway.http.post("/v1/messages", json=ASK | given)).status_code == 200
    assert engine.requests[0].thinking is thinks


@pytest.mark.parametrize(
    ("choice", "mode", "name"),
    [
        ({"type": "any"}, Calling.REQUIRED, ""),
        ({"type": "tool", "name": "weather"}, Calling.REQUIRED, "weather"),
        ({"type": "none"}, Calling.NONE, ""),
    ],
)
async def test_a_tool_choice_is_kept(
    gateway: Gateway, choice: dict[str, str], mode: Calling, name: str
) -> None:
    engine = able_engine()
    async with gateway.spoke(engine):
        asked = ASK | {"tools": [WEATHER], "tool_choice": choice}
        assert (await gateway.http.post("/v1/messages", json=asked)).status_code == 200
    assert (engine.requests[0].tool_choice.mode, engine.requests[0].tool_choice.name) == (mode, name)


async def test_what_is_sampled_and_formatted_is_kept(gateway: Gateway) -> None:
    asked = ASK | {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }
    engine = able_engine()
    async with gateway.spoke(engine):
        assert (await gateway.http.post("/v1/messages", json=asked)).status_code == 200
    (request,) = engine.requests
    sampling = request.sampling
    assert (round(sampling.temperature, 3), round(sampling.top_p, 3), sampling.top_k) == (0.5, 0.9, 5)
    assert request.stop == ("END",)
    assert json.loads(request.format.schema) == {"type": "object"}


async def test_a_model_that_cannot_think_answers_without_and_a_header_says_so(gateway: Gateway) -> None:
    engine = FakeEngine(a_model())
    async with gateway.spoke(engine):
        asked = ASK | {"thinking": {"type": "enabled", "budget_tokens": 31999}}
        response = await gateway.http.post("/v1/messages", json=asked)
    assert response.status_code == 200
    assert response.headers["x-hubspoke-degraded-from"] == "thinking"
    assert engine.requests[0].thinking is None


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_both_headers_for_keys_are_taken(gateway: Gateway, header: str) -> None:
    shown = gateway.key if header == "x-api-key" else f"Bearer {gateway.key}"
    async with gateway.spoke(FakeEngine(a_model())), httpx.AsyncClient(trust_env=False) as http:
        response = await http.post(f"{gateway.url}/v1/messages", json=ASK, headers={header: shown})
    assert response.status_code == 200


REFUSED = [
    ({"model": "nobody-has-this"}, 404, "not_found_error"),
    ({"max_tokens": None}, 400, "invalid_request_error"),
    ({"temperature": 1.5}, 400, "invalid_request_error"),
    ({"messages": []}, 400, "invalid_request_error"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, 400, "invalid_request_error"),
    ({"tool_choice": {"type": "any"}}, 400, "invalid_request_error"),
    ({"mcp_servers": [{"url": "https://example.net"}]}, 400, "invalid_request_error"),
    ({"top_k": -1}, 400, "invalid_request_error"),
    (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]}]},
        400,
        "invalid_request_error",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
        400,
        "invalid_request_error",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9"}]}]},
        400,
        "invalid_request_error",
    ),
]


@pytest.mark.parametrize(("given", "status", "kind"), REFUSED)
async def test_what_cannot_be_done_is_refused_in_the_dialects_words(
    gateway: Gateway, given: dict[str, object], status: int, kind: str
) -> None:
    async with gateway.spoke(able_engine()):
        response = await gateway.http.post("/v1/messages", json=ASK | given)
    body = response.json()
    assert (response.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["request_id"] == response.headers["request-id"]


async def test_a_key_that_is_missing_or_has_had_enough_is_told_so(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())), httpx.AsyncClient(trust_env=False) as http:
        url = f"{gateway.url}/v1/messages"
        nobody = await http.post(url, json=ASK)
        key = await gateway.new_key(KeyPlan("few", requests_per_minute=1))
        await http.post(url, json=ASK, headers={"x-api-key": key})
        limited = await http.post(url, json=ASK, headers={"x-api-key": key})
    assert (nobody.status_code, nobody.json()["error"]["type"]) == (401, "authentication_error")
    assert (limited.status_code, limited.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(limited.headers["retry-after"]) >= 1


async def test_without_a_spoke_that_takes_work_it_is_overloaded(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        pass
    response = await gateway.http.post("/v1/messages", json=ASK)
    assert (response.status_code, response.json()["error"]["type"]) == (529, "overloaded_error")


async def test_a_load_is_told_by_pings_before_the_message_begins(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(loaded=False))
    engine.load_step = gate = Gate()
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S), streamed(gateway) as response:
        lines = response.aiter_lines()
        while await anext(lines) != "event: ping":
            pass
        gate.open()
        rest = [line async for line in lines]
    assert "event: message_start" in rest
    assert rest[-3] == "event: message_stop"


async def test_a_spoke_lost_midway_ends_the_stream_in_an_error_event(gateway: Gateway) -> None:
    async with gateway.hub.spoke("den", slots=1) as spoke, asyncio.timeout(WAIT_S):
        asking = asyncio.create_task(gateway.http.post("/v1/messages", json=ASK | {"stream": True}))
        assignment = await spoke.slots[0].assignment()
        await spoke.slots[0].delta(assignment.attempt, "Hel")
        await spoke.channel.close()
        rest = [line for line in (await asking).text.splitlines() if line]
    name, payload = rest[-2], json.loads(rest[-1].removeprefix("data: "))
    assert name == "event: error"
    assert (payload["type"], payload["error"]["type"]) == ("error", "api_error")
    assert payload["error"]["reason"] == "spoke_lost"


async def test_a_client_that_goes_away_frees_the_slot(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(), script=("Hel", Gate()))
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S):
        async with streamed(gateway) as response:
            async for line in response.aiter_lines():
                if "Hel" in line:
                    break
        await engine.closed.acquire()
    assert engine.running == 0
