"""What Ollama's models can beyond text: call tools, think, see, keep to a format. A script says what the model says."""

import asyncio
import json
from base64 import b64encode
from contextlib import aclosing

import pytest

from hubspoke.errors import (
    EngineOutOfMemory,
    EngineTruncated,
    InvalidOutput,
    InvalidRequest,
    MeshError,
    Unsupported,
)
from hubspoke.types import (
    Calling,
    Capability,
    Delta,
    Effort,
    Finished,
    FinishReason,
    Image,
    JsonFormat,
    Message,
    Request,
    Sampling,
    Speaker,
    Tool,
    ToolCall,
    ToolCallPart,
    ToolChoice,
)
from spoke.engines.ollama.engine import OllamaEngine
from tests.contract.bench import SOON_S, chat, described
from tests.contract.conftest import an_ollama_engine
from tests.fakes.ollama import Fault, Json, OllamaDouble

CONTEXT_TOKENS = 2048
CHAT = "POST /api/chat"
PNG = b"\x89PNG\r\n\x1a\n"
ABLE = ("completion", "tools", "vision", "thinking")
SCHEMA = {
    "type": "object",
    "properties": {"at": {"type": "object", "properties": {"day": {"type": "integer", "minimum": 1}}}},
}
WEATHER = Tool("weather", "Tells the weather.", json.dumps(SCHEMA))
CALL = {"tool_calls": [{"id": "x1", "function": {"index": 0, "name": "weather", "arguments": {"day": 1}}}]}


@pytest.fixture
async def engine(double: OllamaDouble):
    """Give an engine whose model can everything, and is loaded."""
    double.capabilities["tiny"] = ABLE
    adapter = an_ollama_engine(double.url)
    await adapter.load("tiny", CONTEXT_TOKENS)
    yield adapter
    double.refusal = None
    await adapter.aclose()


async def answer(engine: OllamaEngine, request: Request) -> tuple[list[Delta], Finished]:
    async with asyncio.timeout(SOON_S), aclosing(engine.generate("tiny", request)) as events:
        *deltas, finished = [event async for event in events]
    return deltas, finished


def last_body(double: OllamaDouble, route: str = CHAT) -> Json:
    return [body for asked, body in double.asked if asked == route][-1]


async def test_a_model_can_what_ollama_says_of_it(engine: OllamaEngine):
    of_server = {Capability.JSON_SCHEMA, Capability.SAMPLING}
    told = {Capability.TOOLS, Capability.VISION, Capability.THINKING}

    assert (await described(engine, "tiny")).capabilities == {
        Capability.CHAT, Capability.COMPLETION, *of_server, *told
    }  # fmt: skip


# Tools.


async def test_a_model_calls_tools(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"content": "Let me see."}, CALL]

    deltas, finished = await answer(engine, chat("weather?", tools=(WEATHER,)))

    assert deltas == [
        Delta("Let me see."),
        Delta(tool_calls=(ToolCallPart(0, "call_0", "weather", '{"day":1}'),)),
    ]
    assert finished.reason is FinishReason.TOOL_CALLS
    assert last_body(double)["tools"][0]["function"]["parameters"] == SCHEMA


async def test_the_result_of_a_call_is_told_with_the_call(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"content": "It rains."}]
    turns = (
        Message(Speaker.USER, "weather?"),
        Message(
            Speaker.ASSISTANT, "", thinking="Hm.", tool_calls=(ToolCall("weather", '{"day": 1}', "call_0"),)
        ),
        Message(Speaker.TOOL, "rain", tool_call_id="call_0", tool_name="weather"),
    )

    await answer(engine, Request("m", messages=turns, tools=(WEATHER,)))

    _, call, result = last_body(double)["messages"]
    assert call["tool_calls"] == [{"id": "call_0", "function": {"name": "weather", "arguments": {"day": 1}}}]
    assert call["thinking"] == "Hm."
    assert (result["tool_call_id"], result["tool_name"]) == ("call_0", "weather")


async def test_a_model_that_may_not_call_is_told_of_no_tools(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"content": "I cannot know."}]

    await answer(engine, chat("weather?", tools=(WEATHER,), tool_choice=ToolChoice(Calling.NONE)))

    assert last_body(double)["tools"] == []


@pytest.mark.parametrize(
    "choice",
    [ToolChoice(Calling.REQUIRED), ToolChoice(Calling.REQUIRED, "weather"), ToolChoice(parallel=False)],
)
async def test_a_choice_that_ollama_does_not_know_is_refused_before_it_is_asked(
    double: OllamaDouble, engine: OllamaEngine, choice: ToolChoice
):
    asked = len(double.asked)

    with pytest.raises(Unsupported, match="Ollama cannot"):
        await answer(engine, chat("weather?", tools=(WEATHER,), tool_choice=choice))
    assert len(double.asked) == asked


# Thinking.


async def test_a_model_thinks_before_it_speaks(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"thinking": "Hm"}, {"thinking": "."}, {"content": "Yes."}]

    deltas, finished = await answer(engine, chat("well?", thinking=Effort.HIGH))

    assert deltas == [Delta(thinking="Hm"), Delta(thinking="."), Delta("Yes.")]
    assert finished.reason is FinishReason.STOP
    assert last_body(double)["think"] == "high"


async def test_how_much_to_think_is_left_to_the_model(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"content": "Yes."}]

    await answer(engine, chat("well?"))
    assert "think" not in last_body(double)
    await answer(engine, chat("well?", thinking=Effort.NONE))
    assert last_body(double)["think"] is False


