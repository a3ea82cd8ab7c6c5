"""`/v1/messages`, over a real hub and a real agent; the engine says what the test wants."""

from __future__ import annotations

import asyncio
import json
from itertools import groupby
from typing import TYPE_CHECKING

import httpx
import pytest

from hubspoke.types import (
    Delta,
    Finished,
    FinishReason,
    KeyPlan,
    SpokeState,
    ToolCallPart,
    Usage,
)
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.real_hub import WAIT_S
from tests.gateway.talk import CALLS, able_engine, events, lost_midway

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.gateway.conftest import Gateway

ASK = {"model": "tiny", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
WEATHER = {"name": "weather", "description": "tells it", "input_schema": {"type": "object", "properties": {}}}


def streamed(gateway: Gateway) -> AbstractAsyncContextManager[httpx.Response]:
    """Ask for a stream, to be read as it comes."""
    return gateway.http.stream("POST", "/v1/messages", json=ASK | {"stream": True})


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


async def test_a_stop_sequence_is_told_where_the_engine_tells_it(gateway: Gateway) -> None:
    ended = Finished(FinishReason.STOP, Usage(prompt_tokens=7, output_tokens=1), stop="END")
    async with gateway.spoke(FakeEngine(a_model(), script=["Hello", ended])):
        whole = await gateway.http.post("/v1/messages", json=ASK | {"stop_sequences": ["END"]})
        told = await gateway.http.post("/v1/messages", json=ASK | {"stop_sequences": ["END"], "stream": True})
    expected = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert expected.items() <= whole.json().items()
    assert [event["delta"] for name, event in events(told.text) if name == "message_delta"] == [expected]


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
    await gateway.hub.has_spoke(lambda spoke: spoke.state in {SpokeState.LEFT, SpokeState.LOST})
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
    heard = await lost_midway(gateway, "/v1/messages", ASK | {"stream": True})
    rest = [line for line in heard.splitlines() if line]
    name, payload = rest[-2], json.loads(rest[-1].removeprefix("data: "))
    assert name == "event: error"
    assert (payload["type"], payload["error"]["type"]) == ("error", "api_error")
    assert payload["error"]["reason"] == "spoke_lost"


async def test_a_spoke_lost_midway_is_not_to_be_asked_again_by_a_client_that_wants_the_whole(
    gateway: Gateway,
) -> None:
    async with gateway.hub.spoke("den", slots=1) as spoke, asyncio.timeout(WAIT_S):
        asking = asyncio.create_task(gateway.http.post("/v1/messages", json=ASK))
        (slot,) = spoke.slots
        await slot.delta((await slot.assignment()).attempt, "Hel")
        # The end of the stream comes after the word; a connection that is cut may take the word with it.
        await slot.call.done_writing()
        response = await asking
    assert (response.status_code, response.json()["error"]["type"]) == (500, "api_error")
    assert response.headers["x-should-retry"] == "false"


async def test_a_client_that_goes_away_frees_the_slot(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(), script=("Hel", Gate()))
    async with gateway.spoke(engine), asyncio.timeout(WAIT_S):
        async with streamed(gateway) as response:
            async for line in response.aiter_lines():
                if "Hel" in line:
                    break
        await engine.closed.acquire()
    assert engine.running == 0
