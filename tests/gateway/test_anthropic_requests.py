"""What `/v1/messages` makes of a body: what the engine is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hubspoke.types import Calling, Effort, Speaker
from tests.gateway.talk import PNG, able_engine, events
from tests.gateway.test_anthropic_messages import ASK, WEATHER

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

CLAUDE_CODE = {
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
        {"role": "system", "content": [{"type": "text", "text": "be kind"}]},
        {"role": "user", "content": "please"},
    ],
}  # fmt: skip
"""A request as Claude Code builds it."""


async def test_a_conversation_like_claude_codes_reaches_the_engine_whole(gateway: Gateway) -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,interleaved"}
    engine = able_engine()
    async with gateway.spoke(engine):
        response = await gateway.http.post("/v1/messages?beta=true", json=CLAUDE_CODE, headers=headers)
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
    assert (last.speaker, last.text, len(last.images)) == (
        Speaker.USER,
        "go on\n\n<system>\nbe kind\n</system>\n\nplease",
        1,
    )
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


async def test_a_first_turn_of_the_system_is_the_systems(gateway: Gateway) -> None:
    engine = able_engine()
    turns = [{"role": "system", "content": "be brief"}, *ASK["messages"]]
    async with gateway.spoke(engine):
        response = await gateway.http.post("/v1/messages", json=ASK | {"messages": turns})
    assert response.status_code == 200
    assert [turn.speaker for turn in engine.requests[0].messages] == [Speaker.SYSTEM, Speaker.USER]


async def test_a_tool_may_be_described_at_length(gateway: Gateway) -> None:
    engine = able_engine()
    long = WEATHER | {"description": "x" * 20_000}
    async with gateway.spoke(engine):
        response = await gateway.http.post("/v1/messages", json=ASK | {"tools": [long]})
    assert response.status_code == 200
    assert len(engine.requests[0].tools[0].description) == 20_000