async def test_a_model_that_cannot_think_does_not_have_to(double: OllamaDouble, engine: OllamaEngine):
    double.capabilities["tiny"] = ("completion",)
    double.script = [{"content": "Yes."}]

    assert (await answer(engine, chat("well?", thinking=Effort.NONE)))[0] == [Delta("Yes.")]
    with pytest.raises(Unsupported):
        await answer(engine, chat("well?", thinking=Effort.LOW))


async def test_after_a_raw_prompt_nothing_is_taken_for_a_thought(double: OllamaDouble, engine: OllamaEngine):
    await answer(engine, Request("m", prompt="<|user|>hello<|end|><|assistant|>"))

    assert last_body(double, "POST /api/generate")["think"] is False


# Pictures.


async def test_a_model_sees_pictures(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"content": "A cat."}]
    turn = Message(Speaker.USER, "what is it?", images=(Image(PNG), Image(PNG)))

    deltas, _ = await answer(engine, Request("m", messages=(turn,)))

    assert deltas == [Delta("A cat.")]
    assert last_body(double)["messages"][0]["images"] == [b64encode(PNG).decode()] * 2


async def test_a_model_without_eyes_says_so(double: OllamaDouble, engine: OllamaEngine):
    double.capabilities["tiny"] = ("completion",)
    turn = Message(Speaker.USER, "what is it?", images=(Image(PNG),))

    with pytest.raises(Unsupported):
        await answer(engine, Request("m", messages=(turn,)))


# Formats.


@pytest.mark.parametrize(
    ("wanted", "told", "text"),
    [
        (JsonFormat(), "json", '{"a": [1]}'),
        (JsonFormat(json.dumps(SCHEMA)), SCHEMA, '{"at": {"day": 3}}'),
    ],
)
async def test_an_answer_keeps_to_its_format(
    double: OllamaDouble, engine: OllamaEngine, wanted: JsonFormat, told: object, text: str
):
    double.script = [{"content": text[:4]}, {"content": text[4:]}]

    deltas, finished = await answer(engine, chat("say it", format=wanted))

    assert "".join(delta.text for delta in deltas) == text
    assert finished.reason is FinishReason.STOP
    assert last_body(double)["format"] == told


@pytest.mark.parametrize("text", ['{"at": {"day": 0}}', '{"at"', "yes"])
async def test_an_answer_that_does_not_keep_to_its_format_fails(
    double: OllamaDouble, engine: OllamaEngine, text: str
):
    double.script = [{"content": text}]

    with pytest.raises(InvalidOutput):
        await answer(engine, chat("say it", format=JsonFormat(json.dumps(SCHEMA))))


async def test_a_raw_prompt_keeps_to_a_format_too(double: OllamaDouble, engine: OllamaEngine):
    double.script = [{"content": "no"}]

    with pytest.raises(InvalidOutput):
        await answer(engine, Request("m", prompt="say it", format=JsonFormat()))
    assert last_body(double, "POST /api/generate")["format"] == "json"


async def test_calls_are_no_text_that_a_format_could_hold(double: OllamaDouble, engine: OllamaEngine):
    double.script = [CALL]

    _, finished = await answer(engine, chat("weather?", tools=(WEATHER,), format=JsonFormat()))

    assert finished.reason is FinishReason.TOOL_CALLS


async def test_a_schema_that_answers_cannot_be_checked_against_is_refused_before_ollama_is_asked(
    double: OllamaDouble, engine: OllamaEngine
):
    asked = len(double.asked)

    with pytest.raises(InvalidRequest):
        await answer(engine, chat("say it", format=JsonFormat('{"type": 7}')))
    assert len(double.asked) == asked


# Whatever is asked for.


async def test_every_way_to_draw_tokens_is_passed_on(double: OllamaDouble, engine: OllamaEngine):
    sampling = Sampling(
        temperature=0.5,
        top_p=0.5,
        top_k=3,
        min_p=0.25,
        seed=7,
        repeat_penalty=1.5,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
    )

    await answer(engine, chat("hello", sampling=sampling, max_output_tokens=3))

    told = last_body(double)["options"]
    assert {name: told[name] for name in Sampling.__slots__} == {
        name: getattr(sampling, name) for name in Sampling.__slots__
    }


async def test_nothing_that_is_asked_for_makes_ollama_load_a_model_anew(
    double: OllamaDouble, engine: OllamaEngine
):
    double.script = [{"content": "{}"}]
    turn = Message(Speaker.USER, "hi", images=(Image(PNG),))
    for request in (
        chat("hi", tools=(WEATHER,), thinking=Effort.LOW, sampling=Sampling(repeat_penalty=1.1)),
        chat("hi", format=JsonFormat(), tool_choice=ToolChoice(Calling.NONE), tools=(WEATHER,)),
        Request("m", messages=(turn,), stop=("x",), max_output_tokens=1),
        Request("m", prompt="hi", format=JsonFormat(json.dumps(SCHEMA))),
    ):
        await answer(engine, request)

    assert double.loads == [("tiny", CONTEXT_TOKENS)]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("CUDA error: out of memory", EngineOutOfMemory),
        ("model 'tiny' not found", EngineTruncated),
        ("llama-server returned invalid tool call arguments", EngineTruncated),
    ],
)
async def test_what_goes_wrong_in_the_middle_has_a_kind(
    double: OllamaDouble, engine: OllamaEngine, said: str, kind: type[MeshError]
):
    double.script = [{"thinking": "Hm"}] * 9
    double.fault, double.fault_said = Fault.ERROR, said

    with pytest.raises(kind):
        await answer(engine, chat("well?"))
