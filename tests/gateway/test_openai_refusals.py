"""What goes wrong, in OpenAI's words: before an answer, in the middle of one, and when nobody listens any more."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.gateway import asking
from hubspoke.errors import ContextTooLong, EngineCrashed, LoadFailed
from hubspoke.types import Capability
from tests.fakes.engine import FakeEngine, Gate, a_model
from tests.fakes.mesh_hub import soon
from tests.gateway.talk import lost_midway
from tests.gateway.test_openai_chat import ASK, chunks

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

CHAT = "/v1/chat/completions"
STREAMED = ASK | {"stream": True}


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({"n": 2}, 501, "n: this mesh"),
        ({"logprobs": True}, 501, "probabilities"),
        ({"logit_bias": {"1": 5}}, 501, "bias"),
        ({"temperature": 9}, 400, "temperature"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "wizard"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 501, "input_audio"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c1"}]}, 400, "belongs to no call"),
        ({"stop": ["a"] * 17}, 400, "stop"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "tools.name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 501, "cannot do tools"),
        ({"response_format": {"type": "json_schema"}}, 400, "schema"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"enum": []}},
                }
            },
            400,
            "enum without anything to choose from",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f" * 129}}]}, 400, "1 to 128 letters"),
        (
            {"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(513)]},
            400,
            "at most 512",
        ),
        ({"response_format": {"type": "json_object"}}, 501, "json_schema"),
        ({"reasoning_effort": "enormous"}, 400, "reasoning_effort"),
        ({"model": "nope"}, 404, "nope"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}],
                    }
                ]
            },
            400,
            "data: URL",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_before_anybody_works(
    gateway: Gateway, more: dict[str, object], status: int, says: str
) -> None:
    engine = FakeEngine(a_model())
    async with gateway.spoke(engine):
        for body in (ASK | more, STREAMED | more):
            response = await gateway.http.post(CHAT, json=body)
            error = response.json()["error"]
            assert (response.status_code, error["param"]) == (status, None)
            assert says in error["message"]
            assert error["request_id"] == response.headers["x-request-id"]
            assert response.headers["x-should-retry"] == "false"
    assert engine.requests == []


async def test_an_error_after_work_has_begun_says_that_it_must_not_be_repeated(gateway: Gateway) -> None:
    script = ["Once", EngineCrashed("the engine died on it")]
    async with gateway.spoke(FakeEngine(a_model(), script=script)):
        response = await gateway.http.post(CHAT, json=ASK)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "engine_crashed"


async def test_an_error_in_the_middle_of_a_stream_is_an_event_and_there_is_no_end(gateway: Gateway) -> None:
    script = ["Once", " upon", EngineCrashed("the engine died on it")]
    async with gateway.spoke(FakeEngine(a_model(), script=script)):
        response = await gateway.http.post(CHAT, json=STREAMED)
    *_, last = chunks(response.text)
    assert response.status_code == 200
    assert last["error"]["code"] == "engine_crashed"
    assert "[DONE]" not in response.text


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (CHAT, ": den has said nothing for "),
        ("/v1/messages", ": den has said nothing for "),
        ("/api/chat", '"waiting":{"for":"the first word","spoke":"den","silent":'),
    ],
)
async def test_an_engine_that_hangs_is_told_in_every_stream(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.setattr("hub.dispatch.journey.SILENCE_TOLD_S", 0.05)
    monkeypatch.setattr(asking, "KEEP_ALIVE_S", 0.2)
    engine = FakeEngine(a_model(), script=[gate := Gate(), "Hello"])
    body = STREAMED | {"max_tokens": 9}
    async with gateway.spoke(engine), gateway.http.stream("POST", path, json=body) as response:
        lines = response.aiter_lines()
        while said not in await soon(anext(lines)):
            pass
        gate.open()
        rest = [line async for line in lines]
    assert "Hello" in "".join(rest)


async def test_a_spoke_that_is_lost_in_the_middle_of_a_stream_is_told(gateway: Gateway) -> None:
    *_, last = chunks(await lost_midway(gateway, CHAT, STREAMED))
    assert last["error"]["code"] == "spoke_lost"


@pytest.mark.parametrize("body", [ASK, STREAMED])
async def test_a_client_that_goes_away_stops_the_work(gateway: Gateway, body: dict[str, object]) -> None:
    engine = FakeEngine(a_model(), script=["Once", gate := Gate()])
    async with gateway.spoke(engine):
        asking_ = asyncio.create_task(gateway.http.post(CHAT, json=body))
        await soon(gate.reached.wait())
        asking_.cancel()
        await soon(engine.closed.acquire())
        await gateway.hub.is_listed("den", 4)


async def test_a_load_that_takes_long_is_told_in_comments(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(loaded=False))
    engine.load_step = gate = Gate()
    async with (
        gateway.spoke(engine),
        gateway.http.stream("POST", CHAT, json=STREAMED) as response,
    ):
        lines = response.aiter_lines()
        # It comes after a second; a machine that stands still meanwhile makes two or three of it.
        assert re.match(r": loading on den, [1-9]\d* s of about ", await soon(anext(lines)))
        gate.open()
        rest = [line async for line in lines]
    assert response.status_code == 200
    assert rest[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize(
    ("path", "asked"), [(CHAT, ASK), ("/v1/embeddings", {"model": "tiny", "input": "hello"})]
)
async def test_a_load_that_takes_too_long_for_a_whole_answer_says_when_to_come_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, path: str, asked: dict[str, object]
) -> None:
    monkeypatch.setattr(asking, "LOADING_PATIENCE_S", 0.5)
    able = frozenset({Capability.CHAT, Capability.EMBED})
    engine = FakeEngine(a_model(loaded=False, capabilities=able))
    engine.load_step = gate = Gate()
    async with gateway.spoke(engine):
        response = await gateway.http.post(path, json=asked)
        gate.open()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_loading")
    assert int(response.headers["retry-after"]) >= 10
    assert response.json()["error"]["loading"]["expected"] > 0


async def test_a_load_that_fails_is_told(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(loaded=False))
    engine.load_step = LoadFailed("the file is damaged")
    async with gateway.spoke(engine):
        response = await gateway.http.post(CHAT, json=ASK)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "load_failed")


async def test_a_client_that_waits_for_a_slot_hears_that_it_is_not_forgotten(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "KEEP_ALIVE_S", 0.05)
    engine = FakeEngine(a_model(slots=1), script=["a", gate := Gate(), "b"])
    async with gateway.spoke(engine), asyncio.TaskGroup() as group:
        group.create_task(gateway.http.post(CHAT, json=ASK))
        await soon(gate.reached.wait())
        async with gateway.http.stream("POST", CHAT, json=STREAMED) as response:
            lines = response.aiter_lines()
            assert await soon(anext(lines)) == ": waiting for a free slot"
            gate.open()
            assert [line async for line in lines][-2] == "data: [DONE]"


async def test_a_client_hears_of_a_spoke_that_takes_long_to_read_a_prompt(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "KEEP_ALIVE_S", 0.05)
    engine = FakeEngine(a_model(slots=1), script=[gate := Gate(), "a"])
    async with gateway.spoke(engine), gateway.http.stream("POST", CHAT, json=STREAMED) as response:
        lines = response.aiter_lines()
        while await soon(anext(lines)) != ": reading the prompt":
            pass
        gate.open()
        assert [line async for line in lines][-2] == "data: [DONE]"


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 400), (b"{", 400), (b"[]", 400), (b"\xff", 400), (b"[" * 100_000, 400)]
)
async def test_a_body_that_is_no_request_is_refused(gateway: Gateway, content: bytes, status: int) -> None:
    response = await gateway.http.post(CHAT, content=content)
    assert (response.status_code, response.json()["error"]["type"]) == (status, "invalid_request_error")


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(gateway: Gateway) -> None:
    response = await gateway.http.post(CHAT, json=ASK | {"user": "x" * (33 << 20)})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


async def test_what_fails_before_the_first_word_has_a_status_of_its_own_in_a_stream_too(
    gateway: Gateway,
) -> None:
    engine = FakeEngine(a_model(), script=[ContextTooLong("the prompt has 9 tokens and the context holds 8")])
    async with gateway.spoke(engine):
        response = await gateway.http.post(CHAT, json=STREAMED)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert (response.headers["x-hubspoke-spoke"], response.headers["x-should-retry"]) == ("den", "false")


async def test_a_prompt_that_takes_long_to_read_begins_the_answer_meanwhile(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "KEEP_ALIVE_S", 0.05)
    engine = FakeEngine(a_model(), script=[gate := Gate(), "at last"])
    async with gateway.spoke(engine), gateway.http.stream("POST", CHAT, json=STREAMED) as response:
        lines = response.aiter_lines()
        while not (first := await soon(anext(lines))) or first.startswith(":"):
            pass  # the hub may have yet to hear that a slot is free
        gate.open()
        rest = [line async for line in lines]
    assert '"role":"assistant"' in first
    assert any('"at last"' in line for line in rest)


texts = st.text(max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["model", "messages", "stream", "tools", "tool_choice", "response_format", "stop", "max_tokens", "input",
     "prompt", "n", "temperature", "dimensions", "encoding_format", "stream_options", "user"]
)  # fmt: skip
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "tool", "assistant", "x"])}, optional={"content": values}
    ),
    max_size=2,
)
bodies = values | st.dictionaries(fields, values, max_size=6).flatmap(
    lambda body: st.builds(lambda turns: {"model": "tiny", "messages": turns} | body, messages)
)
ROUTES = (CHAT, "/v1/completions", "/v1/embeddings", "/chat/completions")


async def test_any_json_gets_an_answer_in_the_dialect_s_shape(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())):
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: any_json(gateway))


def any_json(gateway: Gateway) -> None:
    """Try bodies in a thread, as Hypothesis knows no event loop."""
    with httpx.Client(base_url=gateway.url, headers=dict(gateway.http.headers), trust_env=False) as client:

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(ROUTES), bodies)
        def attempt(route: str, body: object) -> None:
            response = client.post(route, content=json.dumps(body).encode())
            assert response.status_code in {200, 400, 403, 404, 413, 501}, response.text
            if response.status_code != 200:
                assert set(response.json()["error"]) >= {"message", "type", "param", "code"}

        attempt()
