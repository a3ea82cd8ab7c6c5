"""`/api/chat`, asked with Ollama's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ollama
import pytest

from hubspoke.types import (
    Capability,
    Delta,
    Effort,
    Finished,
    FinishReason,
    Image,
    JsonFormat,
    Message,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    ToolCallPart,
    Usage,
)
from tests.fakes.engine import FakeEngine, a_model
from tests.gateway.ollama_apps import ABLE, HELLO, PNG, PNG_BASE64, an_app, lines

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

NS_PER_S = 1_000_000_000
END = Finished(FinishReason.STOP, Usage(prompt_tokens=7, output_tokens=2, prompt_s=0.25, decode_s=0.5))


async def test_a_whole_answer_has_the_text_and_the_figures(gateway: Gateway) -> None:
    script = [Delta(thinking="hm"), "Hello", " world", END]
    async with gateway.spoke(FakeEngine(ABLE, script=script)), an_app(gateway) as app:
        answer = await app.chat("tiny", HELLO)
    assert answer.message.content == "Hello world"
    assert (answer.message.role, answer.message.thinking) == ("assistant", "hm")
    assert (answer.model, answer.done, answer.done_reason) == ("tiny", True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (7, 2)
    assert (answer.prompt_eval_duration, answer.eval_duration) == (NS_PER_S // 4, NS_PER_S // 2)
    assert answer.total_duration > answer.load_duration >= 0


async def test_a_stream_has_the_text_piece_by_piece_and_the_figures_last(gateway: Gateway) -> None:
    script = [Delta(thinking="hm"), 'say "hi"\n', "\u00e4\u2028\u2029\x85\x0b", END]
    async with gateway.spoke(FakeEngine(ABLE, script=script)), an_app(gateway) as app:
        *parts, last = [part async for part in await app.chat("tiny:latest", HELLO, stream=True)]
    assert "".join(part.message.content for part in parts) == 'say "hi"\n\u00e4\u2028\u2029\x85\x0b'
    assert "".join(part.message.thinking or "" for part in parts) == "hm"
    assert not any(part.done for part in parts)
    assert (last.done, last.done_reason, last.message.content, last.eval_count) == (True, "stop", "", 2)
    assert {part.model for part in [*parts, last]} == {"tiny:latest"}


async def test_the_first_line_and_the_last_say_who_made_the_answer_and_clients_stream_by_default(
    gateway: Gateway,
) -> None:
    async with gateway.spoke(FakeEngine(ABLE)):
        response = await gateway.http.post("/api/chat", json={"model": "tiny", "messages": HELLO})
    first, *_, last = lines(response.text)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["x-hubspoke-spoke"] == "den"
    assert [line["hubspoke"]["spoke"] for line in (first, last)] == ["den", "den"]


async def test_options_reach_the_engine_and_hints_do_not_matter(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE)
    options = {
        "num_predict": 5,
        "temperature": 0.5,
        "top_k": 40.0,
        "top_p": 0.5,
        "min_p": 0.25,
        "seed": 7,
        "stop": ["END"],
        "repeat_penalty": 1.5,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.25,
        "num_ctx": 1_000_000,
        "num_thread": 3,
        "num_gpu": 99,
        "use_mmap": True,
        "mirostat": 0,
        "repeat_last_n": 64,
    }
    async with gateway.spoke(engine), an_app(gateway) as app:
        await app.chat("tiny", HELLO, options=options, keep_alive="5m")
    (request,) = engine.requests
    assert request.sampling == Sampling(0.5, 0.5, 40, 0.25, 7, 0.25, 0.5, 1.5)
    assert (request.max_output_tokens, request.stop) == (5, ("END",))


async def test_what_ollama_takes_for_no_limit_is_none(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE)
    async with gateway.spoke(engine), an_app(gateway) as app:
        await app.chat("tiny", HELLO, options={"num_predict": -1, "seed": -1, "top_k": 0})
    (request,) = engine.requests
    assert (request.max_output_tokens, request.sampling.seed, request.sampling.top_k) == (0, None, 2**31 - 1)


@pytest.mark.parametrize(
    "options",
    [
        {"mirostat": 2},
        {"tfs_z": 0.5},
        {"typical_p": 0.5},
        {"repeat_last_n": 128},
        {"penalize_newline": False},
        {"logit_bias": {"42": 1}},
    ],
)
async def test_options_that_no_engine_is_told_of_are_refused(
    gateway: Gateway, options: dict[str, object]
) -> None:
    async with an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match=f"options.{next(iter(options))}") as caught:
            await app.chat("tiny", HELLO, options=options)
    assert caught.value.status_code == 501


async def test_a_number_that_nobody_can_mean_is_refused(gateway: Gateway) -> None:
    async with an_app(gateway) as app:
        for options in ({"seed": 2**63}, {"temperature": -1.0}, {"num_predict": 2**40}, {"top_k": 1.5}):
            with pytest.raises(ollama.ResponseError) as caught:
                await app.chat("tiny", HELLO, options=options)
            assert caught.value.status_code == 400


def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: where
    """
    return f"rain in {city}"


