"""Whatever JSON comes in, a dialect answers in its own shape, and never with a defect of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.talk import PNG, able_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.gateway.conftest import Gateway

EXAMPLES = 80

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def one_of(*values: object) -> st.SearchStrategy[object]:
    """What a client may well send, and now and then something else."""
    return st.sampled_from(values) | anything


def some_of(required: dict[str, object], fields: dict[str, object]) -> st.SearchStrategy[object]:
    """An object with the *required* fields, and any of the others."""
    return st.fixed_dictionaries(required, optional=fields)


TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": [TEXT, IMAGE], "is_error": True}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
SCHEMA = {"type": "object"}

block = one_of(
    TEXT, IMAGE, USE, RESULT, THOUGHT, {"type": "redacted_thinking", "data": "x"}, {"type": "document"}
)
turn = some_of(
    {"role": one_of("user", "assistant", "system"), "content": one_of("hello") | st.lists(block, max_size=4)},
    {},
)  # fmt: skip
anthropic_body = some_of(
    {
        "model": one_of("tiny", "auto"),
        "messages": st.lists(turn, max_size=4),
        "max_tokens": one_of(1, 0, -1, 2**32, 2**70),
    },
    {
        "system": one_of("be brief", [TEXT]),
        "stream": st.booleans() | anything,
        "temperature": one_of(0, 1, 2.5),
        "top_p": one_of(0.5, 0, 1e300),
        "top_k": one_of(5, -1, 2**40),
        "stop_sequences": one_of(["END"], [""], ["x"] * 20),
        "tools": one_of([{"name": "weather", "input_schema": SCHEMA}], [{"name": "no blanks", "input_schema": {}}]),
        "tool_choice": one_of({"type": "any"}, {"type": "tool", "name": "weather"}, {"type": "none"}),
        "thinking": one_of({"type": "enabled", "budget_tokens": 9}, {"type": "adaptive"}),
        "metadata": one_of({"user_id": "u" * 300}),
        "output_config": one_of({"effort": "max"}, {"format": {"type": "json_schema", "schema": SCHEMA}}),
    },
)  # fmt: skip

item = one_of(
    {"role": "user", "content": "hello"},
    {"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{"},
    {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
)
responses_body = some_of(
    {"model": one_of("tiny"), "input": one_of("hello") | st.lists(item, max_size=4)},
    {
        "instructions": one_of("be brief"),
        "stream": st.booleans() | anything,
        "tools": one_of([{"type": "function", "name": "weather", "parameters": SCHEMA}], [{"type": "function"}]),
        "tool_choice": one_of("required", "auto", {"type": "function", "name": "weather"}),
        "text": one_of({"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}),
        "reasoning": one_of({"effort": "low"}),
        "max_output_tokens": one_of(1, -1, 2**70),
        "temperature": one_of(0.5, -1, 1e300),
        "metadata": one_of({"a": "b"}),
        "background": st.booleans() | anything,
        "user": one_of("u" * 300),
    },
)  # fmt: skip

many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
async def served(gateway: Gateway) -> AsyncIterator[Gateway]:
    async with gateway.spoke(able_engine("Hello"), slots=2):
        yield gateway


@many
@given(body=anthropic_body | anything)
async def test_anthropic_answers_or_refuses_any_message(served: Gateway, body: object) -> None:
    response = await served.http.post("/v1/messages", json=body)
    if response.status_code != 200:
        assert response.status_code in {400, 404, 413}, response.text
        told = response.json()
        assert (told["type"], set(told["error"]) >= {"type", "message"}) == ("error", True)


@many
@given(body=anthropic_body | anything)
async def test_anthropic_counts_or_refuses_any_message(served: Gateway, body: object) -> None:
    response = await served.http.post("/v1/messages/count_tokens", json=body)
    assert response.status_code in {200, 400, 404, 413}, response.text
    assert ("input_tokens" in response.json()) == (response.status_code == 200)


@many
@given(body=responses_body | anything)
async def test_responses_answers_or_refuses_anything(served: Gateway, body: object) -> None:
    response = await served.http.post("/v1/responses", json=body)
    if response.status_code != 200:
        assert response.status_code in {400, 404, 413, 501}, response.text
        assert set(response.json()["error"]) >= {"message", "type", "code"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/responses"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"model": "\xff"}', b'{"model": "\\ud800"}', b"[" * 100_000]
)
async def test_what_is_no_json_is_refused(served: Gateway, path: str, body: bytes) -> None:
    response = await served.http.post(path, content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