async def test_tools_are_offered_and_called_with_objects(gateway: Gateway) -> None:
    parts = [
        Delta(tool_calls=(ToolCallPart(0, "a1", "weather", '{"city":'),)),
        Delta(tool_calls=(ToolCallPart(0, arguments=' "Bern"}'),)),
        Delta(tool_calls=(ToolCallPart(1, "a2", "weather", "{}"),)),
        Finished(FinishReason.TOOL_CALLS, Usage(7, 3)),
    ]
    engine = FakeEngine(ABLE, script=parts)
    async with gateway.spoke(engine), an_app(gateway) as app:
        whole = await app.chat("tiny", HELLO, tools=[weather])
        *_, called, last = [
            part async for part in await app.chat("tiny", HELLO, tools=[weather], stream=True)
        ]
    (offered,) = engine.requests[0].tools
    assert isinstance(offered, Tool)
    assert (offered.name, '"city"' in offered.parameters) == ("weather", True)
    for message in (whole.message, called.message):
        asked = [(call.function.name, call.function.arguments) for call in message.tool_calls]
        assert asked == [("weather", {"city": "Bern"}), ("weather", {})]
    assert (whole.done_reason, last.done_reason, last.message.tool_calls) == ("stop", "stop", None)


async def test_a_call_that_broke_off_is_none(gateway: Gateway) -> None:
    script = [
        Delta(tool_calls=(ToolCallPart(0, "a1", "weather", '{"city":'),)),
        Finished(FinishReason.LENGTH, Usage(7, 3)),
    ]
    async with gateway.spoke(FakeEngine(ABLE, script=script)), an_app(gateway) as app:
        answer = await app.chat("tiny", HELLO, tools=[weather])
    assert (answer.message.tool_calls, answer.done_reason) == (None, "length")


async def test_results_of_tools_belong_to_the_calls_before_them(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE)
    calls = [{"function": {"name": name, "arguments": {"n": 1}}} for name in ("weather", "time", "date")]
    messages = [
        {"role": "system", "content": ""},
        *HELLO,
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": calls},
        {"role": "tool", "content": "noon", "tool_name": "time"},
        {"role": "tool", "content": "rain"},
        {"role": "tool", "content": "friday"},
    ]
    async with gateway.spoke(engine), an_app(gateway) as app:
        await app.chat("tiny", messages)
    _, asked, *results = engine.requests[0].messages
    assert asked.thinking == "hm"
    assert asked.tool_calls[0] == ToolCall("weather", '{"n":1}', "call_0")
    assert [(turn.text, turn.tool_name, turn.tool_call_id) for turn in results] == [
        ("noon", "time", "call_1"),
        ("rain", "weather", "call_0"),
        ("friday", "date", "call_2"),
    ]


async def test_a_result_without_any_call_is_refused(gateway: Gateway) -> None:
    async with an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="tool_name"):
            await app.chat("tiny", [{"role": "tool", "content": "rain"}])


async def test_pictures_a_format_and_thinking_reach_the_engine(gateway: Gateway) -> None:
    engine = FakeEngine(ABLE, script=['{"n":1}'])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    turn = [{"role": "user", "content": "what?", "images": [PNG_BASE64]}]
    async with gateway.spoke(engine), an_app(gateway) as app:
        await app.chat("tiny", turn, format=schema, think="high")
        await app.chat("tiny", HELLO, format="json", think=False)
        await app.chat("tiny", HELLO, format="", think=True)
    first, second, third = engine.requests
    assert first.messages == (Message(Speaker.USER, "what?", images=(Image(PNG),)),)
    assert first.format == JsonFormat(
        '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
    )
    assert (second.format, third.format) == (JsonFormat(), None)
    assert [one.thinking for one in engine.requests] == [Effort.HIGH, Effort.NONE, Effort.MEDIUM]


async def test_what_the_model_cannot_do_is_refused(gateway: Gateway) -> None:
    plain = a_model(capabilities=frozenset({Capability.CHAT}))
    async with gateway.spoke(FakeEngine(plain)), an_app(gateway) as app:
        with pytest.raises(ollama.ResponseError, match="tools"):
            await app.chat("tiny", HELLO, tools=[weather])


async def test_no_messages_load_the_model(gateway: Gateway) -> None:
    engine = FakeEngine(a_model(loaded=False))
    async with gateway.spoke(engine), an_app(gateway) as app:
        answer = await app.chat("tiny", [])
    assert (answer.done, answer.done_reason, answer.message.content) == (True, "load", "")
    assert engine.loads == [("tiny", 2048)]
    assert not engine.requests


async def test_an_alias_is_asked_with_its_tag_too(gateway: Gateway) -> None:
    async with gateway.spoke(FakeEngine(a_model())), an_app(gateway) as app:
        for name in ("gpt-4o-mini", "gpt-4o-mini:latest", "auto"):
            answer = await app.chat(name, HELLO)
            assert (answer.model, answer.message.content) == (name, "Hello world")
